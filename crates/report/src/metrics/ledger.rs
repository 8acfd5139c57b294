//! The ledger of kills and the journal that keeps it, as figures.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use reprieve_judgement::Identity;
use reprieve_readings::Bytes;

use super::{encode_counter, encode_gauge};

/// How the ledger stands, and how well it is kept.
#[derive(Debug, Clone, Default)]
pub struct LedgerFigures {
    /// By how much the machine's count of kills rose since counting began in this boot, as far as it is told.
    pub told: u64,
    /// Kills told by this run, by how sure it is who was killed.
    pub exact: u64,
    /// The same, where the victim is only likely.
    pub likely: u64,
    /// The same, where nothing tells who it was.
    pub unnamed: u64,
    /// Whether kills are marked by the kernel's tracepoints.
    pub traced: bool,
    /// Events of the tracepoints that were overwritten before they were read.
    pub trace_lost: u64,
    /// Whether kills are stored; if not, they are in memory only.
    pub stored: bool,
    /// Attempts to store that failed.
    pub failed_writes: u64,
    /// Changes that are not stored yet.
    pub queued_changes: u64,
    /// Records that were given up unstored, because memory is bounded.
    pub dropped_records: u64,
    /// Files that could not be used, and were moved aside.
    pub moved_aside: u64,
    /// The size of the store's file.
    pub file_size: Option<Bytes>,
    /// From telling a kill to its record being durable: the median of the last thousand, in seconds.
    pub durable_median: Option<f64>,
}

impl LedgerFigures {
    /// The count of the kills of which it is so sure who was killed.
    pub fn of(&mut self, identity: Identity) -> &mut u64 {
        match identity {
            Identity::Exact => &mut self.exact,
            Identity::Likely => &mut self.likely,
            Identity::Unknown => &mut self.unnamed,
        }
    }
}

pub(super) fn encode(ledger: &LedgerFigures, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "The rise of the machine's count of kills that the ledger accounts for, in this boot";
    encode_counter(encoder, "ledger_told", help, ledger.told)?;
    let help = "Kills told by this run, by how sure it is who was killed";
    let mut family = encoder.encode_descriptor("ledger_identified_kills", help, None, MetricType::Counter)?;
    let identities =
        [(Identity::Exact, ledger.exact), (Identity::Likely, ledger.likely), (Identity::Unknown, ledger.unnamed)];
    for (identity, count) in identities {
        ConstCounter::new(count).encode(family.encode_family(&[("identity", identity.as_str())])?)?;
    }
    let help = "Whether kills are stored; if not, they are in memory only";
    encode_gauge(encoder, "ledger_stored", help, u64::from(ledger.stored))?;
    encode_counter(encoder, "ledger_failed_writes", "Attempts to store kills that failed", ledger.failed_writes)?;
    encode_gauge(encoder, "ledger_queued_changes", "Changes that are not stored yet", ledger.queued_changes)?;
    let help = "Records given up unstored, because memory is bounded";
    encode_counter(encoder, "ledger_dropped_records", help, ledger.dropped_records)?;
    let help = "Stores that could not be used, and were moved aside";
    encode_counter(encoder, "ledger_moved_aside", help, ledger.moved_aside)?;
    if let Some(size) = ledger.file_size {
        let help = "Size of the store of kills";
        let family = encoder.encode_descriptor("ledger_file", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(size.get()).encode(family)?;
    }
    if let Some(seconds) = ledger.durable_median {
        let help = "From telling a kill to its record being durable, median of the last thousand";
        let family =
            encoder.encode_descriptor("ledger_durable_median", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(seconds).encode(family)?;
    }
    let help = "Whether the kernel's tracepoints tell of victims and of where processes were made";
    encode_gauge(encoder, "trace_readable", help, u64::from(ledger.traced))?;
    let help = "Events of the tracepoints that the kernel overwrote before they were read";
    encode_counter(encoder, "trace_lost_events", help, ledger.trace_lost)
}
