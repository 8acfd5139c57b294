//! Allocators keep freed memory: by arenas, whose number follows the machine's cores, and by giving it back late.
//!
//! - glibc: `MALLOC_ARENA_MAX`, else 8 arenas a core (mallopt(3)); `GLIBC_TUNABLES` may say the same.
//! - jemalloc: `MALLOC_CONF`, else 4 arenas a core and a decay of 10 s. Later pairs win over earlier ones, so only
//!   those keys are added that the user left out. One built with a prefix reads a variable with that prefix (jemalloc's
//!   INSTALL.md).
//! - gperftools' tcmalloc: `TCMALLOC_RELEASE_RATE`, 1 by default and reasonable up to 10 (its documentation).

use reprieve_readings::{Bytes, Contents, ElfFacts, Program, base_name};

use super::runtime::Runtime;
use super::sizer::{Join, Sizer, words};

/// Nothing runs in less.
const LEAST: Bytes = Bytes::from_kib(512);

pub(super) fn size_glibc(runtime: Runtime, sizer: &mut Sizer<'_>) {
    const TUNABLE: &[u8] = b"glibc.malloc.arena_max=";
    let tunables = sizer.program.variable(b"GLIBC_TUNABLES").unwrap_or_default();
    if tunables.split(|&byte| byte == b':').any(|tunable| tunable.starts_with(TUNABLE)) {
        sizer.leave(runtime, b"GLIBC_TUNABLES has glibc.malloc.arena_max");
    } else if sizer.is_enough(runtime, LEAST) {
        let reason = "arenas of glibc's malloc, instead of 8 a core".into();
        sizer.set(runtime, "MALLOC_ARENA_MAX", "2".into(), reason);
    }
}

pub(super) fn size_jemalloc(sizer: &mut Sizer<'_>) {
    if sizer.is_enough(Runtime::Jemalloc, LEAST) {
        for variable in jemalloc_variables(sizer.program) {
            size_jemalloc_by(variable, sizer);
        }
    }
}

fn size_jemalloc_by(variable: &'static str, sizer: &mut Sizer<'_>) {
    const PAIRS: [(&str, &str); 3] = [("narenas", "2"), ("dirty_decay_ms", "1000"), ("background_thread", "true")];
    let theirs = sizer.program.variable(variable.as_bytes()).unwrap_or_default();
    // Arenas by CPU, and a number of them, exclude each other.
    let excludes = |key: &str, found: &[u8]| found == key.as_bytes() || (key == "narenas" && found == b"percpu_arena");
    let is_set = |key: &str| conf_keys(theirs).any(|found| excludes(key, found));
    let (kept, added): (Vec<_>, Vec<_>) = PAIRS.into_iter().partition(|(key, _)| is_set(key));
    for (key, _) in kept {
        let found: Vec<u8> = conf_keys(theirs).find(|found| excludes(key, found)).unwrap_or_default().to_vec();
        sizer.leave(Runtime::Jemalloc, &[variable.as_bytes(), b" has ", &found].concat());
    }
    if !added.is_empty() {
        let added: Vec<String> = added.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        let reason = "fewer arenas than 4 a core, and freed memory given back after 1 s".into();
        sizer.add(Runtime::Jemalloc, variable, added.join(","), Join::After(","), reason);
    }
}

fn conf_keys(conf: &[u8]) -> impl Iterator<Item = &[u8]> {
    conf.split(|&byte| byte == b',').filter_map(|pair| pair.split(|&byte| byte == b':').next()).map(<[u8]>::trim_ascii)
}

pub(super) fn size_tcmalloc(sizer: &mut Sizer<'_>) {
    if sizer.is_enough(Runtime::Tcmalloc, LEAST) {
        let reason = "freed memory given back as fast as is reasonable".into();
        sizer.set(Runtime::Tcmalloc, "TCMALLOC_RELEASE_RATE", "10".into(), reason);
    }
}

/// The variables that the program's jemallocs read: one that is linked may have a prefix.
fn jemalloc_variables(program: &Program) -> Vec<&'static str> {
    const USUAL: &str = "MALLOC_CONF";
    let linked = executable(program).and_then(|facts| facts.jemalloc).filter(|&variable| variable != USUAL);
    if linked.is_some() && !is_preloaded(program, b"libjemalloc") { linked.into_iter().collect() } else { vec![USUAL] }
}

/// The executable at the end of the chain.
fn executable(program: &Program) -> Option<&ElfFacts> {
    match &program.steps.last()?.contents {
        Contents::Elf(facts) => Some(facts),
        _ => None,
    }
}

/// Whether `LD_PRELOAD` has a library whose file name begins so. It is a list by blanks or colons (ld.so(8)).
fn is_preloaded(program: &Program, start: &[u8]) -> bool {
    let preloaded = program.variable(b"LD_PRELOAD").unwrap_or_default();
    words(preloaded).flat_map(|word| word.split(|&byte| byte == b':')).any(|path| base_name(path).starts_with(start))
}

/// An allocator that takes the place of the C library's.
struct Replacement {
    runtime: Runtime,
    library: &'static [u8],
    is_linked: fn(&ElfFacts) -> bool,
}

const REPLACEMENTS: &[Replacement] = &[
    Replacement { runtime: Runtime::Jemalloc, library: b"libjemalloc", is_linked: |facts| facts.jemalloc.is_some() },
    Replacement { runtime: Runtime::Tcmalloc, library: b"libtcmalloc", is_linked: |facts| facts.tcmalloc },
];

/// The allocators that a program is known to use, and how that is known.
pub(super) fn recognise(program: &Program) -> Vec<(Runtime, &'static str)> {
    let facts = executable(program);
    let needs = |start: &[u8]| facts.is_some_and(|facts| facts.needed.iter().any(|name| name.starts_with(start)));
    let linked = |is_linked: fn(&ElfFacts) -> bool| facts.is_some_and(is_linked);
    let mut found = Vec::new();
    for Replacement { runtime, library, is_linked } in REPLACEMENTS {
        if is_preloaded(program, library) {
            found.push((*runtime, "LD_PRELOAD"));
        } else if needs(library) {
            found.push((*runtime, "a library that it needs"));
        } else if linked(*is_linked) {
            found.push((*runtime, "a symbol in it"));
        }
    }
    // A prefixed jemalloc does not replace malloc.
    let replaced = found.iter().any(|&(_, by)| by != "a symbol in it")
        || linked(|facts| facts.tcmalloc || facts.jemalloc == Some("MALLOC_CONF"));
    if !replaced && needs(b"libc.so.6") {
        found.push((Runtime::Glibc, "a library that it needs"));
    } else if !replaced && linked(|facts| facts.static_glibc) {
        found.push((Runtime::Glibc, "linked into it"));
    }
    found
}

/// Whether the executable is known, and has neither glibc nor, as far as can be told, anything else of its malloc.
pub(super) fn is_without_glibc(program: &Program) -> bool {
    executable(program).is_some() && !recognise(program).iter().any(|&(runtime, _)| runtime == Runtime::Glibc)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    fn needing(library: &str) -> ElfFacts {
        ElfFacts { needed: vec![library.as_bytes().to_vec()], ..ElfFacts::default() }
    }

    fn glibc() -> Case {
        Case::elf("nginx", needing("libc.so.6")).limit(GIB)
    }

    #[test]
    fn glibc_gets_two_arenas_and_musl_nothing() {
        glibc().sets("MALLOC_ARENA_MAX", "2");
        glibc().limit(1 << 40).sets("MALLOC_ARENA_MAX", "2");
        glibc().limit(1 << 20).sets("MALLOC_ARENA_MAX", "2");
        glibc().limit(0).sets_nothing("MALLOC_ARENA_MAX");
        let facts = ElfFacts { static_glibc: true, ..ElfFacts::default() };
        Case::elf("a", facts).limit(GIB).sets("MALLOC_ARENA_MAX", "2");
        Case::elf("nginx", needing("libc.musl-x86_64.so.1")).limit(GIB).sets_nothing("MALLOC_ARENA_MAX");
    }

    #[test]
    fn arenas_of_the_user_s_are_left_alone() {
        glibc().env("MALLOC_ARENA_MAX", "4").leaves(Runtime::Glibc).sets_nothing("MALLOC_ARENA_MAX");
        let tunables = "glibc.malloc.check=1:glibc.malloc.arena_max=8";
        glibc().env("GLIBC_TUNABLES", tunables).leaves(Runtime::Glibc).sets_nothing("MALLOC_ARENA_MAX");
        glibc().env("GLIBC_TUNABLES", "glibc.malloc.check=1").sets("MALLOC_ARENA_MAX", "2");
    }

    #[test]
    fn jemalloc_gets_the_keys_that_the_user_left_out() {
        let case = || glibc().env("LD_PRELOAD", "/usr/lib/a.so:/usr/lib/libjemalloc.so.2");
        case().sets("MALLOC_CONF", "narenas:2,dirty_decay_ms:1000,background_thread:true");
        case().sets_nothing("MALLOC_ARENA_MAX");
        let set = |theirs: &str, all: &str| case().env("MALLOC_CONF", theirs).sets("MALLOC_CONF", all);
        set("prof:true", "prof:true,narenas:2,dirty_decay_ms:1000,background_thread:true");
        set("narenas:8,prof:true", "narenas:8,prof:true,dirty_decay_ms:1000,background_thread:true");
        set("percpu_arena:percpu", "percpu_arena:percpu,dirty_decay_ms:1000,background_thread:true");
        let all = "background_thread:false,dirty_decay_ms:0,narenas:1";
        case().env("MALLOC_CONF", all).leaves(Runtime::Jemalloc).sets_nothing("MALLOC_CONF");
    }

    #[test]
    fn jemalloc_is_found_in_executables() {
        let pairs = "narenas:2,dirty_decay_ms:1000,background_thread:true";
        Case::elf("mariadbd", needing("libjemalloc.so.2")).limit(GIB).sets("MALLOC_CONF", pairs);
        for variable in ["MALLOC_CONF", "JE_MALLOC_CONF", "_RJEM_MALLOC_CONF"] {
            let facts = ElfFacts { jemalloc: Some(variable), ..needing("libc.so.6") };
            let case = Case::elf("redis-server", facts).limit(GIB);
            case.sets(variable, pairs);
            // With a prefix, malloc itself is still glibc's.
            assert_eq!(case.value("MALLOC_ARENA_MAX").is_some(), variable != "MALLOC_CONF", "{variable}");
        }
    }

    #[test]
    fn tcmalloc_gives_back_sooner() {
        Case::elf("a", needing("libtcmalloc_minimal.so.4")).limit(GIB).sets("TCMALLOC_RELEASE_RATE", "10");
        let linked = || Case::elf("a", ElfFacts { tcmalloc: true, ..needing("libc.so.6") }).limit(GIB);
        linked().sets("TCMALLOC_RELEASE_RATE", "10");
        linked().sets_nothing("MALLOC_ARENA_MAX");
        let case = linked().env("TCMALLOC_RELEASE_RATE", "1.5");
        case.leaves(Runtime::Tcmalloc).sets_nothing("TCMALLOC_RELEASE_RATE");
    }
}
