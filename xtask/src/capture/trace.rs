//! `cargo xtask capture NAME --trace`: pages of the kernel's trace ring buffer, as `trace_pipe_raw` gives them.
//!
//! Beside each page lies the kernel's own text of it (`trace`), with which a test compares what was read out of the page.
//! Of the tasks of the machine only shells are named.

use anyhow::{Context, Result, ensure};
use reprieve_lab::{Lab, Version};
use std::{fs, path::Path, process::Command};

/// Records in a tracing instance of its own, seen in a mount namespace of its own. dash and busybox know it all.
const RECORD: &str = r#"
mkdir "$tracefs"
mount -t tracefs tracefs "$tracefs"
for event in oom/mark_victim cgroup/cgroup_attach_task task/task_newtask; do
    cat "$tracefs/events/$event/format" >"$into/${event#*/}.format"
done
cat "$tracefs/events/header_page" >"$into/header_page"
instance=$tracefs/instances/reprieve-capture-$$
mkdir "$instance"
trap 'cd /; rmdir "$instance"; umount "$tracefs"; rmdir "$tracefs"' EXIT
cd "$instance"
echo boot >trace_clock
echo "dst_root == $hierarchy" >events/cgroup/cgroup_attach_task/filter
echo 'comm == "sh"' >events/task/task_newtask/filter
for event in oom/mark_victim cgroup/cgroup_attach_task task/task_newtask; do echo 1 >events/$event/enable; done

# The time between two records has 27 bits of nanoseconds: a longer one takes a record of its own.
# Its cgroup's processors are a task's own when it is moved: it is put back onto the first.
( sh -c 'echo $$ >"$cgroup/cgroup.procs"; taskset 1 tail /dev/zero; exit 0' )
sleep 1
( echo 0 >"$cgroup/cgroup.procs" )
echo 0 >tracing_on
cat trace >"$into/kill.txt"
dd if=per_cpu/cpu0/trace_pipe_raw of="$into/kill.page" bs=4096 count=1

# More than the smallest buffer holds.
echo 4 >buffer_size_kb
echo >trace
echo 1 >tracing_on
( for i in $(seq 300); do echo 0 >"$cgroup/cgroup.procs"; done )
echo 0 >tracing_on
cat trace >"$into/lost.txt"
dd if=per_cpu/cpu0/trace_pipe_raw of="$into/lost.page" bs=4096 count=1
"#;

/// Writes the pages, their texts and the formats of the events.
pub(super) fn write(into: &Path) -> Result<()> {
    let lab = Lab::open("capture")?.context("no memory cgroup can be made")?;
    let cgroup = lab.cgroup("traced-task")?;
    lab.limit(&cgroup, 16 << 20)?;
    let hierarchy = if lab.version() == Version::V2 { "0".to_owned() } else { v1_hierarchy()? };
    let mut command = Command::new("unshare");
    // On the first processor, so that one page has it all.
    command.args(["-m", "taskset", "1", "sh", "-euc", RECORD]);
    command.env("into", into).env("cgroup", &cgroup).env("hierarchy", hierarchy);
    command.env("tracefs", std::env::temp_dir().join(format!("reprieve-capture-{}", std::process::id())));
    ensure!(command.status()?.success(), "recording failed; the reason stands above");
    Ok(())
}

fn v1_hierarchy() -> Result<String> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let memory = cgroups.lines().find(|line| line.contains(":memory:")).context("no v1 hierarchy has memory alone")?;
    memory.split(':').next().map(str::to_owned).context("the hierarchy has no id")
}
