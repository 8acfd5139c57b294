//! Sizing by a limit that the kernel keeps: `reprieve exec`, and `reprieve init` in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reprieve_lab::Lab;

use crate::{container, open_lab};

const LIMIT: u64 = 256 << 20;

/// What a program says that `reprieve` becomes, or runs, in a cgroup with a limit, with a setting of the user's.
fn output(lab: &Lab, program: &Path, options: &str) -> String {
    let cgroup = container(lab, LIMIT);
    let output = program.with_file_name("output");
    let script = format!("exec \"$0\" {options} -- \"$1\" --first >\"$2\" 2>\"$2.errors\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_reprieve")]).arg(program).arg(&output);
    let status = lab.spawn(&cgroup, &mut command).unwrap().wait().unwrap();
    let errors = fs::read_to_string(output.with_extension("errors")).unwrap();
    assert!(status.success(), "{status}: {errors}");
    fs::read_to_string(&output).unwrap()
}

#[test]
fn the_first_process_sets_what_exec_sets() {
    let Some(lab) = open_lab("sizing") else { return };
    let directory = tempfile::tempdir().unwrap();
    // By their names: variables for the one, arguments for the other.
    for (name, expected) in [("node", "NODE_OPTIONS=--max-old-space-size=192"), ("postgres", "shared_buffers=64MB")] {
        let program = directory.path().join(name);
        let script = "#!/bin/sh\necho \"$@\"\nenv | grep -E '^(NODE_OPTIONS|MALLOC_ARENA_MAX|GOMEMLIMIT|WEB_CONCURRENCY)=' | sort\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let executed = output(&lab, &program, "exec");
        assert_eq!(output(&lab, &program, "init -s --size-runtime"), executed, "{name}");
        assert!(executed.contains("--first") && executed.contains(expected), "{name}: {executed}");
        assert!(!output(&lab, &program, "init -s").contains(expected), "{name}");
    }
}
