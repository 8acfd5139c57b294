//! The ledger's memory beyond this process: changes go in, a thread of its own writes them to the store.
//!
//! A disk must never hold up the loop that listens for kills, so `write` only puts a change into memory. The writer takes
//! all that has queued into one transaction. Where the store can't be written the newest records stay in memory, bounded;
//! the writer tries again later, and the agent goes on.
//!
//! | file | what |
//! |---|---|
//! | `pending` | changes that are not durable yet, put together |
//! | `state` | what the threads share |
//! | `writer` | the thread that writes, and what it does when it can't |

mod pending;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reprieve_judgement::{KillId, LedgerChange, SavedLedger};
use reprieve_readings::Bytes;
use reprieve_store::{Page, Retention, StoreError};

use self::state::State;
pub(crate) use self::state::Told;
use self::writer::{Pace, Writer};

/// Records that one who follows may lag behind.
const FOLLOWER_LAG: usize = 256;

/// Where the ledger's changes are written to. Clones write to the same place; it is closed when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    writer: Arc<RunningWriter>,
}

/// One who gets every record as it is told.
#[derive(Debug)]
pub(crate) struct Following {
    shared: Arc<Shared>,
    number: u64,
    listener: Receiver<Told>,
}

/// How the journal does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalHealth {
    /// Whether the last write got through. If not, kills are in memory only.
    pub(crate) stored: bool,
    /// Why not.
    pub(crate) problem: Option<String>,
    /// Attempts to write that failed.
    pub(crate) failed_writes: u64,
    /// Changes that are not durable yet.
    pub(crate) queued_changes: u64,
    /// Records that are in memory only.
    pub(crate) held_records: usize,
    /// Records that were given up unwritten, because memory is bounded.
    pub(crate) dropped_records: u64,
    /// Files that could not be used, and were moved aside.
    pub(crate) moved_aside: u64,
    /// The size of the store's file.
    pub(crate) file_size: Option<Bytes>,
    /// Changes that became durable.
    pub(crate) durable_changes: u64,
    /// From `write` to durable: of the last changes, 1,000 at most, oldest first.
    pub(crate) recent_delays: Vec<Duration>,
}

/// A page of kills, with the moment that it tells of.
#[derive(Debug)]
pub(crate) struct TellingPage {
    pub(crate) page: Page,
    /// How many records had been told by then; see [`Told`].
    pub(crate) told: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be written, or the journal closes.
    work: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
}

#[derive(Debug)]
struct RunningWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the store of a directory, and gives the ledger's state as it was saved last. Without a directory, or where the
    /// store can't be had, that is an empty one; the log says so once, and the writer tries again later.
    pub(crate) fn open(directory: Option<PathBuf>, retention: Retention) -> (Self, SavedLedger) {
        Self::open_at(directory, retention, Pace::default())
    }

    fn open_at(directory: Option<PathBuf>, retention: Retention, pace: Pace) -> (Self, SavedLedger) {
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), work: Condvar::new(), done: Condvar::new() });
        let running = RunningWriter { shared: Arc::clone(&shared), thread: Mutex::new(None) };
        let journal = Journal { shared, writer: Arc::new(running) };
        let saved = match directory {
            Some(directory) => journal.start(directory, retention, pace),
            None => {
                journal.cannot_store("there is no directory for it: give one with --state-dir");
                SavedLedger::default()
            }
        };
        (journal, saved)
    }

    fn start(&self, directory: PathBuf, retention: Retention, pace: Pace) -> SavedLedger {
        let writer = Writer::new(Arc::clone(&self.shared), directory, retention, pace);
        match std::thread::Builder::new().name("journal".into()).spawn(move || writer.run()) {
            Ok(thread) => *lock(&self.writer.thread) = Some(thread),
            Err(error) => {
                self.cannot_store(&format!("can't start a thread: {error}"));
                return SavedLedger::default();
            }
        }
        let waiting = self.shared.done.wait_timeout_while(self.lock(), pace.opening, |state| !state.has_begun());
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner).0;
        if !state.has_begun() {
            tracing::warn!("the store of kills is slow to open: the agent begins without what was saved");
        }
        state.begin()
    }

    fn cannot_store(&self, why: &str) {
        tracing::warn!("kills are kept in memory only: {why}");
        self.lock().health.problem = Some(why.into());
    }

    /// Takes a change. Never waits for a disk.
    #[allow(dead_code, reason = "the ledger is about to")]
    pub(crate) fn write(&mut self, change: LedgerChange) {
        self.lock().take(change, Instant::now());
        self.shared.work.notify_one();
    }

    /// How it does.
    pub(crate) fn health(&self) -> JournalHealth {
        self.lock().health()
    }

    /// Waits until all changes are durable, but not longer than that, nor where they can't be written. Says whether they
    /// are.
    pub(crate) fn flush(&self, longest: Duration) -> bool {
        let busy = |state: &mut State| !state.is_empty() && state.health.problem.is_none();
        let waited = self.shared.done.wait_timeout_while(self.lock(), longest, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// The kills with a number above `after`, `most` of them at most: those in the store, and those in memory only.
    ///
    /// # Errors
    /// The store can't be read. Where there is none, what is in memory is all.
    pub(crate) fn page(&self, after: KillId, most: usize) -> Result<TellingPage, StoreError> {
        // Memory first: what is written in between is seen twice, not never.
        let (held, told, reader) = {
            let state = self.lock();
            (state.held_after(after, most), state.told(), state.reader.clone())
        };
        let stored = reader.map_or_else(|| Ok(Page::default()), |reader| reader.page(after, most))?;
        Ok(TellingPage { page: pending::merge(stored, held, most), told })
    }

    /// Every record from now on, as it is told. Who lags too far behind gets no more.
    pub(crate) fn follow(&self) -> Following {
        let (teller, listener) = sync_channel(FOLLOWER_LAG);
        let number = self.lock().add_follower(teller);
        Following { shared: Arc::clone(&self.shared), number, listener }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl Following {
    /// The next record; `None` where there is none in that time.
    ///
    /// # Errors
    /// There will be none: it lagged too far behind.
    pub(crate) fn next(&self, longest: Duration) -> Result<Option<Told>, LaggedBehind> {
        match self.listener.recv_timeout(longest) {
            Ok(told) => Ok(Some(told)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(LaggedBehind),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        lock(&self.shared.state).remove_follower(self.number);
    }
}

/// More records were told than one who follows may lag behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaggedBehind;

/// The writer writes what is there, once, and ends.
impl Drop for RunningWriter {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // It only ends otherwise by a panic, which was printed.
            let _ = thread.join();
        }
    }
}

/// What a panicking thread leaves behind is whole: each change of it is made in one step, or is not needed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
