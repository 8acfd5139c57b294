//! .NET takes 75 % of the limit that it sees for its heap, or 20 MB if that is more: right for one process.
//!
//! `DOTNET_GCHeapHardLimitPercent` is a hexadecimal number and says the same, so that it is seen. It wins over
//! `System.GC.HeapHardLimitPercent` in `runtimeconfig.json`, so it is set only where that file was looked into
//! (learn.microsoft.com, "Runtime configuration options for garbage collection").

use reprieve_readings::{Bytes, Contents, DotnetHost};

use super::runtime::Runtime;
use super::sizer::Sizer;

const RUNTIME: Runtime = Runtime::Dotnet;
/// Below, .NET's own minimum of 20 MB is more than the percentage.
const LEAST: Bytes = Bytes::from_mib(32);
const PERCENT: u64 = 75;
const NAME: &str = "DOTNET_GCHeapHardLimitPercent";

pub(super) fn size(sizer: &mut Sizer<'_>) {
    if is_set_by_user(sizer) || !sizer.is_enough(RUNTIME, LEAST) {
        return;
    }
    if !sizer.is_named() && sizer.program.configuration.is_empty() {
        sizer.leave(RUNTIME, b"its runtimeconfig.json can't be looked into, and its own default of 75 % is the same");
        return;
    }
    let reason = format!("heap of {PERCENT} % of {}, in hexadecimal; for one process", sizer.limit);
    sizer.set(RUNTIME, NAME, format!("{PERCENT:#X}"), reason);
}

/// Any hard limit on the heap, or on a part of it, in the environment or in a configuration file.
fn is_set_by_user(sizer: &mut Sizer<'_>) -> bool {
    let program = sizer.program;
    if let Some(name) = program.variable_names().find(|name| is_hard_limit(name)) {
        sizer.leave(RUNTIME, &[name, b" is set"].concat());
        return true;
    }
    const SETTING: &[u8] = b"System.GC.HeapHardLimit";
    let sets = |text: &[u8]| text.windows(SETTING.len()).any(|window| window == SETTING);
    let file = program.configuration.iter().find(|file| sets(&file.text));
    if let Some(file) = file {
        sizer.leave(RUNTIME, &[&file.path, &b" sets "[..], SETTING].concat());
    }
    file.is_some()
}

fn is_hard_limit(variable: &[u8]) -> bool {
    const START: &[u8] = b"GCHeapHardLimit";
    let name = variable.strip_prefix(b"DOTNET_").or_else(|| variable.strip_prefix(b"COMPlus_"));
    // .NET does not care for case there.
    name.and_then(|name| name.get(..START.len())).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

/// Whether an executable is .NET's launcher of an application.
pub(super) fn is_host(contents: &Contents) -> bool {
    let host = match contents {
        Contents::Elf(facts) => facts.dotnet,
        _ => None,
    };
    matches!(host, Some(DotnetHost::AppHost | DotnetHost::SingleFile))
}

#[cfg(test)]
mod tests {
    use reprieve_readings::ElfFacts;

    use super::super::tests::{Case, GIB};
    use super::*;

    fn app() -> Case {
        Case::new("dotnet /app/web.dll").limit(GIB).file("/app/web.runtimeconfig.json", "{\"runtimeOptions\":{}}")
    }

    #[test]
    fn the_default_is_made_visible_in_hexadecimal() {
        app().sets(NAME, "0x4B");
        let host = ElfFacts { dotnet: Some(DotnetHost::AppHost), ..ElfFacts::default() };
        Case::elf("./web", host).limit(GIB).file("./web.runtimeconfig.json", "{}").sets(NAME, "0x4B");
        Case::named(&[Runtime::Dotnet]).limit(GIB).sets(NAME, "0x4B");
    }

    #[test]
    fn a_hard_limit_of_the_user_s_is_left_alone() {
        for variable in [
            NAME,
            "DOTNET_GCHeapHardLimit",
            "COMPlus_GCHeapHardLimitPercent",
            "DOTNET_gcHeapHardLimitSOH",
            "COMPlus_GCHeapHardLimitLOHPercent",
        ] {
            app().env(variable, "1").leaves(Runtime::Dotnet).sets_nothing(NAME);
        }
        let file = "{\"configProperties\": {\"System.GC.HeapHardLimit\": 209715200}}";
        let case = Case::new("dotnet a.dll").limit(GIB).file("a.runtimeconfig.json", file);
        case.leaves(Runtime::Dotnet).sets_nothing(NAME);
    }

    #[test]
    fn configuration_that_can_t_be_seen_is_not_overridden() {
        Case::new("dotnet a.dll").limit(GIB).leaves(Runtime::Dotnet).sets_nothing(NAME);
        let single = ElfFacts { dotnet: Some(DotnetHost::SingleFile), ..ElfFacts::default() };
        Case::elf("./app", single).limit(GIB).leaves(Runtime::Dotnet).sets_nothing(NAME);
    }

    #[test]
    fn below_its_own_minimum_nothing_is_set() {
        for limit in [0, 1 << 20, 16 << 20] {
            app().limit(limit).advises("below the 32.0 MiB").sets_nothing(NAME);
        }
        app().limit(1 << 40).sets(NAME, "0x4B");
    }
}
