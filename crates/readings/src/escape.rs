//! Showing bytes that a stranger wrote.
//!
//! A process or cgroup may be named with newlines, terminal escape sequences, quotes or bytes that are no UTF-8. Every
//! such name reaches a terminal, a log line, a label or an error message through [`Escaped`] and no other way.

use std::fmt;

/// Shows bytes with everything that could act on a terminal or break a line made visible.
///
/// Printable characters stay as they are, and a backslash becomes `\\` so that the escaping can be undone. Control
/// characters (C0, DEL, C1), the invisible characters that reorder or split text (bidirectional controls, line and
/// paragraph separators, zero-width ones) and bytes that are no UTF-8 become `\n`, `\x1b`, `\u{202e}`.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            escape_str(chunk.valid(), f)?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn escape_str(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = text;
    while let Some((plain, special)) = split_at_special(rest) {
        f.write_str(plain)?;
        match special {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            _ if special.is_ascii() => write!(f, "\\x{:02x}", u32::from(special))?,
            _ => write!(f, "\\u{{{:x}}}", u32::from(special))?,
        }
        rest = rest.get(plain.len() + special.len_utf8()..).unwrap_or_default();
    }
    f.write_str(rest)
}

fn split_at_special(text: &str) -> Option<(&str, char)> {
    let (at, special) = text.char_indices().find(|&(_, character)| is_special(character))?;
    Some((text.get(..at)?, special))
}

fn is_special(character: char) -> bool {
    character == '\\'
        || character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &[u8], shown: &str) {
        assert_eq!(Escaped(raw).to_string(), shown);
    }

    #[test]
    fn plain_text_is_untouched() {
        check(b"/kubepods.slice/pod 1:\"a\"", "/kubepods.slice/pod 1:\"a\"");
        check("/größe/内存".as_bytes(), "/größe/内存");
    }

    #[test]
    fn what_could_act_is_made_visible() {
        check(b"a\nb\x1b[31mc\x7f", "a\\nb\\x1b[31mc\\x7f");
        check(b"\xff\xfe\\", "\\xff\\xfe\\\\");
        check("\u{9b}31m\u{202e}gpj\u{2028}\u{61c}".as_bytes(), "\\u{9b}31m\\u{202e}gpj\\u{2028}\\u{61c}");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(raw: Vec<u8>) {
            let shown = Escaped(&raw).to_string();
            prop_assert!(!shown.chars().any(|c| c.is_control()));
        }

        #[test]
        fn different_bytes_look_different(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(one == other, Escaped(&one).to_string() == Escaped(&other).to_string());
        }
    }
}
