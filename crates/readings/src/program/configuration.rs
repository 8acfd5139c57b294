//! Configuration files in which a user may have set what would otherwise be sized.
//!
//! A variable or flag of ours would win over these files, so they have to be known: `runtimeconfig.json` of .NET, and
//! `postgresql.conf`.

use super::{Contents, DotnetHost, Program, Step, base_name};

/// The files that the program will read, as far as its command and environment tell.
pub fn configuration_paths(program: &Program) -> Vec<Vec<u8>> {
    let of_step = |step: &Step| match (step.name(), &step.contents) {
        (b"postgres" | b"postmaster", _) => postgres_paths(step, program),
        (b"dotnet", _) => dotnet_assembly(step).and_then(|dll| runtimeconfig(dll.strip_suffix(b".dll")?)).into(),
        (_, Contents::Elf(facts)) if facts.dotnet == Some(DotnetHost::AppHost) => {
            step.arguments.first().and_then(|path| runtimeconfig(path)).into()
        }
        _ => Paths::default(),
    };
    program.steps.iter().flat_map(|step| of_step(step).0).collect()
}

#[derive(Default)]
struct Paths(Vec<Vec<u8>>);

impl From<Option<Vec<u8>>> for Paths {
    fn from(path: Option<Vec<u8>>) -> Self {
        Paths(path.into_iter().collect())
    }
}

fn runtimeconfig(stem: &[u8]) -> Option<Vec<u8>> {
    (!base_name(stem).is_empty()).then(|| [stem, b".runtimeconfig.json"].concat())
}

/// `dotnet app.dll`, `dotnet exec app.dll`.
fn dotnet_assembly(step: &Step) -> Option<&[u8]> {
    step.rest().iter().map(Vec::as_slice).find(|argument| argument.ends_with(b".dll"))
}

fn postgres_paths(step: &Step, program: &Program) -> Paths {
    let Some(directory) = value_of(step, b"-D").or_else(|| program.variable(b"PGDATA")) else {
        return Paths::default();
    };
    let files: [&[u8]; 2] = [b"/postgresql.conf", b"/postgresql.auto.conf"];
    Paths(files.iter().map(|file| [directory, file].concat()).collect())
}

/// The value of a short option, in its own argument or the next one.
fn value_of<'a>(step: &'a Step, option: &[u8]) -> Option<&'a [u8]> {
    let mut arguments = step.rest().iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(option) {
            Some(b"") => return arguments.next().map(Vec::as_slice),
            Some(value) => return Some(value),
            None => {}
        }
    }
    None
}

/// What a `postgresql.conf` sets `shared_buffers` to; the last line that does so counts, as it does for the server.
pub fn postgres_shared_buffers(text: &[u8]) -> Option<&[u8]> {
    text.split(|&byte| byte == b'\n').filter_map(shared_buffers_of_line).next_back()
}

fn shared_buffers_of_line(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"shared_buffers";
    let line = line.split(|&byte| byte == b'#').next()?.trim_ascii();
    let (name, value) = line.split_at_checked(NAME.len())?;
    // The equals sign may be left out; a longer name is another parameter.
    let value =
        value.first().filter(|&&byte| byte == b'=' || byte.is_ascii_whitespace()).map(|_| value.trim_ascii())?;
    let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
    let value = value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'")).unwrap_or(value);
    (name.eq_ignore_ascii_case(NAME) && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::ElfFacts;
    use super::*;

    fn check(command: &str, contents: Contents, paths: &[&str]) {
        let arguments: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let program = Program {
            environment: vec![(b"PGDATA".to_vec(), b"/env".to_vec())],
            steps: vec![Step { arguments, offset: Some(0), contents }],
            ..Program::default()
        };
        let found = configuration_paths(&program);
        assert_eq!(found, paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>(), "{command}");
    }

    #[test]
    fn files_are_named_by_command_and_environment() {
        check("postgres -D /data", Contents::Unknown, &["/data/postgresql.conf", "/data/postgresql.auto.conf"]);
        check("postgres -D/data", Contents::Unknown, &["/data/postgresql.conf", "/data/postgresql.auto.conf"]);
        check("postgres -p 5433", Contents::Unknown, &["/env/postgresql.conf", "/env/postgresql.auto.conf"]);
        check("dotnet /app/web.dll --urls x", Contents::Unknown, &["/app/web.runtimeconfig.json"]);
        check("dotnet run", Contents::Unknown, &[]);
        let host = ElfFacts { dotnet: Some(DotnetHost::AppHost), ..ElfFacts::default() };
        check("./web", Contents::Elf(host), &["./web.runtimeconfig.json"]);
        check("node a.dll", Contents::Unknown, &[]);
    }

    #[test]
    fn shared_buffers_is_read_as_the_server_reads_it() {
        let check = |text: &str, value: Option<&str>| {
            assert_eq!(postgres_shared_buffers(text.as_bytes()), value.map(str::as_bytes), "{text}");
        };
        check("shared_buffers = 128MB\t\t\t# min 128kB", Some("128MB"));
        check("#shared_buffers = 1GB\n", None);
        check("shared_buffers=1GB\nSHARED_BUFFERS '2GB'\n", Some("2GB"));
        check("shared_buffers_extra = 1\nshared_buffers =\n", None);
        check("", None);
    }
}
