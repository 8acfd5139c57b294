//! Which runtimes does a program use?
//!
//! By the name under which each step is called, by what its executable shows, and by the allocator that is preloaded. A
//! shell may start anything: it gets all settings that harm no other program, unless a name on the way says what it is.

use reprieve_readings::{Contents, Program, Step};

use super::{Runtime, allocators, dotnet, postgres, workers};

/// A runtime, and how it was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The runtime.
    pub runtime: Runtime,
    /// How, as a phrase.
    pub by: String,
}

/// Names of programs. A name ends where a version begins: `python3.11` is `python`.
const NAMES: &[(&[u8], Runtime)] = &[
    (b"java", Runtime::Jvm),
    (b"javac", Runtime::Jvm),
    (b"jshell", Runtime::Jvm),
    (b"node", Runtime::Node),
    (b"nodejs", Runtime::Node),
    (b"dotnet", Runtime::Dotnet),
    (b"python", Runtime::Python),
    (b"pypy", Runtime::Python),
    (b"ruby", Runtime::Ruby),
    (b"php-fpm", Runtime::PhpFpm),
    (b"erl", Runtime::Erlang),
    (b"erlexec", Runtime::Erlang),
    (b"beam.smp", Runtime::Erlang),
    (b"elixir", Runtime::Erlang),
    (b"iex", Runtime::Erlang),
    (b"mix", Runtime::Erlang),
    (b"rabbitmq-server", Runtime::Erlang),
];

/// Libraries that are a runtime, by the beginning of their names.
const LIBRARIES: &[(&[u8], Runtime)] = &[
    (b"libjli.so", Runtime::Jvm),
    (b"libjvm.so", Runtime::Jvm),
    (b"libnode.so", Runtime::Node),
    (b"libpython", Runtime::Python),
    (b"libruby", Runtime::Ruby),
];

const SHELLS: &[&[u8]] = &[b"sh", b"bash", b"dash", b"ash", b"busybox", b"ksh", b"mksh", b"zsh"];

/// The runtimes of a program, each once.
pub fn recognise(program: &Program) -> Vec<Recognised> {
    let mut all = Found(Vec::new());
    for step in &program.steps {
        if let Some(runtime) = by_name(step) {
            all.push(runtime, "its name".into());
        }
        by_contents(step, &mut all);
    }
    let shell = program.steps.last().is_some_and(is_shell);
    for (runtime, by) in allocators::recognise(program) {
        all.push(runtime, by.into());
    }
    if all.0.iter().all(|found| is_allocator(found.runtime)) && (shell || program.steps.is_empty()) {
        let by = if shell { "a shell may start it" } else { "no program was given" };
        Runtime::HARMLESS.iter().for_each(|&runtime| all.push(runtime, by.into()));
    }
    all.0
}

struct Found(Vec<Recognised>);

impl Found {
    fn push(&mut self, runtime: Runtime, by: String) {
        if !self.0.iter().any(|found| found.runtime == runtime) {
            self.0.push(Recognised { runtime, by });
        }
    }
}

fn is_allocator(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Glibc | Runtime::Jemalloc | Runtime::Tcmalloc)
}

fn by_name(step: &Step) -> Option<Runtime> {
    if postgres::is_server(step) {
        return Some(Runtime::Postgres);
    }
    let name = without_version(step.name());
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, runtime)| *runtime);
    known.or_else(|| workers::runtime_of(step))
}

/// `python3.11`, `php-fpm8.2`, `ruby3.1`, `node-20`.
fn without_version(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| !byte.is_ascii_digit() && *byte != b'.' && *byte != b'-');
    name.get(..end.map_or(0, |last| last + 1)).unwrap_or_default()
}

fn by_contents(step: &Step, all: &mut Found) {
    let Contents::Elf(facts) = &step.contents else { return };
    if facts.go {
        all.push(Runtime::Go, "the Go linker's build id".into());
    }
    if facts.node {
        all.push(Runtime::Node, "the symbol node::Start".into());
    }
    if dotnet::is_host(&step.contents) {
        all.push(Runtime::Dotnet, "the marker of .NET's launcher".into());
    }
    for (start, runtime) in LIBRARIES {
        if let Some(library) = facts.needed.iter().find(|library| library.starts_with(start)) {
            all.push(*runtime, format!("{}, which it needs", reprieve_readings::Escaped(library)));
        }
    }
}

fn is_shell(step: &Step) -> bool {
    SHELLS.contains(&step.name().strip_prefix(b"-").unwrap_or(step.name())) || step.contents == Contents::Text
}

#[cfg(test)]
mod tests {
    use reprieve_readings::{DotnetHost, ElfFacts, Shebang};

    use super::*;

    fn step(name: &str, contents: Contents) -> Step {
        Step { arguments: vec![name.as_bytes().to_vec()], offset: Some(0), contents }
    }

    fn script(name: &str, line: &str) -> Step {
        step(name, Contents::Script(Shebang::parse(line.as_bytes()).unwrap()))
    }

    fn glibc() -> ElfFacts {
        ElfFacts { needed: vec![b"libc.so.6".to_vec()], ..ElfFacts::default() }
    }

    fn check(steps: Vec<Step>, expected: &[Runtime]) {
        let program = Program { steps, ..Program::default() };
        let found: Vec<Runtime> = recognise(&program).into_iter().map(|found| found.runtime).collect();
        assert_eq!(found, expected, "{program:?}");
    }

    #[test]
    fn names_are_recognised_with_and_without_versions() {
        for (name, runtime) in [
            ("/usr/bin/java", Runtime::Jvm),
            ("nodejs", Runtime::Node),
            ("dotnet", Runtime::Dotnet),
            ("python3.11", Runtime::Python),
            ("pypy3", Runtime::Python),
            ("ruby3.1", Runtime::Ruby),
            ("php-fpm8.2", Runtime::PhpFpm),
            ("php-fpm", Runtime::PhpFpm),
            ("beam.smp", Runtime::Erlang),
            ("rabbitmq-server", Runtime::Erlang),
            ("postgres", Runtime::Postgres),
            ("gunicorn", Runtime::Python),
            ("puma", Runtime::Ruby),
        ] {
            check(vec![step(name, Contents::Unknown)], &[runtime]);
        }
        for name in ["javascript", "noded", "3.11", "", "goose", "pg_dump"] {
            check(vec![step(name, Contents::Unknown)], &[]);
        }
    }

    #[test]
    fn executables_are_recognised_by_what_is_in_them() {
        let elf = |facts| vec![step("server", Contents::Elf(facts))];
        check(elf(ElfFacts { go: true, ..ElfFacts::default() }), &[Runtime::Go]);
        check(elf(ElfFacts { node: true, ..glibc() }), &[Runtime::Node, Runtime::Glibc]);
        let host = ElfFacts { dotnet: Some(DotnetHost::SingleFile), ..glibc() };
        check(elf(host), &[Runtime::Dotnet, Runtime::Glibc]);
        for (library, runtime) in [
            ("libjli.so", Runtime::Jvm),
            ("libpython3.11.so.1.0", Runtime::Python),
            ("libruby-3.1.so.3.1", Runtime::Ruby),
            ("libjemalloc.so.2", Runtime::Jemalloc),
            ("libtcmalloc.so.4", Runtime::Tcmalloc),
        ] {
            check(elf(ElfFacts { needed: vec![library.as_bytes().to_vec()], ..ElfFacts::default() }), &[runtime]);
        }
        check(elf(ElfFacts::default()), &[]);
    }

    #[test]
    fn a_chain_tells_all_that_its_steps_tell() {
        let npm = script("npm", "#!/usr/bin/env node\n");
        let env = step("env", Contents::Elf(glibc()));
        let node = step("node", Contents::Elf(glibc()));
        check(vec![npm, env, node], &[Runtime::Node, Runtime::Glibc]);
    }

    #[test]
    fn a_shell_gets_what_harms_nobody_unless_a_name_tells_more() {
        let shell = || step("/bin/sh", Contents::Elf(glibc()));
        let all = [
            Runtime::Glibc,
            Runtime::Jvm,
            Runtime::Go,
            Runtime::Node,
            Runtime::Erlang,
            Runtime::Jemalloc,
            Runtime::Tcmalloc,
        ];
        check(vec![script("docker-entrypoint.sh", "#!/bin/sh\n"), shell()], &all);
        check(vec![script("elixir", "#!/bin/sh\n"), shell()], &[Runtime::Erlang, Runtime::Glibc]);
        check(vec![script("python3", "#!/bin/sh\n"), shell()], &[Runtime::Python, Runtime::Glibc]);
        check(vec![step("text", Contents::Text)], &Runtime::HARMLESS);
        check(vec![], &Runtime::HARMLESS);
    }

    #[test]
    fn a_preloaded_allocator_is_in_the_place_of_glibc_s() {
        for (preload, runtime) in
            [("/usr/lib/libjemalloc.so.2", Runtime::Jemalloc), ("a.so:libtcmalloc.so.4", Runtime::Tcmalloc)]
        {
            let environment = vec![(b"LD_PRELOAD".to_vec(), preload.as_bytes().to_vec())];
            let steps = vec![step("nginx", Contents::Elf(glibc()))];
            let found = recognise(&Program { environment, steps, ..Program::default() });
            assert_eq!(found, [Recognised { runtime, by: "LD_PRELOAD".into() }]);
        }
    }
}
