//! Runs every fuzz target over its seeds and some thousands of mutations of them, the same ones each time.
//!
//! It finds what a change has plainly broken. For more, run libFuzzer: CONTRIBUTING.md tells how.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use reprieve_fuzz::TARGETS;

const MUTATIONS: u64 = 4_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory("seeds").join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Marsaglia's xorshift64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, or 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }
}

fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len());
        match random.below(6) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[at] = random.next() as u8,
            2 => input.truncate(at),
            3 => input.insert(at, b"\n\0 /,=:;\\x-9(\xff"[random.below(14)]),
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = at + random.below(input.len() - at);
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
        }
    }
    input
}

fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    let passed = panic::catch_unwind(|| target(input)).is_ok();
    assert!(passed, "target {name} fails on \"{}\"", input.escape_ascii());
}

#[test]
fn every_target_holds_on_its_seeds_and_their_mutations() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "target {name} has no seeds");
        seeds.iter().for_each(|seed| run(name, *target, seed));
        let mut random = Random(SEED);
        for _ in 0..MUTATIONS {
            run(name, *target, &mutate(&seeds, &mut random));
        }
    }
}

#[test]
fn every_target_can_be_run_by_libfuzzer() {
    let manifest = fs::read_to_string(directory("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let entry = fs::read_to_string(directory("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(entry.contains(&format!("reprieve_fuzz::{name}(input)")), "fuzz_targets/{name}.rs runs another target");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "no bin of {name}");
    }
}
