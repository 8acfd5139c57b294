//! The JVM takes a quarter of the memory for its heap, or half of a small one.
//!
//! `JAVA_TOOL_OPTIONS` is read by every JVM, before the command line, so that `-Xmx` and the percentages given there
//! win over it (JVM TI specification; measured with OpenJDK 17). The percentage has a decimal point because JDK 8
//! insists on it. JDKs before 8u191 do not know the option and would not start.

use reprieve_readings::Bytes;

use super::runtime::Runtime;
use super::sizer::{Join, Sizer};

const RUNTIME: Runtime = Runtime::Jvm;
/// A JVM with an empty heap takes about this much.
const LEAST: Bytes = Bytes::from_mib(32);
/// What metaspace, code, stacks and direct buffers of an ordinary service need beside the heap.
const BESIDE_HEAP: Bytes = Bytes::from_mib(128);
/// Every variable of which a JVM takes options.
const VARIABLES: [&str; 5] =
    ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "OPENJ9_JAVA_OPTIONS", "IBM_JAVA_OPTIONS"];

pub(super) fn size(sizer: &mut Sizer<'_>) {
    let set_in_command = sizer.is_argument_set(RUNTIME, sizes_heap);
    if set_in_command || sizer.is_word_set(RUNTIME, &VARIABLES, sizes_heap) || !sizer.is_enough(RUNTIME, LEAST) {
        return;
    }
    let percent = heap_percentage(sizer.limit);
    let reason = format!("heap of {percent} % of {}", sizer.limit);
    let option = format!("-XX:MaxRAMPercentage={percent}.0");
    sizer.add(RUNTIME, "JAVA_TOOL_OPTIONS", option, Join::After(" "), reason);
}

/// 75 % from 512 MiB on. Below, what the rest of a JVM needs does not shrink with the limit; 50 % is also what a JVM
/// takes by itself below 250 MiB, where it heeds `MinRAMPercentage` only.
fn heap_percentage(limit: Bytes) -> u64 {
    let left = limit.saturating_sub(BESIDE_HEAP).get();
    (left.saturating_mul(100) / limit.get().max(1)).clamp(50, 75)
}

/// Whether an option decides how large the heap may become.
fn sizes_heap(option: &[u8]) -> bool {
    const DECIDING: [&[u8]; 6] =
        [b"-Xmx", b"-mx", b"-XX:MaxHeapSize=", b"-XX:MaxRAM", b"-XX:MinRAM", b"-XX:+AggressiveHeap"];
    let option = option.strip_prefix(b"-J").unwrap_or(option);
    DECIDING.iter().any(|deciding| option.starts_with(deciding))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    #[test]
    fn the_heap_leaves_room_for_the_rest() {
        for (mib, percent) in [(32, 50), (256, 50), (384, 66), (512, 75), (1024, 75), (1 << 20, 75)] {
            assert_eq!(heap_percentage(Bytes::from_mib(mib)), percent, "{mib} MiB");
        }
        assert_eq!(heap_percentage(Bytes::ZERO), 50);
    }

    #[test]
    fn the_option_joins_the_user_s_others() {
        let case = Case::new("java -jar a.jar").limit(GIB);
        case.sets("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75.0");
        let case = case.env("JAVA_TOOL_OPTIONS", "-javaagent:/a.jar -Da=b");
        case.sets("JAVA_TOOL_OPTIONS", "-javaagent:/a.jar -Da=b -XX:MaxRAMPercentage=75.0");
    }

    #[test]
    fn a_heap_that_the_user_sized_is_left_alone() {
        for command in [
            "java -Xmx512m -jar a.jar",
            "java -XX:MaxRAMPercentage=60 A",
            "java -XX:MaxHeapSize=1g A",
            "java -XX:MaxRAM=1g A",
            "javac -J-Xmx1g A.java",
        ] {
            Case::new(command).limit(GIB).leaves(Runtime::Jvm).sets_nothing("JAVA_TOOL_OPTIONS");
        }
        for variable in VARIABLES {
            let case = Case::new("java A").limit(GIB).env(variable, "-Da=b \"-Xmx1g\"");
            case.leaves(Runtime::Jvm).sets_nothing("JAVA_TOOL_OPTIONS");
        }
        Case::new("java -Xms1g A").limit(GIB).sets("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75.0");
    }

    #[test]
    fn a_limit_too_small_for_a_jvm_is_told() {
        Case::new("java A").limit(31 << 20).advises("below the 32.0 MiB").sets_nothing("JAVA_TOOL_OPTIONS");
        Case::new("java A").limit(32 << 20).sets("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=50.0");
        Case::new("java A").limit(1 << 40).sets("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75.0");
    }
}
