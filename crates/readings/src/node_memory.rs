//! The machine's own memory: `/proc/meminfo`, and the count of OOM kills in `/proc/vmstat`.

use crate::bytes::Bytes;
use crate::parse::{self, ParseError};

/// The lines of `/proc/meminfo` that tell how much there is. A line that this kernel lacks is `None`.
///
/// Source: Documentation/filesystems/proc.rst ("meminfo"), Linux 6.18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// `MemTotal`: usable memory.
    pub total: Option<Bytes>,
    /// `MemFree`: memory that nothing uses.
    pub free: Option<Bytes>,
    /// `MemAvailable` (Linux 3.14): the kernel's estimate of what can be had without swapping.
    pub available: Option<Bytes>,
    /// `SwapTotal`.
    pub swap_total: Option<Bytes>,
    /// `SwapFree`.
    pub swap_free: Option<Bytes>,
}

impl Meminfo {
    /// Parses `/proc/meminfo`: lines of `Key:   NUMBER kB`. Keys that are not needed are passed over unread.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut meminfo = Meminfo::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let Some((key, value)) = line.split_at_checked(colon) else { continue };
            let field = match key {
                b"MemTotal" => &mut meminfo.total,
                b"MemFree" => &mut meminfo.free,
                b"MemAvailable" => &mut meminfo.available,
                b"SwapTotal" => &mut meminfo.swap_total,
                b"SwapFree" => &mut meminfo.swap_free,
                _ => continue,
            };
            let kib = value
                .strip_prefix(b":")
                .and_then(|value| value.strip_suffix(b" kB"))
                .and_then(|value| parse::decimal(value.trim_ascii_start()))
                .ok_or_else(|| ParseError::new("a line `KEY: NUMBER kB`", line))?;
            *field = Some(Bytes::from_kib(kib));
        }
        if meminfo.total.is_none() {
            return Err(ParseError::new("a line `MemTotal:`", text));
        }
        Ok(meminfo)
    }
}

/// Processes that the OOM killer has killed on this machine since it booted, from the text of `/proc/vmstat`
/// (`oom_kill`, Linux 4.13). `None` where the kernel doesn't count.
pub fn parse_vmstat_oom_kill(text: &[u8]) -> Result<Option<u64>, ParseError> {
    const KEY: &[u8] = b"oom_kill ";
    let Some(line) = text.split(|&byte| byte == b'\n').find(|line| line.starts_with(KEY)) else {
        return Ok(None);
    };
    let count = line.strip_prefix(KEY).and_then(parse::decimal);
    count.map(Some).ok_or_else(|| ParseError::new("a line `oom_kill NUMBER`", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_that_matter() {
        let meminfo = Meminfo::parse(
            b"MemTotal:       24685516 kB\nMemFree:        24037036 kB\nMemAvailable:   24206024 kB\n\
              HugePages_Total:       0\nSwapTotal:             0 kB\n",
        )
        .unwrap();
        assert_eq!(meminfo.total, Some(Bytes::from_kib(24_685_516)));
        assert_eq!(meminfo.available, Some(Bytes::from_kib(24_206_024)));
        assert_eq!(meminfo.swap_total, Some(Bytes::ZERO));
        assert_eq!(meminfo.swap_free, None);
    }

    #[test]
    fn malformed_meminfo_is_an_error() {
        for text in [&b""[..], b"MemFree: 1 kB\n", b"MemTotal: x kB\n", b"MemTotal: 12\n", b"MemTotal:\n", b"\xff:\n"] {
            assert!(Meminfo::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_kill_count_is_a_whole_key() {
        assert_eq!(parse_vmstat_oom_kill(b"nr_oom_kill 3\noom_kill 7\noom_kill_x 9\n"), Ok(Some(7)));
        assert_eq!(parse_vmstat_oom_kill(b"pgfault 3\n"), Ok(None));
        assert!(parse_vmstat_oom_kill(b"oom_kill many\n").is_err());
    }
}
