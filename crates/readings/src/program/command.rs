//! Programs that only prepare something and then become, or run, another one that their arguments name.

use super::{Assignment, base_name};

/// What a wrapper does before it runs the command that it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrapped {
    /// The command that it runs.
    pub arguments: Vec<Vec<u8>>,
    /// How many of the wrapper's arguments, itself included, come before it; `None` where it was split out of one.
    pub skipped: Option<usize>,
    /// Variables that it sets, or removes where there is no value.
    pub assigned: Vec<Assignment>,
    /// Whether it throws the environment away.
    pub clears_environment: bool,
}

/// A wrapper with plain options.
struct Wrapper {
    name: &'static [u8],
    /// A word that must follow the name: `bundle exec`, but not `bundle install`.
    verb: Option<&'static [u8]>,
    /// Options that take the next argument as their value.
    with_value: &'static [&'static [u8]],
    /// Arguments of its own between options and command: the time of `timeout`.
    positional: usize,
}

const fn plain(name: &'static [u8]) -> Wrapper {
    Wrapper { name, verb: None, with_value: &[], positional: 0 }
}

const WRAPPERS: &[Wrapper] = &[
    plain(b"catatonit"),
    plain(b"dumb-init"),
    plain(b"nohup"),
    plain(b"setsid"),
    Wrapper { name: b"tini", verb: None, with_value: &[b"-p", b"-e"], positional: 0 },
    Wrapper { name: b"nice", verb: None, with_value: &[b"-n", b"--adjustment"], positional: 0 },
    Wrapper { name: b"ionice", verb: None, with_value: &[b"-c", b"--class", b"-n", b"--classdata"], positional: 0 },
    Wrapper {
        name: b"stdbuf",
        verb: None,
        with_value: &[b"-i", b"-o", b"-e", b"--input", b"--output", b"--error"],
        positional: 0,
    },
    Wrapper { name: b"timeout", verb: None, with_value: &[b"-k", b"-s", b"--kill-after", b"--signal"], positional: 1 },
    Wrapper { name: b"taskset", verb: None, with_value: &[], positional: 1 },
    Wrapper { name: b"chrt", verb: None, with_value: &[], positional: 1 },
    Wrapper { name: b"gosu", verb: None, with_value: &[], positional: 1 },
    Wrapper { name: b"s6-setuidgid", verb: None, with_value: &[], positional: 1 },
    Wrapper { name: b"setpriv", verb: None, with_value: SETPRIV, positional: 0 },
    Wrapper { name: b"su-exec", verb: None, with_value: &[], positional: 1 },
    Wrapper { name: b"bundle", verb: Some(b"exec"), with_value: &[], positional: 0 },
    Wrapper { name: b"poetry", verb: Some(b"run"), with_value: &[], positional: 0 },
    Wrapper { name: b"pipenv", verb: Some(b"run"), with_value: &[], positional: 0 },
    Wrapper { name: b"reprieve", verb: Some(b"exec"), with_value: REPRIEVE_EXEC, positional: 0 },
];

const SETPRIV: &[&[u8]] = &[
    b"--ambient-caps",
    b"--apparmor-profile",
    b"--bounding-set",
    b"--egid",
    b"--euid",
    b"--groups",
    b"--inh-caps",
    b"--pdeathsig",
    b"--regid",
    b"--reuid",
    b"--rgid",
    b"--ruid",
    b"--securebits",
    b"--selinux-label",
];

/// Reprieve's own `exec`, so that one inside another counts as one.
const REPRIEVE_EXEC: &[&[u8]] = &[b"--runtime", b"--limit", b"--worker-peak", b"--proc", b"--sys"];

/// The command that `arguments` run by way of a wrapper; `None` where they name none, or it runs nothing.
pub fn parse_wrapper(arguments: &[Vec<u8>]) -> Option<Wrapped> {
    let name = base_name(arguments.first()?);
    if name == b"env" {
        return parse_env(arguments);
    }
    let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == name)?;
    let mut at = 1;
    if let Some(verb) = wrapper.verb {
        if arguments.get(at)? != verb {
            return None;
        }
        at += 1;
    }
    let at = skip_options(arguments, at, wrapper.with_value) + wrapper.positional;
    let command = arguments.get(at..).filter(|command| !command.is_empty())?;
    Some(Wrapped { arguments: command.to_vec(), skipped: Some(at), ..Wrapped::default() })
}

/// The index behind the options that begin at `at`, and behind the `--` that ends them.
fn skip_options(arguments: &[Vec<u8>], mut at: usize, with_value: &[&[u8]]) -> usize {
    while let Some(argument) = arguments.get(at).filter(|argument| argument.starts_with(b"-")) {
        at += 1;
        if argument == b"--" {
            break;
        }
        if with_value.contains(&argument.as_slice()) {
            at += 1;
        }
    }
    at
}

/// `env [OPTION]… [NAME=VALUE]… COMMAND`, with `-S STRING`, which holds all of that in one argument.
fn parse_env(arguments: &[Vec<u8>]) -> Option<Wrapped> {
    let mut wrapped = Wrapped { skipped: Some(1), ..Wrapped::default() };
    let mut rest: Vec<Vec<u8>> = arguments.get(1..)?.to_vec();
    let mut options = true;
    loop {
        let argument = rest.first()?.clone();
        let mut taken = 1;
        if options && argument == b"--" {
            options = false;
        } else if options && argument.starts_with(b"-") {
            if let Some(text) = split_string(&argument, rest.get(1)) {
                let from = if text.in_next { 2 } else { 1 };
                rest = split_words(&text.words).into_iter().chain(rest.into_iter().skip(from)).collect();
                wrapped.skipped = None;
                continue;
            }
            taken += parse_env_option(&argument, rest.get(1), &mut wrapped);
        } else if let Some((name, value)) = parse_assignment(&argument) {
            options = false;
            wrapped.assigned.push((name.to_vec(), Some(value.to_vec())));
        } else {
            wrapped.arguments = rest;
            return Some(wrapped);
        }
        rest.drain(..taken.min(rest.len()));
        wrapped.skipped = wrapped.skipped.map(|skipped| skipped + taken);
    }
}

fn parse_assignment(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = argument.iter().position(|&byte| byte == b'=')?;
    let (name, value) = argument.split_at_checked(equals)?;
    Some((name, value.strip_prefix(b"=")?))
}

/// Takes note of one option of `env`; returns how many further arguments it takes.
fn parse_env_option(option: &[u8], next: Option<&Vec<u8>>, wrapped: &mut Wrapped) -> usize {
    match option {
        b"-" | b"-i" | b"--ignore-environment" => wrapped.clears_environment = true,
        b"-u" | b"--unset" => {
            wrapped.assigned.extend(next.map(|name| (name.clone(), None)));
            return 1;
        }
        b"-C" | b"--chdir" => return 1,
        _ => {
            let name = option.strip_prefix(b"--unset=").or_else(|| option.strip_prefix(b"-u"));
            wrapped.assigned.extend(name.map(|name| (name.to_vec(), None)));
        }
    }
    0
}

struct SplitString {
    words: Vec<u8>,
    in_next: bool,
}

fn split_string(option: &[u8], next: Option<&Vec<u8>>) -> Option<SplitString> {
    if option == b"-S" || option == b"--split-string" {
        return next.map(|words| SplitString { words: words.clone(), in_next: true });
    }
    // `-vS` is how scripts show what `env` makes of the line.
    let prefixes: [&[u8]; 3] = [b"-S", b"-vS", b"--split-string="];
    let words = prefixes.iter().find_map(|prefix| option.strip_prefix(*prefix))?;
    Some(SplitString { words: words.to_vec(), in_next: false })
}

/// Words of `env -S`, with quotes as far as a path with blanks needs them.
fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for &byte in text {
        match (byte, quote) {
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (byte, Some(open)) if byte == open => quote = None,
            (byte, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(command: &str) -> Vec<Vec<u8>> {
        command.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn check(command: &str, runs: &str, skipped: usize) {
        let wrapped = parse_wrapper(&words(command)).unwrap_or_else(|| panic!("{command} runs nothing"));
        assert_eq!((wrapped.arguments, wrapped.skipped), (words(runs), Some(skipped)), "{command}");
    }

    #[test]
    fn wrappers_run_what_follows_their_own_arguments() {
        check("nohup java -jar a.jar", "java -jar a.jar", 1);
        check("/usr/bin/tini -g -p SIGTERM -- node a.js", "node a.js", 5);
        check("nice -n 5 node a.js", "node a.js", 3);
        check("timeout -k 5 --signal=INT 60 python3 a.py", "python3 a.py", 5);
        check("gosu postgres postgres -D /data", "postgres -D /data", 2);
        check("setpriv --reuid 5 --regid=5 --clear-groups java", "java", 5);
        check("bundle exec puma -p 80", "puma -p 80", 2);
        check("reprieve exec -v --runtime jvm -- java", "java", 6);
        check("env -u HOME A=1 B=2 node a.js", "node a.js", 5);
        check("env -- node a.js", "node a.js", 2);
    }

    #[test]
    fn other_commands_are_no_wrappers() {
        for command in ["node a.js", "bundle install", "env", "env A=1", "env -i", "timeout 60", "nohup", "nice -n 5"] {
            assert_eq!(parse_wrapper(&words(command)), None, "{command}");
        }
        assert_eq!(parse_wrapper(&[]), None);
    }

    #[test]
    fn env_tells_which_variables_it_decides() {
        let wrapped = parse_wrapper(&words("env -u A --unset=B -uC -C /tmp D=1 node")).unwrap();
        let removed = |name: &[u8]| (name.to_vec(), None);
        assert_eq!(
            wrapped.assigned,
            [removed(b"A"), removed(b"B"), removed(b"C"), (b"D".to_vec(), Some(b"1".to_vec()))]
        );
        assert!(!wrapped.clears_environment);
        assert!(parse_wrapper(&words("env -i node")).unwrap().clears_environment);
        assert!(parse_wrapper(&words("env - node")).unwrap().clears_environment);
    }

    #[test]
    fn env_s_splits_its_argument() {
        let from_script = [&b"/usr/bin/env"[..], b"-S A=1 node --title='a b'", b"/app/run", b"x"].map(<[u8]>::to_vec);
        let wrapped = parse_wrapper(&from_script).unwrap();
        assert_eq!(wrapped.arguments, [&b"node"[..], b"--title=a b", b"/app/run", b"x"]);
        assert_eq!((wrapped.assigned, wrapped.skipped), (vec![(b"A".to_vec(), Some(b"1".to_vec()))], None));
        let split = [&b"env"[..], b"-S", b"deno run", b"a.ts"].map(<[u8]>::to_vec);
        assert_eq!(parse_wrapper(&split).unwrap().arguments, [&b"deno"[..], b"run", b"a.ts"]);
    }

    proptest! {
        #[test]
        fn what_is_skipped_and_what_is_run_are_the_whole_command(
            tail in proptest::collection::vec("(-[a-zA-Z-]{0,3}|[a-z=]{0,4})", 0..8),
            wrapper in 0..=WRAPPERS.len(),
        ) {
            let name = WRAPPERS.get(wrapper).map_or(&b"env"[..], |wrapper| wrapper.name);
            let tail = tail.into_iter().map(String::into_bytes);
            let arguments: Vec<Vec<u8>> = [name.to_vec()].into_iter().chain(tail).collect();
            if let Some(Wrapped { arguments: runs, skipped: Some(skipped), .. }) = parse_wrapper(&arguments) {
                prop_assert_eq!(&arguments[skipped..], &runs[..]);
                prop_assert!(skipped > 0 && !runs.is_empty());
            }
        }
    }
}
