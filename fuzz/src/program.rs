//! Files and commands of programs that are about to be run.

use reprieve_readings::{Shebang, parse_elf, parse_wrapper, postgres_shared_buffers};

/// The file of a program, the words of a command (one a line), or a `postgresql.conf`.
pub fn program(input: &[u8]) {
    elf(input);
    if let Some(shebang) = Shebang::parse(input) {
        assert!(input.starts_with(b"#!") && !shebang.interpreter.is_empty());
        let arguments = shebang.arguments(b"script", &[b"last".to_vec()]);
        assert_eq!(arguments.len(), 3 + usize::from(shebang.argument.is_some()));
    }
    let words: Vec<Vec<u8>> = input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    if let Some(wrapped) = parse_wrapper(&words) {
        assert!(!wrapped.arguments.is_empty());
        if let Some(skipped) = wrapped.skipped {
            assert_eq!(words.get(skipped..), Some(&wrapped.arguments[..]), "the command is not the rest of it");
        }
    }
    if let Some(value) = postgres_shared_buffers(input) {
        assert!(!value.is_empty() && !value.contains(&b'\n'));
    }
}

fn elf(input: &[u8]) {
    let mut asked = 0_u64;
    let facts = parse_elf(|offset, length| {
        asked += length as u64;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(input.len());
        input.get(start..start.saturating_add(length).min(input.len())).unwrap_or_default().to_vec()
    });
    assert!(asked <= 33 << 20, "{asked} bytes were asked for");
    if let Some(facts) = facts {
        assert!(input.starts_with(b"\x7fELF"));
        assert!(facts.needed.iter().all(|name| !name.is_empty() && name.len() <= 256 && !name.contains(&0)));
    }
}
