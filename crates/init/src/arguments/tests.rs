//! Tests of the command line.

use super::*;
use crate::options::{OnOomKill, VictimChoice};

fn options(arguments: &[&str]) -> Result<Options, String> {
    with_environment(arguments, &[])
}

fn with_environment(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Options, String> {
    let variable = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    match read(arguments.iter().map(OsString::from), variable)? {
        Request::Run(options) => Ok(*options),
        Request::Print(text) => Err(text),
    }
}

#[test]
fn what_tini_takes_is_taken() {
    let tini = options(&["-s", "-p", "SIGKILL", "-vvv", "-wg", "-e", "143", "-e0", "--", "cat", "-n"]).unwrap();
    assert!(tini.subreaper && tini.warn_on_reap && tini.kill_group);
    assert_eq!((tini.parent_death_signal.unwrap().number(), tini.verbosity), (9, 4));
    assert_eq!(tini.expected_codes, [143, 0]);
    assert_eq!(tini.command, ["cat", "-n"]);
    // Options end with the program's name, and what follows is the program's.
    assert_eq!(options(&["cat", "--", "-s"]).unwrap().command, ["cat", "--", "-s"]);
    assert_eq!(options(&["-"]).unwrap().command, ["-"]);
}

#[test]
fn a_mistake_is_one_line() {
    for (arguments, message) in [
        (&["--nope"][..], "there is no option --nope; see --help"),
        (&["-gx"], "there is no option -x; see --help"),
        (&["-\x1b"], "there is no option -\\x1b; see --help"),
        (&["-e"], "-e takes a value: -e CODE"),
        (&["-e", "300"], "-e 300: give an exit code from 0 to 255"),
        (&["--grace"], "--grace takes a value: --grace TIME"),
        (&["--subreaper=1"], "--subreaper takes no value"),
        (&["--warn", "10%:hook", "x"], "--warn names the step hook, and there is no --hook COMMAND to run"),
        (&["--hook", "x", "y"], "--hook is never run without --warn WHEN"),
        (
            &["--protect-main", "--sacrifice-main", "x"],
            "--protect-main and --sacrifice-main exclude each other; leave one of them out",
        ),
        (&[], "name the program to run, as in: reprieve-init -- PROGRAM; see --help"),
    ] {
        assert_eq!(options(arguments).unwrap_err(), message);
    }
}

#[test]
fn the_environment_is_read_and_the_command_line_overrules_it() {
    let environment = [
        ("REPRIEVE_INIT_KILL_PROCESS_GROUP", "1"),
        ("REPRIEVE_INIT_SUBREAPER", "0"),
        ("REPRIEVE_INIT_WARN", "10% 2s:stop"),
        ("REPRIEVE_INIT_ON_OOM_KILL", "exit"),
        ("REPRIEVE_INIT_VERBOSE", "2"),
    ];
    let read = with_environment(&["--on-oom-kill=restart", "x"], &environment).unwrap();
    assert!(read.kill_group && !read.subreaper);
    assert_eq!((read.rungs.len(), read.verbosity), (2, 3));
    assert_eq!(read.on_oom_kill, OnOomKill::Restart);
    // What can be repeated is replaced, and not added to.
    let read = with_environment(&["-v", "--warn", "5%", "x"], &environment).unwrap();
    assert_eq!((read.rungs.len(), read.verbosity), (1, 2));
    let read = with_environment(&["--sacrifice-main", "x"], &[("REPRIEVE_INIT_PROTECT_MAIN", "1")]).unwrap();
    assert_eq!(read.victim, Some(VictimChoice::SacrificeMain));
    let error = with_environment(&["x"], &[("REPRIEVE_INIT_GRACE", "1\n")]).unwrap_err();
    assert_eq!(error, "REPRIEVE_INIT_GRACE=1\\n: give a time up to a day, such as 10s, 500ms or 2m");
}

#[test]
fn steps_that_are_not_named_are_those_that_are_set_up() {
    let plain = options(&["--warn", "10%", "x"]).unwrap();
    let steps = plain.steps_of(0);
    assert!(steps.signal && steps.notify && !steps.hook && !steps.unready && !steps.stop);
    let more = options(&["--warn", "10%", "--hook", "y", "--ready-file", "/f", "--pressure-socket", "", "x"]).unwrap();
    let steps = more.steps_of(0);
    assert!(steps.signal && !steps.notify && steps.hook && steps.unready && !steps.stop);
}

#[test]
fn the_help_fits_on_a_screen_and_names_all() {
    let help = options(&["--help"]).unwrap_err();
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{}", flag.long))));
}
