//! Whose cgroup: paths as kubelets, runtimes and systemd make them, and those that only look so.

use proptest::prelude::*;
use reprieve_readings::Driver::{Cgroupfs, Systemd};
use reprieve_readings::QosClass::{BestEffort, Burstable, Guaranteed};
use reprieve_readings::Runtime::{Containerd, CriO, Docker, Podman};
use reprieve_readings::{CgroupPath, Driver, Owner, QosClass, Runtime};

const A: &str = "944366ddb6aa04d28fac2236f739280ac48759669361525b0ef4588147e6dc2f";
const B: &str = "8836b0b1c7ec191d9c009804cb65357f80d7b94a09a9c2ad5ae8a8d72454cda3";
const UID: &str = "93f10f83-6ed8-45de-9a74-eedf69fa2889";
const HASH: &str = "0ff5e077edf883e4d098ac8c218d32df";

/// What a path is expected to tell: fields left out are expected to be `None`.
#[derive(Default)]
struct Expected {
    container: Option<&'static str>,
    root: Option<&'static str>,
    runtime: Option<Runtime>,
    driver: Option<Driver>,
    pod: Option<&'static str>,
    qos: Option<QosClass>,
    unit: Option<&'static str>,
}

/// In paths, `{A}` and `{B}` stand for container ids, `{U}` for a pod's uid, `{_}` for the uid as systemd writes it.
fn expand(path: &str) -> String {
    path.replace("{A}", A).replace("{B}", B).replace("{U}", UID).replace("{_}", &UID.replace('-', "_"))
}

#[track_caller]
fn check(path: &str, expected: Expected) {
    let path = expand(path);
    let owner = Owner::of(&CgroupPath::new(path.as_bytes()));
    assert_eq!(owner.container.as_ref().map(|id| id.as_str()), expected.container, "container of {path}");
    let root = owner.container_root.as_ref().map(|root| root.to_string());
    assert_eq!(root, expected.root.map(expand), "root of the container of {path}");
    assert_eq!(owner.runtime, expected.runtime, "runtime of {path}");
    assert_eq!(owner.driver, expected.driver, "driver of {path}");
    assert_eq!(owner.pod.as_ref().map(|uid| uid.as_str()), expected.pod, "pod of {path}");
    assert_eq!(owner.qos, expected.qos, "class of {path}");
    assert_eq!(owner.unit.as_ref().map(|unit| unit.to_string()).as_deref(), expected.unit, "unit of {path}");
}

#[track_caller]
fn check_nobody(path: &str) {
    check(path, Expected::default());
}

fn pod(driver: Driver, qos: QosClass) -> Expected {
    Expected { driver: Some(driver), pod: Some(UID), qos: Some(qos), ..Expected::default() }
}

fn container(root: &'static str, runtime: Option<Runtime>, of: Expected) -> Expected {
    Expected { container: Some(A), root: Some(root), runtime, ..of }
}

fn made_by(driver: Driver) -> Expected {
    Expected { driver: Some(driver), ..Expected::default() }
}

#[test]
fn pods_under_cgroupfs() {
    let at = "/kubepods/burstable/pod{U}/{A}";
    check(at, container(at, None, pod(Cgroupfs, Burstable)));
    let at = "/kubepods/besteffort/pod{U}/crio-{A}";
    check(at, container(at, Some(CriO), pod(Cgroupfs, BestEffort)));
    let at = "/kubepods/pod{U}/{A}";
    check(at, container(at, None, pod(Cgroupfs, Guaranteed)));
    check("/kubepods/pod{U}", pod(Cgroupfs, Guaranteed));
    check("/kubepods/burstable", Expected { qos: Some(Burstable), ..made_by(Cgroupfs) });
    check("/kubepods", made_by(Cgroupfs));
}

#[test]
fn pods_under_systemd() {
    let at = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice/cri-containerd-{A}.scope";
    check(at, container(at, Some(Containerd), pod(Systemd, Burstable)));
    let at = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{_}.slice/crio-{A}.scope";
    check(at, container(at, Some(CriO), pod(Systemd, BestEffort)));
    let at = "/kubepods.slice/kubepods-pod{_}.slice/docker-{A}.scope";
    check(at, container(at, Some(Docker), pod(Systemd, Guaranteed)));
    check("/kubepods.slice/kubepods-pod{_}.slice", pod(Systemd, Guaranteed));
    let level = "/kubepods.slice/kubepods-besteffort.slice";
    check(level, Expected { qos: Some(BestEffort), ..made_by(Systemd) });
    check("/kubepods.slice", made_by(Systemd));
}

/// From the cgroup tree of a node with kubelet 1.36.2 and containerd.
#[test]
fn paths_of_a_real_node() {
    let static_pod = Expected { pod: Some(HASH), ..pod(Cgroupfs, Burstable) };
    check("/kubepods/burstable/pod0ff5e077edf883e4d098ac8c218d32df", static_pod);
    let at = "/kubepods/podf9eb4ed2-f7c9-41b8-9f29-60c642966859/\
              8836b0b1c7ec191d9c009804cb65357f80d7b94a09a9c2ad5ae8a8d72454cda3";
    let expected = Expected { pod: Some("f9eb4ed2-f7c9-41b8-9f29-60c642966859"), ..pod(Cgroupfs, Guaranteed) };
    check(at, Expected { container: Some(B), root: Some(at), ..expected });
    let at = "/kubepods/besteffort/pod5bdc3be0-7759-43c7-9f22-d581fc6b5750/\
              c1266367fbda9afafd307f54976e6fb678640be2dee922e8dc3a3e91c29accb7";
    let expected = Expected { pod: Some("5bdc3be0-7759-43c7-9f22-d581fc6b5750"), ..pod(Cgroupfs, BestEffort) };
    let id = "c1266367fbda9afafd307f54976e6fb678640be2dee922e8dc3a3e91c29accb7";
    check(at, Expected { container: Some(id), root: Some(at), ..expected });
}

/// The paths of OOM reports that people posted.
#[test]
fn paths_of_real_reports() {
    let at = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podd63c4bbe_5f18_11ec_bdcd_d094668d7dd6.slice/\
              docker-083afd1a06b8b612ab5d974e12200d7fd1d35be6a44f0e368179399ef6c6e84d.scope";
    let expected = Expected { pod: Some("d63c4bbe-5f18-11ec-bdcd-d094668d7dd6"), ..pod(Systemd, Burstable) };
    let id = "083afd1a06b8b612ab5d974e12200d7fd1d35be6a44f0e368179399ef6c6e84d";
    check(at, Expected { container: Some(id), root: Some(at), runtime: Some(Docker), ..expected });
    let scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-p3963628-i54286731.scope";
    check(scope, Expected { unit: Some("run-p3963628-i54286731.scope"), ..Expected::default() });
}

#[test]
fn containers_without_kubernetes() {
    let at = "/docker/{A}";
    check(at, container(at, Some(Docker), made_by(Cgroupfs)));
    let at = "/system.slice/docker-{A}.scope";
    check(at, container(at, Some(Docker), made_by(Systemd)));
    let at = "/machine.slice/libpod-{A}.scope";
    check(at, container(at, Some(Podman), made_by(Systemd)));
    let at = "/libpod_parent/libpod-{A}";
    check(at, container(at, Some(Podman), made_by(Cgroupfs)));
    let at = "/system.slice/nerdctl-{A}.scope";
    check(at, container(at, Some(Containerd), made_by(Systemd)));
    let at = "/default/{A}";
    check(at, container(at, None, made_by(Cgroupfs)));
    let at = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope";
    check(at, container(at, Some(Podman), Expected { unit: Some("user@1000.service"), ..made_by(Systemd) }));
    let at = "/system.slice/web.service/libpod-payload-{A}";
    check(at, container(at, Some(Podman), Expected { unit: Some("web.service"), ..made_by(Cgroupfs) }));
}

#[test]
fn podman_s_pods_are_no_containers() {
    let at = "/libpod_parent/{B}/libpod-{A}";
    check(at, container(at, Some(Podman), made_by(Cgroupfs)));
    check_nobody("/libpod_parent/{B}");
    let at = "/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope";
    check(at, container(at, Some(Podman), made_by(Systemd)));
    check_nobody("/machine.slice/machine-libpod_pod_{B}.slice");
}

#[test]
fn what_lies_inside_a_container_belongs_to_it() {
    let root = "/kubepods.slice/kubepods-pod{_}.slice/crio-{A}.scope";
    check(&format!("{root}/container"), container(root, Some(CriO), pod(Systemd, Guaranteed)));
    let root = "/machine.slice/libpod-{A}.scope";
    let inside = Expected { unit: Some("init.scope"), ..made_by(Systemd) };
    check(&format!("{root}/init.scope"), container(root, Some(Podman), inside));
    let inside = Expected { unit: Some("nginx.service"), ..made_by(Systemd) };
    check(&format!("{root}/system.slice/nginx.service"), container(root, Some(Podman), inside));
}

#[test]
fn kind_s_inner_containers_win_over_its_node() {
    let levels = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice";
    for node in ["", "/docker/{B}", "/system.slice/docker-{B}.scope"] {
        let pod_path = format!("{node}/{levels}/kubelet-kubepods-burstable-pod{{_}}.slice");
        check(&pod_path, pod(Systemd, Burstable));
        let at: &'static str = format!("{pod_path}/cri-containerd-{{A}}.scope").leak();
        check(at, container(at, Some(Containerd), pod(Systemd, Burstable)));
    }
    let at = "/docker/{B}/kubelet/kubepods/burstable/pod{U}/{A}";
    check(at, container(at, None, pod(Cgroupfs, Burstable)));
    let node = Expected { unit: Some("kubelet.service"), ..made_by(Cgroupfs) };
    let at = "/docker/{A}/kubelet.slice/kubelet.service";
    check(at, container("/docker/{A}", Some(Docker), node));
    check("/docker/{B}/kubelet/kubepods", made_by(Cgroupfs));
}

#[test]
fn a_container_in_a_pod_s_container_is_still_of_the_pod() {
    let at = "/kubepods/burstable/pod{U}/{B}/docker/{A}";
    check(at, container(at, Some(Docker), pod(Cgroupfs, Burstable)));
}

#[test]
fn a_cgroup_root_may_stand_in_front() {
    let at = "/node/workloads/kubepods/pod{U}/{A}";
    check(at, container(at, None, pod(Cgroupfs, Guaranteed)));
    let at = "/node.slice/node-kubepods.slice/node-kubepods-pod{_}.slice/crio-{A}.scope";
    check(at, container(at, Some(CriO), pod(Systemd, Guaranteed)));
}

#[test]
fn monitors_are_no_containers() {
    let conmon = format!("libpod-conmon-{A}.scope");
    check("/machine.slice/libpod-conmon-{A}.scope", Expected { unit: Some(&*conmon.leak()), ..Expected::default() });
    let conmon = format!("crio-conmon-{A}.scope");
    let expected = Expected { unit: Some(&*conmon.leak()), ..pod(Systemd, Guaranteed) };
    check("/kubepods.slice/kubepods-pod{_}.slice/crio-conmon-{A}.scope", expected);
    check("/kubepods/pod{U}/crio-conmon-{A}", pod(Cgroupfs, Guaranteed));
}

/// The kubelet uses systemd's driver, the runtime its own.
#[test]
fn drivers_that_disagree() {
    let at = "/system.slice/containerd.service/kubepods-burstable-pod{_}.slice:cri-containerd:{A}";
    let unit = Some("containerd.service");
    let expected = Expected { driver: Some(Cgroupfs), unit, ..pod(Systemd, Burstable) };
    check(at, container(at, Some(Containerd), expected));
}

#[test]
fn inside_a_cgroup_namespace() {
    let expected = || Expected { qos: None, ..pod(Cgroupfs, Guaranteed) };
    let at = "/../../pod{U}/{A}";
    check(at, container(at, None, expected()));
    let at = "/../../burstable/pod{U}/{A}";
    check(at, container(at, None, pod(Cgroupfs, Burstable)));
    let at = "/../cri-containerd-{A}.scope";
    check(at, container(at, Some(Containerd), made_by(Systemd)));
}

#[test]
fn systemd_units() {
    for (path, unit) in [
        ("/system.slice/sshd.service", "sshd.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/user.slice/user-0.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-0.slice/user@0.service/init.scope", "init.scope"),
        ("/system.slice/db.service/workers/1", "db.service"),
        ("/init.scope", "init.scope"),
        ("/system.slice/_cgroup.service", "cgroup.service"),
        ("/system.slice/a\x1b\u{fe}.service", "a\\x1bþ.service"),
    ] {
        check(path, Expected { unit: Some(unit), ..Expected::default() });
    }
    check_nobody("/system.slice");
    check_nobody("/system.slice/system-getty.slice");
}

#[test]
fn names_that_only_look_like_owners() {
    let upper = A.to_uppercase();
    for name in [&upper, A.split_at(1).1, &format!("{A}0"), &A.replace('9', "g"), &A.replace('9', "é"), ""] {
        for path in [format!("/docker/{name}"), format!("/docker-{name}"), format!("/libpod-{name}")] {
            check_nobody(&path);
        }
        check_nobody(&format!("/system.slice/docker-{name}.scope/").replace(".scope", ".scop"));
        let scope: &'static str = format!("docker-{name}.scope").leak();
        check(&format!("/{scope}"), Expected { unit: Some(scope), ..Expected::default() });
    }
    check_nobody("/");
    check_nobody("/burstable/pod{U}");
    check_nobody("/pod{U}");
    check_nobody("/kubepod/pod{U}");
    check_nobody("/kubepods.slice.d/x-pod{_}.slice");
    check_nobody("/mykubepods-pod{_}.slice");
    check_nobody("/kubepods-guaranteed-pod{_}.slice");
    check_nobody("/kubepods-pod{U}.slice");
    check_nobody("/burstable.slice/my-besteffort.slice");
    check_nobody("/.service/.scope/.slice");
    check("/kubepods/pod{_}", made_by(Cgroupfs));
    check("/kubepods/podx", made_by(Cgroupfs));
    check("/kubepods/pod93F10F83-6ed8-45de-9a74-eedf69fa2889", made_by(Cgroupfs));
    check("/kubepods/burstable/besteffort", Expected { qos: Some(Burstable), ..made_by(Cgroupfs) });
    check("/kubepods.slice/burstable", made_by(Systemd));
}

#[test]
fn bytes_that_are_no_text() {
    let owner = Owner::of(&CgroupPath::new(b"/\xff\xfe/docker/\xff/x\xff\n.service"));
    assert_eq!(owner.container, None);
    let unit = owner.unit.unwrap();
    assert_eq!(unit.as_bytes(), b"x\xff\n.service");
    assert_eq!(unit.to_string(), "x\\xff\\n.service");
}

#[test]
fn deep_trees() {
    let path = format!("{}/docker/{A}{}", "/a".repeat(5_000), "/b.service".repeat(5_000));
    let owner = Owner::of(&CgroupPath::new(path.as_bytes()));
    let root = owner.container_root.unwrap();
    assert_eq!(root.names().count(), 5_002);
    assert_eq!(CgroupPath::new(path.as_bytes()).below(&root).map(<[u8]>::len), Some(5_000 * "/b.service".len() - 1));
}

#[test]
fn names_as_their_owners_spell_them() {
    assert_eq!([Guaranteed, Burstable, BestEffort].map(QosClass::as_str), ["Guaranteed", "Burstable", "BestEffort"]);
    let runtimes = [Containerd, CriO, Docker, Podman].map(|runtime| runtime.to_string());
    assert_eq!(runtimes, ["containerd", "cri-o", "docker", "podman"]);
    assert_eq!([Cgroupfs, Systemd].map(Driver::as_str), ["cgroupfs", "systemd"]);
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &str = "kubepods burstable besteffort docker libpod_parent .. kubepods.slice x-kubepods.slice \
        kubepods-burstable.slice pod{U} kubepods-pod{_}.slice kubepods-burstable-pod{_}.slice {A} crio-{A}.scope \
        cri-containerd-{A}.scope libpod-{A} kubepods-pod{_}.slice:crio:{A} _x.service";
    prop_oneof![
        prop::sample::select(KNOWN.split(' ').collect::<Vec<_>>()).prop_map(|name| expand(name).into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn any_path_gives_a_consistent_owner(names in prop::collection::vec(any_name(), 0..12)) {
        let path = CgroupPath::new(&names.join(&b'/'));
        let owner = Owner::of(&path);
        prop_assert_eq!(owner.container.is_some(), owner.container_root.is_some());
        prop_assert!(owner.pod.is_none() || owner.driver.is_some());
        prop_assert!(owner.runtime.is_none() || owner.container.is_some());
        if let Some(root) = &owner.container_root {
            prop_assert!(path.below(root).is_some());
            prop_assert_eq!(&Owner::of(root).container, &owner.container);
            prop_assert_eq!(&Owner::of(root).pod, &owner.pod);
        }
        let shown = format!("{owner:?} {}", owner.unit.as_ref().map(ToString::to_string).unwrap_or_default());
        prop_assert!(!shown.chars().any(char::is_control));
    }

    #[test]
    fn nothing_below_a_container_changes_it_but_an_owner(names in prop::collection::vec("[a-c.]{1,4}", 0..5)) {
        let root = CgroupPath::new(expand("/docker/{A}").as_bytes());
        let inside = names.iter().filter(|name| *name != "..").fold(root.clone(), |path, name| path.child(name.as_bytes()));
        prop_assert_eq!(Owner::of(&inside).container_root, Some(root));
    }
}
