//! The stored state of the ledger, but for the counters, which have a table of their own.

use reprieve_judgement::{KillId, SavedLedger};
use reprieve_readings::BootId;
use serde::{Deserialize, Serialize};

use super::DecodeError;

const WHAT: &str = "the ledger's state";

#[derive(Serialize, Deserialize)]
struct StoredState {
    boot: Option<String>,
    next_id: u64,
    node_told: Option<u64>,
    #[serde(default)]
    node_rise: u64,
    read_through: Option<u64>,
    #[serde(default)]
    told_beyond: Vec<u64>,
}

pub(crate) fn encode_state(state: &SavedLedger) -> Vec<u8> {
    let stored = StoredState {
        boot: state.boot.map(|boot| boot.to_string()),
        next_id: state.next_id.0,
        node_told: state.node_told,
        node_rise: state.node_rise,
        read_through: state.read_through,
        told_beyond: state.told_beyond.clone(),
    };
    // Every key is a string and every value has a form: this does not fail.
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// The state without its cgroups.
pub(crate) fn decode_state(stored: &[u8]) -> Result<SavedLedger, DecodeError> {
    let stored: StoredState = serde_json::from_slice(stored).map_err(|error| DecodeError::new(WHAT, error))?;
    let boot = stored.boot.map(|boot| BootId::parse(boot.as_bytes())).transpose();
    Ok(SavedLedger {
        boot: boot.map_err(|error| DecodeError::new(WHAT, error))?,
        next_id: KillId(stored.next_id),
        node_told: stored.node_told,
        node_rise: stored.node_rise,
        cgroups: Vec::new(),
        read_through: stored.read_through,
        told_beyond: stored.told_beyond,
    })
}
