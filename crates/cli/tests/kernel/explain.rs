//! `reprieve explain --kernel` after a real kill.

use std::time::Duration;

use reprieve_lab::wait_for;
use serde_json::Value;

use crate::common::reprieve;
use crate::{CONTAINER, LIMIT, container, open_lab, wait_for_kills};

#[test]
fn a_real_kill_is_explained() {
    let Some(lab) = open_lab("explain") else { return };
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    // The kernel prints 10 full reports in 5 seconds, whoever's they are: it has to be one of these.
    let explained = wait_for(Duration::from_secs(60), || {
        let before = lab.oom_kills(&cgroup).unwrap();
        let mut first = lab.spawn_doomed_child(&cgroup).unwrap();
        wait_for_kills(&lab, &cgroup, before + 1);
        let output = reprieve().args(["explain", "--kernel", "--json", "--since", "5min"]).output().unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let reports = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        reports.into_iter().find(|report| report["oom_memcg"] == path.as_str())
    });
    let report = explained.expect("a full report of a kill in the cgroup");
    assert_eq!((&report["kind"], &report["kind_certain"]), (&"container_limit".into(), &true.into()));
    assert_eq!(report["container_id"], CONTAINER);
    assert_eq!(report["limit_bytes"], LIMIT);
    assert_eq!(report["victims"][0]["name"], "tail");
    assert_eq!(report["why_victim"], "largest");
    assert_eq!(report["first_process"], "survived");
    assert_eq!(report["complete"], true);
    let tasks: Vec<&Value> = report["tasks"].as_array().unwrap().iter().map(|task| &task["name"]).collect();
    assert!(tasks.contains(&&"tail".into()) && tasks.len() >= 2, "{tasks:?}");
}
