//! DAMON's scheme `lru_deprio`, by sysfs: it watches which physical memory is used, and moves what is not to the inactive
//! lists. A filter keeps it to one cgroup.
//!
//! There is one set of DAMON's directories for the whole machine. Whoever has set them up owns them: they are left alone
//! unless nobody has. What a killed agent has left running is known by its settings, and by the number of its process,
//! which stands where schemes for one process have theirs; DAMON does not look at it for physical memory.
//!
//! Source: Documentation/admin-guide/mm/damon/usage.rst, Linux 6.12; filters by memory cgroup are there from Linux 6.3 on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use reprieve_readings::{Bytes, CacheMeans, CgroupPath, parse_iomem_ram};

use rustix::io::Errno;

use super::{CacheError, wait};
use crate::roots::Roots;

/// Whether DAMON can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamonState {
    /// It is there, and nobody uses it.
    Free,
    /// Somebody else has set it up.
    InUse,
    /// The kernel doesn't have it.
    Absent,
}

#[derive(Debug)]
pub(super) struct Damon {
    kdamonds: PathBuf,
    iomem: PathBuf,
}

/// How often each region is looked at, and how long it must be unused to count as cold.
const SAMPLE: Duration = Duration::from_millis(20);
const AGGREGATION: Duration = Duration::from_millis(200);
const COLD_AGGREGATIONS: u32 = 2;
/// How long one act lasts: some aggregations until memory is known as cold, and some to apply the scheme.
const ACT: Duration = Duration::from_millis(1500);

impl Damon {
    pub(super) fn new(roots: &Roots) -> Self {
        Damon { kdamonds: roots.sys("kernel/mm/damon/admin/kdamonds"), iomem: roots.proc("iomem") }
    }

    pub(super) fn state(&self) -> DamonState {
        match fs::read_to_string(self.kdamonds.join("nr_kdamonds")) {
            Ok(count) if count.trim() == "0" => DamonState::Free,
            Ok(_) => DamonState::InUse,
            Err(_) => DamonState::Absent,
        }
    }

    /// Moves at most so much cold page cache of one cgroup to its inactive list.
    pub(super) fn deprioritise(
        &self,
        path: &CgroupPath,
        most: Bytes,
        called_off: &AtomicBool,
    ) -> Result<(), CacheError> {
        let absent = |what: String| CacheError::Absent(CacheMeans::Deprioritise, what);
        match self.state() {
            DamonState::Free => {}
            DamonState::InUse => return Err(absent("somebody else uses it".into())),
            DamonState::Absent => return Err(absent("the kernel doesn't have it".into())),
        }
        // Without patience: where this fails somebody else was faster, and what is there then is his.
        let nr_kdamonds = self.kdamonds.join("nr_kdamonds");
        fs::write(&nr_kdamonds, "1").map_err(|error| absent(format!("{}: {error}", nr_kdamonds.display())))?;
        // Whatever happens from here on, the directories are given back.
        let done = self.set_up(path, most).and_then(|()| set(&self.kdamonds.join("0/state"), "on"));
        if done.is_ok() {
            wait(ACT, called_off);
        }
        done.and(self.give_back()).map_err(|error| absent(error.to_string()))
    }

    /// Switches off what a killed agent has left. Returns whether there was any.
    pub(super) fn clean_up(&self) -> bool {
        self.is_left_over() && self.give_back().is_ok()
    }

    fn give_back(&self) -> io::Result<()> {
        // What was never switched on can't be switched off.
        let _ = set(&self.kdamonds.join("0/state"), "off");
        set(&self.kdamonds.join("nr_kdamonds"), "0")
    }

    fn set_up(&self, path: &CgroupPath, most: Bytes) -> io::Result<()> {
        let kdamond = self.kdamonds.join("0");
        constants().iter().try_for_each(|(file, value)| set(&kdamond.join(file), value))?;
        let context = kdamond.join("contexts/0");
        self.set_regions(&context)?;
        set_scheme(&context.join("schemes/0"), path, most)
    }

    /// All of the machine's memory.
    fn set_regions(&self, context: &Path) -> io::Result<()> {
        let ranges = parse_iomem_ram(&fs::read(&self.iomem)?);
        if ranges.is_empty() {
            return Err(io::Error::other("/proc/iomem shows no addresses"));
        }
        set(&context.join("targets/nr_targets"), "1")?;
        set(&context.join(OWNER), process::id())?;
        let regions = context.join("targets/0/regions");
        set(&regions.join("nr_regions"), ranges.len())?;
        for (number, (start, end)) in ranges.iter().enumerate() {
            set(&regions.join(number.to_string()).join("start"), start)?;
            set(&regions.join(number.to_string()).join("end"), end)?;
        }
        Ok(())
    }

    /// Whether all that is the same in each act is there, set by a process that is gone or had this one's number.
    fn is_left_over(&self) -> bool {
        let kdamond = self.kdamonds.join("0");
        let read = |file: PathBuf| fs::read_to_string(file).map(|text| text.trim().to_owned());
        let is = |file: PathBuf, value: &str| read(file).is_ok_and(|text| text == value);
        let owner = || read(kdamond.join("contexts/0").join(OWNER)).ok().and_then(|pid| pid.parse::<u32>().ok());
        is(self.kdamonds.join("nr_kdamonds"), "1")
            && constants().iter().all(|(file, value)| is(kdamond.join(file), value))
            && owner()
                .is_some_and(|pid| pid == process::id() || pid > 0 && !Path::new(&format!("/proc/{pid}")).exists())
    }
}

/// Where the number of the process stands, below the context.
const OWNER: &str = "targets/0/pid_target";

/// What is the same in each act, in the order in which it has to be set.
fn constants() -> [(&'static str, String); 15] {
    [
        ("contexts/nr_contexts", 1.to_string()),
        ("contexts/0/operations", "paddr".to_owned()),
        ("contexts/0/monitoring_attrs/intervals/sample_us", SAMPLE.as_micros().to_string()),
        ("contexts/0/monitoring_attrs/intervals/aggr_us", AGGREGATION.as_micros().to_string()),
        // Many regions: the pages of one cgroup lie scattered among all others'.
        ("contexts/0/monitoring_attrs/nr_regions/max", 4000.to_string()),
        ("contexts/0/monitoring_attrs/nr_regions/min", 1000.to_string()),
        ("contexts/0/schemes/nr_schemes", 1.to_string()),
        ("contexts/0/schemes/0/action", "lru_deprio".to_owned()),
        ("contexts/0/schemes/0/access_pattern/sz/min", 0.to_string()),
        ("contexts/0/schemes/0/access_pattern/sz/max", u64::MAX.to_string()),
        ("contexts/0/schemes/0/access_pattern/nr_accesses/min", 0.to_string()),
        ("contexts/0/schemes/0/access_pattern/nr_accesses/max", 0.to_string()),
        ("contexts/0/schemes/0/access_pattern/age/min", COLD_AGGREGATIONS.to_string()),
        ("contexts/0/schemes/0/access_pattern/age/max", u32::MAX.to_string()),
        ("contexts/0/schemes/0/quotas/reset_interval_ms", ACT.as_millis().to_string()),
    ]
}

fn set_scheme(scheme: &Path, path: &CgroupPath, most: Bytes) -> io::Result<()> {
    set(&scheme.join("quotas/bytes"), most.get())?;
    // Linux 6.14 has moved the filters that look at pages into a directory of their own.
    let filters = ["ops_filters", "filters"].map(|name| scheme.join(name));
    let filters = filters.iter().find(|filters| filters.is_dir()).ok_or_else(|| io::Error::other("no filters"))?;
    set(&filters.join("nr_filters"), "2")?;
    set(&filters.join("0/type"), "memcg")?;
    set_bytes(&filters.join("0/memcg_path"), path.as_bytes())?;
    set(&filters.join("0/matching"), "N")?;
    set(&filters.join("1/type"), "anon")?;
    set(&filters.join("1/matching"), "Y")
}

fn set(file: &Path, value: impl ToString) -> io::Result<()> {
    set_bytes(file, value.to_string().as_bytes())
}

/// Tries again where somebody reads or writes one of these files at the same moment: the kernel then answers EBUSY.
fn set_bytes(file: &Path, value: &[u8]) -> io::Result<()> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match fs::write(file, value) {
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => thread::sleep(PAUSE),
            result => return result.map_err(|error| named(file, &error)),
        }
    }
    fs::write(file, value).map_err(|error| named(file, &error))
}

fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}
