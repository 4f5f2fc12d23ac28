//! Everything that is logged in this process, at every level, and what must never be in it.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::{Mutex, Once, PoisonError},
};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static INSTALLED: Once = Once::new();

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn capture() {
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(|| Writer)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Passwords, tokens, codes, texts: whatever a client sends or gets that nobody else may read.
pub(crate) fn secret(text: &str) {
    // Shorter ones would be found by chance.
    if text.len() >= 8 {
        SECRETS.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
    }
}

pub(crate) fn text() -> String {
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&logged).into_owned()
}

pub(crate) fn known_secrets() -> usize {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).len()
}

pub(crate) fn hold_no_secret() {
    let logged = text();
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = secrets.iter().find(|secret| logged.contains(secret.as_str()));
    assert!(found.is_none(), "logged: {found:?}");
}
