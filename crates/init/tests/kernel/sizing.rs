//! `--size-runtime`, by a limit that the kernel keeps. crates/cli compares it with `reprieve exec`.

use crate::start_in;

#[test]
fn the_program_gets_what_fits_into_the_limit() {
    // A shell may start anything, and gets what harms nothing.
    let Some(mut container) = start_in(&["--size-runtime", "-v"], "env >$1/environment", 256 << 20) else { return };
    container.ends_with(0);
    let environment = container.read("environment");
    let value = |name: &str| environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("GOMEMLIMIT"), Some("241591910"), "90 % of 256 MiB: {environment}");
    assert_eq!(value("NODE_OPTIONS"), Some("--max-old-space-size=192"), "{environment}");
    assert_eq!(value("MALLOC_ARENA_MAX"), Some("2"), "{environment}");
    container.assert_said("--size-runtime: GOMEMLIMIT=241591910");
}

#[test]
fn without_it_nothing_is_set() {
    let Some(mut container) = start_in(&["-v"], "env >$1/environment", 256 << 20) else { return };
    container.ends_with(0);
    let environment = container.read("environment");
    assert!(!environment.contains("GOMEMLIMIT") && !environment.contains("MALLOC_ARENA_MAX"), "{environment}");
}
