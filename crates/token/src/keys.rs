//! The key folder: Ed25519 keys as PEM files; the newest name signs, all are published.
//!
//! Owns: loading, creating, signing, verifying, JWKS. Never does: a clock. Talks to: the file system once, at load.
//! Start reading at: [`Verifier::verify`].

use std::{fmt, io, path::Path, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::claims::{Audience, Claims, ISSUER, LEEWAY_SECONDS};

/// The key folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing failed.
    #[error("key folder: {0}")]
    Io(#[from] io::Error),
    /// A file is no Ed25519 key in PKCS#8 PEM.
    #[error("key file {0} is not an ed25519 key in pkcs#8 pem form")]
    Malformed(String),
    /// A JWKS document is not one.
    #[error("not a jwks document of ed25519 keys")]
    Jwks,
}

/// The token is not good. One word on purpose: which check failed is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token refused")]
pub struct TokenRefused;

/// One published key (RFC 8037).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Verifies tokens with public keys. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<[(String, DecodingKey)]>,
    jwks: Arc<str>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish()
    }
}

impl Verifier {
    fn new(published: &[Jwk]) -> Result<Self, KeyError> {
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
        Ok(Self { keys: keys.into(), jwks: jwks.into() })
    }

    /// A verifier from a JWKS document.
    pub fn from_jwks(document: &str) -> Result<Self, KeyError> {
        let jwks: Jwks = serde_json::from_str(document).map_err(|_| KeyError::Jwks)?;
        Self::new(&jwks.keys)
    }

    /// The JWKS document.
    pub fn jwks(&self) -> &str {
        &self.jwks
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
        let (_, key) = self.keys.iter().find(|(known, _)| known == kid).ok_or(TokenRefused)?;
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

/// Signs with the newest key of a folder.
pub struct Keyring {
    kid: String,
    signing: EncodingKey,
    verifier: Verifier,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Loads all `*.pem` of a folder; creates the folder (mode 700) and a first key (mode 600) if there is none.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        std::fs::create_dir_all(folder)?;
        restrict(folder, 0o700)?;
        let mut names = pem_names(folder)?;
        if names.is_empty() {
            create_key(folder, "0001")?;
            names = pem_names(folder)?;
        }
        let mut published = Vec::new();
        let mut newest = None;
        for name in &names {
            let der = read_pem(&folder.join(name))?;
            let pair =
                Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Malformed(name.clone()))?;
            let kid = name.trim_end_matches(".pem").to_owned();
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            published.push(Jwk { kty: "OKP".into(), crv: "Ed25519".into(), kid: kid.clone(), x });
            newest = Some((kid, EncodingKey::from_ed_der(&der)));
        }
        let (kid, signing) = newest.ok_or_else(|| KeyError::Malformed("none".into()))?;
        Ok(Self { kid, signing, verifier: Verifier::new(&published)? })
    }

    /// The public half.
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Claims) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).expect(
            "invariant: the key was parsed as ed25519 and the claims are plain strings and numbers",
        )
    }
}

/// Creates a key file. Its name decides whether it signs: the last in byte order does.
pub fn create_key(folder: &Path, name: &str) -> Result<(), KeyError> {
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
        .map_err(|_| KeyError::Malformed(name.to_owned()))?;
    let body = STANDARD.encode(document.as_ref());
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap_or("")).collect();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let path = folder.join(format!("{name}.pem"));
    let staged = folder.join(format!("{name}.tmp"));
    write_private(&staged, pem.as_bytes())?;
    std::fs::rename(&staged, &path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn pem_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".pem") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read_pem(path: &Path) -> Result<Vec<u8>, KeyError> {
    let text = std::fs::read_to_string(path)?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body.trim()).map_err(|_| KeyError::Malformed(path.display().to_string()))
}
