//! What a data folder holds.
//!
//! Owns: opening store and keys. Never does: the log. Talks to: the folder. Start reading at: [`open_store`].

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use api::store::{Ingest, Store, sqlite::SqliteStore};
use token::Keyring;

/// Held while a process uses a folder: the system lets go of it with the process, however that ends.
const LOCK_FILE: &str = "api.lock";

/// Takes a folder for this process; made if it is not there. Errors: another one has it.
pub(crate) fn take_folder(data: &Path) -> anyhow::Result<File> {
    let folder = || format!("data folder {}", data.display());
    std::fs::create_dir_all(data).with_context(folder)?;
    let lock = File::create(data.join(LOCK_FILE)).with_context(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "{}: another webchat-api uses it. One api runs until there is a store that several can share.",
            folder()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(folder),
    }
}

/// The store from both sides.
pub(crate) struct Opened {
    pub(crate) read: Arc<dyn Store>,
    pub(crate) ingest: Arc<dyn Ingest>,
}

/// Opens the store of a folder; `make` makes what is not there. Errors: in use, damaged, not ours, not there.
pub(crate) fn open_store(data: &Path, make: bool) -> anyhow::Result<Opened> {
    let folder = || format!("data folder {}", data.display());
    let file = data.join("store.db");
    if make {
        std::fs::create_dir_all(data).with_context(folder)?;
        restrict(data).with_context(folder)?;
    } else {
        std::fs::metadata(&file).with_context(folder)?;
    }
    let sqlite = Arc::new(SqliteStore::open(&file).with_context(folder)?);
    Ok(Opened { read: sqlite.clone(), ingest: sqlite })
}

/// Opens the keys of a folder; `make` makes a first one.
pub(crate) fn open_keys(data: &Path, make: bool) -> anyhow::Result<Keyring> {
    let folder = data.join("keys");
    if !make {
        std::fs::metadata(&folder).with_context(|| folder.display().to_string())?;
    }
    Keyring::open(&folder).with_context(|| folder.display().to_string())
}

/// Messages and keys are for their owner's eyes.
fn restrict(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}
