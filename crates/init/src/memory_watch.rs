//! The container's memory: how many kills there were, and how far up the ladder it is.
//!
//! It is looked at the more often the nearer the limit is. On v2 the kernel also gives notice of kills and of hits of the
//! limit; v1 gives none on a read-only mount, so there the counter is read at each look. Without a ladder it is looked
//! at more seldom, only to know the processes that a kill may end.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use reprieve::{Memory, Roots, pod_limit_from_environment};
use reprieve_judgement::{ContainerKill, Ladder, LadderEvent, LadderMoment, Suspect, VictimFinder};
use reprieve_linux::{EventsWatch, process_name};
use reprieve_readings::{Bytes, ProcessName};
use rustix::event::{Timespec, poll};

use crate::hook::Facts;
use crate::log::{Level, Log};
use crate::options::{Options, VictimChoice};
use crate::process_table::ProcessTable;

/// How often processes are looked for whose oom_score_adj is to be set.
const VICTIM_PERIOD: Duration = Duration::from_secs(1);
/// Without a ladder: between two looks at the processes, and at the counter of v1.
const WITHOUT_LADDER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How old a look at the process table may be: near the limit, and else.
const FRESH: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// When the memory is looked at first. A program that has ended by then was of no interest.
const FIRST_LOOK: Duration = Duration::from_millis(3);

/// What must be left for little room and for ample room: this part of the limit, and no more than this.
const LITTLE: (u64, Bytes) = (32, Bytes::from_mib(1));
const AMPLE: (u64, Bytes) = (8, Bytes::from_mib(16));

/// Whether files may be opened, for which the kernel charges the container. Who asks for memory while a victim still ends
/// can have the kernel take another process: it looks whether there is memory by now, and then, a moment later, for a
/// process to kill, and the victim may be gone in between (`mem_cgroup_out_of_memory`, mm/memcontrol.c, Linux 6.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    None,
    /// A program that takes memory fast is at its limit before everything is looked at: seldom only.
    Little,
    Ample,
}

/// How often, a millisecond apart, a killed child's name is asked for.
const NAME_LOOKS: u32 = 50;
const NAME_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// A process with less than this part of the limit is not taken for a victim only because it is gone.
const SMALL: u64 = 16;

/// What is watched.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    memory: Memory,
    events: Option<EventsWatch>,
    ladder: Ladder,
    has_ladder: bool,
    finder: VictimFinder,
    table: ProcessTable,
    victim: Option<VictimChoice>,
    victim_failed: bool,
    next_victims: Duration,
    next_all_victims: Duration,
    last: LadderMoment,
    next_look: Option<Duration>,
}

impl MemoryWatch {
    /// Begins to watch. `None` where nothing can be read, which is said: the program is run all the same.
    pub(crate) fn open(options: &Options, log: &Log, now: Duration) -> Option<Self> {
        let told = pod_limit_from_environment().unwrap_or_else(|error| {
            log.say(Level::Warning, format_args!("{error}; going on without it"));
            None
        });
        let memory = match Memory::unread_below(&Roots::default(), told) {
            Ok(memory) => memory,
            Err(error) => {
                log.say(Level::Warning, format_args!("the container's memory can't be seen: {error}"));
                return None;
            }
        };
        if memory.version().is_none() {
            let problem = memory.problems().first().first().map(ToString::to_string).unwrap_or_default();
            log.say(Level::Warning, format_args!("the container's kills can't be seen: {problem}"));
        }
        let events = memory.events();
        let mut watch = MemoryWatch {
            events,
            ladder: Ladder::new(options.rungs.iter().map(|rung| rung.thresholds.clone())),
            has_ladder: !options.rungs.is_empty(),
            finder: VictimFinder::default(),
            table: ProcessTable::new(&memory),
            victim: options.victim,
            victim_failed: false,
            next_victims: now,
            next_all_victims: now,
            last: LadderMoment::default(),
            next_look: None,
            memory,
        };
        watch.count_kills(now);
        watch.next_look = watch.polls().then_some(now.saturating_add(FIRST_LOOK));
        Some(watch)
    }

    /// Whether anything is to be looked at without notice.
    fn polls(&self) -> bool {
        self.has_ladder || self.victim.is_some() || self.counts()
    }

    /// Whether there is a counter of kills.
    fn counts(&self) -> bool {
        self.memory.version().is_some()
    }

    /// What `epoll` waits for.
    pub(crate) fn notices(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Looks at the memory, if it is time to; returns what is due on the ladder, which is for a program that runs.
    pub(crate) fn look(&mut self, now: Duration, has_program: bool) -> Vec<LadderEvent> {
        if self.next_look.is_none_or(|next| now < next) {
            return Vec::new();
        }
        if self.events.is_none() {
            self.count_kills(now);
        }
        let mut events = Vec::new();
        let mut next = VICTIM_PERIOD;
        if self.has_ladder || self.counts() {
            self.last = self.read(now);
            if has_program {
                events.extend(self.ladder.feed(&self.last));
            }
            next = self.ladder.next_look();
            if !self.has_ladder {
                next = next.saturating_mul(4).clamp(WITHOUT_LADDER.0, WITHOUT_LADDER.1);
            }
            self.remember_processes(now, if self.is_near_the_limit() { FRESH.0 } else { FRESH.1 });
        }
        self.next_look = Some(now.saturating_add(next));
        events
    }

    fn read(&mut self, now: Duration) -> LadderMoment {
        self.memory.refresh();
        let pressure = if self.ladder.needs_pressure() { self.memory.pressure() } else { None };
        LadderMoment {
            at: now,
            limit: self.memory.limit(),
            available: self.memory.available().map(|available| available.until_kill.estimate.best),
            pressure: pressure.map(|pressure| pressure.some.average_10s),
        }
    }

    fn is_near_the_limit(&self) -> bool {
        let share = |limit: Bytes| limit.get() / 4;
        matches!((self.last.available, self.last.limit), (Some(left), Some(limit)) if left.get() < share(limit))
    }

    fn room(&mut self, now: Duration) -> Room {
        if self.last.at != now {
            self.last = self.read(now);
        }
        let (Some(left), Some(limit)) = (self.last.available, self.last.limit) else { return Room::Ample };
        let is_left = |(part, most): (u64, Bytes)| left >= Bytes::new(limit.get() / part).min(most);
        match (is_left(LITTLE), is_left(AMPLE)) {
            (_, true) => Room::Ample,
            (true, false) => Room::Little,
            (false, false) => Room::None,
        }
    }

    /// Sets whom the kernel is to take first, for processes that are new.
    pub(crate) fn choose_victims(&mut self, main: u32, log: &Log, now: Duration) {
        let Some(choice) = self.victim.filter(|_| now >= self.next_victims) else { return };
        let room = self.room(now);
        let period = if self.is_near_the_limit() { VICTIM_PERIOD / 20 } else { VICTIM_PERIOD };
        self.next_victims = now.saturating_add(period);
        if room == Room::None {
            return;
        }
        let all = now >= self.next_all_victims;
        if all {
            self.next_all_victims = now.saturating_add(VICTIM_PERIOD);
        }
        if let Err((pid, errno)) = self.table.choose_victims(choice, main, all)
            && !std::mem::replace(&mut self.victim_failed, true)
        {
            log.say(Level::Warning, format_args!("the oom_score_adj of process {pid} can't be set: {errno}"));
        }
    }

    /// Takes the kernel's notices: of a kill, or of a hit of the limit, which may come just before one.
    pub(crate) fn take_notices(&mut self, now: Duration) {
        if let Some(events) = &mut self.events {
            let _ = events.changes();
        }
        self.count_kills(now);
        self.remember_processes(now, FRESH.0);
    }

    /// Until a kill is told, those from before it must stay known. Whoever is missing because of a kill was counted before
    /// it went: so it is counted again once the list is read, and a list from after a kill is not kept.
    fn remember_processes(&mut self, now: Duration, fresh: Duration) {
        if self.finder.owed() > 0 || self.table.is_fresh(now, fresh) {
            return;
        }
        let room = self.room(now);
        if room == Room::None || (room == Room::Little && self.table.is_fresh(now, FRESH.1)) {
            return;
        }
        let seen = self.table.look();
        self.count_kills(now);
        if self.finder.owed() == 0 {
            self.table.remember(seen, now);
        }
    }

    /// Reads how many kills there were.
    pub(crate) fn count_kills(&mut self, now: Duration) {
        if let Some(kills) = self.memory.oom_kills() {
            self.finder.count(kills, now);
        }
    }

    /// Takes a child that ended by SIGKILL, and was not let go of yet. Returns its name.
    pub(crate) fn child_killed(&mut self, pid: u32, now: Duration) -> ProcessName {
        let name = name_of_killed(pid);
        self.finder.reaped(Suspect { pid, name, resident: None }, now);
        self.count_kills(now);
        name
    }

    /// The kills that can be told by now.
    pub(crate) fn next_kills(&mut self, now: Duration) -> Vec<ContainerKill> {
        if self.finder.owed() == 0 {
            return Vec::new();
        }
        let is_last_look = self.finder.deadline().is_some_and(|deadline| now >= deadline);
        let may_look = match self.room(now) {
            Room::None => false,
            Room::Little => is_last_look,
            Room::Ample => true,
        };
        let dying = if may_look { self.table.dying() } else { Vec::new() };
        let least = Bytes::new(self.memory.limit().unwrap_or_default().get() / SMALL);
        let gone = self.table.gone(least);
        std::iter::from_fn(|| self.finder.next_kill(now, &dying, &gone)).collect()
    }

    /// The rungs of the ladder whose episodes last.
    pub(crate) fn reached(&self) -> impl Iterator<Item = usize> {
        self.ladder.reached()
    }

    /// Another run of the program begins: it is warned like the first.
    pub(crate) fn begin_anew(&mut self) {
        self.ladder.begin_anew();
    }

    /// Whether a kill was counted that is not told yet.
    pub(crate) fn owes_a_kill(&self) -> bool {
        self.finder.owed() > 0
    }

    /// When it is to be looked at next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.next_look.into_iter().chain(self.finder.deadline()).min()
    }

    /// The limit that binds, where it is not the machine's memory.
    pub(crate) fn limit(&self) -> Option<Bytes> {
        self.memory.limit().filter(|_| self.memory.is_limited())
    }

    pub(crate) fn facts(&self, main: rustix::process::Pid) -> Facts {
        let LadderMoment { available, limit, pressure, .. } = self.last;
        Facts { available, limit, pressure, time_left: self.ladder.time_left(), main }
    }
}

/// The name of a child that was killed and not let go of yet. While memory is short the kernel may have none to show it in,
/// and says that there is no such file (`proc_pident_instantiate`, fs/proc/base.c, Linux 6.18): that lasts until the
/// child's own is free.
fn name_of_killed(pid: u32) -> ProcessName {
    for _ in 0..NAME_LOOKS {
        if let Some(name) = process_name(pid) {
            return name;
        }
        // Nothing is waited for but the time.
        let _ = poll(&mut [], Some(&NAME_PAUSE));
    }
    ProcessName::default()
}
