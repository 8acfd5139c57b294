//! Finding out what a command will run.
//!
//! [`read_program`] follows a command through `PATH`, wrappers and `#!` lines to the executable that will hold the
//! memory, and reads no more of each file than the parsers of `readings` ask for. Nothing that it fails to read is an
//! error: a program whose file can't be looked into is still run, it is only known less well.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use reprieve_readings::{
    ConfigurationFile, Contents, Program, Shebang, Step, configuration_paths, parse_elf, parse_wrapper,
};
use rustix::fs::{FileType, Mode, OFlags};

use crate::file;

/// More wrappers and scripts than anybody stacks: `a.sh` may name itself as its interpreter.
const MOST_STEPS: usize = 12;
/// What `execvp` searches where `PATH` is not set (`confstr(_CS_PATH)` of glibc).
pub(crate) const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// The most that is read of a configuration file.
const LARGEST_CONFIGURATION: usize = 1024 * 1024;

/// Reads what the command `arguments` will run in `environment`. Without arguments there is only the environment.
pub fn read_program(arguments: Vec<OsString>, environment: impl Iterator<Item = (OsString, OsString)>) -> Program {
    let mut program = Program {
        arguments: arguments.into_iter().map(OsString::into_vec).collect(),
        environment: environment.map(|(name, value)| (name.into_vec(), value.into_vec())).collect(),
        ..Program::default()
    };
    follow_steps(&mut program);
    program.configuration = configuration_paths(&program).into_iter().filter_map(read_configuration).collect();
    program
}

fn follow_steps(program: &mut Program) {
    let mut arguments = program.arguments.clone();
    let mut offset = Some(0);
    while let Some(name) = arguments.first().filter(|_| program.steps.len() < MOST_STEPS) {
        let found = find(name, program.variable(b"PATH").unwrap_or(DEFAULT_PATH));
        let contents = found.as_ref().map_or(Contents::Unknown, |found| read_contents(&found.file));
        let step = Step { arguments, offset, contents };
        let next = if let Some(wrapped) = parse_wrapper(&step.arguments) {
            program.assigned.extend(wrapped.assigned);
            program.clears_environment |= wrapped.clears_environment;
            offset = offset.zip(wrapped.skipped).map(|(before, skipped)| before + skipped);
            wrapped.arguments
        } else if let (Contents::Script(shebang), Some(found)) = (&step.contents, found) {
            offset = None;
            shebang.arguments(&found.path, step.rest())
        } else {
            Vec::new()
        };
        program.steps.push(step);
        arguments = next;
    }
}

pub(crate) struct Found {
    pub(crate) path: Vec<u8>,
    pub(crate) file: OwnedFd,
}

/// The first regular file by this name that can be read, searched as `execvp` does: a name with a slash is a path.
pub(crate) fn find(name: &[u8], path: &[u8]) -> Option<Found> {
    if name.contains(&b'/') {
        return open_regular(name).map(|file| Found { path: name.to_vec(), file });
    }
    path.split(|&byte| byte == b':').find_map(|directory| {
        let directory = if directory.is_empty() { b"." } else { directory };
        let path = [directory, b"/", name].concat();
        let executable = rustix::fs::access(as_path(&path), rustix::fs::Access::EXEC_OK).is_ok();
        let file = open_regular(&path).filter(|_| executable)?;
        Some(Found { path, file })
    })
}

fn open_regular(path: &[u8]) -> Option<OwnedFd> {
    // NOCTTY: a stranger's path may be a terminal.
    let opened = rustix::fs::open(as_path(path), file::OPEN | OFlags::NOCTTY, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened).ok()?.st_mode);
    (kind == FileType::RegularFile).then_some(opened)
}

pub(crate) fn read_contents(file: &OwnedFd) -> Contents {
    let head = read_at(file, 0, Shebang::HEAD);
    if let Some(shebang) = Shebang::parse(&head) {
        return Contents::Script(shebang);
    }
    match parse_elf(|offset, length| read_at(file, offset, length)) {
        Some(facts) => Contents::Elf(facts),
        None if head.contains(&0) => Contents::Unknown,
        None => Contents::Text,
    }
}

/// The bytes from `offset` on: fewer at the file's end, none where it can't be read.
fn read_at(file: impl AsFd, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file::retry_interrupted(|| rustix::io::pread(&file, &mut *rest, offset.saturating_add(filled as u64))) {
            Ok(read) if read > 0 => filled += read,
            _ => break,
        }
    }
    bytes.truncate(filled);
    bytes
}

fn read_configuration(path: Vec<u8>) -> Option<ConfigurationFile> {
    let text = read_at(open_regular(&path)?, 0, LARGEST_CONFIGURATION);
    Some(ConfigurationFile { path, text })
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &[&str], path: &str) -> Program {
        let environment = [("PATH".into(), path.into())];
        read_program(command.iter().map(OsString::from).collect(), environment.into_iter())
    }

    fn write_script(directory: &Path, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_shell_is_an_executable_with_a_c_library() {
        let program = read(&["sh", "-c", "true"], "/nowhere:/bin");
        let [Step { contents: Contents::Elf(facts), offset: Some(0), .. }] = &program.steps[..] else {
            panic!("{program:?}");
        };
        assert!(facts.static_glibc || facts.needed.iter().any(|name| name.starts_with(b"lib")), "{facts:?}");
        assert!(!facts.go && facts.dotnet.is_none() && !facts.node, "{facts:?}");
    }

    #[test]
    fn this_very_test_was_not_made_by_go() {
        let program = read(&["/proc/self/exe"], "");
        assert!(
            matches!(&program.steps[..], [Step { contents: Contents::Elf(facts), .. }] if !facts.go),
            "{program:?}"
        );
    }

    #[test]
    fn scripts_and_wrappers_are_followed_to_the_executable() {
        let directory = tempfile::tempdir().unwrap();
        write_script(directory.path(), "inner", "#!/usr/bin/env -S A=1 sh -e\ntrue\n");
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let program = read(&["env", "B=2", "inner", "argument"], &path);
        let names: Vec<&[u8]> = program.steps.iter().map(Step::name).collect();
        assert_eq!(names, [&b"env"[..], b"inner", b"env", b"sh"]);
        assert_eq!(program.steps.iter().map(|step| step.offset).collect::<Vec<_>>(), [Some(0), Some(2), None, None]);
        assert_eq!((program.variable(b"A"), program.variable(b"B")), (Some(&b"1"[..]), Some(&b"2"[..])));
        let last = program.steps.last().unwrap();
        assert!(matches!(last.contents, Contents::Elf(_)), "{last:?}");
        let inner = format!("{}/inner", directory.path().display());
        assert_eq!(last.rest(), [b"-e".to_vec(), inner.into_bytes(), b"argument".to_vec()]);
    }

    #[test]
    fn a_script_that_names_itself_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("loop");
        let path = write_script(directory.path(), "loop", &format!("#!{}\n", path.display()));
        assert_eq!(read(&[&path], "").steps.len(), MOST_STEPS);
    }

    #[test]
    fn what_can_t_be_read_is_unknown() {
        for name in ["no-such-program", "/etc", "/dev/tty", "/etc/passwd/x", ""] {
            let program = read(&[name], "/usr/bin:/bin");
            assert_eq!(
                program.steps.iter().map(|step| &step.contents).collect::<Vec<_>>(),
                [&Contents::Unknown],
                "{name}"
            );
        }
        assert_eq!(read(&[], "/bin").steps, []);
        let directory = tempfile::tempdir().unwrap();
        let text = write_script(directory.path(), "text", "echo text\n");
        assert_eq!(read(&[&text], "").steps[0].contents, Contents::Text);
    }

    #[test]
    fn the_server_s_configuration_comes_along() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("postgresql.conf"), "shared_buffers = 1GB\n").unwrap();
        let program = read(&["postgres", "-D", directory.path().to_str().unwrap()], "/nowhere");
        assert_eq!(program.configuration.len(), 1, "postgresql.auto.conf is not there");
        assert_eq!(program.configuration[0].text, b"shared_buffers = 1GB\n");
    }
}
