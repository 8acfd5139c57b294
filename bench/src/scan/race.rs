//! The readers as seen from outside: processes that read everything at each line they get, and answer with the time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use reprieve_readings::CgroupVersion;

use crate::scan::worker::{GO, Reader, Ready};

/// One reader's process. It ends when it is dropped.
pub(crate) struct Contestant {
    /// What it reads with.
    pub(crate) reader: Reader,
    /// Files that it keeps open between two readings.
    pub(crate) open_files: usize,
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Contestant {
    /// Starts a reader of the cgroups at and below `top`, and waits until it has read everything once.
    pub(crate) fn start(reader: Reader, top: &Path, version: CgroupVersion, open_files: Option<usize>) -> Result<Self> {
        let own = std::env::current_exe().context("the bench's own program was not found")?;
        let mut command = Command::new(own);
        let name = reader.to_possible_value().context("a hidden reader")?;
        command.arg("read").arg(name.get_name()).arg(top).stdin(Stdio::piped()).stdout(Stdio::piped());
        if version == CgroupVersion::V2 {
            command.arg("--v2");
        }
        if let Some(open_files) = open_files {
            command.args(["--open-files", &open_files.to_string()]);
        }
        let mut process = command.spawn().context("a reader did not start")?;
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("a reader has no stdout")?);
        let mut contestant = Contestant { reader, open_files: 0, process, requests, answers };
        let ready = contestant.answer()?;
        contestant.open_files =
            Ready::parse(&ready).with_context(|| format!("a reader answered `{ready}`"))?.open_files;
        Ok(contestant)
    }

    /// Has it read everything once; returns the CPU time in milliseconds.
    fn read(&mut self) -> Result<f64> {
        self.requests.as_mut().context("a reader has no stdin")?.write_all(GO).context("a reader has ended")?;
        let answer = self.answer()?;
        let nanoseconds: f64 = answer.parse().with_context(|| format!("a reader answered `{answer}`"))?;
        Ok(nanoseconds / 1e6)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("a reader could not be heard")?;
        ensure!(!line.is_empty(), "the reader `{}` has ended; its message stands above", self.reader.name());
        Ok(line.trim().to_owned())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        drop(self.requests.take());
        // Whatever it ended with, nothing is left to ask it.
        let _ = self.process.wait();
    }
}

/// Has all read in turn, each round beginning with another one. Returns the times of each, in milliseconds.
pub(crate) fn race(contestants: &mut [Contestant], rounds: usize) -> Result<Vec<Vec<f64>>> {
    let count = contestants.len();
    let mut times = vec![Vec::with_capacity(rounds); count];
    for round in 0..rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            if let (Some(contestant), Some(times)) = (contestants.get_mut(index), times.get_mut(index)) {
                times.push(contestant.read()?);
            }
        }
    }
    Ok(times)
}
