//! The form of a stored kill and of the ledger's state: JSON, in which later versions may add fields.
//!
//! A field that is not there is not known; one that is not known here is passed over. Names, command lines and paths are
//! bytes: a string where they are UTF-8, else `{"hex": "…"}`, so that they come back exactly.

mod bytes;
mod kill;
mod state;

use reprieve_readings::Escaped;
use thiserror::Error;

pub use kill::{decode_kill, encode_kill};
pub(crate) use state::{decode_state, encode_state};

/// What is stored is no kill, or no state of a ledger.
#[derive(Debug, Error)]
#[error("what is stored as {what} makes no sense: {reason}")]
pub struct DecodeError {
    what: &'static str,
    reason: String,
}

impl DecodeError {
    fn new(what: &'static str, reason: impl ToString) -> Self {
        // It may quote what it was given.
        DecodeError { what, reason: Escaped(reason.to_string().as_bytes()).to_string() }
    }
}
