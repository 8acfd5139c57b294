//! PostgreSQL takes 128 MB of shared buffers, whatever the machine.
//!
//! There is no variable for it, but `-c shared_buffers=…` (postgres(1)). It wins over `postgresql.conf`, so that file
//! is looked into; the 128MB that initdb writes there is the default and nobody's choice. A quarter of the memory is
//! the manual's starting value ("Resource Consumption").

use reprieve_readings::{Bytes, Program, Step, postgres_shared_buffers};

use super::runtime::Runtime;
use super::sizer::Sizer;

const RUNTIME: Runtime = Runtime::Postgres;
/// With a quarter of this the server starts, and not with much less.
const LEAST: Bytes = Bytes::from_mib(32);
const PERCENT: u64 = 25;
/// What initdb writes, unless it is told otherwise.
const DEFAULT: &[u8] = b"128MB";

pub(super) fn size(sizer: &mut Sizer<'_>) {
    let set_in_command = sizer.is_argument_set(RUNTIME, sizes_buffers);
    if set_in_command || is_set_in_file(sizer) || !sizer.is_enough(RUNTIME, LEAST) {
        return;
    }
    let setting = format!("shared_buffers={}MB", sizer.share(PERCENT).get() >> 20);
    let Some(server) = server(sizer.program) else {
        sizer.advise(Some(RUNTIME), format!("give the server -c {setting}: {PERCENT} % of the limit"));
        return;
    };
    if runs_no_server(server) {
        sizer.leave(RUNTIME, b"the command starts no server");
    } else if let Some(at) = server.offset {
        let reason = format!("{PERCENT} % of {}", sizer.limit);
        // Right behind the name: of two such arguments the last one counts, so the user's would win.
        sizer.add_arguments(RUNTIME, at + 1, vec!["-c".into(), setting], reason);
    }
}

/// The step that is the server itself, and whose arguments are at hand.
fn server(program: &Program) -> Option<&Step> {
    program.steps.iter().find(|step| is_server(step) && step.offset.is_some())
}

pub(super) fn is_server(step: &Step) -> bool {
    matches!(step.name(), b"postgres" | b"postmaster")
}

/// The first argument decides what else `postgres` does than serve (`main`, src/backend/main/main.c).
fn runs_no_server(step: &Step) -> bool {
    const OTHER: [&[u8]; 7] = [b"--help", b"-?", b"--version", b"-V", b"--describe-config", b"--check", b"-C"];
    let first = step.rest().first().map(Vec::as_slice).unwrap_or_default();
    OTHER.contains(&first)
        || first.starts_with(b"--single")
        || first.starts_with(b"--boot")
        || first.starts_with(b"--fork")
}

/// `-c shared_buffers=`, in one argument or two, `--shared_buffers=`, `--shared-buffers=`, and `-B`.
fn sizes_buffers(argument: &[u8]) -> bool {
    let dashed: Vec<u8> =
        argument.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }).collect();
    let setting = dashed.strip_prefix(b"__").or_else(|| dashed.strip_prefix(b"_c")).unwrap_or(&dashed);
    setting.starts_with(b"shared_buffers=") || (argument.starts_with(b"-B"))
}

fn is_set_in_file(sizer: &mut Sizer<'_>) -> bool {
    let program = sizer.program;
    let is_choice = |value: &&[u8]| !value.eq_ignore_ascii_case(DEFAULT);
    let of_file = |text| postgres_shared_buffers(text).filter(is_choice);
    let set = program.configuration.iter().find_map(|file| Some((file, of_file(&file.text)?)));
    let Some((file, value)) = set else { return false };
    sizer.leave(RUNTIME, &[&file.path, &b" sets shared_buffers to "[..], value].concat());
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    #[test]
    fn shared_buffers_are_a_quarter_of_the_limit() {
        Case::new("postgres -D /data").limit(GIB).adds(1, "-c shared_buffers=256MB");
        Case::new("/usr/lib/postgresql/15/bin/postgres").limit(1 << 40).adds(1, "-c shared_buffers=262144MB");
        Case::new("gosu postgres postgres -D /data").limit(GIB).offset(2).adds(3, "-c shared_buffers=256MB");
        Case::new("postgres").limit(32 << 20).adds(1, "-c shared_buffers=8MB");
        for limit in [0, 1 << 20, 16 << 20] {
            Case::new("postgres").limit(limit).advises("below the 32.0 MiB").adds_nothing();
        }
        Case::named(&[RUNTIME]).limit(GIB).advises("-c shared_buffers=256MB").adds_nothing();
    }

    #[test]
    fn buffers_of_the_user_s_are_left_alone() {
        for flag in [
            "-c shared_buffers=1GB",
            "-cshared_buffers=1GB",
            "--shared_buffers=1GB",
            "--shared-buffers=1GB",
            "-B 1000",
            "-B1000",
        ] {
            Case::new(&format!("postgres {flag} -D /data")).limit(GIB).leaves(RUNTIME).adds_nothing();
        }
        let of_file = |text| Case::new("postgres -D /data").limit(GIB).file("/data/postgresql.conf", text);
        of_file("shared_buffers = 1GB\n").leaves(RUNTIME).adds_nothing();
        of_file("shared_buffers = 128MB\t# min 128kB\n").adds(1, "-c shared_buffers=256MB");
        of_file("#shared_buffers = 1GB\n").adds(1, "-c shared_buffers=256MB");
        let altered =
            of_file("shared_buffers = 128MB\n").file("/data/postgresql.auto.conf", "shared_buffers = '2GB'\n");
        altered.leaves(RUNTIME).adds_nothing();
    }

    #[test]
    fn what_is_no_server_gets_no_arguments() {
        for argument in ["--version", "--single", "-V", "--describe-config", "--help", "-C"] {
            Case::new(&format!("postgres {argument}")).limit(GIB).leaves(RUNTIME).adds_nothing();
        }
    }
}
