//! Running the README's own commands, so that what a newcomer types first keeps working.
//!
//! Of every fenced block marked `sh` the lines that begin with `cargo run` are run. The agent runs until it is told to
//! end, so it is started, asked for its metrics, and ended with SIGTERM as a service manager would do it; any other
//! command must exit with 0. `cargo xtask test` is left out: this is it.

use crate::{process, workspace};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where the agent serves by default.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9737);
const AGENT: &str = "cargo run --release -- agent";
const UNTIL_SERVED: Duration = Duration::from_secs(30);
const UNTIL_ENDED: Duration = Duration::from_secs(10);

/// Runs every command of README.md.
pub(crate) fn run() -> Result<()> {
    let readme = fs::read_to_string(workspace::root().join("README.md")).context("README.md could not be read")?;
    let commands = parse_commands(&readme);
    ensure!(!commands.is_empty(), "README.md has no line that begins with `cargo run` in a block marked `sh`");
    // Built before, so that the time a command may take does not hang on the compiler.
    process::run(&mut workspace::cargo(&["build", "--release", "--locked"]))?;
    for command in commands {
        println!("$ {command}");
        let result = if command.starts_with(AGENT) { run_agent(command) } else { process::run(&mut shell(command)) };
        result.with_context(|| format!("README.md's `{command}` failed"))?;
    }
    Ok(())
}

fn parse_commands(markdown: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut block = None;
    for line in markdown.lines().map(str::trim) {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language.trim()),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) if line.starts_with("cargo run") => commands.push(line),
            (None, _) => {}
        }
    }
    commands
}

/// `exec` leaves one process: the shell becomes cargo, and cargo becomes the program.
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]).current_dir(workspace::root()).stdin(Stdio::null());
    shell
}

fn run_agent(command: &str) -> Result<()> {
    ensure!(
        TcpStream::connect(ADDRESS).is_err(),
        "something listens on {ADDRESS} already; end it, so that the answer is the agent's own"
    );
    let mut agent = shell(command).spawn().context("the agent did not start")?;
    let served = wait_until_served(&mut agent);
    let ended = end(&mut agent);
    check_metrics(&served?)?;
    ended
}

fn wait_until_served(agent: &mut Child) -> Result<String> {
    let deadline = Instant::now() + UNTIL_SERVED;
    loop {
        if let Some(status) = agent.try_wait().context("the agent's state could not be asked")? {
            bail!("the agent ended before it served anything ({status})");
        }
        match get("/metrics") {
            // The first scan is not done yet.
            Ok(answer) if answer.starts_with("HTTP/1.1 503 ") && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(100));
            }
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("no answer from {ADDRESS} in {} s", UNTIL_SERVED.as_secs()));
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn check_metrics(answer: &str) -> Result<()> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the agent's answer is no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "/metrics was answered with `{status}` and not with 200");
    ensure!(body.contains("reprieve_"), "/metrics holds no metric that begins with `reprieve_`");
    Ok(())
}

/// Ends the agent as a service manager would, and by force if it does not listen.
fn end(agent: &mut Child) -> Result<()> {
    if agent.try_wait()?.is_none() {
        kill_process(Pid::from_child(agent), Signal::TERM).context("SIGTERM could not be sent to the agent")?;
    }
    let deadline = Instant::now() + UNTIL_ENDED;
    while Instant::now() < deadline {
        if let Some(status) = agent.try_wait()? {
            ensure!(status.success(), "the agent did not end well after SIGTERM ({status})");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    agent.kill()?;
    agent.wait()?;
    bail!("the agent still ran {} s after SIGTERM", UNTIL_ENDED.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{check_metrics, parse_commands};

    #[test]
    fn takes_cargo_run_lines_of_sh_blocks_only() {
        let markdown = "# Title\n\ncargo run -- prose\n\n```sh\n# a comment\ncargo run --release -- agent\n\
                        cargo xtask test\n```\n\n```text\ncargo run -- output\n```\n\n```\ncargo run -- unmarked\n```\n\
                        1. in a list:\n\n   ```sh\n   cargo run --release -- free\n   ```\n";
        assert_eq!(parse_commands(markdown), ["cargo run --release -- agent", "cargo run --release -- free"]);
    }

    #[test]
    fn finds_nothing_where_nothing_is() {
        assert!(parse_commands("# Title\n").is_empty());
    }

    #[test]
    fn wants_a_200_with_our_metrics() {
        assert!(check_metrics("HTTP/1.1 200 OK\r\na: b\r\n\r\nreprieve_scans_total 1\n").is_ok());
        assert!(check_metrics("HTTP/1.1 500 Oops\r\n\r\nreprieve_").is_err());
        assert!(check_metrics("HTTP/1.1 200 OK\r\n\r\nother 1\n").is_err());
        assert!(check_metrics("").is_err());
    }
}
