//! The first line of a script.

/// The interpreter that a script names, as the kernel reads it (`load_script`, fs/binfmt_script.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shebang {
    /// The path of the interpreter.
    pub interpreter: Vec<u8>,
    /// What follows on the line: one argument, however many words it has.
    pub argument: Option<Vec<u8>>,
}

impl Shebang {
    /// As many bytes of a file as the kernel looks at (`BINPRM_BUF_SIZE`, 256 since Linux 5.1).
    pub const HEAD: usize = 256;

    /// Parses the beginning of a file; `None` where it is no script that names an interpreter.
    pub fn parse(head: &[u8]) -> Option<Shebang> {
        let head = head.get(..Self::HEAD).unwrap_or(head);
        let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n' || byte == 0).next()?;
        let line = trim(line);
        let end = line.iter().position(|&byte| is_blank(byte)).unwrap_or(line.len());
        let (interpreter, argument) = line.split_at_checked(end)?;
        let argument = trim(argument);
        (!interpreter.is_empty()).then(|| Shebang {
            interpreter: interpreter.to_vec(),
            argument: (!argument.is_empty()).then(|| argument.to_vec()),
        })
    }

    /// The arguments that the interpreter gets when the script is called `path` with `rest`.
    pub fn arguments(&self, path: &[u8], rest: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let own = [Some(&self.interpreter), self.argument.as_ref()];
        own.into_iter().flatten().cloned().chain([path.to_vec()]).chain(rest.iter().cloned()).collect()
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(head: &[u8], interpreter: &[u8], argument: Option<&[u8]>) {
        let expected = Shebang { interpreter: interpreter.to_vec(), argument: argument.map(<[u8]>::to_vec) };
        assert_eq!(Shebang::parse(head), Some(expected), "{}", head.escape_ascii());
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        check(b"#!/bin/sh\necho", b"/bin/sh", None);
        check(b"#! \t/usr/bin/env  node \n", b"/usr/bin/env", Some(b"node"));
        check(b"#!/usr/bin/env -S node --no-warnings\n", b"/usr/bin/env", Some(b"-S node --no-warnings"));
        check(b"#!/bin/sh", b"/bin/sh", None);
    }

    #[test]
    fn what_names_no_interpreter_is_no_script() {
        for head in [&b""[..], b"#", b"#!", b"#!\n", b"#!  \n/bin/sh", b"# !/bin/sh\n", b"\x7fELF", b"#!\0/bin/sh"] {
            assert_eq!(Shebang::parse(head), None, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn the_interpreter_gets_the_script_and_its_arguments() {
        let shebang = Shebang::parse(b"#!/usr/bin/env node\n").unwrap();
        let arguments = shebang.arguments(b"/usr/bin/npm", &[b"start".to_vec()]);
        assert_eq!(arguments, [&b"/usr/bin/env"[..], b"node", b"/usr/bin/npm", b"start"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_blanks_around(head: Vec<u8>) {
            let head = [b"#!", &head[..]].concat();
            if let Some(shebang) = Shebang::parse(&head) {
                prop_assert!(!shebang.interpreter.iter().any(|&byte| is_blank(byte)));
                prop_assert!(shebang.argument.is_none_or(|argument| trim(&argument) == argument));
            }
        }
    }
}
