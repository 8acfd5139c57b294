//! `reprieve forecast`.

use std::io::{self, Write};
use std::thread;

use anyhow::Result;
use reprieve_judgement::{Evictions, Forecast};
use reprieve_report::{ForecastOf, ForecastRow, forecast_json, forecast_table};

use crate::arguments::ForecastArguments;
use crate::commands::node_samples::NodeSamples;

pub(crate) fn run(arguments: &ForecastArguments) -> Result<()> {
    let mut samples = NodeSamples::open(&arguments.roots, &arguments.kubelet)?;
    for note in samples.notes() {
        crate::complain(note);
    }
    let mut evictions = samples.read();
    while samples.now() < arguments.window {
        thread::sleep(arguments.interval.min(arguments.window.saturating_sub(samples.now())));
        evictions = samples.read();
    }
    let mut output = io::stdout().lock();
    loop {
        print(&mut output, arguments, &samples, &evictions)?;
        if !arguments.watch {
            return Ok(());
        }
        thread::sleep(arguments.interval);
        evictions = samples.read();
    }
}

fn print(
    output: &mut impl Write,
    arguments: &ForecastArguments,
    samples: &NodeSamples,
    evictions: &Evictions,
) -> io::Result<()> {
    let thresholds =
        evictions.thresholds.iter().zip(samples.forecasts(evictions)).map(|(state, forecast)| ForecastRow {
            what: ForecastOf::Threshold(state.threshold.signal.as_str(), state.threshold.grace.is_some()),
            left: state.distance(),
            forecast,
        });
    let limits = samples.limit_forecasts().into_iter().map(|limit| ForecastRow {
        what: ForecastOf::Limit(limit.path, Box::new(limit.owner)),
        left: limit.left,
        forecast: limit.forecast,
    });
    let wanted = |row: &ForecastRow| arguments.all || matches!(row.forecast, Forecast::Now | Forecast::In { .. });
    let rows: Vec<_> = thresholds.chain(limits).filter(wanted).collect();
    if arguments.json {
        writeln!(output, "{}", forecast_json(&rows))?;
    } else {
        output.write_all(forecast_table(&rows, evictions).as_bytes())?;
        if arguments.watch {
            writeln!(output)?;
        }
    }
    output.flush()
}
