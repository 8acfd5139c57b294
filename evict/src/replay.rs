//! Replay: what would have been foretold at each moment of a recorded series, against what came.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve_judgement::{Falling, Forecast};
use reprieve_readings::Bytes;

/// Arguments of `replay`.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder with the series
    folder: PathBuf,
}

/// Readings are replayed at the agent's default interval.
const INTERVAL: f64 = 0.99;
/// A forecast of less than this is an alarm.
const ALARM: Duration = Duration::from_secs(60);
/// What remains at most where an error counts: further off nobody acts.
const NEAR: f64 = 60.0;

/// A recorded series.
struct Series {
    name: String,
    /// Each time that the limit was reached, in order.
    crossed: Vec<f64>,
    rows: Vec<(f64, u64)>,
}

/// How the forecast did on one series, or on several.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// Relative errors of the forecasts made in the last minute before the limit was reached.
    pub(crate) errors: Vec<f64>,
    /// How often the truth lay in the range that was given.
    pub(crate) inside: usize,
    /// Moments of that minute without a forecast.
    pub(crate) silent: usize,
    /// Moments of series that never got there.
    pub(crate) quiet: usize,
    /// Of these, those with an alarm.
    pub(crate) false_alarms: usize,
}

impl Outcome {
    fn add(&mut self, other: &Outcome) {
        self.errors.extend(&other.errors);
        self.inside += other.inside;
        self.silent += other.silent;
        self.quiet += other.quiet;
        self.false_alarms += other.false_alarms;
    }

    /// The error that so large a part of all forecasts stays below.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.errors.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() as f64 * part) as usize).copied()
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::print("| series | forecasts | median error | 90 % below | in range | no forecast | false alarms |")?;
    crate::print("|---|---|---|---|---|---|---|")?;
    let mut all = Outcome::default();
    for series in read(&options.folder)? {
        let outcome = replay(&series);
        crate::print(&row(&series.name, &outcome))?;
        all.add(&outcome);
    }
    crate::print(&row("**all**", &all))
}

/// The sum of all series of a folder.
#[cfg(test)]
pub(crate) fn whole(folder: &Path) -> Result<Outcome> {
    let mut all = Outcome::default();
    read(folder)?.iter().for_each(|series| all.add(&replay(series)));
    Ok(all)
}

fn row(name: &str, outcome: &Outcome) -> String {
    let percent = |part: Option<f64>| part.map_or("–".to_owned(), |part| format!("{:.0} %", part * 100.0));
    let share = |part: usize, of: usize| if of == 0 { None } else { Some(part as f64 / of as f64) };
    let made = outcome.errors.len();
    format!(
        "| {name} | {made} | {} | {} | {} | {} | {} |",
        percent(outcome.quantile(0.5)),
        percent(outcome.quantile(0.9)),
        percent(share(outcome.inside, made)),
        percent(share(outcome.silent, made + outcome.silent)),
        percent(share(outcome.false_alarms, outcome.quiet)),
    )
}

fn read(folder: &Path) -> Result<Vec<Series>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tsv"));
    paths.sort();
    ensure!(!paths.is_empty(), "no series in {}", folder.display());
    paths.iter().map(|path| parse(path)).collect()
}

fn parse(path: &Path) -> Result<Series> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut crossed = Vec::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# limit reached\tkilled\t") {
            crossed.push(told.parse()?);
        } else if !line.starts_with('#') {
            let (time, left) = line.split_once('\t').with_context(|| format!("not a row: {line}"))?;
            rows.push((time.parse()?, left.parse()?));
        }
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Series { name, crossed, rows })
}

fn replay(series: &Series) -> Outcome {
    let mut outcome = Outcome::default();
    let mut falling = Falling::default();
    let mut last = f64::NEG_INFINITY;
    for &(time, left) in series.rows.iter() {
        if time - last < INTERVAL {
            continue;
        }
        last = time;
        falling.push(Duration::from_secs_f64(time), Bytes::new(left));
        let forecast = falling.forecast(Bytes::ZERO);
        let next = series.crossed.iter().find(|crossed| **crossed > time);
        match next.map(|crossed| crossed - time) {
            Some(remaining) if (1.0..=NEAR).contains(&remaining) => take(&mut outcome, forecast, remaining),
            None if series.crossed.is_empty() => {
                outcome.quiet += 1;
                outcome.false_alarms += usize::from(forecast.best().is_some_and(|best| best <= ALARM));
            }
            _ => {}
        }
    }
    outcome
}

fn take(outcome: &mut Outcome, forecast: Forecast, remaining: f64) {
    let Forecast::In { best, soonest, latest } = forecast else {
        outcome.silent += 1;
        return;
    };
    outcome.errors.push((best.as_secs_f64() - remaining).abs() / remaining);
    let inside = soonest.as_secs_f64() <= remaining && latest.is_none_or(|latest| remaining <= latest.as_secs_f64());
    outcome.inside += usize::from(inside);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forecast_holds_on_recorded_series() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/forecast");
        let all = whole(&folder).unwrap();
        let median = all.quantile(0.5).unwrap();
        let silent = all.silent as f64 / (all.errors.len() + all.silent) as f64;
        let alarms = all.false_alarms as f64 / all.quiet as f64;
        let inside = all.inside as f64 / all.errors.len() as f64;
        assert!(median <= 0.10, "median error {median}");
        assert!(inside >= 0.80, "in the range that was given {inside}");
        assert!(silent <= 0.15, "without a forecast {silent}");
        assert!(alarms <= 0.15, "false alarms {alarms}");
    }
}
