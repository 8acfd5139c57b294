//! The one that writes: opens the store, applies the ledger's changes, forgets what is too old or too much.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableTable, WriteTransaction};
use reprieve_judgement::{LedgerChange, SavedLedger};
use reprieve_readings::Bytes;

use crate::encoding::{decode_kill, decode_state, encode_kill, encode_state};
use crate::error::{Inside, StoreError};
use crate::place::{self, MovedAside, Opening};
use crate::reader::{Reader, Shared};
use crate::tables::{self, COUNTERS, KILL_BYTES, KILLS, LEDGER, META, STATE, load, size_of};

/// How long kills are kept, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Kills told longer ago than that are forgotten.
    pub age: Duration,
    /// The oldest are forgotten where all together take more: the sum of their stored forms (JSON) and keys. The file has
    /// further pages for its own order and for changes that are under way, and keeps the greatest size that it ever had.
    pub size: Bytes,
}

impl Default for Retention {
    /// 90 days, 64 MiB.
    fn default() -> Self {
        Retention { age: Duration::from_secs(90 * 24 * 3600), size: Bytes::from_mib(64) }
    }
}

/// What opening gives.
#[derive(Debug)]
pub struct Opened {
    /// The store, ready to be written.
    pub store: Store,
    /// The ledger's state as it was saved last, with its cgroups.
    pub saved: SavedLedger,
    /// What stood in its place and could not be used.
    pub moved: Vec<MovedAside>,
}

/// Kills and the ledger's state on disk, open for this process alone.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    // Holds the lock.
    file: File,
    retention: Retention,
    shared: Arc<Shared>,
}

impl Store {
    /// Kills that one transaction forgets at most, and looks at at most.
    const FORGET_AT_ONCE: usize = 1000;

    /// Opens the store of a directory, which is made (mode 0700) where it is missing. Reads the whole file once and checks
    /// it.
    ///
    /// # Errors
    /// It is locked by another process, the disk is full or read-only, or permissions are missing. A file that can't be
    /// used is no error: it is moved aside.
    pub fn open(directory: &Path, retention: &Retention) -> Result<Opened, StoreError> {
        let Opening { path, file, database, moved } = place::open(directory)?;
        let saved = load(&database).map_err(|error| StoreError::inside(&path, error))?;
        let shared = Arc::new(Shared::to_write(path.clone(), database));
        Ok(Opened { store: Store { path, file, retention: *retention, shared }, saved, moved })
    }

    /// Applies changes in their order: all of them durable when this returns, or none. If kills take more than they may
    /// then, the oldest are forgotten, in this transaction about twice as much as came in.
    ///
    /// # Errors
    /// See [`StoreError`]. The next call tries to open the file again first. After `Gone`, `Corrupt` and the like that
    /// can't help: the store is to be dropped and opened anew.
    pub fn apply(&mut self, changes: &[LedgerChange]) -> Result<(), StoreError> {
        let most = self.retention.size.get();
        self.write(|transaction| {
            let incoming = write_changes(transaction, changes)?;
            forget_largest(transaction, most, incoming.saturating_mul(2) + 4096)
        })
    }

    /// Forgets kills that are too old at `now` (since 1970) or too many, oldest first, up to 1,000 of them. Says whether
    /// more may be left to forget. A kill told after `now`, by a clock that was wrong, is passed over.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn prune(&mut self, now: Duration) -> Result<bool, StoreError> {
        let Retention { age, size } = self.retention;
        self.write(|transaction| {
            let more_old = forget_old(transaction, now, age, Self::FORGET_AT_ONCE)?;
            forget_largest(transaction, size.get(), 1024 * Self::FORGET_AT_ONCE as u64)?;
            Ok(more_old || kill_bytes(transaction)? > size.get())
        })
    }

    /// Reads kills, also from other threads and while this one writes.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// The size of the file.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn file_size(&self) -> Result<Bytes, StoreError> {
        let metadata = self.file.metadata().map_err(|error| StoreError::io(&self.path, error))?;
        Ok(Bytes::new(metadata.len()))
    }

    /// Runs one transaction. After an error redb takes no more of them: the database is closed, and opened again by the
    /// next.
    fn write<T>(&mut self, change: impl FnOnce(&WriteTransaction) -> Result<T, Inside>) -> Result<T, StoreError> {
        if !place::is_at(&self.file, &self.path).map_err(|error| StoreError::io(&self.path, error))? {
            return Err(StoreError::Gone { path: self.path.clone() });
        }
        if !self.shared.is_open() {
            // The one for reading is closed first, so that there are never two.
            self.shared.close();
            let database = place::open_database(&self.file, &self.path);
            self.shared.open(database.inspect_err(|_| self.open_for_reading())?);
        }
        let written = self.shared.with(|database| commit(database, change));
        written.map_err(|error| {
            self.shared.close();
            self.open_for_reading();
            StoreError::inside(&self.path, error)
        })
    }

    /// Until the next write it can still be read, whatever keeps the disk from being written.
    fn open_for_reading(&self) {
        if let Ok(database) = self.file.try_clone().map_err(Inside::from).and_then(tables::open_overlay) {
            self.shared.open_for_reading(database);
        }
    }
}

/// Readers may live on: they must not hold the lock.
impl Drop for Store {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn commit<T>(database: &Database, change: impl FnOnce(&WriteTransaction) -> Result<T, Inside>) -> Result<T, Inside> {
    let transaction = database.begin_write()?;
    let changed = change(&transaction)?;
    transaction.commit()?;
    Ok(changed)
}

/// Writes changes; says how much the kills among them take.
fn write_changes(transaction: &WriteTransaction, changes: &[LedgerChange]) -> Result<u64, Inside> {
    let mut kills = transaction.open_table(KILLS)?;
    let mut counters = transaction.open_table(COUNTERS)?;
    let mut ledger = transaction.open_table(LEDGER)?;
    let mut boot = {
        let state = ledger.get(STATE)?.ok_or(Inside::Missing("state"))?;
        decode_state(state.value())?.boot
    };
    let (mut incoming, mut replaced) = (0, 0);
    for change in changes {
        if change.state.boot != boot {
            // Another boot numbers its cgroups anew.
            counters.retain(|_, _| false)?;
            boot = change.state.boot;
        }
        for (inode, told) in &change.counted {
            counters.insert(inode.0, told)?;
        }
        for inode in &change.forgotten {
            counters.remove(inode.0)?;
        }
        for record in &change.records {
            let stored = encode_kill(record);
            incoming += size_of(&stored);
            replaced += kills.insert(record.id.0, &*stored)?.map_or(0, |before| size_of(before.value()));
        }
    }
    if let Some(last) = changes.last() {
        ledger.insert(STATE, &*encode_state(&last.state))?;
    }
    drop((kills, counters, ledger));
    set_kill_bytes(transaction, |bytes| bytes.saturating_add(incoming).saturating_sub(replaced))?;
    Ok(incoming)
}

/// Forgets the oldest kills until all together take no more than `most`, or as much as `at_once` is forgotten.
fn forget_largest(transaction: &WriteTransaction, most: u64, at_once: u64) -> Result<(), Inside> {
    let excess = kill_bytes(transaction)?.saturating_sub(most).min(at_once);
    let mut kills = transaction.open_table(KILLS)?;
    let mut freed = 0;
    while freed < excess
        && let Some((_, stored)) = kills.pop_first()?
    {
        freed += size_of(stored.value());
    }
    drop(kills);
    set_kill_bytes(transaction, |bytes| bytes.saturating_sub(freed))
}

/// Forgets the kills among the first `at_once` that were told longer before `now` than `age`. Says whether there may be
/// more.
fn forget_old(transaction: &WriteTransaction, now: Duration, age: Duration, at_once: usize) -> Result<bool, Inside> {
    let mut kills = transaction.open_table(KILLS)?;
    let mut old = BTreeSet::new();
    let mut looked_at = 0;
    for kill in kills.iter()?.take(at_once) {
        let (id, stored) = kill?;
        // What can't be read is kept, until it is in the way of the size.
        match decode_kill(stored.value()) {
            Ok(record) if record.killed_at > now => {}
            Ok(record) if now - record.killed_at > age => drop(old.insert(id.value())),
            Ok(_) => break,
            Err(_) => {}
        }
        looked_at += 1;
    }
    let mut freed = 0;
    for id in &old {
        freed += kills.remove(id)?.map_or(0, |stored| size_of(stored.value()));
    }
    drop(kills);
    set_kill_bytes(transaction, |bytes| bytes.saturating_sub(freed))?;
    Ok(looked_at == at_once && !old.is_empty())
}

fn kill_bytes(transaction: &WriteTransaction) -> Result<u64, Inside> {
    let meta = transaction.open_table(META)?;
    let bytes = meta.get(KILL_BYTES)?.ok_or(Inside::Missing("size"))?.value();
    Ok(bytes)
}

fn set_kill_bytes(transaction: &WriteTransaction, change: impl FnOnce(u64) -> u64) -> Result<(), Inside> {
    let bytes = kill_bytes(transaction)?;
    transaction.open_table(META)?.insert(KILL_BYTES, change(bytes))?;
    Ok(())
}
