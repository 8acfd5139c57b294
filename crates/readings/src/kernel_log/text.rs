//! The steps that the lines of a report share: splitting at words, and numbers as printk's formats write them.

use crate::Bytes;
use crate::parse::decimal;

/// Splits at the first `separator`.
pub(crate) fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    // Comparing first bytes first makes this several times faster, and every record of the kernel comes by here.
    let is_separator = |window: &[u8]| window.first() == separator.first() && window == separator;
    split_at(text, text.windows(separator.len()).position(is_separator)?, separator.len())
}

/// Splits at the last `separator`.
pub(crate) fn rsplit_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    split_at(text, text.windows(separator.len()).rposition(|window| window == separator)?, separator.len())
}

fn split_at(text: &[u8], at: usize, length: usize) -> Option<(&[u8], &[u8])> {
    Some((text.get(..at)?, text.get(at + length..)?))
}

/// `123kB`, which are KiB.
pub(crate) fn kilobytes(text: &[u8]) -> Option<Bytes> {
    decimal(text.strip_suffix(b"kB")?).map(Bytes::from_kib)
}

pub(crate) fn process_id(text: &[u8]) -> Option<u32> {
    u32::try_from(decimal(text)?).ok()
}

/// A user id; some formats print it as a signed number.
pub(crate) fn user_id(text: &[u8]) -> Option<u32> {
    match text.strip_prefix(b"-") {
        Some(digits) => decimal(digits).and_then(|value| u32::try_from(value).ok()).map(u32::wrapping_neg),
        None => decimal(text).and_then(|value| u32::try_from(value).ok()),
    }
}
