//! What a verifier must refuse, and what it must go on accepting.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use protocol::{SessionId, UserId};
use token::{Audience, Claims, Keyring, TokenRefused, Verifier, claims, keys};

const NOW: u64 = 1_800_000_000;

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("webchat-token-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn good() -> Claims {
    Claims::new(Audience::Access, UserId(7), SessionId(9), NOW)
}

fn forged(header: &str, payload: &str, signature: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header), part(payload), part(signature))
}

#[test]
fn a_signed_token_is_accepted_for_its_own_audience_until_it_expires() {
    let folder = Folder::new("good");
    let keyring = Keyring::open(&folder.0).unwrap();
    let verifier = keyring.verifier();
    let text = keyring.sign(&good());
    assert_eq!(verifier.verify(&text, Audience::Access, NOW), Ok(good()));
    let last = NOW + claims::ACCESS_SECONDS + claims::LEEWAY_SECONDS - 1;
    assert!(verifier.verify(&text, Audience::Access, last).is_ok());
    assert_eq!(verifier.verify(&text, Audience::Access, last + 1), Err(TokenRefused));
    assert_eq!(verifier.verify(&text, Audience::Socket, NOW), Err(TokenRefused));
    let before_issue = NOW - claims::LEEWAY_SECONDS - 1;
    assert_eq!(verifier.verify(&text, Audience::Access, before_issue), Err(TokenRefused));
}

#[test]
fn every_forgery_is_refused() {
    let (folder, other) = (Folder::new("forged"), Folder::new("foreign"));
    let keyring = Keyring::open(&folder.0).unwrap();
    let verifier = keyring.verifier();
    let text = keyring.sign(&good());
    let parts: Vec<&str> = text.split('.').collect();
    let payload = serde_json::to_string(&good()).unwrap();
    let mixed_types = payload.replace("\"typ\":\"access\"", "\"typ\":\"socket\"");
    let text_expiry =
        payload.replace(&format!("\"exp\":{}", NOW + 600), &format!("\"exp\":\"{}\"", NOW + 600));
    assert_ne!(text_expiry, payload);
    let tampered = URL_SAFE_NO_PAD.encode(payload.replace("0007", "0008"));
    let hmac_with_public_key = {
        let jwks: serde_json::Value = serde_json::from_str(&verifier.jwks()).unwrap();
        let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some("0001".into());
        jsonwebtoken::encode(&header, &good(), &jsonwebtoken::EncodingKey::from_secret(&public))
            .unwrap()
    };
    let bad = [
        String::new(),
        "a.b.c".into(),
        forged(r#"{"alg":"none","kid":"0001"}"#, &payload, ""),
        forged(r#"{"alg":"none","kid":"0001","typ":"JWT"}"#, &payload, "x"),
        hmac_with_public_key,
        format!("{}.{tampered}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        forged(r#"{"alg":"EdDSA","kid":"0001"}"#, &mixed_types, "signature"),
        forged(r#"{"alg":"EdDSA","kid":"0001"}"#, &text_expiry, "signature"),
        // Rightly signed, but the two marks of its kind disagree.
        keyring.sign(&Claims { typ: Audience::Socket, ..good() }),
        keyring.sign(&Claims { iss: "elsewhere".into(), ..good() }),
        // Another server's key under the same kid, an unknown kid, and a header that brings a key of its own.
        Keyring::open(&other.0).unwrap().sign(&good()),
        forged(r#"{"alg":"EdDSA","kid":"9999"}"#, &payload, "signature"),
        forged(r#"{"alg":"EdDSA","jku":"http://evil.example/jwks"}"#, &payload, "signature"),
    ];
    for token in bad {
        assert_eq!(verifier.verify(&token, Audience::Access, NOW), Err(TokenRefused), "{token}");
    }
}

#[test]
fn a_new_key_signs_and_tokens_of_the_old_one_stay_good() {
    let folder = Folder::new("rotation");
    let old = Keyring::open(&folder.0).unwrap().sign(&good());
    keys::create_key(&folder.0, "0002").unwrap();
    let rotated = Keyring::open(&folder.0).unwrap();
    let new = rotated.sign(&good());
    let remote = Verifier::from_jwks(&rotated.verifier().jwks()).unwrap();
    for token in [&old, &new] {
        assert!(remote.verify(token, Audience::Access, NOW).is_ok());
    }
    let kid = jsonwebtoken::decode_header(&new).unwrap().kid;
    assert_eq!(kid.as_deref(), Some("0002"));
}

/// Whoever fetches the public keys between two looks of the api never meets a token whose key it does not know.
#[test]
fn a_new_file_is_published_by_one_look_and_signs_from_the_next_on() {
    let folder = Folder::new("looks");
    let keyring = Keyring::open(&folder.0).unwrap();
    let (broker, api) =
        (Verifier::from_jwks(&keyring.verifier().jwks()).unwrap(), keyring.verifier());
    let kid = |keyring: &Keyring| {
        jsonwebtoken::decode_header(keyring.sign(&good())).unwrap().kid.unwrap()
    };
    assert!(!keyring.reload().unwrap(), "nothing is new");
    keys::create_key(&folder.0, "0002").unwrap();
    assert!(keyring.reload().unwrap());
    assert_eq!((kid(&keyring).as_str(), api.knows("0002")), ("0001", true));
    assert!(broker.replace(&Verifier::from_jwks(&api.jwks()).unwrap()));
    assert!(keyring.reload().unwrap());
    assert_eq!(kid(&keyring), "0002");
    assert!(broker.verify(&keyring.sign(&good()), Audience::Access, NOW).is_ok());
    // A damaged or a missing file changes nothing that works.
    std::fs::write(folder.0.join("0003.pem"), "no key").unwrap();
    assert!(keyring.reload().is_err());
    assert_eq!((kid(&keyring).as_str(), api.knows("0002")), ("0002", true));
    std::fs::remove_file(folder.0.join("0003.pem")).unwrap();
    // The old one is taken away: its tokens end, the new one goes on.
    let old = Keyring::open(&folder.0).unwrap();
    std::fs::remove_file(folder.0.join("0001.pem")).unwrap();
    assert!(keyring.reload().unwrap() && !api.knows("0001") && old.verifier().knows("0001"));
}

#[tokio::test]
async fn a_token_of_an_unknown_key_is_told_from_a_bad_one_and_newer_keys_reach_every_clone() {
    let folder = Folder::new("unknown");
    let old = Keyring::open(&folder.0).unwrap().verifier();
    keys::create_key(&folder.0, "0002").unwrap();
    let new = Keyring::open(&folder.0).unwrap();
    let (target, newer) = (old.clone(), new.verifier());
    let verifier = old.clone().with_refresh(std::sync::Arc::new(move || {
        target.replace(&newer);
        Box::pin(std::future::ready(()))
    }));
    let token = new.sign(&good());
    assert_eq!(verifier.verify(&token, Audience::Access, NOW), Err(TokenRefused));
    assert!(verifier.lacks_key_of(&token));
    assert!(!verifier.lacks_key_of("a.b.c") && !verifier.lacks_key_of(""));
    verifier.refresh().await;
    assert!(old.verify(&token, Audience::Access, NOW).is_ok(), "clones share the keys");
}

#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    Keyring::open(&folder.0).unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&folder.0.join("0001.pem"))), (0o700, 0o600));
}
