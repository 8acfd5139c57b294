//! The kubelet's settings where they have to be asked for: by a thread of its own, since an answer may take seconds; again
//! soon where none came, and now and then where one did, as a kubelet may be started anew with other settings.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use reprieve_readings::EvictionConfiguration;

/// How to ask. It may block; what went wrong is told in one line.
#[derive(Clone)]
pub struct AskConfiguration(Arc<dyn Fn() -> Result<EvictionConfiguration, String> + Send + Sync>);

impl AskConfiguration {
    /// Asks by calling this.
    pub fn new(ask: impl Fn() -> Result<EvictionConfiguration, String> + Send + Sync + 'static) -> Self {
        AskConfiguration(Arc::new(ask))
    }
}

impl fmt::Debug for AskConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskConfiguration")
    }
}

/// The thread, seen from the loop.
pub(crate) struct Asking(Receiver<Result<EvictionConfiguration, String>>);

impl Asking {
    const AFTER_AN_ANSWER: Duration = Duration::from_secs(600);
    const AFTER_NONE: Duration = Duration::from_secs(30);

    /// Starts it.
    pub(crate) fn start(ask: AskConfiguration) -> io::Result<Self> {
        let (answers, asking) = sync_channel(1);
        let run = move || {
            loop {
                let answer = (ask.0)();
                let wait = if answer.is_ok() { Self::AFTER_AN_ANSWER } else { Self::AFTER_NONE };
                if answers.send(answer).is_err() {
                    return;
                }
                std::thread::sleep(wait);
            }
        };
        std::thread::Builder::new().name("ask-kubelet".into()).spawn(run)?;
        Ok(Asking(asking))
    }

    /// What was answered since it was last asked.
    pub(crate) fn take(&self) -> Option<Result<EvictionConfiguration, String>> {
        self.0.try_recv().ok()
    }
}
