//! The agent's cache keeper, on files that stand for a node.

use super::*;

fn reclaim_file(captured: &Captured) -> PathBuf {
    let pod =
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod11111111_2222_3333_4444_555555555555.slice";
    captured.sys().join("fs/cgroup").join(pod).join(format!("cri-containerd-{}.scope/memory.reclaim", "a".repeat(64)))
}

#[test]
fn a_dry_run_says_what_it_would_do_once_and_writes_nothing() {
    let captured = full_of_cache();
    let agent = Agent::start(|command| {
        with_roots(command.args(["--interval", "50ms", "--eviction-hard", "memory.available<500Mi"]), &captured);
    });
    let said = agent
        .wait_for_line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("dry run: would take")));
    let said = said.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(said.contains("by memory.reclaim") && said.contains("--keep-cache on does it"), "{said}");
    std::thread::sleep(Duration::from_millis(500));
    let again = agent.lines.try_iter().filter(|line| line.contains("dry run: would")).count();
    assert_eq!(again, 0, "once a minute");
    assert!(agent.sample("reprieve_keeper_dry_orders_total").unwrap() >= 1.0);
    assert_eq!(agent.sample("reprieve_keeper_info{mode=\"dry-run\"}"), Some(1.0));
    assert_eq!(agent.sample("reprieve_keeper_near"), Some(1.0));
    let labels = "{signal=\"memory.available\",kind=\"hard\"}";
    assert_eq!(agent.sample(&format!("reprieve_kubelet_threshold_bytes{labels}")), Some(524_288_000.0));
    assert_eq!(
        agent.sample(&format!("reprieve_kubelet_available_bytes{labels}")),
        Some(8_192_000_000.0 - 7_400_000_000.0)
    );
    let error = 4_096_000_000.0 - 792_000_000.0;
    assert_eq!(agent.sample("reprieve_kubelet_error_bytes{signal=\"memory.available\"}"), Some(error));
    assert_eq!(fs::read(reclaim_file(&captured)).unwrap(), b"", "a dry run writes nothing");
}

#[test]
fn switched_on_it_asks_for_small_amounts_without_anonymous_memory() {
    let captured = full_of_cache();
    let agent = Agent::start(|command| {
        let arguments = ["--interval", "50ms", "--keep-cache", "on", "--eviction-hard", "memory.available<500Mi"];
        with_roots(command.args(arguments), &captured);
    });
    wait_for(PATIENCE, || agent.sample("reprieve_keeper_acts_total{means=\"memory.reclaim\"}")).expect("it acts");
    let written = fs::read_to_string(reclaim_file(&captured)).unwrap();
    assert!(written.contains(" swappiness=0"), "{written}");
    let amount: u64 = written.split(' ').next().unwrap().parse().unwrap();
    assert!(0 < amount && amount <= 32 << 20, "{amount}");
    let done = agent.wait_for_line(|line| line["event"] == "keep_cache").unwrap();
    assert_eq!(done["means"], "memory.reclaim");
    assert!(done["asked_bytes"].as_u64().unwrap() <= 256 << 20, "{done}");
}

#[test]
fn what_goes_on_slowly_is_called_off_when_it_becomes_urgent() {
    let captured = full_of_cache();
    let kdamonds = captured.damon().unwrap();
    let agent = Agent::start(|command| {
        let arguments = ["--interval", "5s", "--keep-cache", "on", "--eviction-hard", "memory.available<500Mi"];
        with_roots(command.args(arguments), &captured);
    });
    let is_on = || fs::read_to_string(kdamonds.join("0/state")).is_ok_and(|state| state == "on");
    wait_for(PATIENCE, || is_on().then_some(())).expect("DAMON is the gentlest, and there is time");
    let stat = "anon 1000000000\nfile 6700000000\nactive_file 6600000000\ninactive_file 100000000\nfile_dirty 0\n";
    fs::write(captured.sys().join("fs/cgroup/memory.stat"), stat).unwrap();
    let is_written = || fs::read(reclaim_file(&captured)).is_ok_and(|text| !text.is_empty());
    wait_for(PATIENCE, || is_written().then_some(())).expect("it reclaims");
    let done = agent.wait_for_line(|line| line["event"] == "keep_cache").unwrap();
    assert_eq!((&done["means"], &done["called_off"]), (&"damon_lru_deprio".into(), &true.into()));
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_threshold_that_can_t_be_kept_is_named_once_and_does_not_make_the_others_urgent() {
    let captured = full_of_cache();
    let kdamonds = captured.damon().unwrap();
    let agent = Agent::start(|command| {
        command.args(["--interval", "50ms", "--keep-cache", "on", "--eviction-hard", "memory.available<500Mi"]);
        command.args(["--eviction-soft", "memory.available<100Gi"]);
        with_roots(command.args(["--eviction-soft-grace-period", "memory.available=1m"]), &captured);
    });
    let is_on = || fs::read_to_string(kdamonds.join("0/state")).is_ok_and(|state| state == "on");
    wait_for(PATIENCE, || is_on().then_some(())).expect("it acts");
    assert_eq!(fs::read(reclaim_file(&captured)).unwrap(), b"", "what is urgent begins with what is quick");
    std::thread::sleep(Duration::from_millis(300));
    let lines: Vec<String> = agent.lines.try_iter().collect();
    let named: Vec<_> = lines.iter().filter(|line| line.contains("can't help")).collect();
    assert!(named.len() == 1 && named[0].contains("lower evictionSoft"), "{lines:?}");
}
