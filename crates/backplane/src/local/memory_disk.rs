//! A disk in memory that can crash: what was not synced is gone, including names.
//!
//! Owns: the test double of [`Disk`]. Never does: run in a product. Talks to: nobody.
//! Start reading at: [`MemoryDisk::crash`].

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use super::disk::{Disk, DiskFile};

type Names = BTreeMap<String, Arc<Content>>;

#[derive(Debug, Default)]
struct Content {
    volatile: Mutex<Vec<u8>>,
    durable: Mutex<Vec<u8>>,
}

/// Faults that a test switches on. Shared with every file.
#[derive(Debug, Default)]
pub struct Faults {
    /// Syncs do nothing and say that they worked: the mutant *fsync removed*.
    pub swallow_sync: AtomicBool,
    /// Syncs fail.
    pub fail_sync: AtomicBool,
    /// Bytes that may still be written before the disk is full; `u64::MAX` = never. What fits of a write is written.
    pub room: AtomicU64,
    /// Syncs done.
    pub syncs: AtomicU64,
    /// Raised by a crash: files of before are dead, as a killed process's are. Held through every operation of a file, so
    /// that a sync is wholly before a crash or does not happen.
    generation: Mutex<u64>,
}

/// The folder. Clones share it, as two runs of a process share a disk.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    names: Arc<Mutex<Names>>,
    durable_names: Arc<Mutex<Names>>,
    /// Switches.
    pub faults: Arc<Faults>,
    locked: Arc<Mutex<Option<u64>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryDisk {
    fn default() -> Self {
        let faults = Arc::new(Faults { room: AtomicU64::new(u64::MAX), ..Faults::default() });
        Self {
            names: Arc::default(),
            durable_names: Arc::default(),
            faults,
            locked: Arc::default(),
        }
    }
}

impl MemoryDisk {
    /// Power loss: only what was synced is left. Whoever had files open can no longer write.
    pub fn crash(&self) {
        let mut generation = lock(&self.faults.generation);
        *generation += 1;
        let kept = lock(&self.durable_names).clone();
        for content in kept.values() {
            let durable = lock(&content.durable).clone();
            *lock(&content.volatile) = durable;
        }
        *lock(&self.names) = kept;
        *lock(&self.locked) = None;
    }

    /// Bytes of a file, for tests that damage it.
    pub fn with_file<R>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        let content = lock(&self.names).get(name).cloned()?;
        let result = change(&mut lock(&content.volatile));
        let now = lock(&content.volatile).clone();
        *lock(&content.durable) = now;
        Some(result)
    }

    fn file(&self, content: Arc<Content>) -> Arc<dyn DiskFile> {
        let generation = *lock(&self.faults.generation);
        Arc::new(MemoryFile { content, faults: Arc::clone(&self.faults), generation })
    }
}

struct Locked(Arc<Mutex<Option<u64>>>, u64);

impl Drop for Locked {
    fn drop(&mut self) {
        let mut holder = lock(&self.0);
        if *holder == Some(self.1) {
            *holder = None;
        }
    }
}

impl Disk for MemoryDisk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let generation = *lock(&self.faults.generation);
        let mut holder = lock(&self.locked);
        if holder.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *holder = Some(generation);
        Ok(Box::new(Locked(Arc::clone(&self.locked), generation)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.names).keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let room = self.faults.room.load(SeqCst);
        if room != u64::MAX && room < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = Arc::new(Content::default());
        *lock(&content.volatile) = vec![0; bytes as usize];
        *lock(&content.durable) = vec![0; bytes as usize];
        lock(&self.names).insert(name.to_owned(), Arc::clone(&content));
        Ok(self.file(content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = lock(&self.names).get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = lock(&self.names);
        let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.names).remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        if !self.faults.swallow_sync.load(SeqCst) {
            let names = lock(&self.names).clone();
            *lock(&self.durable_names) = names;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    content: Arc<Content>,
    faults: Arc<Faults>,
    generation: u64,
}

impl MemoryFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, u64>> {
        let generation = lock(&self.faults.generation);
        if *generation == self.generation {
            Ok(generation)
        } else {
            Err(io::Error::other("the process that opened this file was killed"))
        }
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let _alive = self.alive()?;
        let content = lock(&self.content.volatile);
        let begin = (offset as usize).min(content.len());
        let count = buffer.len().min(content.len() - begin);
        buffer[..count].copy_from_slice(&content[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _alive = self.alive()?;
        // Zeros go over zeros that are there: they need no room.
        let needed = if bytes.iter().all(|byte| *byte == 0) { 0 } else { bytes.len() as u64 };
        let room = self.faults.room.load(SeqCst);
        let fits = if needed <= room { bytes.len() } else { room as usize };
        if room != u64::MAX {
            self.faults.room.store(room.saturating_sub(needed), SeqCst);
        }
        let mut content = lock(&self.content.volatile);
        let end = offset as usize + fits;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(&bytes[..fits]);
        if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let _alive = self.alive()?;
        if self.faults.fail_sync.load(SeqCst) {
            return Err(io::Error::other("sync failed"));
        }
        if !self.faults.swallow_sync.load(SeqCst) {
            let now = lock(&self.content.volatile).clone();
            *lock(&self.content.durable) = now;
        }
        self.faults.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let _alive = self.alive()?;
        Ok(lock(&self.content.volatile).len() as u64)
    }
}
