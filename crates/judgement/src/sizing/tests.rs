//! Cases as a table writes them, and what must hold of any.

use proptest::prelude::*;
use reprieve_readings::{ConfigurationFile, Contents, ElfFacts, Step};

use super::*;

pub(super) const GIB: u64 = 1 << 30;

/// A program and what it is sized for.
#[derive(Debug, Clone)]
pub(super) struct Case {
    program: Program,
    choice: Choice,
    limit: Bytes,
    worker_peak: Option<Bytes>,
}

impl Case {
    pub(super) fn new(command: &str) -> Case {
        Case::of(command, Contents::Unknown)
    }

    pub(super) fn elf(command: &str, facts: ElfFacts) -> Case {
        Case::of(command, Contents::Elf(facts))
    }

    pub(super) fn named(runtimes: &[Runtime]) -> Case {
        let choice = Choice::Named(runtimes.to_vec());
        Case { program: Program::default(), choice, ..Case::new("") }
    }

    fn of(command: &str, contents: Contents) -> Case {
        let arguments: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let own =
            arguments.iter().position(|argument| !matches!(&argument[..], b"env" | b"-i") && !argument.contains(&b'='));
        let inner = arguments[own.unwrap_or(0)..].to_vec();
        let steps = vec![Step { arguments: inner, offset: own, contents }];
        let program = Program { arguments, steps, ..Program::default() };
        Case { program, choice: Choice::Recognised, limit: Bytes::ZERO, worker_peak: None }
    }

    pub(super) fn limit(mut self, bytes: u64) -> Case {
        self.limit = Bytes::new(bytes);
        self
    }

    pub(super) fn worker_peak(mut self, bytes: u64) -> Case {
        self.worker_peak = Some(Bytes::new(bytes));
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Case {
        self.program.environment.push((name.into(), value.into()));
        self
    }

    pub(super) fn file(mut self, path: &str, text: &str) -> Case {
        self.program.configuration.push(ConfigurationFile { path: path.into(), text: text.into() });
        self
    }

    pub(super) fn assigns(mut self, name: &str) -> Case {
        self.program.assigned.push((name.into(), Some(b"--no-warnings".to_vec())));
        self
    }

    pub(super) fn clears(mut self) -> Case {
        self.program.clears_environment = true;
        self
    }

    /// The step begins this far into the command.
    pub(super) fn offset(mut self, offset: usize) -> Case {
        self.program.steps[0].arguments = self.program.arguments[offset..].to_vec();
        self.program.steps[0].offset = Some(offset);
        self
    }

    fn judge(&self) -> Sizing {
        judge_sizing(&self.program, &self.choice, self.limit, self.worker_peak)
    }

    /// What a variable is set to.
    pub(super) fn value(&self, variable: &str) -> Option<String> {
        self.judge().settings.into_iter().find_map(|setting| match setting.change {
            SettingChange::Variable { name, value, .. } if name == variable => Some(String::from_utf8(value).unwrap()),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn sets(&self, variable: &str, value: &str) {
        assert_eq!(self.value(variable).as_deref(), Some(value), "{:#?}", self.judge());
    }

    #[track_caller]
    pub(super) fn sets_nothing(&self, variable: &str) {
        assert_eq!(self.value(variable), None, "{self:?}");
    }

    #[track_caller]
    pub(super) fn leaves(self, runtime: Runtime) -> Case {
        let sizing = self.judge();
        assert!(sizing.left.iter().any(|left| left.runtime == runtime), "{sizing:#?}");
        self
    }

    #[track_caller]
    pub(super) fn advises(&self, text: &str) -> &Case {
        let sizing = self.judge();
        assert!(sizing.advice.iter().any(|advice| advice.text.contains(text)), "{sizing:#?}");
        self
    }

    fn arguments(&self) -> Option<(usize, String)> {
        self.judge().settings.into_iter().find_map(|setting| match setting.change {
            SettingChange::Arguments { at, added } => Some((at, added.join(" "))),
            SettingChange::Variable { .. } => None,
        })
    }

    #[track_caller]
    pub(super) fn adds(&self, at: usize, arguments: &str) {
        assert_eq!(self.arguments(), Some((at, arguments.to_owned())), "{:#?}", self.judge());
    }

    #[track_caller]
    pub(super) fn adds_nothing(&self) {
        assert_eq!(self.arguments(), None);
    }
}

#[test]
fn without_a_program_all_is_set_that_harms_nobody() {
    let sizing = judge_sizing(&Program::default(), &Choice::Recognised, Bytes::new(GIB), None);
    let names: Vec<&str> = sizing.settings.iter().map(|setting| variable(setting).0).collect();
    assert_eq!(
        names,
        [
            "JAVA_TOOL_OPTIONS",
            "GOMEMLIMIT",
            "NODE_OPTIONS",
            "ERL_AFLAGS",
            "MALLOC_CONF",
            "TCMALLOC_RELEASE_RATE",
            "MALLOC_ARENA_MAX"
        ]
    );
}

#[test]
fn runtimes_that_are_named_are_the_only_ones() {
    let case = Case { choice: Choice::Named(vec![Runtime::Go]), ..Case::new("node a.js").limit(GIB) };
    case.sets("GOMEMLIMIT", "966367641");
    case.sets_nothing("NODE_OPTIONS");
    let none = Case { choice: Choice::Named(Vec::new()), ..case };
    assert_eq!(none.judge(), Sizing::default());
}

#[test]
fn added_arguments_go_to_the_server_and_the_rest_stays() {
    let case = Case::new("gosu postgres postgres -D /data").limit(GIB).offset(2);
    let arguments = case.judge().arguments(&case.program);
    assert_eq!(arguments.join(&b' '), b"gosu postgres postgres -c shared_buffers=256MB -D /data");
    assert_eq!(Sizing::default().arguments(&case.program), case.program.arguments);
}

#[test]
fn an_unknown_program_is_told_of() {
    Case::new("something").limit(GIB).advises("--runtime NAME");
}

fn variable(setting: &Setting) -> (&'static str, &[u8]) {
    match &setting.change {
        SettingChange::Variable { name, value, .. } => (name, value),
        SettingChange::Arguments { .. } => ("", b""),
    }
}

/// Words that mean something to one of the runtimes, so that random texts hit upon them.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(vec![
        "-Xmx1g",
        "-XX:MaxRAMPercentage=60",
        "-Da=b",
        "--max-old-space-size=9",
        "--max_old_space_size=9",
        "narenas:4",
        "percpu_arena:phycpu",
        ",",
        ":",
        " ",
        "\"",
        "'",
        "+Q 9",
        "off",
        "-w 3",
        "glibc.malloc.arena_max=3",
        "\n",
        "libjemalloc.so",
    ]);
    let part = prop_oneof![telling.prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn any_program() -> impl Strategy<Value = Program> {
    const VARIABLES: [&str; 14] = [
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "NODE_OPTIONS",
        "GOMEMLIMIT",
        "MALLOC_CONF",
        "_RJEM_MALLOC_CONF",
        "MALLOC_ARENA_MAX",
        "GLIBC_TUNABLES",
        "TCMALLOC_RELEASE_RATE",
        "ERL_AFLAGS",
        "ERL_FLAGS",
        "WEB_CONCURRENCY",
        "DOTNET_GCHeapHardLimitPercent",
        "LD_PRELOAD",
    ];
    let names = vec!["java", "node", "python3", "sh", "gunicorn", "postgres", "erl", "dotnet", "php-fpm", "puma", "x"];
    let environment = prop::collection::btree_map(prop::sample::select(VARIABLES.to_vec()), any_text(), 0..6);
    let arguments = (prop::sample::select(names), prop::collection::vec(any_text(), 0..4));
    let contents = prop_oneof![
        Just(Contents::Unknown),
        Just(Contents::Elf(ElfFacts { needed: vec![b"libc.so.6".to_vec()], ..ElfFacts::default() })),
        Just(Contents::Elf(ElfFacts { go: true, jemalloc: Some("_RJEM_MALLOC_CONF"), ..ElfFacts::default() })),
    ];
    let configuration = any_text().prop_map(|text| vec![ConfigurationFile { path: b"a.conf".to_vec(), text }]);
    (environment, arguments, contents, configuration).prop_map(
        |(environment, (name, rest), contents, configuration)| {
            let arguments: Vec<Vec<u8>> = [name.as_bytes().to_vec()].into_iter().chain(rest).collect();
            Program {
                steps: vec![Step { arguments: arguments.clone(), offset: Some(0), contents }],
                arguments,
                environment: environment.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect(),
                configuration,
                ..Program::default()
            }
        },
    )
}

fn any_choice() -> impl Strategy<Value = Choice> {
    let named = prop::sample::subsequence(Runtime::ALL.to_vec(), 0..=Runtime::ALL.len()).prop_map(Choice::Named);
    prop_oneof![Just(Choice::Recognised), named]
}

proptest! {
    #[test]
    fn what_the_user_has_set_is_still_there(program in any_program(), choice in any_choice(), limit: u64, peak: Option<u64>) {
        let sizing = judge_sizing(&program, &choice, Bytes::new(limit), peak.map(Bytes::new));
        for setting in &sizing.settings {
            let (name, value) = variable(setting);
            if let Some(theirs) = program.variable(name.as_bytes()).filter(|theirs| !theirs.trim_ascii().is_empty()) {
                prop_assert!(value.windows(theirs.len()).any(|part| part == theirs), "{name} lost the user's part");
                let one_value = ["GOMEMLIMIT", "MALLOC_ARENA_MAX", "TCMALLOC_RELEASE_RATE", "WEB_CONCURRENCY"];
                prop_assert!(!one_value.contains(&name), "{name} has one value, and the user gave it");
            }
        }
    }

    #[test]
    fn no_variable_is_set_twice_and_none_can_break_out(program in any_program(), limit: u64, peak: Option<u64>) {
        let sizing = judge_sizing(&program, &Choice::Recognised, Bytes::new(limit), peak.map(Bytes::new));
        let mut names: Vec<&str> = sizing.settings.iter().map(|setting| variable(setting).0).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), count);
        for setting in &sizing.settings {
            if let SettingChange::Variable { added, .. } = &setting.change {
                prop_assert!(!added.contains(|c: char| c.is_control() || "'\"$`\\".contains(c)), "{}", added);
            }
        }
    }

    #[test]
    fn a_larger_limit_never_sets_less(program in any_program(), limit: u64, more: u64) {
        let names = |limit| {
            let sizing = judge_sizing(&program, &Choice::Recognised, Bytes::new(limit), None);
            sizing.settings.iter().map(|setting| variable(setting).0).collect::<Vec<_>>()
        };
        let larger = names(limit.saturating_add(more));
        prop_assert!(names(limit).iter().all(|name| larger.contains(name)));
    }

    #[test]
    fn sizing_a_sized_environment_again_changes_nothing(program in any_program(), limit: u64) {
        let first = judge_sizing(&program, &Choice::Recognised, Bytes::new(limit), None);
        let mut sized = program;
        for setting in &first.settings {
            let (name, value) = variable(setting);
            sized.environment.retain(|(found, _)| found != name.as_bytes());
            sized.environment.push((name.as_bytes().to_vec(), value.to_vec()));
        }
        let second = judge_sizing(&sized, &Choice::Recognised, Bytes::new(limit), None);
        let again: Vec<_> = second.settings.iter().filter(|setting| matches!(setting.change, SettingChange::Variable { .. })).collect();
        prop_assert!(again.is_empty(), "{:?}", again);
    }
}
