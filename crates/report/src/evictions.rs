//! Evictions for people and for programs: the screen and the JSON of `reprieve evictions` and `reprieve forecast`.

mod forecast;
mod json;
mod screen;
mod words;

use reprieve_judgement::{Evictions, Forecast, KeeperDecision};
use reprieve_readings::{Bytes, CgroupPath, Owner};

pub use self::forecast::{forecast_json, forecast_table};
pub use self::json::evictions_json;
pub use self::screen::evictions_screen;

/// Everything that the screen of `reprieve evictions` shows.
#[derive(Debug)]
pub struct EvictionsReport<'a> {
    /// The judgement.
    pub evictions: &'a Evictions,
    /// When each of its thresholds is reached, in their order.
    pub forecasts: &'a [Forecast],
    /// What the cache keeper would do.
    pub keeper: &'a KeeperDecision,
    /// What was not understood of the kubelet's configuration and the list of pods.
    pub notes: &'a [String],
}

/// One thing that may run out.
#[derive(Debug, Clone)]
pub struct ForecastRow {
    /// What it is.
    pub what: ForecastOf,
    /// What is left until then.
    pub left: Bytes,
    /// When that is gone.
    pub forecast: Forecast,
}

/// What may run out.
#[derive(Debug, Clone)]
pub enum ForecastOf {
    /// The distance to a threshold of the kubelet: its signal, and whether it is a soft one.
    Threshold(&'static str, bool),
    /// What a cgroup has left below its limits.
    Limit(CgroupPath, Box<Owner>),
}
