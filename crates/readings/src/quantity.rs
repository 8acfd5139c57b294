//! Amounts as people and Kubernetes write them: `512Mi`, `1.5G`, `129e6`, `134217728`.

use std::num::NonZero;

use crate::bytes::Bytes;
use crate::parse::{self, ParseError};

/// Parses an amount of memory as a Kubernetes quantity
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>): a decimal number, then nothing
/// for bytes, `k` to `E` for powers of 1000, `Ki` to `Ei` for powers of 1024, `m` for thousandths, or `e` with an
/// exponent. Parts of a byte are rounded up, as Kubernetes does. There is no sign: an amount is never negative.
pub fn parse_quantity(text: &[u8]) -> Result<Bytes, ParseError> {
    let error = || ParseError::new("an amount of memory such as 512Mi or 134217728", text);
    let word = parse::single_word(text).ok_or_else(error)?;
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let (number, suffix) = word.split_at_checked(digits).ok_or_else(error)?;
    let (numerator, denominator) = factor(suffix).ok_or_else(error)?;
    let mut halves = number.splitn(2, |&byte| byte == b'.');
    let whole = halves.next().unwrap_or_default();
    let fraction = halves.next().unwrap_or_default();
    if fraction.len() > MOST_FRACTION_DIGITS || (whole.is_empty() && fraction.is_empty()) {
        return Err(error());
    }
    let part = |digits: &[u8]| if digits.is_empty() { Some(0) } else { parse::decimal(digits).map(u128::from) };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX)).ok_or_else(error)?;
    let bytes = part(whole)
        .and_then(|whole| whole.checked_mul(scale)?.checked_add(part(fraction)?))
        .and_then(|number| number.checked_mul(numerator))
        .and_then(|number| {
            let parts = NonZero::new(denominator.checked_mul(scale)?)?;
            u64::try_from(number / parts + u128::from(number % parts > 0)).ok()
        });
    bytes.map(Bytes::new).ok_or_else(error)
}

/// Kubernetes keeps at most nine.
const MOST_FRACTION_DIGITS: usize = 9;

/// What a suffix multiplies by, as a fraction.
fn factor(suffix: &[u8]) -> Option<(u128, u128)> {
    const THOUSANDS: &[u8] = b"kMGTPE";
    const BINARY: &[u8] = b"KMGTPE";
    let power = |base: u128, units: &[u8], unit: u8| {
        let exponent = units.iter().position(|&known| known == unit)? + 1;
        Some((base.pow(u32::try_from(exponent).ok()?), 1))
    };
    match suffix {
        [] => Some((1, 1)),
        b"m" => Some((1, 1000)),
        [unit, b'i'] => power(1024, BINARY, *unit),
        [unit] => power(1000, THOUSANDS, *unit),
        [b'e' | b'E', b'-', exponent @ ..] => Some((1, ten_to(exponent)?)),
        [b'e' | b'E', b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..] => Some((ten_to(exponent)?, 1)),
        _ => None,
    }
}

fn ten_to(exponent: &[u8]) -> Option<u128> {
    let exponent = parse::decimal(exponent).and_then(|exponent| u32::try_from(exponent).ok())?;
    (exponent <= 18).then(|| 10_u128.pow(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_kubernetes_writes() {
        for (text, bytes) in [
            ("134217728", 134_217_728),
            ("128Mi\n", 134_217_728),
            ("129e6", 129_000_000),
            ("129E+6", 129_000_000),
            ("1500e-3", 2),
            ("129M", 129_000_000),
            ("128974848000m", 128_974_848),
            ("1.5Gi", 1_610_612_736),
            ("0.5", 1),
            (".5Ki", 512),
            ("1E", 1_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("0", 0),
        ] {
            assert_eq!(parse_quantity(text.as_bytes()), Ok(Bytes::new(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "\n",
            "-1",
            "+1",
            "1 Mi",
            "Mi",
            ".",
            "1mi",
            "1Kb",
            "1ki",
            "1e",
            "1e99",
            "16Ei",
            "1..5",
            "max",
            "0.0000000001",
            "99999999999999999999",
            "\u{661}",
        ] {
            assert!(parse_quantity(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_after_print_is_identity(bytes: u64) {
            prop_assert_eq!(parse_quantity(bytes.to_string().as_bytes()), Ok(Bytes::new(bytes)));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse_quantity(&text);
        }
    }
}
