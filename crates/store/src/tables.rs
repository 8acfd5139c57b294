//! The tables of the database, and what must be true of them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};
use reprieve_judgement::SavedLedger;
use reprieve_readings::CgroupInode;

use crate::backend::{Direct, Overlay};
use crate::encoding::{decode_state, encode_state};
use crate::error::Inside;

/// Kills by their number.
pub(crate) const KILLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("kills");
/// The ledger's state, under [`STATE`].
pub(crate) const LEDGER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("ledger");
/// Counts of kills that are told, by the inode of the cgroup.
pub(crate) const COUNTERS: TableDefinition<'_, u64, u64> = TableDefinition::new("counters");
/// Numbers about the database itself: [`SCHEMA`], [`KILL_BYTES`].
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

pub(crate) const STATE: &str = "state";
pub(crate) const SCHEMA: &str = "schema";
/// How much all kills take, by [`size_of`].
pub(crate) const KILL_BYTES: &str = "kill_bytes";

/// The form of the tables. One more whenever an older version of this program would read them wrong.
const CURRENT_SCHEMA: u64 = 1;

/// What redb may keep of the file in memory.
const CACHE_BYTES: usize = 1024 * 1024;

/// What a kill counts for in the limit on the store's size: its stored form and its key.
pub(crate) fn size_of(stored: &[u8]) -> u64 {
    stored.len() as u64 + 8
}

/// Opens the database in a file that has one. Every page is checked.
pub(crate) fn open(file: File) -> Result<Database, Inside> {
    open_backend(Direct(file))
}

/// Opens the database in a file that stays as it is. Every page is checked.
pub(crate) fn open_overlay(file: File) -> Result<Database, Inside> {
    open_backend(Overlay::new(file)?)
}

fn open_backend(backend: impl StorageBackend) -> Result<Database, Inside> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(backend)?;
        check(&database)?;
        Ok(database)
    }));
    // redb answers what makes no sense with an error; a case it overlooks must not end the agent either.
    opened.unwrap_or(Err(Inside::Panicked))
}

/// Begins a database in an empty file.
pub(crate) fn begin(file: File) -> Result<Database, Inside> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Direct(file))?;
    let transaction = database.begin_write()?;
    {
        transaction.open_table(KILLS)?;
        transaction.open_table(COUNTERS)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(SCHEMA, CURRENT_SCHEMA)?;
        meta.insert(KILL_BYTES, 0)?;
        transaction.open_table(LEDGER)?.insert(STATE, &*encode_state(&SavedLedger::default()))?;
    }
    transaction.commit()?;
    Ok(database)
}

fn check(database: &Database) -> Result<(), Inside> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let schema = meta.get(SCHEMA)?.ok_or(Inside::Missing("schema number"))?.value();
    match schema {
        CURRENT_SCHEMA => {}
        0 => return Err(Inside::Missing("schema number above 0")),
        _ => return Err(Inside::Schema(schema)),
    }
    meta.get(KILL_BYTES)?.ok_or(Inside::Missing("size"))?;
    transaction.open_table(KILLS)?;
    load(database).map(drop)
}

/// The ledger's state as it was saved last.
pub(crate) fn load(database: &Database) -> Result<SavedLedger, Inside> {
    let transaction = database.begin_read()?;
    let ledger = transaction.open_table(LEDGER)?;
    let state = ledger.get(STATE)?.ok_or(Inside::Missing("state"))?;
    let mut saved = decode_state(state.value())?;
    for counter in transaction.open_table(COUNTERS)?.range(0..)? {
        let (inode, told) = counter?;
        saved.cgroups.push((CgroupInode(inode.value()), told.value()));
    }
    Ok(saved)
}
