//! Servers that fork workers: how many fit is the limit by what one worker uses at most, which only the user knows.
//!
//! gunicorn and uvicorn (their manuals, settings "workers") and Puma (its configuration DSL, "workers") take their
//! default from `WEB_CONCURRENCY`; flags and configuration files win over it. PHP-FPM knows neither a variable nor a
//! flag for `pm.max_children` (php-fpm(8): `-d` is for php.ini), but expands `${NAME}` in its files, so the number is
//! handed over in a variable of ours.

use reprieve_readings::{Bytes, Contents, Program, Step};

use super::allocators;
use super::runtime::Runtime;
use super::sizer::Sizer;

/// What PHP-FPM's main process and its shared opcode cache take.
const PHP_FPM_ITSELF: Bytes = Bytes::from_mib(50);

pub(super) fn size_server(runtime: Runtime, sizer: &mut Sizer<'_>) {
    if !allocators::is_without_glibc(sizer.program) {
        allocators::size_glibc(runtime, sizer);
    }
    let server = server_of(sizer.program).filter(|server| server.runtime == runtime);
    match (server, sizer.worker_peak) {
        (None, None) => {}
        (None, Some(_)) if !sizer.is_named() => {
            sizer.advise(Some(runtime), "this is no server known to heed WEB_CONCURRENCY; it is not set".into());
        }
        (Some(server), None) => {
            let text =
                format!("--worker-peak SIZE, the most that one worker uses, sizes the workers of {}", server.name);
            sizer.advise(Some(runtime), text);
        }
        (server, Some(peak)) => {
            let set_by_flag = server.is_some_and(|server| server.is_set_by_flag(sizer));
            let count = sizer.limit.get() / peak.get().max(1);
            set_workers(runtime, "WEB_CONCURRENCY", count, set_by_flag, sizer);
        }
    }
}

pub(super) fn size_php_fpm(sizer: &mut Sizer<'_>) {
    const NAME: &str = "REPRIEVE_MAX_CHILDREN";
    const HOW: &str = "pm.max_children = ${REPRIEVE_MAX_CHILDREN} in the pool's file takes it from there";
    match sizer.worker_peak {
        None => sizer.advise(
            Some(Runtime::PhpFpm),
            format!("--worker-peak SIZE, the most that one child uses, sizes the children: {HOW}"),
        ),
        Some(peak) => {
            let count = sizer.limit.saturating_sub(PHP_FPM_ITSELF).get() / peak.get().max(1);
            set_workers(Runtime::PhpFpm, NAME, count, false, sizer);
            sizer.advise(Some(Runtime::PhpFpm), HOW.into());
        }
    }
}

fn set_workers(runtime: Runtime, name: &'static str, count: u64, set_by_flag: bool, sizer: &mut Sizer<'_>) {
    let Some(peak) = sizer.worker_peak.filter(|_| !set_by_flag) else { return };
    if count == 0 {
        let text = format!("one worker of {peak} is more than the limit of {}; one is set nevertheless", sizer.limit);
        sizer.advise(Some(runtime), text);
    }
    let reason = format!("workers of {peak} each in {}", sizer.limit);
    sizer.set(runtime, name, count.max(1).to_string(), reason);
}

/// A server of workers that takes their number from `WEB_CONCURRENCY`.
struct Server {
    name: &'static str,
    runtime: Runtime,
    /// A variable of which it takes flags, too.
    flags: Option<&'static str>,
}

const SERVERS: &[Server] = &[
    Server { name: "gunicorn", runtime: Runtime::Python, flags: Some("GUNICORN_CMD_ARGS") },
    Server { name: "uvicorn", runtime: Runtime::Python, flags: None },
    Server { name: "puma", runtime: Runtime::Ruby, flags: None },
];

impl Server {
    fn is_set_by_flag(&self, sizer: &mut Sizer<'_>) -> bool {
        let in_command = sizer.is_argument_set(self.runtime, sets_workers);
        in_command || sizer.is_word_set(self.runtime, self.flags.as_slice(), sets_workers)
    }
}

fn sets_workers(flag: &[u8]) -> bool {
    const LONG: &[u8] = b"--workers";
    flag == LONG || flag.starts_with(b"--workers=") || (flag.starts_with(b"-w") && !flag.starts_with(b"--"))
}

/// The server that the program is, by its name or as a module of Python.
fn server_of(program: &Program) -> Option<&'static Server> {
    let by_name = |name: &[u8]| SERVERS.iter().find(|server| server.name.as_bytes() == name);
    program.steps.iter().find_map(|step| by_name(step.name()).or_else(|| python_module(step).and_then(by_name)))
}

/// The module of `python -m MODULE`.
fn python_module(step: &Step) -> Option<&[u8]> {
    let mut arguments = step.rest().iter().skip_while(|argument| *argument != b"-m");
    arguments.nth(1).map(Vec::as_slice).filter(|_| step.name().starts_with(b"python"))
}

/// The runtime of a server that a step is, where its name tells more than its file.
pub(super) fn runtime_of(step: &Step) -> Option<Runtime> {
    let server = SERVERS.iter().find(|server| server.name.as_bytes() == step.name())?;
    // A shell script by this name may start anything.
    let known = matches!(&step.contents, Contents::Script(_) | Contents::Unknown);
    known.then_some(server.runtime)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, GIB};
    use super::*;

    const PEAK: u64 = 200 << 20;

    #[test]
    fn as_many_workers_are_started_as_fit() {
        for command in [
            "gunicorn app:app",
            "python3.11 -m gunicorn app:app",
            "uvicorn app:app",
            "python -m uvicorn a:b",
            "puma -p 80",
        ] {
            let case = Case::new(command).limit(GIB);
            case.advises("--worker-peak").sets("MALLOC_ARENA_MAX", "2");
            case.sets_nothing("WEB_CONCURRENCY");
            case.worker_peak(PEAK).sets("WEB_CONCURRENCY", "5");
        }
        Case::named(&[Runtime::Python]).limit(GIB).worker_peak(PEAK).sets("WEB_CONCURRENCY", "5");
        let case = Case::new("uvicorn app:app").limit(PEAK / 2).worker_peak(PEAK);
        case.advises("more than the limit").sets("WEB_CONCURRENCY", "1");
    }

    #[test]
    fn workers_of_the_user_s_are_left_alone() {
        for flag in ["-w 3", "-w3", "--workers 3", "--workers=3"] {
            let case = Case::new(&format!("gunicorn {flag} app:app")).limit(GIB).worker_peak(PEAK);
            case.leaves(Runtime::Python).sets_nothing("WEB_CONCURRENCY");
            let case = Case::new("gunicorn app:app").limit(GIB).worker_peak(PEAK).env("GUNICORN_CMD_ARGS", flag);
            case.leaves(Runtime::Python).sets_nothing("WEB_CONCURRENCY");
        }
        let case = Case::new("puma").limit(GIB).worker_peak(PEAK).env("WEB_CONCURRENCY", "9");
        case.leaves(Runtime::Ruby).sets_nothing("WEB_CONCURRENCY");
    }

    #[test]
    fn only_servers_get_workers() {
        let case = Case::new("python3 job.py").limit(GIB).worker_peak(PEAK);
        case.advises("no server known").sets("MALLOC_ARENA_MAX", "2");
        case.sets_nothing("WEB_CONCURRENCY");
        Case::new("ruby job.rb").limit(GIB).sets("MALLOC_ARENA_MAX", "2");
    }

    #[test]
    fn php_fpm_takes_its_children_from_a_variable_if_its_file_says_so() {
        let name = "REPRIEVE_MAX_CHILDREN";
        Case::new("php-fpm -F").limit(GIB).advises("--worker-peak").sets_nothing(name);
        let case = Case::new("php-fpm8.2 -F").limit(GIB).worker_peak(64 << 20);
        case.advises("pm.max_children = ${REPRIEVE_MAX_CHILDREN}").sets(name, "15");
        for limit in [0, 1 << 20, 50 << 20] {
            Case::new("php-fpm").limit(limit).worker_peak(64 << 20).sets(name, "1");
        }
        Case::new("php-fpm").limit(GIB).worker_peak(1 << 20).env(name, "3").leaves(Runtime::PhpFpm).sets_nothing(name);
    }
}
