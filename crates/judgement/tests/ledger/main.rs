//! The ledger of kills against a model that knows the truth: a machine that kills, removes and makes cgroups, loses
//! records and restarts the agent, all at random and from a seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod agent;
mod machine;
mod random;

use std::time::Duration;

use agent::Agent;
use machine::Machine;
use random::Random;

/// Steps of one run.
const STEPS: usize = 60;

/// One run of machine and agent; panics, with the seed, where the account is wrong.
fn simulate(seed: u64) {
    let mut random = Random::new(seed);
    let mut machine = Machine::new(&mut random);
    for _ in 0..random.below(20) {
        machine.step(&mut random);
    }
    // The agent begins to count in a moment in which no kill is under way: between counting and printing one, nothing
    // tells which of both is missing.
    machine.finish_kill();
    let mut agent = Agent::start(&mut machine);
    for _ in 0..STEPS {
        machine.now += Duration::from_millis(1);
        match random.below(10) {
            0..=4 => machine.step(&mut random),
            5..=8 => agent.step(&mut machine, &mut random),
            _ => machine.pass_time(&mut random),
        }
        if random.below(60) == 0 {
            agent = agent.restart(&mut machine);
        }
    }
    machine.finish_kill();
    agent.settle_all(&mut machine);
    agent.check(&machine, seed);
}

/// `REPRIEVE_SIMULATIONS` runs (20,000 without it), from the seed `REPRIEVE_SEED` on.
#[test]
// The crate is pure; its test may be told how long to run.
#[allow(clippy::disallowed_methods, clippy::disallowed_macros)]
fn every_kill_is_told_once_whatever_happens() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number("REPRIEVE_SEED", 1);
    let runs = number("REPRIEVE_SIMULATIONS", 20_000);
    for seed in first..first + runs {
        simulate(seed);
    }
    println!("{runs} runs of {STEPS} steps, seeds {first} to {}", first + runs - 1);
}
