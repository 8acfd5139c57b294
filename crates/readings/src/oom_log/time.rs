//! The forms of time that logs begin their lines with.

use std::time::Duration;

use crate::kernel_log::text::split_once;
use crate::parse::decimal;

/// A time of the form of ISO 8601, and what follows it.
#[derive(Debug)]
pub(super) struct IsoTime<'a> {
    /// `None` where there is no zone.
    pub(super) since_epoch: Option<Duration>,
    /// `dmesg --time-format iso` has a comma before the fraction, and no host and tag behind the time.
    pub(super) has_comma: bool,
    pub(super) rest: &'a [u8],
}

/// `SECONDS.MICROS`, since boot.
pub(super) fn seconds(text: &[u8]) -> Option<Duration> {
    let (seconds, micros) = split_once(text, b".")?;
    if micros.len() != 6 {
        return None;
    }
    Some(Duration::from_secs(decimal(seconds)?) + Duration::from_micros(decimal(micros)?))
}

/// What follows `Jan  2 03:04:05 `, the fraction left out or not.
pub(super) fn syslog_time(text: &[u8]) -> Option<&[u8]> {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (month, rest) = text.split_at_checked(3)?;
    if !MONTHS.chunks(3).any(|known| known == month) {
        return None;
    }
    let rest = rest.strip_prefix(b" ")?.trim_ascii_start();
    let (day, rest) = split_once(rest, b" ")?;
    decimal(day).filter(|day| (1..=31).contains(day))?;
    let (clock, rest) = split_once(rest, b" ").unwrap_or((rest, b""));
    clock_micros(clock)?;
    Some(rest)
}

/// `1700000000.123456 ` or without a fraction, and what follows.
pub(super) fn epoch(text: &[u8]) -> Option<(Duration, &[u8])> {
    let (word, rest) = split_once(text, b" ")?;
    let (seconds, micros) = split_once(word, b".").unwrap_or((word, b"0"));
    if !(9..=10).contains(&seconds.len()) || micros.len() > 6 {
        return None;
    }
    let micros = fraction_micros(micros)?;
    Some((Duration::from_secs(decimal(seconds)?) + Duration::from_micros(micros), rest))
}

/// `2024-01-02T03:04:05.678+00:00 `, with a blank for the T, and the weekday before it or not.
pub(super) fn iso_time(text: &[u8]) -> Option<IsoTime<'_>> {
    let text = match split_once(text, b" ") {
        Some((day, rest)) if day.len() == 3 && day.iter().all(u8::is_ascii_alphabetic) => rest,
        _ => text,
    };
    let (date, rest) = text.split_at_checked(10)?;
    let days = days_since_epoch(date)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
    let (word, mut rest) = split_once(rest, b" ").unwrap_or((rest, b""));
    let at = word.iter().skip(8).position(|byte| matches!(byte, b'Z' | b'+' | b'-')).map(|at| at + 8);
    let (clock, zone) = word.split_at_checked(at.unwrap_or(word.len()))?;
    let micros = clock_micros(clock)?;
    let mut offset = zone_seconds(zone);
    if let (true, Some((b"UTC", after))) = (zone.is_empty(), split_once(rest, b" ")) {
        (offset, rest) = (Some(0), after);
    }
    let since_epoch = offset.and_then(|offset| {
        let seconds = u64::try_from(days.checked_mul(86_400)?.checked_sub(offset)?).ok()?;
        Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
    });
    Some(IsoTime { since_epoch, has_comma: clock.contains(&b','), rest })
}

/// `hh:mm:ss` with or without a fraction, in microseconds.
fn clock_micros(clock: &[u8]) -> Option<u64> {
    let (hours, rest) = split_once(clock, b":")?;
    let (minutes, rest) = split_once(rest, b":")?;
    let (seconds, fraction) = rest.split_at_checked(2)?;
    let two = |digits: &[u8], limit: u64| decimal(digits).filter(|value| digits.len() == 2 && *value < limit);
    let micros = match fraction.split_first() {
        None => 0,
        Some((b'.' | b',', digits)) => fraction_micros(digits)?,
        Some(_) => return None,
    };
    let seconds = (two(hours, 24)? * 60 + two(minutes, 60)?) * 60 + two(seconds, 61)?;
    Some(seconds * 1_000_000 + micros)
}

fn fraction_micros(digits: &[u8]) -> Option<u64> {
    let digits = digits.get(..6).unwrap_or(digits);
    let scale = 10_u64.checked_pow(u32::try_from(6 - digits.len()).ok()?)?;
    Some(decimal(digits)? * scale)
}

/// `Z`, `+01:00`, `+0100`, `-05`: seconds east of UTC.
fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = zone.split_first()?;
    let sign = match sign {
        b'Z' => return digits.is_empty().then_some(0),
        b'+' => 1,
        _ => -1,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(b":").unwrap_or(minutes);
    let minutes = if minutes.is_empty() { 0 } else { decimal(minutes)? };
    let seconds = decimal(hours)?.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    i64::try_from(seconds).ok()?.checked_mul(sign)
}

/// Days from 1970 to `YYYY-MM-DD`, in the Gregorian calendar.
fn days_since_epoch(date: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let year = i64::try_from(decimal(&[*y1, *y2, *y3, *y4])?).ok()?;
    let month = i64::try_from(decimal(&[*m1, *m2])?).ok()?;
    let day = i64::try_from(decimal(&[*d1, *d2])?).ok()?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day last.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let century_years = year.rem_euclid(400);
    let day_of_era = century_years * 365 + century_years / 4 - century_years / 100 + day_of_year;
    Some(year.div_euclid(400) * 146_097 + day_of_era - 719_468)
}
