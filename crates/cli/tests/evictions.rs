//! `reprieve evictions`, `reprieve forecast` and the cache keeper on a node as a real kubelet was about to evict on it, and
//! on nodes that make no sense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "evictions/keeper.rs"]
mod keeper;
#[path = "../../kubernetes/tests/server/mod.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Agent, PATIENCE, reprieve};
use reprieve_lab::{Captured, wait_for};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kubelet-v1-1.36/eviction").join(name)
}

/// The node half a second after the kubelet had ranked its pods.
fn evicting() -> Captured {
    Captured::unpack(&fs::read_to_string(fixture("machine.txt")).unwrap()).unwrap()
}

fn with_roots<'a>(command: &'a mut Command, captured: &Captured) -> &'a mut Command {
    command.arg("--proc").arg(captured.proc()).arg("--sys").arg(captured.sys()).stdin(Stdio::null())
}

fn evictions(captured: &Captured, arguments: &[&str]) -> Output {
    with_roots(reprieve().args(["evictions", "--window", "0s"]).args(arguments), captured).output().unwrap()
}

/// A v2 machine of 8 GB with a container whose active cache fills most of it; the kubelet's threshold is near.
fn full_of_cache() -> Captured {
    let captured = Captured::new().unwrap();
    let stat = "anon 1000000000\nfile 6500000000\nactive_file 6400000000\ninactive_file 100000000\nfile_dirty 0\n";
    let root = captured.cgroup(b"").unwrap();
    fs::write(root.join("memory.stat"), stat).unwrap();
    let pod =
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod11111111_2222_3333_4444_555555555555.slice";
    let container = captured.sound_cgroup(format!("{pod}/cri-containerd-{}.scope", "a".repeat(64)).as_bytes()).unwrap();
    fs::write(container.join("memory.current"), "6500000000\n").unwrap();
    fs::write(container.join("memory.max"), "max\n").unwrap();
    fs::write(container.join("memory.stat"), stat).unwrap();
    fs::write(container.join("memory.reclaim"), "").unwrap();
    captured
}

fn kubelet_flags() -> [String; 4] {
    let path = |name| fixture(name).display().to_string();
    ["--kubelet-config".to_owned(), path("config.yaml"), "--pods".to_owned(), path("pods.json")]
}

#[test]
fn the_screen_explains_it_all_within_80_columns() {
    let flags = kubelet_flags();
    let output = evictions(&evicting(), &flags.each_ref().map(String::as_str));
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let screen = String::from_utf8(output.stdout).unwrap();
    for line in screen.lines() {
        assert!(line.chars().count() <= 80 && !line.contains('\x1b'), "{line}");
    }
    let text = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "The kubelet evicts now: memory.available is 1.3 GiB below its hard threshold. It is wrong by +2.3 GiB: 21.8 GiB \
         are really available.",
        "memory.available (hard) 20.9 GiB 19.5 GiB 21.8 GiB now",
        "allocatableMemory.available (hard) 20.9 GiB 20.6 GiB 21.8 GiB now",
        "1 evk/tiny-be-lowprio -10 460.0 KiB 0 B +460.0 KiB 2 evk/cache-be 0 2.1 GiB 0 B +2.1 GiB",
        " never evicted",
        "1 critical (static, or of priority 2000000000 and more): never evicted.",
        "evk/cache-be 035ebf51efb8 2.0 GiB 0 B",
        "evk/cache-be 035ebf51efb8 has no limit below the node's memory",
        "a request and a limit of 86.0 MiB each",
        "Available is below its margin of 22.2 GiB.",
    ] {
        assert!(text.contains(told), "{told}\n{screen}");
    }
}

#[test]
fn the_json_has_the_same_and_more() {
    let flags = kubelet_flags();
    let mut arguments = flags.each_ref().map(String::as_str).to_vec();
    arguments.push("--json");
    let json: Value = serde_json::from_slice(&evictions(&evicting(), &arguments).stdout).unwrap();
    assert_eq!(json["node"]["available_bytes"], 20_982_439_936_u64);
    assert_eq!(json["node"]["error_bytes"], 2_422_337_536_u64);
    assert_eq!(json["thresholds"][0]["met"], true);
    assert_eq!(json["pods"].as_array().unwrap().len(), 9);
    assert_eq!(json["pods"][1]["name"], "evk/cache-be");
    assert_eq!(json["pods"][1]["reason"], "above_request");
    assert_eq!(
        (&json["pods"][8]["critical"], &json["pods"][8]["reason"]),
        (&true.into(), &"critical_never_evicted".into())
    );
    assert_eq!(json["cache"][0]["standing"], "no_limit");
    assert_eq!(json["keeper"]["state"], "near");
}

fn words(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn no_threshold_is_told_as_such() {
    let captured = evicting();
    let none = ["--eviction-hard", ""];
    let text = words(evictions(&captured, &none));
    assert!(text.starts_with("The kubelet evicts nobody for memory: it has no threshold."), "{text}");
    assert!(!text.contains("THRESHOLD") && text.contains("There is no threshold to keep from."), "{text}");
    let json: Value = serde_json::from_slice(&evictions(&captured, &[&none[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!((&json["thresholds"], &json["keeper"]["state"]), (&Value::Array(vec![]), &"no_threshold".into()));
    let mut forecast = reprieve();
    forecast.args(["forecast", "--window", "0s"]).args(none);
    let text = words(with_roots(&mut forecast, &captured).output().unwrap());
    assert_eq!(text, "Nothing runs out: the kubelet has no threshold for memory, and no cgroup's limit is neared.");
    let agent = Agent::start(|command| {
        with_roots(command.args(["--interval", "50ms"]).args(none), &captured);
    });
    wait_for(PATIENCE, || agent.sample("reprieve_kubelet_error_bytes{signal=\"memory.available\"}")).expect("judged");
    let labels = "{signal=\"memory.available\",kind=\"hard\"}";
    assert_eq!(agent.sample(&format!("reprieve_kubelet_threshold_bytes{labels}")), None);
    assert_eq!(agent.sample(&format!("reprieve_eviction_forecast_seconds{labels}")), None);
}

#[test]
fn grace_and_minimum_reclaim_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let text = "kind: KubeletConfiguration\nevictionHard: {memory.available: 1Gi}\n\
                evictionSoft: {memory.available: 2Gi}\nevictionSoftGracePeriod: {memory.available: 1m30s}\n\
                evictionMaxPodGracePeriod: 45\nevictionMinimumReclaim: {memory.available: 512Mi}\n";
    fs::write(&path, text).unwrap();
    let flags = ["--kubelet-config", path.to_str().unwrap()];
    let text = words(evictions(&evicting(), &flags));
    for told in [
        "memory.available (hard): once it evicts, it goes on until 1.5 GiB are available.",
        "memory.available (soft): the kubelet evicts when it was met for 90 s, and a pod gets at most 45 s to end; once it \
         evicts, it goes on until 2.5 GiB are available.",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let json: Value =
        serde_json::from_slice(&evictions(&evicting(), &[&flags[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(json["thresholds"][0]["pod_grace_seconds"], Value::Null);
    assert_eq!(json["thresholds"][1]["pod_grace_seconds"], 45.0);
    assert_eq!(json["thresholds"][1]["grace_seconds"], 90.0);
    assert_eq!(json["thresholds"][1]["evicts_until_bytes"], 2560_u64 << 20);
}

/// The one line on stderr of a refusal.
fn refusal(arguments: &[&str]) -> String {
    let output = evictions(&evicting(), arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.trim_end().chars().any(char::is_control), "{stderr:?}");
    stderr
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (name, text) in [("a", "kind: Pod\n"), ("b", "kind: [\n"), ("c", "\0\x1b[31m"), ("d", ""), ("e", "{\"kind\":")]
    {
        assert!(refusal(&["--kubelet-config", &file(name, text)]).contains(&format!("/{name}: ")));
    }
    assert!(refusal(&["--kubelet-config", "/nonexistent"]).contains("/nonexistent: No such file"));
    assert!(refusal(&["--pods", &file("p", "{\"items\":3}")]).contains("/p: "));
    assert!(refusal(&["--eviction-hard", "memory.available"]).contains("--eviction-hard: expected entries such as"));
    assert!(refusal(&["--keep-cache-margin", "150%"]).contains("expected an eviction threshold"));
}

#[test]
fn what_is_only_partly_wrong_is_noted() {
    let output = evictions(
        &evicting(),
        &["--eviction-hard", "memory.available<150%", "--eviction-soft", "memory.available<1Gi"],
    );
    let screen = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("note: evictionHard: memory.available: expected an eviction threshold such as 100Mi or 5%"),
        "{text}"
    );
    assert!(text.contains("note: evictionSoft: memory.available has no grace period, so it is left out"), "{text}");
    let above = evictions(&evicting(), &["--eviction-hard", "memory.available<64Gi"]);
    let text = String::from_utf8(above.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("the threshold 64.0 GiB is not below all memory (23.5 GiB), so it can't be kept from"),
        "{text}"
    );
}

#[test]
fn an_agent_goes_on_with_a_configuration_that_makes_no_sense() {
    let captured = full_of_cache();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, "kind: [\n").unwrap();
    let agent = Agent::start(|command| {
        with_roots(
            command.args(["--interval", "50ms", "--pods", "/nonexistent", "--kubelet-config"]).arg(&path),
            &captured,
        );
    });
    let labels = "{signal=\"memory.available\",kind=\"hard\"}";
    let threshold = format!("reprieve_kubelet_threshold_bytes{labels}");
    assert_eq!(agent.sample(&threshold), Some(104_857_600.0), "the default");
    assert!(agent.sample("reprieve_problems_total").unwrap() >= 2.0);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_flag_that_makes_no_sense_leaves_the_agent_the_file_and_the_other_flags() {
    let captured = full_of_cache();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, "kind: KubeletConfiguration\nevictionHard: {memory.available: 300Mi}\n").unwrap();
    let agent = Agent::start(|command| {
        command.args(["--interval", "50ms", "--eviction-minimum-reclaim", "memory.available", "--eviction-soft"]);
        command.args(["memory.available<1Gi", "--eviction-soft-grace-period", "memory.available=1m"]);
        with_roots(command.arg("--kubelet-config").arg(&path), &captured);
    });
    let threshold = |kind| {
        agent.sample(&format!("reprieve_kubelet_threshold_bytes{{signal=\"memory.available\",kind=\"{kind}\"}}"))
    };
    assert_eq!((threshold("hard"), threshold("soft")), (Some(314_572_800.0), Some(1_073_741_824.0)));
    assert!(agent.sample("reprieve_problems_total").unwrap() >= 1.0, "and says so");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_raised_limit_is_no_breath_to_the_agent() {
    let captured = full_of_cache();
    let cgroup = captured.sound_cgroup(b"limited").unwrap();
    // Written over in place, as the agent keeps files open: it never sees half a number.
    let write = |name: &str, mb: u64| {
        let mut file = fs::File::options().write(true).open(cgroup.join(name)).unwrap();
        std::io::Write::write_all(&mut file, format!("{:010}\n", mb * 1_000_000).as_bytes()).unwrap();
    };
    write("memory.max", 1000);
    write("memory.current", 200);
    let agent = Agent::start(|command| {
        with_roots(command.args(["--interval", "50ms"]), &captured);
    });
    let value = |family: &str| -> Option<f64> {
        let (_, _, body) = agent.get("/metrics", "");
        let is_it = |line: &&str| line.starts_with(family) && line.contains("cgroup=\"/limited\"");
        body.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
    };
    // Asked while it goes on: soon after the last step it has stopped.
    let leak = |from: u64, to: u64| {
        let mut told = None;
        for mb in (from..=to).step_by(20) {
            write("memory.current", mb);
            std::thread::sleep(Duration::from_millis(50));
            if mb + 200 > to {
                told = value("reprieve_cgroup_limit_forecast_seconds{").or(told);
            }
        }
        told
    };
    let limit = |bytes: f64| (value("reprieve_cgroup_memory_limit_bytes{") == Some(bytes)).then_some(());
    wait_for(PATIENCE, || limit(1e9)).expect("it is seen");
    assert!(leak(200, 700).is_some(), "the first fall");
    write("memory.max", 2000);
    // Limits are read every 16 scans.
    wait_for(PATIENCE, || limit(2e9)).expect("the limit is seen to be raised");
    assert!(leak(700, 1500).is_some(), "less was left before, but below another limit");
}

#[test]
fn a_lifted_limit_has_no_forecast() {
    let captured = full_of_cache();
    let limit = captured.sys().join("fs/cgroup/limited");
    captured.sound_cgroup(b"limited").unwrap();
    fs::write(limit.join("memory.max"), "1000000000\n").unwrap();
    let mut command = reprieve();
    command.args(["forecast", "--window", "0s", "--interval", "20ms", "--watch", "--all", "--json"]);
    let mut child = with_roots(&mut command, &captured).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut shown = || lines.next().unwrap().unwrap().contains("\"cgroup\":\"/limited\"");
    assert!(shown());
    fs::write(limit.join("memory.max"), "max\n").unwrap();
    // Limits are read every 16 scans.
    let gone = (0..100).any(|_| !shown());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(gone);
}

#[test]
fn a_forecast_is_none_where_nothing_moves() {
    let output =
        with_roots(reprieve().args(["forecast", "--window", "600ms", "--interval", "50ms"]), &evicting()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(text, "Nothing runs out: none of the kubelet's thresholds and no cgroup's limit is neared.\n");
    let mut all = reprieve();
    all.args(["forecast", "--window", "600ms", "--interval", "50ms", "--all", "--json"]);
    let output = with_roots(&mut all, &evicting()).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = json["forecasts"].as_array().unwrap();
    assert!(rows.len() >= 4, "two thresholds, and pods and containers with limits");
    assert!(rows.iter().all(|row| row["forecast"]["state"] == "none"), "{json}");
}

/// The flags that have a kubelet on this port asked, and the folder with the token.
fn asking(port: u16) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "secret").unwrap();
    let flags = [
        ("--kubelet-configz", format!("https://localhost:{port}/configz")),
        ("--kubelet-token", token.display().to_string()),
        ("--kubelet-ca", server::fixture("authority.pem").display().to_string()),
    ];
    (folder, flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect())
}

#[test]
fn the_kubelet_is_asked_for_its_thresholds() {
    let port = server::serve(|head| {
        let body = br#"{"kubeletconfig":{"evictionHard":{"memory.available":"300Mi"}}}"#;
        assert!(head.contains("uthorization: Bearer secret\r\n"), "{head}");
        server::response("200 OK", body)
    });
    let (_folder, flags) = asking(port);
    let captured = full_of_cache();
    let agent = Agent::start(|command| {
        with_roots(command.args(["--interval", "50ms"]).args(&flags), &captured);
    });
    let labels = "{signal=\"memory.available\",kind=\"hard\"}";
    let threshold = || agent.sample(&format!("reprieve_kubelet_threshold_bytes{labels}"));
    wait_for(PATIENCE, || (threshold() == Some(314_572_800.0)).then_some(())).expect("300Mi");
    let said = agent.wait_for_line(|line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("the kubelet's thresholds: memory.available<300"))
    });
    assert!(said.is_some());
    let arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    let screen = String::from_utf8(evictions(&captured, &arguments).stdout).unwrap();
    assert!(screen.contains("300.0 MiB"), "{screen}");
}

#[test]
fn an_agent_goes_on_where_the_kubelet_does_not_answer() {
    let closed = std::net::TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let (_folder, flags) = asking(closed);
    let captured = full_of_cache();
    let agent = Agent::start(|command| {
        with_roots(command.args(["--interval", "50ms"]).args(&flags), &captured);
    });
    let begin = format!("the kubelet's configuration: https://localhost:{closed}/configz: ");
    let said = agent.wait_for_line(|line| line["message"].as_str().is_some_and(|text| text.contains(&begin)));
    assert!(said.is_some(), "it says why");
    let labels = "{signal=\"memory.available\",kind=\"hard\"}";
    let threshold = format!("reprieve_kubelet_threshold_bytes{labels}");
    assert_eq!(agent.sample(&threshold), Some(104_857_600.0), "the default");
    assert_eq!(agent.stop(), 0);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let said = refusal(&flags);
    assert!(said.contains(&format!("https://localhost:{closed}/configz: ")), "{said}");
}
