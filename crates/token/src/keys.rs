//! The key folder: Ed25519 keys as PEM files; the newest name signs, all are published.
//!
//! Owns: loading, creating, signing, rotation. Never does: a clock. Talks to: the file system, when it is told to look.
//! Start reading at: [`Keyring::reload`].

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::{
    claims::Claims,
    verifier::{Jwk, Verifier},
};

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

/// The key that signs now.
struct Signing {
    kid: String,
    key: EncodingKey,
}

/// Signs with the newest key of a folder.
pub struct Keyring {
    folder: PathBuf,
    signing: ArcSwap<Signing>,
    verifier: Verifier,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("kid", &self.signing.load().kid).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Loads all `*.pem` of a folder; creates the folder (mode 700) and a first key (mode 600) if there is none.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        std::fs::create_dir_all(folder)?;
        restrict(folder, 0o700)?;
        if pem_names(folder)?.is_empty() {
            create_key(folder, "0001")?;
        }
        let (published, mut keys) = load(folder)?;
        let newest = keys.pop().ok_or_else(|| KeyError::Malformed("none".into()))?;
        Ok(Self {
            folder: folder.to_owned(),
            signing: ArcSwap::from_pointee(newest),
            verifier: Verifier::of(&published)?,
        })
    }

    /// Looks at the folder again. A new key is published by one look and signs from the next one on: whoever fetches the
    /// public keys more often than looks are taken knows a key before its first token. Returns whether anything changed.
    /// Errors: the folder cannot be read or holds no good key; what was there goes on.
    pub fn reload(&self) -> Result<bool, KeyError> {
        let (published, keys) = load(&self.folder)?;
        let known = |key: &&Signing| self.verifier.knows(&key.kid);
        let newest = keys.iter().rev().find(known).or(keys.last());
        let Some(newest) = newest.map(|key| key.kid.clone()) else {
            return Err(KeyError::Malformed("none".into()));
        };
        let mut changed = self.verifier.replace(&Verifier::of(&published)?);
        if newest != self.signing.load().kid
            && let Some(key) = keys.into_iter().find(|key| key.kid == newest)
        {
            self.signing.store(Arc::new(key));
            changed = true;
        }
        Ok(changed)
    }

    /// Name of the key that signs now.
    pub fn kid(&self) -> String {
        self.signing.load().kid.clone()
    }

    /// The public half. Follows every later [`Keyring::reload`].
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Claims) -> String {
        let signing = self.signing.load();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(signing.kid.clone());
        jsonwebtoken::encode(&header, claims, &signing.key).expect(
            "invariant: the key was parsed as ed25519 and the claims are plain strings and numbers",
        )
    }
}

/// Public halves and signing keys, in the order of their names.
fn load(folder: &Path) -> Result<(Vec<Jwk>, Vec<Signing>), KeyError> {
    let (mut published, mut keys) = (Vec::new(), Vec::new());
    for name in pem_names(folder)? {
        let der = read_pem(&folder.join(&name))?;
        let pair =
            Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError::Malformed(name.clone()))?;
        let kid = name.trim_end_matches(".pem").to_owned();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        published.push(Jwk { kty: "OKP".into(), crv: "Ed25519".into(), kid: kid.clone(), x });
        keys.push(Signing { kid, key: EncodingKey::from_ed_der(&der) });
    }
    Ok((published, keys))
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
