//! Pressure stall information: how much time was lost waiting for memory.

use std::time::Duration;

use crate::parse::{self, ParseError};

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Share of the last 10 seconds, in percent.
    pub average_10s: f32,
    /// Share of the last minute, in percent.
    pub average_60s: f32,
    /// Share of the last five minutes, in percent.
    pub average_300s: f32,
    /// All stall time so far.
    pub total: Duration,
}

/// A pressure file: `memory.pressure` of a cgroup, or `/proc/pressure/memory`.
///
/// Source: Documentation/accounting/psi.rst, Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Time in which some task waited.
    pub some: Stall,
    /// Time in which all tasks waited at once.
    pub full: Option<Stall>,
}

impl Pressure {
    /// Parses a pressure file.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut some = None;
        let mut full = None;
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let error = || ParseError::new("a line `some|full avg10=… avg60=… avg300=… total=…`", line);
            let mut words = line.split(|&byte| byte == b' ');
            let kind = words.next().unwrap_or_default();
            let stall = parse_stall(words).ok_or_else(error)?;
            match kind {
                b"some" => some = Some(stall),
                b"full" => full = Some(stall),
                _ => return Err(error()),
            }
        }
        let some = some.ok_or_else(|| ParseError::new("a line `some avg10=…`", text))?;
        Ok(Pressure { some, full })
    }
}

fn parse_stall<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Stall> {
    let mut stall = Stall::default();
    let mut total = None;
    for word in words {
        let equals = word.iter().position(|&byte| byte == b'=')?;
        let (key, value) = word.split_at_checked(equals)?;
        let value = value.strip_prefix(b"=")?;
        match key {
            b"avg10" => stall.average_10s = percent(value)?,
            b"avg60" => stall.average_60s = percent(value)?,
            b"avg300" => stall.average_300s = percent(value)?,
            b"total" => total = Some(Duration::from_micros(parse::decimal(value)?)),
            _ => {}
        }
    }
    stall.total = total?;
    Some(stall)
}

fn percent(digits: &[u8]) -> Option<f32> {
    let value: f32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (0.0..=100.0).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_lines() {
        let pressure = Pressure::parse(
            b"some avg10=1.50 avg60=0.25 avg300=100.00 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=89\n",
        )
        .unwrap();
        assert_eq!(pressure.some.average_10s, 1.5);
        assert_eq!(pressure.some.average_300s, 100.0);
        assert_eq!(pressure.some.total, Duration::from_micros(1_234_567));
        assert_eq!(pressure.full.unwrap().total, Duration::from_micros(89));
    }

    #[test]
    fn malformed_text_is_an_error() {
        for text in [
            &b""[..],
            b"full avg10=0.00 avg60=0.00 avg300=0.00 total=89\n",
            b"some avg10=NaN avg60=0.00 avg300=0.00 total=1\n",
            b"some avg10=-1 avg60=0.00 avg300=0.00 total=1\n",
            b"some avg10=0.00 avg60=0.00 avg300=0.00\n",
            b"some avg10 total=3\n",
            b"most avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ] {
            assert!(Pressure::parse(text).is_err(), "{text:?}");
        }
    }
}
