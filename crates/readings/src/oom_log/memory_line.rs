//! The lines of a report that tell of memory.

use super::line::LogLine;
use crate::Bytes;
use crate::kernel_log::text::{kilobytes, process_id, rsplit_once, split_once};
use crate::parse::decimal;

/// No path that the kernel prints is longer (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

pub(super) fn stats_of(rest: &[u8]) -> Option<LogLine<'_>> {
    if !rest.starts_with(b"/") {
        return None;
    }
    let (cgroup, entries) = match rest.trim_ascii_end().strip_suffix(b":") {
        Some(cgroup) => (cgroup, &b""[..]),
        None => rsplit_once(rest, b": ")?,
    };
    if cgroup.len() > LONGEST_PATH {
        return None;
    }
    Some(LogLine::StatsOf { cgroup, entries })
}

pub(super) fn memory_line(message: &[u8]) -> Option<LogLine<'_>> {
    let text = message.trim_ascii();
    match text {
        b"Mem-Info:" => return Some(LogLine::MemoryInfo),
        b"Unreclaimable slab info:" => return Some(LogLine::Slabs),
        _ => {}
    }
    zone(text).or_else(|| swap(text)).or_else(|| slab(text)).or_else(|| number_line(text))
}

fn zone(text: &[u8]) -> Option<LogLine<'_>> {
    let (node, rest) = match text.strip_prefix(b"Node ") {
        Some(rest) => split_once(rest, b" ").and_then(|(node, rest)| Some((Some(process_id(node)?), rest)))?,
        None => (None, text),
    };
    let (name, rest) = split_once(rest, b" ")?;
    let is_zone = |name: &[u8]| matches!(name, b"DMA" | b"DMA32" | b"Normal" | b"HighMem" | b"Movable" | b"Device");
    if let Some(name) = name.strip_suffix(b":").filter(|name| is_zone(name)) {
        let blocks = rest.split(|&byte| byte == b' ').next()?.contains(&b'*');
        return blocks.then_some(LogLine::Zone { node, name, rest, blocks: true });
    }
    (is_zone(name) && rest.starts_with(b"free:")).then_some(LogLine::Zone { node, name, rest, blocks: false })
}

fn swap(text: &[u8]) -> Option<LogLine<'_>> {
    let (words, size) = split_once(text, b"= ")?;
    let free = match words.trim_ascii_end() {
        b"Free swap" => true,
        b"Total swap" => false,
        _ => return None,
    };
    Some(LogLine::Swap { free, size: kilobytes(size)? })
}

fn slab(text: &[u8]) -> Option<LogLine<'_>> {
    let mut words = text.rsplitn(2, |&byte| byte == b' ');
    let total = kib(words.next()?)?;
    let rest = words.next()?.trim_ascii_end();
    let (name, used) = rsplit_once(rest, b" ")?;
    Some(LogLine::Slab { name: name.trim_ascii_end(), used: kib(used)?, total })
}

/// `123KB`, which are KiB.
pub(super) fn kib(text: &[u8]) -> Option<Bytes> {
    decimal(text.strip_suffix(b"KB")?).map(Bytes::from_kib)
}

fn number_line(text: &[u8]) -> Option<LogLine<'_>> {
    let (first, rest) = split_once(text, b" ").unwrap_or((text, b""));
    if let Some(number) = decimal(first) {
        let rest = rest.trim_ascii();
        let known = rest.starts_with(b"pages ") || rest == b"total pagecache pages";
        return known.then_some(LogLine::Total { words: rest, number });
    }
    let is_name = |name: &[u8]| {
        name.first().is_some_and(u8::is_ascii_lowercase)
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    if is_name(first) {
        return decimal(rest.trim_ascii()).map(|value| LogLine::Stat { name: first, value });
    }
    let words = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let is_pair = |word: &[u8]| {
        split_once(word, b":")
            .is_some_and(|(name, number)| is_name(name) && number.first().is_some_and(u8::is_ascii_digit))
    };
    words.clone().all(is_pair).then_some(LogLine::Pages(text))
}
