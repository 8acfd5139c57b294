//! What is said to be available can really be had: the quick ones of the scenarios, once each, against the real kernel.
//! Needs root and a memory hierarchy that it may write to; works only in cgroups of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use reprieve_calibrate::{End, Program, Row, Scenario};
use reprieve_lab::Lab;

/// Small, so that it is over soon; large against what the kernel counts in batches.
const LIMIT: u64 = 48 << 20;

fn run(lab: &Lab, scenario: &Scenario) -> Row {
    let program = Program(env!("CARGO_BIN_EXE_reprieve-calibrate").into());
    let rows = reprieve_calibrate::run(lab, &program, Path::new("/var/tmp"), scenario, LIMIT).unwrap();
    rows.into_iter().next().unwrap()
}

/// One test and not several, so that no two fill memory and disk at once.
#[test]
fn what_is_said_to_be_available_can_be_had() {
    let lab = Lab::open("calibrate").expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made");
    let Some(lab) = lab else { return };
    let quick: Vec<&Scenario> = Scenario::ALL.iter().filter(|scenario| scenario.quick).collect();
    assert!(quick.len() >= 5);
    for scenario in quick {
        // A guess may miss where statistics lag, but not each time.
        let guessed = (0..3).any(|_| {
            let row = run(&lab, scenario);
            assert_eq!(row.end, End::Killed, "{row:?}");
            assert!(row.low <= row.obtained && row.obtained <= row.high, "out of the range: {row:?}");
            let error = row.best.abs_diff(row.obtained);
            if error > row.limit / 20 {
                eprintln!("the best guess is off by {} %: {row:?}", error * 100 / row.limit);
            }
            row.known() || error <= row.limit / 20
        });
        assert!(guessed, "{}: the best guesses are off", scenario.name);
    }
}
