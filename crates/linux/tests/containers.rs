//! What a process finds inside of containers, as `cargo xtask capture --containers` wrote it down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::found;
use reprieve_lab::Captured;
use reprieve_linux::Roots;

const ID: &str = "4f9d2c1b7a6e5d3c8b0a9f8e7d6c5b4a392817060f1e2d3c4b5a69788796a5b4";
const POD: &str = "kubepods-burstable-pod7d0b3a52_1f6c_4f0e_9c55_2f1d8e6b4a90.slice";

/// What is found, with short names: the capture's own cgroup, whose name is another one each time, is left out of paths.
fn check(name: &str, expected: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name).with_extension("txt");
    let captured = Captured::unpack(&fs::read_to_string(file).unwrap()).unwrap();
    let found = found(&captured, &Roots::new(captured.proc(), captured.sys()));
    let own = found[0].split('/').find(|name| name.starts_with("reprieve-capture-"));
    let own = own.map_or("not here".to_owned(), |own| format!("/{own}"));
    let short = |line: &String| line.replace(&own, "").replace(ID, "ID").replace(POD, "POD");
    assert_eq!(found.iter().map(short).collect::<Vec<_>>(), expected, "{name}");
}

/// v1 shows a container its own cgroup and no more, in the host's namespace as in one of its own.
#[test]
fn containers_of_v1() {
    let check = |name: &str, expected: &[&str]| check(&format!("containers-v1-6.18/{name}"), expected);
    let memory = "sys/fs/cgroup/memory";
    let own = |path: &str| [format!("v1 {path} certain"), format!("{path} {memory}")];
    let alone = |name: &str, path: &str, rest: &[&str]| {
        let own = own(path);
        check(name, &own.iter().map(String::as_str).chain(rest.iter().copied()).collect::<Vec<_>>());
    };
    alone("docker-private", "/", &["level 0 55"]);
    alone("docker-host", "/docker/ID", &["level 0 55"]);
    alone("docker-unlimited", "/", &["node 23406"]);
    alone("podman-host", "/machine.slice/libpod-ID.scope/container", &["level 0 55"]);
    // The pod's limit is out of sight in both, and the container's memory.stat knows it.
    alone("containerd-private", "/", &["hidden 39", "48 MiB hidden"]);
    let crio = "/kubepods.slice/kubepods-burstable.slice/POD/crio-ID.scope";
    alone("crio-host", crio, &["hidden 39", "48 MiB hidden"]);
    check(
        "systemd-private",
        &[
            "v1 /system.slice/db.service certain",
            "/system.slice/db.service sys/fs/cgroup/memory/system.slice/db.service",
            "/system.slice sys/fs/cgroup/memory/system.slice",
            "/ sys/fs/cgroup/memory",
            "level 2 54",
        ],
    );
    check(
        "nested-private",
        &["v1 /init certain", "/init sys/fs/cgroup/memory/init", "/ sys/fs/cgroup/memory", "level 1 55"],
    );
}

/// v2 shows a container in the host's namespace everything, and one in a namespace of its own only itself: whether there
/// is a limit above can't be told.
#[test]
fn containers_of_v2() {
    let check = |name: &str, expected: &[&str]| check(&format!("containers-v2-6.12/{name}"), expected);
    let private = ["v2 / certain", "/ sys/fs/cgroup", "level 0 55", "more may be hidden"];
    check("docker-private", &private);
    check("containerd-private", &private);
    check("docker-unlimited", &["v2 / certain", "/ sys/fs/cgroup", "node 1795", "more may be hidden"]);
    // Of the capture's own cgroup nothing is left but its line.
    check(
        "docker-host",
        &[
            "v2 /docker/ID certain",
            "/docker/ID sys/fs/cgroup/docker/ID",
            "/docker sys/fs/cgroup/docker",
            " sys/fs/cgroup",
            "/ sys/fs/cgroup",
            "level 0 55",
        ],
    );
    check(
        "podman-host",
        &[
            "v2 /machine.slice/libpod-ID.scope/container certain",
            "/machine.slice/libpod-ID.scope/container sys/fs/cgroup/machine.slice/libpod-ID.scope/container",
            "/machine.slice/libpod-ID.scope sys/fs/cgroup/machine.slice/libpod-ID.scope",
            "/machine.slice sys/fs/cgroup/machine.slice",
            " sys/fs/cgroup",
            "/ sys/fs/cgroup",
            "level 0 55",
        ],
    );
    check(
        "crio-host",
        &[
            "v2 /kubepods.slice/kubepods-burstable.slice/POD/crio-ID.scope certain",
            "/kubepods.slice/kubepods-burstable.slice/POD/crio-ID.scope \
             sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/POD/crio-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/POD sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/POD",
            "/kubepods.slice/kubepods-burstable.slice sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice",
            "/kubepods.slice sys/fs/cgroup/kubepods.slice",
            " sys/fs/cgroup",
            "/ sys/fs/cgroup",
            "level 1 39",
        ],
    );
    check(
        "systemd-private",
        &[
            "v2 /system.slice/db.service certain",
            "/system.slice/db.service sys/fs/cgroup/system.slice/db.service",
            "/system.slice sys/fs/cgroup/system.slice",
            "/ sys/fs/cgroup",
            "level 2 55",
            "more may be hidden",
        ],
    );
    // Inner cgroups without the memory controller: what is charged is the container's own.
    check("nested-private", &private);
}
