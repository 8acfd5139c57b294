//! The loop: it waits for signals, children, the kernel's notices, connections and deadlines, and has each dealt with.
//!
//! What is done about each stands in `supervisor/`: `signals` and `children` as any init does it, `kills` and `steps` for
//! memory, `stopping` for ending and restarting the program. What seldom happens is marked cold, which keeps it out of the
//! loop's own code: that stays in memory page by page.

mod children;
mod kills;
mod signals;
mod steps;
mod stopping;
mod waiting;

use std::time::Duration;

use reprieve_linux::{
    SignalMask, SignalQueue, become_subreaper, lock_touched_memory, shrink_program, signal_on_parent_death,
    time_since_boot,
};
use reprieve_readings::Signal;
use rustix::process::Pid;

use crate::hook::Hook;
use crate::log::{Level, Log, LogFormat};
use crate::main_program;
use crate::memory_watch::MemoryWatch;
use crate::options::Options;
use crate::pressure_socket::{PressureSocket, TooManyClients};
use crate::readiness::Readiness;
use crate::slots::SLOTS;
use crate::termination_log::TerminationLog;
use stopping::{Phase, Restarts};
use waiting::{Source, Waiting};

/// After this time the program has started, or is busy with itself.
const SETTLED: Duration = Duration::from_secs(1);

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    options: Options,
    log: Log,
    signals: SignalQueue,
    /// What was blocked before, and is again for the programs that are started.
    before: SignalMask,
    waiting: Waiting,
    /// `None` between the end of the program and its next start.
    main: Option<Pid>,
    phase: Phase,
    /// Whether the program is stopped, as far as is known.
    is_stopped: bool,
    restarts: Restarts,
    memory: Option<MemoryWatch>,
    termination_log: Option<TerminationLog>,
    readiness: Readiness,
    pressure_socket: Option<PressureSocket>,
    hook: Option<Hook>,
    /// When to give back what the start needed.
    small_at: Option<Duration>,
    /// Children may have ended that were not looked at yet.
    more_children: bool,
}

/// Why nothing could be started.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) message: String,
    pub(crate) format: LogFormat,
}

impl Supervisor {
    /// Starts the program, between what it must not outrun and what it need not wait for.
    pub(crate) fn start(options: Options, log: Log) -> Result<Box<Self>, StartFailure> {
        let format = log.format;
        Self::start_all(options, log).map_err(|message| StartFailure { message, format })
    }

    /// On the heap, so that the stack holds no copies of it for as long as the program runs.
    fn start_all(options: Options, log: Log) -> Result<Box<Self>, String> {
        let (signals, before) = SignalQueue::open().map_err(|errno| format!("signals can't be taken: {errno}"))?;
        become_parent(&options, &log)?;
        let readiness = Readiness::open(&options)?;
        let pressure_socket = PressureSocket::open(&options).unwrap_or_else(|problem| {
            log.say(Level::Warning, format_args!("{problem}"));
            None
        });
        // Whoever is killed after this has been counted from: the program may be, within its first milliseconds.
        let memory = MemoryWatch::open(&options, &log, time_since_boot());
        let variables = pressure_socket.as_ref().map(PressureSocket::variables);
        let main = main_program::start(&options, &log, before, variables.as_ref().map_or(&[], |all| &all[..]))
            .map_err(|errno| format!("no process can be started: {errno}"))?;
        let now = time_since_boot();
        let waiting = Waiting::open(&signals).map_err(|errno| format!("nothing can be waited for: {errno}"))?;
        let supervisor = Box::new(Supervisor {
            termination_log: TerminationLog::find(&options.termination_log),
            options,
            log,
            signals,
            before,
            waiting,
            main: Some(main),
            phase: Phase::Running,
            is_stopped: false,
            restarts: Restarts::new(now),
            memory,
            readiness,
            pressure_socket,
            hook: None,
            small_at: Some(now.saturating_add(SETTLED)),
            more_children: false,
        });
        supervisor.watch_all()?;
        Ok(supervisor)
    }

    fn watch_all(&self) -> Result<(), String> {
        let add = |result: Result<(), rustix::io::Errno>| {
            result.map_err(|errno| format!("a file can't be waited for: {errno}"))
        };
        if let Some(notices) = self.memory.as_ref().and_then(MemoryWatch::notices) {
            add(self.waiting.add(notices, Source::Memory))?;
        }
        if let Some(listener) = &self.readiness.listener {
            add(self.waiting.add(listener, Source::Probes))?;
        }
        if let Some(socket) = &self.pressure_socket {
            add(self.waiting.add(&socket.listener, Source::PressureClients))?;
        }
        Ok(())
    }

    /// The start needed pages that nothing needs again. Giving them back takes a millisecond: not while the program starts.
    #[cold]
    fn be_small(&mut self, now: Duration) {
        if self.small_at.is_none_or(|at| now < at) {
            return;
        }
        self.small_at = None;
        if let Err(errno) = shrink_program() {
            self.log.say(Level::Debug, format_args!("the program stays as large as it is: {errno}"));
        }
        if let Err(errno) = lock_touched_memory() {
            self.log.say(Level::Debug, format_args!("memory can't be locked: {errno}"));
        }
    }

    /// Runs until the program has ended; returns the exit code.
    pub(crate) fn run(mut self: Box<Self>) -> u8 {
        loop {
            let now = time_since_boot();
            if let Some(code) = self.look_around(now) {
                // Who was killed with the program is not named any more by waiting.
                if let Some(memory) = &mut self.memory {
                    memory.count_kills(now);
                }
                self.tell_kills(now.saturating_add(Duration::from_secs(1)));
                self.end_hook();
                return code;
            }
            let time = self.next_deadline().map(|deadline| deadline.saturating_sub(time_since_boot()));
            let time = if self.more_children { Some(Duration::ZERO) } else { time };
            for source in self.waiting.wait(time) {
                self.attend(source);
            }
        }
    }

    /// Does what is due; the exit code where the program has ended for good.
    fn look_around(&mut self, now: Duration) -> Option<u8> {
        if let Some(code) = self.reap_children(now) {
            return Some(code);
        }
        self.deal_with_kills(now);
        let due = self.memory.as_mut().map(|memory| memory.look(now, self.main.is_some())).unwrap_or_default();
        for event in due {
            self.climb(event, now);
        }
        if let (Some(memory), Some(main)) = (&mut self.memory, self.main) {
            memory.choose_victims(raw(main), &self.log, now);
        }
        self.readiness.close_overdue(now);
        self.be_small(now);
        self.end_overdue_hook(now);
        let code = self.go_on_stopping(now);
        self.tell_readiness();
        code
    }

    #[cold]
    fn attend(&mut self, source: Source) {
        let now = time_since_boot();
        match source {
            Source::Signals => self.take_signals(now),
            Source::Memory => {
                if let Some(memory) = &mut self.memory {
                    memory.take_notices(now);
                }
            }
            Source::Probes => {
                if let Some((number, connection)) = self.readiness.accept(now) {
                    let _ = self.waiting.add(connection, Source::Probe(number));
                }
            }
            Source::Probe(number) => self.readiness.serve(number),
            Source::PressureClients => {
                let Some(socket) = &mut self.pressure_socket else { return };
                match socket.accept() {
                    Ok(Some((number, client))) => {
                        let _ = self.waiting.add(client, Source::PressureClient(number));
                    }
                    Ok(None) => {}
                    Err(TooManyClients) => {
                        let sentence = "a client of MEMORY_PRESSURE_WATCH was turned away: there are";
                        self.log.say(Level::Warning, format_args!("{sentence} {SLOTS} already"));
                    }
                }
            }
            Source::PressureClient(number) => {
                if let Some(socket) = &mut self.pressure_socket {
                    socket.serve(number);
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let memory = self.memory.as_ref().and_then(MemoryWatch::next_deadline);
        let hook = self.hook.as_ref().map(|hook| hook.deadline);
        [memory, hook, self.readiness.next_deadline(), self.phase.deadline(), self.small_at].into_iter().flatten().min()
    }
}

/// Becomes the one whom orphans go to, and is told when its own parent ends.
fn become_parent(options: &Options, log: &Log) -> Result<(), String> {
    if let Some(signal) = options.parent_death_signal {
        signal_on_parent_death(signal).map_err(|errno| format!("--parent-death-signal: {errno}"))?;
    }
    if options.subreaper {
        become_subreaper().map_err(|errno| format!("--subreaper: {errno}"))?;
    } else if std::process::id() != 1 {
        log.say(Level::Warning, format_args!("not PID 1, so orphans are not reaped: run it as PID 1, or with -s"));
    }
    Ok(())
}

fn raw(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// The exit code of a program that a signal ended, as shells say it.
fn code_of(signal: Signal) -> u8 {
    u8::try_from(signal.number()).unwrap_or(0).saturating_add(128)
}
