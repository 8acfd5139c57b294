//! The calls in an executable that may end in a panic, from a listing by objdump(1).

use super::image::{Location, Locations};
use std::collections::{BTreeMap, BTreeSet};

/// A call from a function of ours to one that is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RiskyCall {
    pub(super) caller: String,
    pub(super) callee: String,
    /// The place that is handed over, where the callee is one of those that panic at once.
    pub(super) location: Option<Location>,
}

/// Where every panic goes.
const PANIC: &str = "core::panicking::panic_fmt";

/// Want of memory is no fault of the code. These abort, or panic at sizes that no machine has.
const OUT_OF_MEMORY: [&str; 3] =
    ["alloc::raw_vec::handle_error", "alloc::raw_vec::capacity_overflow", "alloc::alloc::handle_alloc_error"];

/// How many instructions before a call its arguments are looked for.
const NEAR: usize = 12;

struct Function<'a> {
    start: u64,
    name: &'a str,
    /// What each instruction says.
    instructions: Vec<&'a str>,
}

/// Finds calls from functions of ours to functions from which a panic can be reached by direct calls, in the output of
/// `objdump -d --no-show-raw-insn -C`. Calls by pointers are not followed.
pub(super) fn risky_calls(listing: &str, locations: &Locations) -> Vec<RiskyCall> {
    let functions = parse(listing);
    let risky = risky(&functions);
    let mut calls = Vec::new();
    for function in functions.iter().filter(|function| is_ours(function.name)) {
        for (at, instruction) in function.instructions.iter().enumerate() {
            let Some(callee) = target(instruction).and_then(|address| containing(&functions, address)) else {
                continue;
            };
            if risky.contains(&callee.start) && !is_ours(callee.name) {
                let before = function.instructions.get(at.saturating_sub(NEAR)..at).unwrap_or_default();
                let location =
                    before.iter().rev().flat_map(|text| numbers(text)).find_map(|value| locations.get(&value));
                let (caller, callee) = (function.name.to_owned(), callee.name.to_owned());
                calls.push(RiskyCall { caller, callee, location: location.cloned() });
            }
        }
    }
    calls
}

/// Link-time optimisation puts into them whatever is small enough of others.
fn is_ours(name: &str) -> bool {
    name.contains("reprieve") || name == "main"
}

fn parse(listing: &str) -> Vec<Function<'_>> {
    let mut functions: Vec<Function<'_>> = Vec::new();
    for line in listing.lines() {
        if let Some((start, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            if let Ok(start) = u64::from_str_radix(start, 16) {
                functions.push(Function { start, name, instructions: Vec::new() });
            }
        } else if let (Some(function), Some((_, text))) = (functions.last_mut(), line.split_once(":\t")) {
            function.instructions.push(text);
        }
    }
    functions.sort_by_key(|function| function.start);
    functions
}

/// The addresses of all functions from which [`PANIC`] can be reached.
fn risky(functions: &[Function<'_>]) -> BTreeSet<u64> {
    let mut callers: BTreeMap<u64, Vec<&Function<'_>>> = BTreeMap::new();
    for function in
        functions.iter().filter(|function| !OUT_OF_MEMORY.iter().any(|name| function.name.starts_with(name)))
    {
        for address in function.instructions.iter().filter_map(|text| target(text)) {
            if let Some(callee) = containing(functions, address) {
                callers.entry(callee.start).or_default().push(function);
            }
        }
    }
    let roots = functions.iter().filter(|function| function.name.starts_with(PANIC));
    let mut open: Vec<u64> = roots.map(|function| function.start).collect();
    let mut risky = BTreeSet::new();
    while let Some(start) = open.pop() {
        if risky.insert(start) {
            open.extend(callers.get(&start).into_iter().flatten().map(|function| function.start));
        }
    }
    risky
}

fn containing<'f, 'a>(functions: &'f [Function<'a>], address: u64) -> Option<&'f Function<'a>> {
    let after = functions.partition_point(|function| function.start <= address);
    functions.get(after.checked_sub(1)?)
}

/// Where a call or a jump goes, if the instruction says it: `call   4a5b60 <name>`.
fn target(instruction: &str) -> Option<u64> {
    let (operation, operand) = instruction.split_once(char::is_whitespace)?;
    if operation != "call" && !operation.starts_with('j') {
        return None;
    }
    u64::from_str_radix(operand.trim_start().split_once(" <")?.0, 16).ok()
}

/// The numbers and addresses that an instruction names: `mov $0x4bd3a8,%edx`, or `lea 0x12(%rip),%rdx  # 4bd3a8 <name>`.
fn numbers(instruction: &str) -> impl Iterator<Item = u64> {
    let immediate = instruction.split("$0x").skip(1);
    let address = instruction.split("# ").skip(1);
    immediate.chain(address).filter_map(|rest| {
        let digits = rest.split(|character: char| !character.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "
a:     file format elf64-x86-64

0000000000401000 <reprieve_init::run>:
  401000:\tmov    $0x5000,%edi
  401005:\tcall   403000 <core::option::unwrap_failed>
  40100a:\tcall   402000 <std::env::vars_os>
  40100f:\tcall   404000 <std::harmless>
  401014:\tjmp    401000 <reprieve_init::run>

0000000000402000 <std::env::vars_os>:
  402000:\tjne    403004 <core::option::unwrap_failed+0x4>

0000000000403000 <core::option::unwrap_failed>:
  403000:\tcall   405000 <core::panicking::panic_fmt>

0000000000404000 <std::harmless>:
  404000:\tcall   406000 <alloc::raw_vec::handle_error>

0000000000405000 <core::panicking::panic_fmt>:
  405000:\tud2

0000000000406000 <alloc::raw_vec::handle_error>:
  406000:\tcall   405000 <core::panicking::panic_fmt>
";

    #[test]
    fn finds_what_can_panic_and_where() {
        let location = Location { file: "crates/a.rs".into(), line: 7 };
        let calls = risky_calls(LISTING, &Locations::from([(0x5000, location.clone())]));
        let call = |callee: &str| RiskyCall {
            caller: "reprieve_init::run".into(),
            callee: callee.into(),
            location: Some(location.clone()),
        };
        // The place is the nearest one before the call, whosever it is.
        assert_eq!(calls, [call("core::option::unwrap_failed"), call("std::env::vars_os")]);
    }
}
