//! Variables for those who set them: shells, files of variables, programs, and GitHub's runner.

use std::fmt;

use serde_json::{Map, Value};

/// Who will read the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentFormat {
    /// POSIX shells, by `eval`: lines of `export NAME='value'`.
    Shell,
    /// `.env` files: lines of `NAME=value`, quoted only where a value needs it, because `docker run --env-file` takes
    /// quotes for a part of the value.
    Dotenv,
    /// One JSON object of names and values.
    Json,
    /// The file that `$GITHUB_ENV` names (GitHub's documentation, "Workflow commands", multiline strings).
    Github,
}

/// A value that a format can't carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUtf8 {
    variable: String,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds bytes that are no UTF-8, which JSON can't carry; take another --format", self.variable)
    }
}

impl std::error::Error for NotUtf8 {}

/// The variables in a format, each ended by a newline. Values may hold any bytes but NUL.
///
/// # Errors
/// JSON can't carry a value that is no UTF-8.
pub fn environment_text(variables: &[(&str, &[u8])], format: EnvironmentFormat) -> Result<Vec<u8>, NotUtf8> {
    let lines =
        |line: fn(&str, &[u8]) -> Vec<u8>| variables.iter().flat_map(|(name, value)| line(name, value)).collect();
    match format {
        EnvironmentFormat::Shell => Ok(lines(shell_line)),
        EnvironmentFormat::Dotenv => Ok(lines(dotenv_line)),
        EnvironmentFormat::Github => Ok(lines(github_lines)),
        EnvironmentFormat::Json => json_object(variables),
    }
}

/// Between single quotes a shell takes everything as it is, except the quote that ends them.
fn shell_line(name: &str, value: &[u8]) -> Vec<u8> {
    let quoted = value.split(|&byte| byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]);
    [b"export ", name.as_bytes(), b"='", &quoted, b"'\n"].concat()
}

fn dotenv_line(name: &str, value: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" !%()*+,-./:;<=>?@[]^_{|}~".contains(byte);
    let value = if value.iter().all(is_plain) && value.trim_ascii() == value {
        value.to_vec()
    } else {
        let escaped = value.iter().flat_map(|&byte| match byte {
            b'\n' => b"\\n".to_vec(),
            b'\r' => b"\\r".to_vec(),
            b'"' | b'\\' | b'$' | b'`' => vec![b'\\', byte],
            _ => vec![byte],
        });
        [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
    };
    [name.as_bytes(), b"=", &value, b"\n"].concat()
}

fn github_lines(name: &str, value: &[u8]) -> Vec<u8> {
    if !value.contains(&b'\n') && !value.contains(&b'\r') {
        return [name.as_bytes(), b"=", value, b"\n"].concat();
    }
    // Grows until it is in the value nowhere, so that nothing in the value can end it.
    let mut delimiter = b"REPRIEVE".to_vec();
    while value.windows(delimiter.len()).any(|part| part == delimiter) {
        delimiter.push(b'_');
    }
    [name.as_bytes(), b"<<", &delimiter, b"\n", value, b"\n", &delimiter, b"\n"].concat()
}

fn json_object(variables: &[(&str, &[u8])]) -> Result<Vec<u8>, NotUtf8> {
    let mut object = Map::new();
    for (name, value) in variables {
        let value = std::str::from_utf8(value).map_err(|_| NotUtf8 { variable: (*name).into() })?;
        object.insert((*name).into(), Value::from(value));
    }
    Ok([Value::Object(object).to_string().as_bytes(), b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const HOSTILE: &[u8] = b"a'b\"c $HOME `id` \\ #d\n\x1b[2J'; exit 9; '\xff ";

    fn text(value: &[u8], format: EnvironmentFormat) -> Vec<u8> {
        environment_text(&[("A", value)], format).unwrap()
    }

    #[track_caller]
    fn check(value: &str, format: EnvironmentFormat, expected: &str) {
        assert_eq!(String::from_utf8(text(value.as_bytes(), format)).unwrap(), expected);
    }

    #[test]
    fn plain_values_are_readable() {
        let value = "--require /a.js --max-old-space-size=48";
        check(value, EnvironmentFormat::Shell, "export A='--require /a.js --max-old-space-size=48'\n");
        check(value, EnvironmentFormat::Dotenv, "A=--require /a.js --max-old-space-size=48\n");
        check(value, EnvironmentFormat::Json, "{\"A\":\"--require /a.js --max-old-space-size=48\"}\n");
        check(value, EnvironmentFormat::Github, "A=--require /a.js --max-old-space-size=48\n");
    }

    #[test]
    fn a_shell_gets_back_every_byte() {
        let script = [&text(HOSTILE, EnvironmentFormat::Shell)[..], b"printf %s \"$A\""].concat();
        let script = std::os::unix::ffi::OsStrExt::from_bytes(&script[..]);
        let output = Command::new("sh").args([std::ffi::OsStr::new("-c"), script]).output().unwrap();
        assert_eq!(output.stdout, HOSTILE);
        assert!(output.status.success());
    }

    #[test]
    fn what_needs_quotes_in_a_file_gets_them() {
        check("a \"b\" $c", EnvironmentFormat::Dotenv, "A=\"a \\\"b\\\" \\$c\"\n");
        check("a\nb", EnvironmentFormat::Dotenv, "A=\"a\\nb\"\n");
        check(" a", EnvironmentFormat::Dotenv, "A=\" a\"\n");
        check("a #b", EnvironmentFormat::Dotenv, "A=\"a #b\"\n");
        check("", EnvironmentFormat::Dotenv, "A=\n");
    }

    #[test]
    fn nothing_in_a_value_can_end_github_s_lines() {
        check("a\nb", EnvironmentFormat::Github, "A<<REPRIEVE\na\nb\nREPRIEVE\n");
        let value = "a\nREPRIEVE\nPATH=/evil";
        check(value, EnvironmentFormat::Github, "A<<REPRIEVE_\na\nREPRIEVE\nPATH=/evil\nREPRIEVE_\n");
    }

    #[test]
    fn json_carries_text_only() {
        check("a\n\"b\"", EnvironmentFormat::Json, "{\"A\":\"a\\n\\\"b\\\"\"}\n");
        let error = environment_text(&[("A", HOSTILE)], EnvironmentFormat::Json).unwrap_err();
        assert_eq!(error.to_string(), "A holds bytes that are no UTF-8, which JSON can't carry; take another --format");
    }

    #[test]
    fn no_variables_are_no_lines() {
        let none = |format| environment_text(&[], format).unwrap();
        assert_eq!(none(EnvironmentFormat::Shell), b"");
        assert_eq!(none(EnvironmentFormat::Json), b"{}\n");
    }
}
