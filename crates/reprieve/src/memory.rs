//! The memory of this process's container, as last read.

use std::path::{Path, PathBuf};

use reprieve_judgement::{Available, Binding, HiddenLimit, judge_available, judge_hidden, judge_limit, judge_meminfo};
use reprieve_linux::{ControllerError, EventsWatch, Levels, MemoryController, NodeMemoryReader, Problems, Roots};
use reprieve_readings::{Bytes, CgroupMemory, CgroupPath, CgroupVersion, Meminfo, NodeMemory, Placement, Pressure};

use crate::pod_limit::{PodLimitError, pod_limit_from_environment};

/// Why nothing can be told of the memory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a memory cgroup nor `/proc/meminfo` can be read.
    #[error("nothing tells of memory here")]
    NothingToRead(#[from] ControllerError),
    /// What the environment tells of the pod's limit makes no sense.
    #[error(transparent)]
    PodLimit(#[from] PodLimitError),
}

/// The memory of this process's container: what bounds it and what is left.
///
/// The files stay open, so that [`Memory::refresh`] is cheap: one `pread` for each.
#[derive(Debug)]
pub struct Memory {
    controller: Option<Controlled>,
    node_reader: NodeMemoryReader,
    told: Option<Bytes>,
    problems: Problems,
    levels: Vec<CgroupMemory>,
    node: NodeMemory,
    hidden: HiddenLimit,
}

/// What happens at a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The kernel kills.
    Kill,
    /// The kernel slows the processes down.
    Throttle,
}

/// What only a process in a memory cgroup has.
#[derive(Debug)]
struct Controlled {
    controller: MemoryController,
    levels: Levels,
}

impl Memory {
    /// Reads the memory of the calling process's container. A limit of the pod that can't be seen may be told by the
    /// environment variable `REPRIEVE_POD_LIMIT`.
    ///
    /// Where there is no memory cgroup to read, the machine is all there is; [`Memory::problems`] says why.
    ///
    /// # Errors
    /// Nothing can be read, or the environment variable makes no sense.
    pub fn here() -> Result<Self, Error> {
        Self::below(&Roots::default(), pod_limit_from_environment()?)
    }

    /// The same, with other directories for `/proc` and `/sys`, and a limit of the pod that was told otherwise.
    ///
    /// # Errors
    /// Nothing can be read.
    pub fn below(roots: &Roots, told: Option<Bytes>) -> Result<Self, Error> {
        let mut memory = Self::unread_below(roots, told)?;
        memory.read();
        Ok(memory)
    }

    /// The same, but only found: everything is unknown until [`Memory::refresh`]. Kills can be counted all the same.
    ///
    /// # Errors
    /// Nothing can be read.
    pub fn unread_below(roots: &Roots, told: Option<Bytes>) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let node_reader = NodeMemoryReader::open(roots, &mut problems);
        let controller = match Controlled::find(roots, &mut problems) {
            Ok(controller) => Some(controller),
            Err(error) if node_reader.is_open() => {
                match error {
                    ControllerError::Unreadable(problem) => problems.push(problem),
                    ControllerError::Absent { .. } => problems.note(error.to_string()),
                }
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Memory {
            controller,
            node_reader,
            told,
            problems,
            levels: Vec::new(),
            node: NodeMemory::default(),
            hidden: HiddenLimit::None,
        })
    }

    /// Reads again. What can't be read any more is unknown from then on; [`Memory::problems`] says why.
    ///
    /// A process that somebody has moved to another cgroup meanwhile still reads the one it was found in.
    pub fn refresh(&mut self) {
        self.problems = Problems::default();
        self.read();
    }

    fn read(&mut self) {
        let problems = &mut self.problems;
        self.node = self.node_reader.read(problems);
        let Some(Controlled { controller, levels }) = &mut self.controller else { return };
        levels.read(problems);
        self.levels.clear();
        self.levels.extend(levels.memory());
        self.hidden = judge_hidden(controller.version, &self.levels, self.told);
        if self.hidden.limit().is_some() {
            levels.read_top(problems);
            self.levels.clear();
            self.levels.extend(levels.memory());
        }
    }

    /// The smallest limit of all levels, a hidden one that is known included, or the machine's memory: more can't be had.
    pub fn limit(&self) -> Option<Bytes> {
        judge_limit(&self.levels, self.hidden, &self.node)
    }

    /// Whether [`Memory::limit`] is a limit, and not the size of the machine.
    pub fn is_limited(&self) -> bool {
        match (self.limit(), self.node.meminfo.total) {
            (Some(limit), Some(total)) => limit < total,
            (limit, _) => limit.is_some(),
        }
    }

    /// What may still be used before something happens. `None` where nothing tells, and where a limit or what counts
    /// against it could not be read: what the others tell may be too much. [`Memory::problems`] says which.
    pub fn available(&self) -> Option<Available> {
        self.judge().filter(|_| self.controller.as_ref().is_none_or(|controlled| controlled.levels.unread().is_none()))
    }

    fn judge(&self) -> Option<Available> {
        judge_available(&self.levels, self.hidden, &self.node)
    }

    /// Swap that may still be used. `None` where nothing tells.
    pub fn swap_available(&self) -> Option<Bytes> {
        self.judge().and_then(|available| available.swap)
    }

    /// How much time the container's processes lost waiting for memory (v2, unless PSI is off). Read by this call.
    pub fn pressure(&mut self) -> Option<Pressure> {
        let levels = &mut self.controller.as_mut()?.levels;
        levels.read_own("memory.pressure", &mut self.problems);
        levels.own().pressure
    }

    /// How many processes of the container an OOM killer has killed: on v2 those of cgroups inside it too. Read by this
    /// call.
    pub fn oom_kills(&mut self) -> Option<u64> {
        let Controlled { controller, levels } = self.controller.as_mut()?;
        match controller.version {
            CgroupVersion::V1 => {
                levels.read_own("memory.oom_control", &mut self.problems);
                levels.own().oom_control?.oom_kill
            }
            CgroupVersion::V2 => {
                levels.read_own("memory.events", &mut self.problems);
                levels.own().events?.oom_kill
            }
        }
    }

    /// A notice of kills in the container, and of hits of its limits, where the kernel gives one (v2).
    pub fn events(&self) -> Option<EventsWatch> {
        self.controller.as_ref()?.levels.watch_own_events().ok().flatten()
    }

    /// What `/proc/meminfo` would say if it spoke of the container. Lines that nothing of the cgroup tells are the
    /// machine's.
    pub fn meminfo(&self) -> Meminfo {
        judge_meminfo(&self.levels, self.hidden, self.judge().as_ref(), &self.node)
    }

    /// What `/proc/meminfo` does say.
    pub fn node(&self) -> &Meminfo {
        &self.node.meminfo
    }

    /// What was read of the process's own cgroup and each level above, from the inside out. Of a level above without
    /// limits nothing else is read.
    pub fn levels(&self) -> &[CgroupMemory] {
        &self.levels
    }

    /// What may bound the memory beyond all that can be seen.
    pub fn hidden(&self) -> HiddenLimit {
        self.hidden
    }

    /// The interface that the memory controller speaks. `None` without a memory cgroup.
    pub fn version(&self) -> Option<CgroupVersion> {
        self.controller.as_ref().map(|controlled| controlled.controller.version)
    }

    /// How surely the process's own cgroup was found. `None` without a memory cgroup.
    pub fn placement(&self) -> Option<Placement> {
        self.controller.as_ref().map(|controlled| controlled.controller.placement)
    }

    /// The path of a level; 0 is the process's own cgroup.
    pub fn cgroup(&self, level: usize) -> Option<&CgroupPath> {
        self.controller.as_ref()?.levels.path(level)
    }

    /// The limit that binds. `None` where there is none.
    pub fn bound(&self, binding: Binding, consequence: Consequence) -> Option<Bytes> {
        match binding {
            Binding::Node => self.node.meminfo.total,
            Binding::Hidden => self.hidden.limit(),
            Binding::Level(level) => {
                let memory = self.levels.get(level)?;
                let limit = match consequence {
                    Consequence::Kill => memory.max,
                    Consequence::Throttle => memory.high,
                };
                limit?.bytes()
            }
        }
    }

    /// The file of the limit that binds. `None` where that is no file of a cgroup that can be seen.
    pub fn bound_file(&self, binding: Binding, consequence: Consequence) -> Option<PathBuf> {
        let Binding::Level(level) = binding else { return None };
        let name = match (self.version()?, consequence) {
            (CgroupVersion::V1, _) => "memory.limit_in_bytes",
            (CgroupVersion::V2, Consequence::Kill) => "memory.max",
            (CgroupVersion::V2, Consequence::Throttle) => "memory.high",
        };
        self.directory(level).map(|directory| directory.join(name))
    }

    /// The directory of a level's cgroup; 0 is the process's own cgroup.
    pub fn directory(&self, level: usize) -> Option<&Path> {
        self.controller.as_ref()?.levels.directory(level)
    }

    /// What could not be read or understood at the last reading.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }
}

impl Controlled {
    fn find(roots: &Roots, problems: &mut Problems) -> Result<Self, ControllerError> {
        let controller = MemoryController::find(roots, problems)?;
        let levels = Levels::open(&controller, problems)?;
        Ok(Controlled { controller, levels })
    }
}
