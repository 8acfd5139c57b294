//! Go collects by growth alone and knows no limit of its own.
//!
//! `GOMEMLIMIT` (Go 1.19) is a soft limit in bytes that makes the collector work harder near it (package runtime,
//! section "Environment Variables"). `off` is a setting too.

use reprieve_readings::Bytes;

use super::runtime::Runtime;
use super::sizer::Sizer;

/// The runtime alone maps some MiB; a soft limit not far above has it collect without end.
const LEAST: Bytes = Bytes::from_mib(16);
const PERCENT: u64 = 90;

pub(super) fn size(sizer: &mut Sizer<'_>) {
    const NAME: &str = "GOMEMLIMIT";
    if sizer.program.variable(NAME.as_bytes()).is_some() || sizer.is_enough(Runtime::Go, LEAST) {
        let value = sizer.share(PERCENT).get().to_string();
        let reason = format!("soft limit of {PERCENT} % of {}", sizer.limit);
        sizer.set(Runtime::Go, NAME, value, reason);
    }
}

#[cfg(test)]
mod tests {
    use reprieve_readings::ElfFacts;

    use super::super::tests::{Case, GIB};
    use super::*;

    fn case() -> Case {
        Case::elf("./server", ElfFacts { go: true, ..ElfFacts::default() })
    }

    #[test]
    fn a_tenth_is_left_for_what_go_does_not_count() {
        case().limit(GIB).sets("GOMEMLIMIT", "966367641");
        case().limit(1 << 40).sets("GOMEMLIMIT", "989560464998");
        case().limit(16 << 20).sets("GOMEMLIMIT", "15099494");
        case().limit(1 << 20).advises("below the 16.0 MiB").sets_nothing("GOMEMLIMIT");
    }

    #[test]
    fn a_limit_of_the_user_s_is_left_alone() {
        for value in ["512MiB", "off", ""] {
            case().limit(GIB).env("GOMEMLIMIT", value).leaves(Runtime::Go).sets_nothing("GOMEMLIMIT");
        }
    }
}
