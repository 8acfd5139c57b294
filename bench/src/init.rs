//! What a first process costs: `reprieve-init` beside tini, dumb-init and catatonit.
//!
//! Private memory is that of the idle init, after all that its start needed. Added start-up time is what a program that
//! ends at once takes longer under the init than alone, from before the fork until it is reaped; in a round each is run
//! once, in another order each time. Orphans are made by a program that forks twice, as fast as it can. A program whose
//! children are killed in a row shows whether the init makes the kernel take the program too.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve_lab::{Lab, wait_for};
use reprieve_linux::fork;

use crate::statistics::Sample;
use crate::table::Table;
use crate::{print_section, progress};

/// The limit of the cgroup in which memory is measured.
const LIMIT: u64 = 256 << 20;
const ORPHANS: u32 = 100_000;
/// As many orphans are left by one process.
const AT_ONCE: u32 = 100;

/// Kills in a row, and the limit of the cgroup in which they happen.
const KILLS: u64 = 1000;
const KILL_LIMIT: u64 = 16 << 20;

/// Arguments of `init`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program reprieve-init
    reprieve_init: PathBuf,
    /// The programs tini, dumb-init and catatonit
    peers: Vec<PathBuf>,
    /// Rounds of starts
    #[arg(long, default_value_t = 400)]
    rounds: usize,
}

/// One of the inits, with the options that it is run with.
struct Init {
    name: String,
    words: Vec<String>,
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let inits = inits(options);
    let times = start_times(&inits, options.rounds)?;
    let mut table = Table::new(&["init", "private kB", "added start ms", "ratio", "orphans left", "seconds"]);
    for (number, init) in inits.iter().enumerate() {
        progress(&init.name);
        let added = times.added(number)?;
        let (left, seconds) = reap(init)?;
        let milliseconds = format!("{:.3}", added.median());
        let ratio = format!("{:.2}", times.ratio(number)?);
        table.row(vec![init.name.clone(), private_memory(init)?.to_string(), milliseconds, ratio, left, seconds]);
    }
    let notes = [
        format!(
            "Private memory: Private_Clean and Private_Dirty of smaps_rollup, idle, in a \
             cgroup with a limit of 256 MiB. Added start: wall time of `true` under \
             the init, less that of `true` alone in the same round ({:.3} ms), median of {} rounds; ratio: of these medians \
             to tini's.",
            times.bare.median(),
            options.rounds
        ),
        format!(
            "Orphans: {ORPHANS} made by a program that forks twice, under the init as PID 1 of a namespace: what is left of \
             them a second after, and the time until the last is gone."
        ),
    ];
    print_section("First processes: memory, start and orphans", &table, &notes)?;

    let mut table = Table::new(&["init", "kills", "programs taken too"]);
    for init in &inits {
        progress(&format!("kills under {}", init.name));
        let (kills, taken) = kills_in_a_row(init)?;
        table.row(vec![init.name.clone(), kills.to_string(), taken.to_string()]);
    }
    let notes =
        ["A shell starts `tail /dev/zero` again and again in a cgroup with a limit of 16 MiB. Where the kernel takes \
                  the shell or the init too, it is started anew."
            .to_owned()];
    print_section("First processes: kills in a row", &table, &notes)
}

fn inits(options: &Options) -> Vec<Init> {
    let init = |name: &str, path: &Path, arguments: &[&str]| {
        let path = path.to_string_lossy().into_owned();
        let words = std::iter::once(path).chain(arguments.iter().map(|&word| word.to_owned())).collect();
        Init { name: name.to_owned(), words }
    };
    let peers = options.peers.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arguments: &[&str] = if name == "tini" { &["-s", "--"] } else { &["--"] };
        init(&name, path, arguments)
    });
    let ours = [
        init("reprieve-init", &options.reprieve_init, &["-s", "--"]),
        init("reprieve-init --warn", &options.reprieve_init, &["-s", "--warn", "10%,2s", "--"]),
    ];
    peers.chain(ours).collect()
}

impl Init {
    fn command(&self, program: &[&str]) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).args(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// Ends a program, and what runs under it, by SIGTERM.
fn end(mut child: Child) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).context("a child has a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    child.wait().map(drop).context("the init did not end")
}

/// In kB.
fn private_memory(init: &Init) -> Result<u64> {
    let lab = Lab::open("bench-init")?.context("no memory cgroup can be made here")?;
    let cgroup = lab.cgroup("container")?;
    lab.limit(&cgroup, LIMIT)?;
    let child = lab.spawn(&cgroup, &mut init.command(&["sleep", "1000"]))?;
    std::thread::sleep(Duration::from_secs(2));
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id()));
    end(child)?;
    let rollup = rollup?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_") && !line.contains("Hugetlb"));
    Ok(private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Wall times of all rounds, in milliseconds.
struct StartTimes {
    bare: Sample,
    added: Vec<Vec<f64>>,
    tini: usize,
}

impl StartTimes {
    fn added(&self, init: usize) -> Result<Sample> {
        Sample::new(self.added.get(init).cloned().unwrap_or_default())
    }

    fn ratio(&self, init: usize) -> Result<f64> {
        Ok(self.added(init)?.median() / self.added(self.tini)?.median())
    }
}

fn start_times(inits: &[Init], rounds: usize) -> Result<StartTimes> {
    progress("start-up times");
    let mut bare = Vec::new();
    let mut added = vec![Vec::new(); inits.len()];
    for round in 0..rounds {
        let mut times = vec![0.0; inits.len() + 1];
        for place in 0..times.len() {
            let number = (place + round) % times.len();
            let mut command = match inits.get(number) {
                Some(init) => init.command(&["/bin/true"]),
                None => Command::new("/bin/true"),
            };
            let started = Instant::now();
            ensure!(command.status()?.success(), "{command:?} failed");
            if let Some(time) = times.get_mut(number) {
                *time = started.elapsed().as_secs_f64() * 1000.0;
            }
        }
        let alone = times.pop().unwrap_or_default();
        bare.push(alone);
        for (all, time) in added.iter_mut().zip(times) {
            all.push(time - alone);
        }
    }
    let tini = inits.iter().position(|init| init.name == "tini").context("tini is to be among the peers")?;
    Ok(StartTimes { bare: Sample::new(bare)?, added, tini })
}

/// How many orphans are left in the end, and how long it took.
fn reap(init: &Init) -> Result<(String, String)> {
    let own = std::env::current_exe()?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).args(&init.words).arg(own).arg("make-orphans");
    let started = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("there is an output")?).read_line(&mut line)?;
    ensure!(line.trim() == "made", "the orphans were not made");
    let children = |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let first = children(&child.id().to_string());
    let left = || children(first.trim()).split_whitespace().count().saturating_sub(1);
    let gone = wait_for(Duration::from_secs(10), || (left() == 0).then(|| started.elapsed()));
    std::thread::sleep(Duration::from_secs(1));
    let left = left();
    drop(child.stdin.take());
    child.wait()?;
    Ok((left.to_string(), gone.map_or_else(|| "–".to_owned(), |time| format!("{:.1}", time.as_secs_f64()))))
}

/// How many kills there were in all, and how many of them took the program or its init.
fn kills_in_a_row(init: &Init) -> Result<(u64, u64)> {
    let (mut killed, mut taken) = (0, 0);
    while killed < KILLS {
        let lab = Lab::open("bench-init-kills")?.context("no memory cgroup can be made here")?;
        let cgroup = lab.cgroup("container")?;
        lab.limit(&cgroup, KILL_LIMIT)?;
        let enter = format!("echo 0 >{}/cgroup.procs; exec \"$@\"", cgroup.display());
        let script = format!("for i in $(seq {}); do tail /dev/zero; done; exit 0", KILLS - killed);
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "sh", "-c", &enter, "sh"]);
        command.args(&init.words).args(["sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        let survived = command.status()?.success();
        let kills = lab.oom_kills(&cgroup)?;
        ensure!(kills > 0, "nothing was killed under {}", init.name);
        killed += kills;
        taken += u64::from(!survived);
    }
    Ok((killed, taken))
}

/// Makes orphans, says so, and waits for the end of stdin.
pub(crate) fn make_orphans() -> Result<()> {
    for _ in 0..ORPHANS / AT_ONCE {
        let parent = fork(|| {
            for _ in 0..AT_ONCE {
                let _ = fork(|| 0);
            }
            0
        })?;
        while reprieve_linux::reap(parent)?.is_none() {
            std::thread::yield_now();
        }
    }
    println!("made");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
