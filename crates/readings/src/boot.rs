//! Which boot of the machine it is, so that what was remembered of another is not taken for this one's.

use std::fmt;

use crate::parse::{self, ParseError};

/// The id of one boot: `/proc/sys/kernel/random/boot_id`, which the kernel draws anew each time it starts.
///
/// Source: Documentation/admin-guide/sysctl/kernel.rst ("random"), Linux 6.18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

impl BootId {
    /// Parses a UUID of 32 hexadecimal digits, with or without its four hyphens.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        Self::parse_digits(text).ok_or_else(|| ParseError::new("a boot id, a UUID", text))
    }

    fn parse_digits(text: &[u8]) -> Option<Self> {
        let word = parse::single_word(text)?;
        let hyphens_fit = match word.len() {
            32 => true,
            36 => [8, 13, 18, 23].iter().all(|&at| word.get(at) == Some(&b'-')),
            _ => false,
        };
        let mut id = 0_u128;
        let mut digits = 0;
        for &byte in word.iter().filter(|&&byte| byte != b'-') {
            id = id << 4 | u128::from(char::from(byte).to_digit(16)?);
            digits += 1;
        }
        (hyphens_fit && digits == 32).then_some(BootId(id))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_uuid_is_an_error() {
        for text in ["", "\n", "0e1f", "0123456789abcdef0123456789abcdeg", "01234567-89ab-cdef-0123-456789abcdef0"] {
            assert!(BootId::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(BootId::parse(b"012345678-9ab-cdef-0123-456789abcdef\n").is_err(), "a hyphen too late");
    }

    proptest! {
        #[test]
        fn parse_after_print_is_identity(id: u128) {
            prop_assert_eq!(BootId::parse(format!("{}\n", BootId(id)).as_bytes()), Ok(BootId(id)));
        }

        #[test]
        fn any_bytes_do_not_panic(text: Vec<u8>) {
            let _ = BootId::parse(&text);
        }
    }
}
