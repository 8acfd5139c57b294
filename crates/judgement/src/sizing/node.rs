//! Node.js takes up to half of the memory for its heap, but never less than 256 MiB, which kills it in a small
//! container.
//!
//! `--max-old-space-size` in MiB is allowed in `NODE_OPTIONS` (Node.js manual, cli.md), and the command line wins over
//! it (measured with Node.js 20). Zero would mean the default.

use reprieve_readings::Bytes;

use super::runtime::Runtime;
use super::sizer::{Join, Sizer};

const RUNTIME: Runtime = Runtime::Node;
/// Node.js 20 has 40 MiB resident before it runs a line, a part of it pages of its file.
const LEAST: Bytes = Bytes::from_mib(32);
const PERCENT: u64 = 75;

pub(super) fn size(sizer: &mut Sizer<'_>) {
    let set_in_command = sizer.is_argument_set(RUNTIME, sizes_heap);
    if set_in_command || sizer.is_word_set(RUNTIME, &["NODE_OPTIONS"], sizes_heap) || !sizer.is_enough(RUNTIME, LEAST) {
        return;
    }
    let mib = sizer.share(PERCENT).get() >> 20;
    let reason = format!("old generation of {PERCENT} % of {}", sizer.limit);
    sizer.add(RUNTIME, "NODE_OPTIONS", format!("--max-old-space-size={mib}"), Join::After(" "), reason);
}

/// `--max-old-space-size`, `--max-old-space-size-percentage` (Node.js 24) and V8's `--max-heap-size`. V8 takes
/// underscores for dashes.
fn sizes_heap(option: &[u8]) -> bool {
    let dashed: Vec<u8> = option.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
    dashed.starts_with(b"--max-old-space-size") || dashed.starts_with(b"--max-heap-size")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    #[test]
    fn the_option_joins_the_user_s_others() {
        Case::new("node a.js").limit(GIB).sets("NODE_OPTIONS", "--max-old-space-size=768");
        let case = Case::new("node a.js").limit(GIB).env("NODE_OPTIONS", "--require '/a b.js'");
        case.sets("NODE_OPTIONS", "--require '/a b.js' --max-old-space-size=768");
        Case::new("node a.js").limit(GIB).env("NODE_OPTIONS", " ").sets("NODE_OPTIONS", "--max-old-space-size=768");
    }

    #[test]
    fn a_heap_that_the_user_sized_is_left_alone() {
        for option in [
            "--max-old-space-size=100",
            "--max_old_space_size=100",
            "--max-old-space-size-percentage=50",
            "--max-heap-size=9",
        ] {
            let on_command_line = Case::new(&format!("node {option} a.js")).limit(GIB);
            on_command_line.leaves(Runtime::Node).sets_nothing("NODE_OPTIONS");
            let in_variable = Case::new("node a.js").limit(GIB).env("NODE_OPTIONS", &format!("--no-warnings {option}"));
            in_variable.leaves(Runtime::Node).sets_nothing("NODE_OPTIONS");
        }
    }

    #[test]
    fn a_limit_too_small_for_node_is_told_and_zero_is_never_written() {
        for limit in [0, 1 << 20, 16 << 20, (32 << 20) - 1] {
            Case::new("node a.js").limit(limit).advises("below the 32.0 MiB").sets_nothing("NODE_OPTIONS");
        }
        Case::new("node a.js").limit(32 << 20).sets("NODE_OPTIONS", "--max-old-space-size=24");
        Case::new("node a.js").limit(1 << 40).sets("NODE_OPTIONS", "--max-old-space-size=786432");
    }

    #[test]
    fn a_variable_that_the_command_sets_is_the_command_s() {
        let case = Case::new("env NODE_OPTIONS=--no-warnings node a.js").limit(GIB).assigns("NODE_OPTIONS");
        case.leaves(Runtime::Node).sets_nothing("NODE_OPTIONS");
        Case::new("env -i node a.js").limit(GIB).clears().leaves(Runtime::Node).sets_nothing("NODE_OPTIONS");
    }
}
