//! Pages of kills, oldest first, read beside the one that writes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, ReadableDatabase};
use reprieve_judgement::{KillId, KillRecord};

use crate::encoding::decode_kill;
use crate::error::{Inside, StoreError};
use crate::tables::KILLS;

/// The open database. After a failed write it is open for reading, and opened again by the next write.
#[derive(Debug)]
pub(crate) struct Shared {
    path: PathBuf,
    database: RwLock<Access>,
}

#[derive(Debug)]
enum Access {
    Closed,
    ToRead(Database),
    ToWrite(Database),
}

impl Shared {
    pub(crate) fn to_write(path: PathBuf, database: Database) -> Self {
        Shared { path, database: RwLock::new(Access::ToWrite(database)) }
    }

    pub(crate) fn to_read(path: PathBuf, database: Database) -> Self {
        Shared { path, database: RwLock::new(Access::ToRead(database)) }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.access(), Access::ToWrite(_))
    }

    pub(crate) fn open(&self, database: Database) {
        self.set(Access::ToWrite(database));
    }

    pub(crate) fn open_for_reading(&self, database: Database) {
        self.set(Access::ToRead(database));
    }

    pub(crate) fn close(&self) {
        self.set(Access::Closed);
    }

    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&Database) -> Result<T, Inside>) -> Result<T, Inside> {
        match &*self.access() {
            Access::ToRead(database) | Access::ToWrite(database) => use_it(database),
            Access::Closed => Err(Inside::Redb(redb::Error::DatabaseClosed)),
        }
    }

    fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, access: Access) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = access;
    }
}

/// Reads kills. Clones share one database.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Some kills that follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The kills, by their numbers.
    pub records: Vec<KillRecord>,
    /// After which number the next page begins; `None` at the end.
    pub next: Option<KillId>,
    /// Kills that are stored in a form which makes no sense, and are left out.
    pub unreadable: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Reader { shared }
    }

    /// The kills with a number above `after`, `most` of them at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn page(&self, after: KillId, most: usize) -> Result<Page, StoreError> {
        self.shared.with(|database| read_page(database, after, most)).map_err(|error| match error {
            Inside::Redb(redb::Error::DatabaseClosed) => StoreError::Gone { path: self.shared.path.clone() },
            error => StoreError::inside(&self.shared.path, error),
        })
    }
}

fn read_page(database: &Database, after: KillId, most: usize) -> Result<Page, Inside> {
    let mut page = Page::default();
    let Some(first) = after.0.checked_add(1) else { return Ok(page) };
    let kills = database.begin_read()?.open_table(KILLS)?;
    let mut last = after;
    for kill in kills.range(first..)? {
        if page.records.len() >= most {
            page.next = Some(last);
            break;
        }
        let (id, stored) = kill?;
        last = KillId(id.value());
        match decode_kill(stored.value()) {
            Ok(record) => page.records.push(record),
            Err(_) => page.unreadable += 1,
        }
    }
    Ok(page)
}
