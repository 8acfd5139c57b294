//! How much memory programs hold over time: leaks of several kinds, and what only looks like one.

use std::time::Duration;

use anyhow::{Context, Result};

/// The limit of the cgroup that each runs in, in MiB.
pub(crate) const LIMIT_MIB: u64 = 256;

/// A scenario: its name, for how long it is recorded at most, and its shape.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    /// Whether the program is started anew in the same cgroup when the kernel has killed it.
    pub(crate) again: bool,
    /// MiB held after so many seconds.
    held: fn(f64) -> f64,
}

/// All of them. Those called leak reach the limit; the others never do.
pub(crate) const ALL: &[Shape] = &[
    shape("leak-slow", 170, |t| 20.0 + 1.5 * t),
    shape("leak-steady", 90, |t| 20.0 + 4.0 * t),
    shape("leak-fast", 40, |t| 20.0 + 12.0 * t),
    shape("leak-late", 90, |t| 40.0 + 6.0 * (t - 35.0).max(0.0)),
    shape("leak-in-steps", 150, |t| 20.0 + 12.0 * (t / 6.0).floor()),
    shape("leak-noisy", 120, |t| 30.0 + 2.5 * t + 8.0 * noise(t, 1.0)),
    shape("leak-with-waves", 150, |t| 40.0 + 2.0 * t + 10.0 * (t / 2.5).sin()),
    shape("leak-faster-and-faster", 140, |t| 20.0 + 8.0 * (t / 25.0).exp2()),
    shape("leak-faster-at-last", 120, |t| 30.0 + 1.0 * t + 8.0 * (t - 50.0).max(0.0)),
    shape("leak-slower-and-slower", 170, |t| 20.0 + 66.0 * (1.0 + t / 4.0).ln()),
    shape("leak-under-garbage-collection", 170, |t| 30.0 + 1.6 * t + 20.0 * (t % 8.0) / 8.0),
    again("leak-again-and-again", 210, |t| 20.0 + 4.0 * t),
    again("leak-again-under-garbage-collection", 230, |t| 30.0 + 3.0 * t + 20.0 * (t % 8.0) / 8.0),
    shape("rest-steady", 60, |_| 120.0),
    shape("rest-jittery", 90, |t| 120.0 + 4.0 * noise(t, 0.5)),
    shape("rest-near-the-limit", 60, |t| 230.0 + 2.0 * noise(t, 1.0)),
    shape("warm-up-to-a-half", 80, |t| (20.0 + 5.0 * t).min(128.0)),
    shape("warm-up-to-four-fifths", 90, |t| (20.0 + 6.0 * t).min(205.0)),
    shape("warm-up-flattening", 150, |t| 20.0 + 180.0 * (1.0 - (-t / 20.0).exp())),
    shape("garbage-collection", 120, |t| 60.0 + 12.0 * (t % 10.0)),
    shape("garbage-collection-slow", 170, |t| 40.0 + 3.5 * (t % 40.0)),
    shape("waves", 120, |t| 120.0 + 60.0 * (t / 15.0).sin()),
    shape("bursts", 120, |t| if t % 30.0 < 4.0 { 180.0 } else { 60.0 }),
];

const fn shape(name: &'static str, seconds: u64, held: fn(f64) -> f64) -> Shape {
    Shape { name, seconds, again: false, held }
}

const fn again(name: &'static str, seconds: u64, held: fn(f64) -> f64) -> Shape {
    Shape { name, seconds, again: true, held }
}

impl Shape {
    pub(crate) fn named(name: &str) -> Result<Shape> {
        ALL.iter().copied().find(|shape| shape.name == name).with_context(|| format!("no scenario {name}"))
    }

    /// Bytes to hold at a moment.
    pub(crate) fn held_at(&self, time: Duration) -> usize {
        ((self.held)(time.as_secs_f64()).clamp(0.0, 4096.0) * f64::from(1 << 20)) as usize
    }
}

/// Between −1 and 1, another number every `step` seconds, and the same in every run.
fn noise(t: f64, step: f64) -> f64 {
    let mut number = ((t / step) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((number >> 11) as f64 / (1_u64 << 53) as f64).mul_add(2.0, -1.0)
}
