//! Whether what Reprieve says is available can really be had: memory is filled until the kernel kills, and what was
//! had is compared with our estimate and with the formulas of others, on the very same readings.
//!
//! The program `reprieve-calibrate` does one machine's runs and prints a row for each; given the rows of several machines
//! it prints the tables and says whether the figures are reached. `cargo xtask calibrate` puts both together, and
//! docs/calibration.md tells what is measured and how to read it.

mod experiment;
mod mapping;
mod others;
mod peers;
mod reading;
mod report;
mod row;
mod scenarios;
mod stage;
mod table;
pub mod work;
mod worker;

pub use experiment::{Program, run};
pub use report::{Report, Verdict};
pub use row::{End, LevelRow, NodeRow, ROW_PREFIX, Row};
pub use scenarios::{Place, Scenario};

/// Says on stderr what is being done. In the virtual machine both come through one port, so each line is marked.
pub fn progress(what: &str) {
    for line in what.lines() {
        eprintln!("calibrate: {line}");
    }
}
