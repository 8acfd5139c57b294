//! Tests of [`Lineage`]: single stories, and random ones against a model.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn cgroup(path: &str) -> TaskCgroup {
    TaskCgroup { path: CgroupPath::new(path.as_bytes()), inode: None }
}

fn attach(lineage: &mut Lineage, pid: u32, path: &str) {
    let event = TraceEventKind::CgroupAttach { pid, hierarchy: 0, path: CgroupPath::new(path.as_bytes()), inode: None };
    lineage.note(event, |_| panic!("the table is not asked"));
}

fn fork(lineage: &mut Lineage, parent: u32, child: u32, kind: ForkKind) {
    lineage.note(TraceEventKind::Fork { parent, child, kind }, |_| None);
}

#[test]
fn a_child_is_where_its_parent_was_when_it_was_made() {
    let mut lineage = Lineage::default();
    attach(&mut lineage, 10, "/a");
    fork(&mut lineage, 10, 11, ForkKind::Process);
    attach(&mut lineage, 10, "/b");
    fork(&mut lineage, 10, 12, ForkKind::Process);
    fork(&mut lineage, 11, 13, ForkKind::Process);
    assert_eq!(
        [10, 11, 12, 13].map(|pid| lineage.cgroup_of(pid)),
        ["/b", "/a", "/b", "/a"].map(cgroup).each_ref().map(Some)
    );
    assert_eq!(lineage.cgroup_of(14), None);
}

#[test]
fn threads_move_with_their_process() {
    let mut lineage = Lineage::default();
    attach(&mut lineage, 10, "/a");
    fork(&mut lineage, 10, 11, ForkKind::Thread);
    fork(&mut lineage, 11, 12, ForkKind::Thread);
    attach(&mut lineage, 10, "/b");
    fork(&mut lineage, 12, 13, ForkKind::Process);
    assert_eq!([11, 12, 13].map(|pid| lineage.cgroup_of(pid)), [Some(&cgroup("/b")); 3]);
    // The process is gone, and another has its id.
    attach(&mut lineage, 20, "/c");
    fork(&mut lineage, 20, 10, ForkKind::Process);
    assert_eq!([10, 12].map(|pid| lineage.cgroup_of(pid)), [Some(&cgroup("/c")), None]);
    attach(&mut lineage, 10, "/d");
    assert_eq!([10, 12].map(|pid| lineage.cgroup_of(pid)), [Some(&cgroup("/d")), None]);
}

#[test]
fn a_thread_is_known_once_its_process_is() {
    let mut lineage = Lineage::default();
    fork(&mut lineage, 10, 11, ForkKind::Thread);
    assert_eq!(lineage.cgroup_of(11), None);
    attach(&mut lineage, 10, "/a");
    fork(&mut lineage, 11, 12, ForkKind::Process);
    assert_eq!([11, 12].map(|pid| lineage.cgroup_of(pid)), [Some(&cgroup("/a")); 2]);
}

#[test]
fn the_table_gives_unknown_parents_and_children_put_elsewhere() {
    let mut lineage = Lineage::default();
    let table = |asked| Some(cgroup(&format!("/of-{asked}")));
    lineage.note(TraceEventKind::Fork { parent: 1, child: 2, kind: ForkKind::Process }, table);
    assert_eq!(lineage.cgroup_of(2), Some(&cgroup("/of-1")));
    lineage.note(TraceEventKind::Fork { parent: 2, child: 3, kind: ForkKind::IntoCgroup }, table);
    assert_eq!(lineage.cgroup_of(3), Some(&cgroup("/of-3")));
    lineage.note(TraceEventKind::Fork { parent: 4, child: 5, kind: ForkKind::Thread }, table);
    assert_eq!(lineage.cgroup_of(5), None, "it goes by its process, which may be another's thread");
    lineage.note(TraceEventKind::Fork { parent: 5, child: 6, kind: ForkKind::Process }, table);
    assert_eq!(lineage.cgroup_of(6), Some(&cgroup("/of-5")));
}

#[test]
fn an_id_that_is_given_anew_forgets_whose_it_was() {
    for kind in [ForkKind::Process, ForkKind::Thread, ForkKind::IntoCgroup] {
        let mut lineage = Lineage::default();
        attach(&mut lineage, 10, "/a");
        fork(&mut lineage, 99, 10, kind);
        assert_eq!(lineage.cgroup_of(10), None, "{kind:?} of an unknown parent");
    }
}

#[test]
fn the_oldest_go_first_and_what_is_heard_of_again_is_new() {
    let mut lineage = Lineage::new(3);
    for pid in [1, 2, 3, 1, 4] {
        attach(&mut lineage, pid, "/a");
    }
    assert_eq!([1, 2, 3, 4].map(|pid| lineage.cgroup_of(pid).is_some()), [true, false, true, true]);
}

#[test]
fn tasks_of_one_cgroup_share_its_path() {
    let mut lineage = Lineage::default();
    attach(&mut lineage, 1, "/a");
    attach(&mut lineage, 2, "/a");
    fork(&mut lineage, 1, 3, ForkKind::Process);
    let [first, second, third] = [1, 2, 3].map(|pid| lineage.shared_cgroup_of(pid).unwrap());
    assert!(Arc::ptr_eq(first, second) && Arc::ptr_eq(first, third));
}

/// What a task is by the events so far, with no bound: a process with its cgroup, or a thread of one.
#[derive(Clone)]
enum Truth {
    Process(u8),
    Thread(u32),
}

fn event() -> impl Strategy<Value = (u32, u32, u8, u8)> {
    (1_u32..40, 1_u32..40, 0_u8..4, any::<u8>())
}

proptest! {
    /// Ids are given anew at any time: the threads of a process whose id is given anew are gone.
    #[test]
    fn what_is_known_is_true(events in proptest::collection::vec(event(), 0..200), most in 1_usize..60) {
        let mut lineage = Lineage::new(most);
        let mut truth: HashMap<u32, Truth> = HashMap::new();
        for (task, child, what, path) in events {
            let process = match truth.get(&task) { Some(Truth::Thread(process)) => *process, _ => task };
            match (what, truth.get(&process).cloned()) {
                // A process moves as a whole, and is named by its first thread.
                (0, known) if known.is_some() || !truth.contains_key(&task) => {
                    attach(&mut lineage, process, &format!("/{path}"));
                    truth.insert(process, Truth::Process(path));
                }
                (1.., Some(Truth::Process(at))) if child != task && child != process => {
                    let kind = if what == 3 { ForkKind::Thread } else { ForkKind::Process };
                    fork(&mut lineage, task, child, kind);
                    truth.retain(|_, known| !matches!(known, Truth::Thread(of) if *of == child));
                    let now = if what == 3 { Truth::Thread(process) } else { Truth::Process(at) };
                    truth.insert(child, now);
                }
                _ => {}
            }
            prop_assert!(lineage.len() <= most && lineage.order.len() <= 2 * most + 1);
            for task in 1..40 {
                let truth = match truth.get(&task) {
                    Some(Truth::Thread(process)) => truth.get(process),
                    other => other,
                };
                match (lineage.cgroup_of(task), truth) {
                    (Some(known), Some(Truth::Process(at))) => prop_assert_eq!(known, &cgroup(&format!("/{at}"))),
                    (None, None) => {}
                    // Of forgotten ones: the living are not known, and nobody asks for the dead.
                    (None, Some(_)) | (Some(_), None) if most < 40 => {}
                    (known, _) => prop_assert!(false, "task {} is in {:?}", task, known),
                }
            }
        }
    }
}
