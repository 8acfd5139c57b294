//! Starting the programs that are measured: servers that say on stderr where they listen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reprieve_lab::wait_for;
use tempfile::TempDir;

use crate::place::command_in;

/// A running server. It is ended when this is dropped.
pub(crate) struct Server {
    process: Child,
    log: Option<BufReader<ChildStderr>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    // Where it keeps its state, if it does: gone with it.
    state: Option<TempDir>,
}

/// An answer to a GET, and how long it took from the connection to its last byte.
pub(crate) struct Answer {
    /// The status line, the headers and the body.
    pub(crate) text: Vec<u8>,
    /// From before connecting to after the last byte.
    pub(crate) latency: Duration,
}

/// Starts `reprieve agent` in a cgroup, with its defaults but for the port and the directory of its state; waits until its
/// first scan is done. Without a directory it gets one of its own, that goes with it.
pub(crate) fn start_agent(program: &Path, cgroup: &Path, state: Option<&Path>) -> Result<Server> {
    let own = state.is_none().then(tempfile::tempdir).transpose().context("no directory for the agent's state")?;
    let state = state.or(own.as_ref().map(tempfile::TempDir::path)).context("no directory for the agent's state")?;
    let mut command = command_in(cgroup, program);
    command.args(["agent", "--listen", "127.0.0.1:0", "--state-dir"]).arg(state);
    let mut agent = Server::start(&mut command).with_context(|| format!("{} agent", program.display()))?;
    let ready = || get(agent.address, "/readyz", "").ok().filter(|answer| answer.status() == Some("200")).map(|_| ());
    wait_for(Duration::from_secs(60), ready).context("the agent did not get ready within a minute")?;
    agent.state = own;
    Ok(agent)
}

impl Server {
    /// Starts a server that names its address in a log line, as `address=…`.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut process =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("the program did not start")?;
        let mut log = BufReader::new(process.stderr.take().context("the program has no stderr")?);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).context("the program's log could not be read")?;
            ensure!(read > 0, "the program ended before it said where it listens; it said: {said}");
            if let Some(address) = parse_address(&line) {
                return Ok(Server { process, log: Some(log), address, state: None });
            }
            said.push_str(&line);
        }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The rest of its log, for whoever asks first. Somebody must read it, or the server stops when the pipe is full.
    pub(crate) fn take_log(&mut self) -> Result<BufReader<ChildStderr>> {
        self.log.take().context("the log was taken before")
    }

    /// Reads the rest of its log and drops it.
    pub(crate) fn drain_log(&mut self) -> Result<()> {
        let mut log = self.take_log()?;
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// GETs a path. HTTP/1.0, so that the connection ends with the answer and no chunks have to be put together.
pub(crate) fn get(address: SocketAddr, path: &str, accept: &str) -> Result<Answer> {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).with_context(|| format!("{address} does not answer"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n")?;
    let mut text = Vec::with_capacity(1 << 20);
    stream.read_to_end(&mut text).with_context(|| format!("{address} broke off its answer to {path}"))?;
    Ok(Answer { text, latency: started.elapsed() })
}

/// The median time from telling a kill to its durable record, in words: what the agent says of its last thousand.
pub(crate) fn durable_median(agent: SocketAddr) -> Result<String> {
    let metrics = get(agent, "/metrics", "")?;
    let metrics = String::from_utf8_lossy(&metrics.text);
    let value = metrics.lines().find_map(|line| line.strip_prefix("reprieve_ledger_durable_median_seconds "));
    let seconds: Option<f64> = value.and_then(|value| value.parse().ok());
    Ok(seconds.map_or("an unknown time".into(), |seconds| format!("{:.1} ms", seconds * 1e3)))
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> Option<&str> {
        let line = self.text.split(|&byte| byte == b'\r').next()?;
        std::str::from_utf8(line).ok()?.split(' ').nth(1)
    }

    /// How long the body is.
    pub(crate) fn body_length(&self) -> usize {
        let head = self.text.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |position| position + 4);
        self.text.len() - head
    }
}

fn parse_address(line: &str) -> Option<SocketAddr> {
    line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Answer, parse_address};

    #[test]
    fn the_address_is_found_in_either_log() {
        let ours = "2026-11-23T22:00:00Z  INFO reprieve agent is up: metrics at http://127.0.0.1:1/metrics \
                    address=127.0.0.1:1 interval=1s\n";
        assert_eq!(parse_address(ours), Some(([127, 0, 0, 1], 1).into()));
        let exporter = "ts=2026 caller=tls_config.go:232 level=info msg=\"Listening on\" address=127.0.0.1:9100\n";
        assert_eq!(parse_address(exporter), Some(([127, 0, 0, 1], 9100).into()));
        assert_eq!(parse_address("level=info collector=arp"), None);
    }

    #[test]
    fn the_body_is_what_follows_the_empty_line() {
        let answer = Answer { text: b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody".to_vec(), latency: Duration::ZERO };
        assert_eq!((answer.status(), answer.body_length()), (Some("200"), 4));
    }
}
