//! Becoming another program.
//!
//! The standard library's `exec` is `execvp`, which gives whatever the kernel can't execute to `/bin/sh`, a broken
//! binary too; the shell then looks for commands in it. So the search of `execvp` is made here, around the bare
//! `execve`.
#![allow(unsafe_code, reason = "no safe crate of ours has execve(2) and signal(2)")]

use std::ffi::{CString, NulError, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use reprieve_readings::{Contents, Escaped, Shebang};
use rustix::io::Errno;

use crate::program::{DEFAULT_PATH, find, read_contents};

/// A program that could not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecError {
    program: Vec<u8>,
    cause: Errno,
    /// What its file is, if there is one.
    contents: Option<Contents>,
}

impl ExecError {
    /// Whether there is no such program, or no interpreter of it; otherwise it is there and may not, or can't, be
    /// executed.
    pub fn is_not_found(&self) -> bool {
        self.cause == Errno::NOENT
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't run {}: ", Escaped(&self.program))?;
        match &self.contents {
            Some(Contents::Script(Shebang { interpreter, .. })) if self.is_not_found() => {
                write!(f, "its interpreter {} does not exist", Escaped(interpreter))
            }
            Some(Contents::Elf(_)) if self.is_not_found() => f.write_str("the loader it was linked for does not exist"),
            _ if self.program.is_empty() => f.write_str("its name is empty"),
            _ if self.is_not_found() && !self.program.contains(&b'/') => {
                f.write_str("no directory of PATH has such a program")
            }
            _ => write!(f, "{}", self.cause),
        }
    }
}

impl std::error::Error for ExecError {}

/// Replaces this process by the program, with the same pid, open files, and blocked and ignored signals; only SIGPIPE,
/// which Rust ignores, is set to its default. `variables` are put into the environment. The program is searched as by
/// `execvp`, and a text that names no interpreter is run by `/bin/sh`. Returns only if it can't be done.
pub fn exec(arguments: &[Vec<u8>], variables: &[(&str, &[u8])]) -> ExecError {
    let program = arguments.first().cloned().unwrap_or_default();
    let path = std::env::var_os("PATH").map_or(DEFAULT_PATH.to_vec(), OsString::into_vec);
    let cause = match Image::new(arguments, variables) {
        Ok(image) => image.search(&program, &path),
        // Arguments and variables of a process never hold a NUL.
        Err(_) => Errno::INVAL,
    };
    let contents = find(&program, &path).map(|found| read_contents(&found.file));
    ExecError { program, cause, contents }
}

/// What a program gets.
struct Image {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn new(arguments: &[Vec<u8>], variables: &[(&str, &[u8])]) -> Result<Image, NulError> {
        let inherited = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
        let inherited = inherited.filter(|(name, _)| !variables.iter().any(|(ours, _)| ours.as_bytes() == name));
        let ours = variables.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        let entry = |(name, value): (Vec<u8>, Vec<u8>)| CString::new([&name[..], b"=", &value].concat());
        Ok(Image {
            arguments: arguments.iter().cloned().map(CString::new).collect::<Result<_, _>>()?,
            environment: inherited.chain(ours).map(entry).collect::<Result<_, _>>()?,
        })
    }

    /// Tries what `execvp` tries: a name with a slash is a path; otherwise each directory of `path`, going on after
    /// those that lack the program, and saying in the end that one had it and did not allow it.
    fn search(&self, program: &[u8], path: &[u8]) -> Errno {
        if program.is_empty() {
            return Errno::NOENT;
        }
        if program.contains(&b'/') {
            return self.become_file(program);
        }
        let mut refused = None;
        for directory in path.split(|&byte| byte == b':') {
            let directory = if directory.is_empty() { b"." } else { directory };
            match self.become_file(&[directory, b"/", program].concat()) {
                Errno::ACCESS => refused = Some(Errno::ACCESS),
                Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
                other => return other,
            }
        }
        refused.unwrap_or(Errno::NOENT)
    }

    /// Executes a file; a text without `#!` by the shell. Returns why it can't be done.
    fn become_file(&self, file: &[u8]) -> Errno {
        let Ok(path) = CString::new(file) else { return Errno::INVAL };
        let cause = execve(&path, &self.arguments, &self.environment);
        let is_text = || find(file, b"").is_some_and(|found| read_contents(&found.file) == Contents::Text);
        if cause != Errno::NOEXEC || !is_text() {
            return cause;
        }
        let rest = self.arguments.iter().skip(1).cloned();
        let arguments: Vec<CString> = [SHELL.to_owned(), path].into_iter().chain(rest).collect();
        execve(SHELL, &arguments, &self.environment)
    }
}

const SHELL: &std::ffi::CStr = c"/bin/sh";

fn execve(file: &std::ffi::CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: SIG_DFL is a valid disposition of SIGPIPE, and no code of this process relies on another one from here
    // on: it ends, or writes one line to stderr and ends.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: all three are NUL-terminated: a CStr, and arrays of pointers to CStrings that outlive the call and end
    // with a null pointer.
    unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn failed(name: &str) -> ExecError {
        exec(&[name.as_bytes().to_vec()], &[])
    }

    fn file(directory: &tempfile::TempDir, name: &str, text: &[u8]) -> String {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_failure_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let script = file(&directory, "script", b"#!/no/such/interpreter\n");
        let check = |name: &str, not_found: bool, reason: &str| {
            let error = failed(name);
            assert_eq!(error.to_string(), format!("can't run {}: {reason}", Escaped(name.as_bytes())));
            assert_eq!(error.is_not_found(), not_found, "{name}");
        };
        check(&script, true, "its interpreter /no/such/interpreter does not exist");
        check("no-such-program\n", true, "no directory of PATH has such a program");
        check("", true, "its name is empty");
        check("/etc", false, "Permission denied (os error 13)");
        check(&file(&directory, "elf", b"\x7fELF\x02\x01\x01"), false, "Exec format error (os error 8)");
        check(&file(&directory, "binary", b"a\0b"), false, "Exec format error (os error 8)");
    }

    #[test]
    fn variables_take_the_place_of_inherited_ones() {
        let image = Image::new(&[b"a".to_vec()], &[("PATH", b"/x=y")]).unwrap();
        let paths: Vec<&CString> =
            image.environment.iter().filter(|entry| entry.as_bytes().starts_with(b"PATH=")).collect();
        assert_eq!(paths, [c"PATH=/x=y"]);
        assert!(Image::new(&[b"a\0".to_vec()], &[]).is_err());
    }
}
