//! DAMON's scheme `lru_deprio`, by sysfs: it watches which physical memory is used, and moves what is not to the inactive
//! lists. A filter keeps it to one cgroup.
//!
//! There is one set of DAMON's directories for the whole machine. Whoever has set them up owns them: they are left alone
//! unless nobody has. Source: Documentation/admin-guide/mm/damon/usage.rst, Linux 6.12; filters by memory cgroup are
//! there from Linux 6.3 on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use reprieve_readings::{Bytes, CacheMeans, CgroupPath, parse_iomem_ram};

use super::CacheError;
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
    pub(super) fn deprioritise(&self, path: &CgroupPath, most: Bytes) -> Result<(), CacheError> {
        let absent = |what: String| CacheError::Absent(CacheMeans::Deprioritise, what);
        match self.state() {
            DamonState::Free => {}
            DamonState::InUse => return Err(absent("somebody else uses it".into())),
            DamonState::Absent => return Err(absent("the kernel doesn't have it".into())),
        }
        // Whatever happens, the directories are given back.
        let done = self.run(path, most);
        let _ = fs::write(self.kdamonds.join("0/state"), "off");
        let given_back = fs::write(self.kdamonds.join("nr_kdamonds"), "0");
        done.and(given_back).map_err(|error| absent(error.to_string()))
    }

    fn run(&self, path: &CgroupPath, most: Bytes) -> io::Result<()> {
        set(&self.kdamonds.join("nr_kdamonds"), "1")?;
        let kdamond = self.kdamonds.join("0");
        set(&kdamond.join("contexts/nr_contexts"), "1")?;
        let context = kdamond.join("contexts/0");
        set(&context.join("operations"), "paddr")?;
        let intervals = context.join("monitoring_attrs/intervals");
        set(&intervals.join("sample_us"), SAMPLE.as_micros())?;
        set(&intervals.join("aggr_us"), AGGREGATION.as_micros())?;
        // Many regions: the pages of one cgroup lie scattered among all others'.
        set(&context.join("monitoring_attrs/nr_regions/max"), 4000)?;
        set(&context.join("monitoring_attrs/nr_regions/min"), 1000)?;
        self.set_regions(&context)?;
        set(&context.join("schemes/nr_schemes"), "1")?;
        let scheme = context.join("schemes/0");
        set_scheme(&scheme, path, most)?;
        set(&kdamond.join("state"), "on")?;
        thread::sleep(ACT);
        Ok(())
    }

    /// All of the machine's memory.
    fn set_regions(&self, context: &Path) -> io::Result<()> {
        let ranges = parse_iomem_ram(&fs::read(&self.iomem)?);
        if ranges.is_empty() {
            return Err(io::Error::other("/proc/iomem shows no addresses"));
        }
        set(&context.join("targets/nr_targets"), "1")?;
        let regions = context.join("targets/0/regions");
        set(&regions.join("nr_regions"), ranges.len())?;
        for (number, (start, end)) in ranges.iter().enumerate() {
            set(&regions.join(number.to_string()).join("start"), start)?;
            set(&regions.join(number.to_string()).join("end"), end)?;
        }
        Ok(())
    }
}

fn set_scheme(scheme: &Path, path: &CgroupPath, most: Bytes) -> io::Result<()> {
    set(&scheme.join("action"), "lru_deprio")?;
    let pattern = scheme.join("access_pattern");
    for (range, least, most) in
        [("sz", 0, u64::MAX), ("nr_accesses", 0, 0), ("age", u64::from(COLD_AGGREGATIONS), u64::from(u32::MAX))]
    {
        set(&pattern.join(range).join("min"), least)?;
        set(&pattern.join(range).join("max"), most)?;
    }
    set(&scheme.join("quotas/bytes"), most.get())?;
    set(&scheme.join("quotas/reset_interval_ms"), ACT.as_millis())?;
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

fn set_bytes(file: &Path, value: &[u8]) -> io::Result<()> {
    fs::write(file, value).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}
