//! Public keys, and the one place where tokens are verified.
//!
//! Owns: JWKS both ways, what makes a token good. Never does: a clock, the network (a hook fetches newer keys).
//! Talks to: jsonwebtoken. Start reading at: [`Verifier::verify`].

use std::{fmt, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};

use crate::{
    claims::{Audience, Claims, ISSUER, LEEWAY_SECONDS},
    keys::KeyError,
};

/// Keys of one document; a rotation has two.
const KEYS_MAX: usize = 64;

/// The token is not good. One word on purpose: which check failed is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token refused")]
pub struct TokenRefused;

/// One published key (RFC 8037).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Jwk {
    pub(crate) kty: String,
    pub(crate) crv: String,
    pub(crate) kid: String,
    pub(crate) x: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// The keys of one document.
struct Published {
    keys: Vec<(String, DecodingKey)>,
    jwks: Arc<str>,
}

/// Fetches newer keys into the verifier that it was given to; returns when that is done, or has failed.
pub type Refresh = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Verifies tokens with public keys. Clones share the keys, also those that come later.
#[derive(Clone)]
pub struct Verifier {
    published: Arc<ArcSwap<Published>>,
    refresh: Option<Refresh>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.published.load().keys.len()).finish()
    }
}

impl Verifier {
    pub(crate) fn of(published: &[Jwk]) -> Result<Self, KeyError> {
        if published.is_empty() || published.len() > KEYS_MAX {
            return Err(KeyError::Jwks);
        }
        let keys = published
            .iter()
            .map(|jwk| {
                let good = jwk.kty == "OKP" && jwk.crv == "Ed25519";
                let key = DecodingKey::from_ed_components(&jwk.x).map_err(|_| KeyError::Jwks)?;
                if good { Ok((jwk.kid.clone(), key)) } else { Err(KeyError::Jwks) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let jwks = serde_json::to_string(&Jwks { keys: published.to_vec() })
            .map_err(|_| KeyError::Jwks)?;
        let published = ArcSwap::from_pointee(Published { keys, jwks: jwks.into() });
        Ok(Self { published: Arc::new(published), refresh: None })
    }

    /// A verifier from a JWKS document. Errors: not one, no key in it, or another kind of key.
    pub fn from_jwks(document: &str) -> Result<Self, KeyError> {
        let jwks: Jwks = serde_json::from_str(document).map_err(|_| KeyError::Jwks)?;
        Self::of(&jwks.keys)
    }

    /// The same keys, and a way to newer ones for [`Verifier::refresh`].
    #[must_use]
    pub fn with_refresh(self, refresh: Refresh) -> Self {
        Self { refresh: Some(refresh), ..self }
    }

    /// Takes over the keys of another one, for all clones. Returns whether they differ.
    pub fn replace(&self, other: &Self) -> bool {
        let newer = other.published.load_full();
        let changed = newer.jwks != self.published.load().jwks;
        if changed {
            self.published.store(newer);
        }
        changed
    }

    /// The JWKS document.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.published.load().jwks)
    }

    /// Whether a key of this name is published.
    pub fn knows(&self, kid: &str) -> bool {
        self.published.load().keys.iter().any(|(known, _)| known == kid)
    }

    /// Whether a refused token names a key that is not known here: newer keys may make it good.
    pub fn lacks_key_of(&self, token: &str) -> bool {
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        kid.is_some_and(|kid| !self.knows(&kid))
    }

    /// Asks for newer keys and waits for them. Without a way to them it returns at once.
    pub async fn refresh(&self) {
        if let Some(refresh) = &self.refresh {
            refresh().await;
        }
    }

    /// Verifies one token: EdDSA only, a known `kid`, every claim present and right, the clock of the caller.
    /// Errors: [`TokenRefused`], whatever the reason.
    pub fn verify(
        &self,
        token: &str,
        audience: Audience,
        now_seconds: u64,
    ) -> Result<Claims, TokenRefused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefused)?;
        let kid = header.kid.as_deref().ok_or(TokenRefused)?;
        let published = self.published.load();
        let (_, key) = published.keys.iter().find(|(known, _)| known == kid).ok_or(TokenRefused)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The library reads the system clock; times are checked below against the caller's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|_| TokenRefused)?
            .claims;
        let right_kind = claims.aud == audience && claims.typ == audience && claims.iss == ISSUER;
        let begun = claims.iat <= now_seconds + LEEWAY_SECONDS;
        let not_over = now_seconds < claims.exp.saturating_add(LEEWAY_SECONDS);
        if right_kind && begun && not_over { Ok(claims) } else { Err(TokenRefused) }
    }
}
