//! Real containers without privileges: user 1000, no capability, no_new_privs, and a read-only cgroup mount.

use reprieve_lab::{ContainerOptions, Lab, Runtime};
use serde_json::Value;

use crate::DECOY;
use crate::common::INIT;

/// Runs a script in such a container, under the init with these options; returns its output. `None` where it can't be done.
fn run(options: &[&str], private_cgroups: bool, script: &str) -> Option<String> {
    let _alone = crate::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::open("unprivileged").expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made")?;
    let runtime = Runtime::find("containers").unwrap()?;
    let container = ContainerOptions {
        cgroup: "kubepods/container".to_owned(),
        memory_limit: 48 << 20,
        private_cgroups,
        writable_cgroups: false,
        binds: vec![(INIT.into(), "/reprieve-init".into())],
        script: script.to_owned(),
    };
    let entrypoint: Vec<&str> = ["/reprieve-init"].iter().chain(options).copied().chain(["--"]).collect();
    Some(runtime.start_unprivileged(&lab, &container, &entrypoint).unwrap().output().to_owned())
}

#[test]
fn without_privileges_a_kill_is_told_and_written_down() {
    for private_cgroups in [true, false] {
        let script = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs):' /proc/self/status | tr '\\t' ' '
            touch /sys/fs/cgroup/memory/x /sys/fs/cgroup/x 2>/dev/null && echo writable
            cat /proc/1/comm
            : >/dev/shm/log
            (exec tail /dev/zero) || true
            i=0; until [ -s /dev/shm/log ] || [ $i -ge 300 ]; do sleep 0.1; i=$((i+1)); done
            cat /dev/shm/log";
        let options = ["--termination-log", "/dev/shm/log"];
        let Some(output) = run(&options, private_cgroups, &format!("{DECOY}\n{script}")) else { return };
        let lines: Vec<&str> = output.lines().collect();
        let status =
            ["Uid: 1000 1000 1000 1000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"];
        assert_eq!(lines[..4], status, "{output}");
        assert_eq!(lines[4], "reprieve-init", "{output}");
        let told = |line: &&str| line.starts_with("the kernel killed ") && line.ends_with("(limit 48.0 MiB)");
        assert!(lines.len() > 5 && lines[5..].iter().all(told), "{output}");
    }
}

#[test]
fn without_privileges_the_program_is_warned_and_others_are_taken_first() {
    let script = "trap 'echo warned; rm -f /dev/shm/hog' USR1
        dd if=/dev/zero of=/dev/shm/hog bs=1048576 count=40 2>/dev/null
        i=0; while [ -e /dev/shm/hog ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done
        sleep 1000 &
        i=0; until [ $(cat /proc/$!/oom_score_adj) = 1000 ] || [ $i -ge 300 ]; do sleep 0.1; i=$((i+1)); done
        echo $(cat /proc/self/oom_score_adj) $(cat /proc/$!/oom_score_adj) $(cat /proc/$$/oom_score_adj)
        kill -9 $!";
    let Some(output) = run(&["--warn", "30%", "--protect-main"], true, script) else { return };
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "warned", "{output}");
    let scores: Vec<i32> = lines[1].split(' ').map(|score| score.parse().unwrap()).collect();
    assert_eq!(scores[1], 1000, "{output}");
    assert!(scores[2] < 1000, "{output}");
}

#[test]
fn without_privileges_json_is_told() {
    // The container's stderr is the test's own, so what is said goes to stdout by a shell around the init.
    let script = "exec 2>&1; /reprieve-init -s --log-format json -- sh -c 'tail /dev/zero & wait $!' || true";
    let Some(output) = run(&[], true, &format!("{DECOY}\n{script}")) else { return };
    let line = output.lines().find(|line| line.contains("oom_kill")).unwrap_or_else(|| panic!("{output}"));
    let kill: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&kill["event"], &kill["limit_bytes"]), (&"oom_kill".into(), &(48 << 20).into()), "{output}");
}
