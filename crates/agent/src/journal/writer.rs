//! The thread that writes: all that has queued in one transaction, again and again; later again where that fails.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reprieve_readings::Escaped;
use reprieve_store::{Opened, Retention, Store, StoreError};

use super::{Shared, lock};

/// How patient the journal is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long the agent's start waits for the store to open.
    pub(super) opening: Duration,
    /// How long to wait for another agent, which may be about to end, to let go of the store.
    pub(super) unlocking: Duration,
    /// How long to wait after the first failure. Each further one doubles that.
    pub(super) first_retry: Duration,
    /// How long to wait at most.
    pub(super) longest_retry: Duration,
    /// How often to look for kills that are too old.
    pub(super) pruning: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            opening: Duration::from_secs(30),
            unlocking: Duration::from_secs(3),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
            pruning: Duration::from_secs(3600),
        }
    }
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    retention: Retention,
    pace: Pace,
    store: Option<Store>,
    retry: Option<Retry>,
    prune_at: Instant,
}

/// The next attempt after failures.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// What to do next.
enum Work {
    Write,
    Prune,
    End,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, directory: PathBuf, retention: Retention, pace: Pace) -> Self {
        Writer { shared, directory, retention, pace, store: None, retry: None, prune_at: Instant::now() }
    }

    /// Opens the store, and writes until the journal closes.
    pub(super) fn run(mut self) {
        match self.open_patiently() {
            Ok(opened) => self.enter(opened),
            Err(error) => self.failed(&error),
        }
        loop {
            match self.wait() {
                Work::Write => self.write(),
                Work::Prune => self.prune(),
                Work::End => break,
            }
        }
        if lock(&self.shared.state).has_work() {
            self.write();
        }
    }

    fn wait(&self) -> Work {
        let mut state = lock(&self.shared.state);
        loop {
            let now = Instant::now();
            let may_write = self.retry.is_none_or(|retry| retry.at <= now);
            if state.closing {
                return Work::End;
            }
            // Where the store could not be opened, it is tried again even if there is nothing to write.
            if may_write && (state.has_work() || self.retry.is_some()) {
                return Work::Write;
            }
            if may_write && self.prune_at <= now {
                return Work::Prune;
            }
            let until = self.retry.map_or(self.prune_at, |retry| retry.at);
            let wait = until.saturating_duration_since(now);
            state = self.shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&mut self) {
        if self.store.is_none() {
            match Store::open(&self.directory, &self.retention) {
                Ok(opened) => self.enter(opened),
                Err(error) => return self.failed(&error),
            }
        }
        let batch = lock(&self.shared.state).begin_batch();
        let Some(store) = &mut self.store else { return };
        // Without a change it still shows whether the store works again.
        let written = store.apply(batch.as_ref().map_or(&[], |batch| std::slice::from_ref(&batch.change)));
        drop(batch);
        match written {
            Ok(()) => self.succeeded(),
            Err(error) => self.failed(&error),
        }
    }

    fn prune(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Some(store) = &mut self.store else { return };
        match store.prune(now) {
            Ok(true) => {}
            Ok(false) => self.prune_at = Instant::now() + self.pace.pruning,
            Err(error) => {
                self.prune_at = Instant::now() + self.pace.pruning;
                self.failed(&error);
            }
        }
    }

    fn open_patiently(&self) -> Result<Opened, StoreError> {
        let give_up = Instant::now() + self.pace.unlocking;
        loop {
            match Store::open(&self.directory, &self.retention) {
                Err(StoreError::Locked { .. }) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                opened => return opened,
            }
        }
    }

    fn enter(&mut self, opened: Opened) {
        let Opened { store, saved, moved } = opened;
        for aside in &moved {
            let to = Escaped(aside.to.as_os_str().as_bytes());
            let what = Escaped(aside.what.as_bytes());
            tracing::warn!("the store of kills can't be used ({what}): moved to {to}, and a fresh one begun");
        }
        let mut state = lock(&self.shared.state);
        state.enter_store(&saved);
        state.reader = Some(store.reader());
        state.health.stored = true;
        state.health.problem = None;
        state.health.file_size = store.file_size().ok();
        state.health.moved_aside += moved.len() as u64;
        drop(state);
        self.store = Some(store);
        self.shared.done.notify_all();
    }

    fn succeeded(&mut self) {
        let size = self.store.as_ref().and_then(|store| store.file_size().ok());
        let mut state = lock(&self.shared.state);
        state.batch_is_durable(Instant::now());
        state.health.file_size = size;
        let dropped = state.health.dropped_records;
        drop(state);
        if self.retry.take().is_some() {
            tracing::info!("kills are stored again; {dropped} records were dropped since the start");
        }
        self.shared.done.notify_all();
    }

    /// What can't be written stays in memory. The log says so once, until it works again.
    fn failed(&mut self, error: &StoreError) {
        use StoreError::{Full, Io, ReadOnly};
        let wait = match self.retry {
            Some(retry) => retry.wait.saturating_mul(2).min(self.pace.longest_retry),
            None => {
                tracing::warn!("kills are kept in memory only, and the store is tried again: {error}");
                self.pace.first_retry
            }
        };
        self.retry = Some(Retry { at: Instant::now() + wait, wait });
        let mut state = lock(&self.shared.state);
        // After these the same file may work again. Of others it is to be found out what is there now.
        if !matches!(error, Full { .. } | Io { .. } | ReadOnly { .. }) {
            self.store = None;
            state.reader = None;
        }
        state.batch_failed(error.to_string());
        state.begin_without_saved();
        drop(state);
        self.shared.done.notify_all();
    }
}
