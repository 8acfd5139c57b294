//! What is found on a made-up or captured machine, in a few lines that a test can be compared with.

use reprieve_judgement::{Binding, HiddenLimit, judge_available, judge_hidden};
use reprieve_lab::Captured;
use reprieve_linux::{Levels, MemoryController, NodeMemoryReader, Problems, Roots};
use reprieve_readings::Placement;

pub(crate) const MIB: u64 = 1 << 20;

/// All that is found in a shape, as lines: where the process is, the levels from the inside out, what binds and how much
/// is available, and what may be hidden.
pub(crate) fn found(captured: &Captured, roots: &Roots) -> Vec<String> {
    let mut problems = Problems::default();
    let controller = match MemoryController::find(roots, &mut problems) {
        Ok(controller) => controller,
        Err(error) => return vec![error.to_string().split(':').next().unwrap().to_owned()],
    };
    let mut levels = Levels::open(&controller, &mut problems).unwrap();
    levels.read(&mut problems);
    let memory: Vec<_> = levels.memory().collect();
    let node = NodeMemoryReader::open(roots, &mut problems).read(&mut problems);
    assert_eq!(problems.first(), []);
    assert_eq!(levels.unread(), None);
    let hidden = judge_hidden(controller.version, &memory, None);
    let bound = judge_available(&memory, hidden, &node).unwrap().until_kill;
    let placement = if controller.placement == Placement::Certain { "certain" } else { "assumed" };
    let mut lines = vec![format!("{:?} {} {placement}", controller.version, controller.own).to_lowercase()];
    let root = captured.root().canonicalize().unwrap();
    for number in 0..memory.len() {
        let directory = levels.directory(number).unwrap();
        let directory = directory.strip_prefix(&root).or_else(|_| directory.strip_prefix(captured.root())).unwrap();
        lines.push(format!("{} {}", levels.path(number).unwrap(), directory.display()).trim_end().to_owned());
    }
    let mib = bound.estimate.best.get() / MIB;
    lines.push(match bound.binding {
        Binding::Node => format!("node {mib}"),
        Binding::Level(number) => format!("level {number} {mib}"),
        Binding::Hidden => format!("hidden {mib}"),
    });
    match hidden {
        HiddenLimit::None => {}
        HiddenLimit::Possible => lines.push("more may be hidden".to_owned()),
        HiddenLimit::Proven(limit) | HiddenLimit::Told(limit) => {
            lines.push(format!("{} MiB hidden", limit.get() / MIB))
        }
    }
    lines
}
