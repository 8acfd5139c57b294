//! The lines of a report that tell of memory.

use super::draft::{Draft, Section};
use super::line::LogLine;
use super::memory::{CgroupStats, MemoryInfo, SlabUse, Zone};
use super::memory_line::kib;
use crate::kernel_log::text::{kilobytes, split_once};
use crate::parse::decimal;
use crate::{Bytes, CgroupPath};

/// So many cgroups, entries, zones and slabs are kept.
const MOST_CGROUPS: usize = 64;
const MOST_ENTRIES: usize = 256;
const MOST_ZONES: usize = 1024;
const MOST_SLABS: usize = 1024;
/// Names of these are words of the kernel.
const LONGEST_NAME: usize = 128;

impl Draft {
    pub(super) fn take_memory(&mut self, line: LogLine<'_>) {
        match line {
            LogLine::StatsOf { cgroup, entries } => self.begin_stats(cgroup, entries),
            LogLine::Stat { name, value } => self.add_stat(name, value),
            LogLine::MemoryInfo => {
                self.section = Section::MemoryInfo;
                self.report.memory_info = Some(MemoryInfo::default());
            }
            LogLine::Pages(pairs) if self.section == Section::Stats => self.add_stats(pairs),
            LogLine::Pages(pairs) => self.add_pages(pairs),
            LogLine::Zone { node, name, rest, blocks } => {
                if let Some(zone) = self.zone(node, name) {
                    if blocks { add_blocks(zone, rest) } else { add_watermarks(zone, rest) }
                }
            }
            LogLine::Total { words, number } => self.add_total(words, number),
            LogLine::Swap { free, size } => {
                if let Some(info) = &mut self.report.memory_info {
                    let field = if free { &mut info.swap_free } else { &mut info.swap_total };
                    field.get_or_insert(size);
                }
            }
            LogLine::Slabs => self.section = Section::Slabs,
            LogLine::Slab { name, used, total }
                if self.report.slabs.len() < MOST_SLABS && name.len() <= LONGEST_NAME =>
            {
                self.report.slabs.push(SlabUse { name: name.to_vec(), used, total });
            }
            _ => {}
        }
    }

    fn begin_stats(&mut self, cgroup: &[u8], entries: &[u8]) {
        self.section = Section::Stats;
        if self.report.stats.len() < MOST_CGROUPS {
            self.report.stats.push(CgroupStats { cgroup: CgroupPath::new(cgroup), entries: Vec::new() });
            self.add_stats(entries);
        }
    }

    /// `NAME:NKB …`, up to Linux 5.2.
    fn add_stats(&mut self, pairs: &[u8]) {
        for pair in pairs.split(|&byte| byte == b' ') {
            if let Some((name, value)) = split_once(pair, b":").and_then(|(name, size)| Some((name, kib(size)?))) {
                self.add_stat(name, value.get());
            }
        }
    }

    fn add_stat(&mut self, name: &[u8], value: u64) {
        if let Some(stats) = self.report.stats.last_mut()
            && stats.entries.len() < MOST_ENTRIES
            && name.len() <= LONGEST_NAME
        {
            stats.entries.push((name.to_vec(), value));
        }
    }

    fn add_pages(&mut self, pairs: &[u8]) {
        let Some(info) = &mut self.report.memory_info else { return };
        for pair in pairs.split(|&byte| byte == b' ') {
            let parsed = split_once(pair, b":").and_then(|(name, pages)| Some((name, decimal(pages)?)));
            if let Some((name, pages)) = parsed
                && info.pages.len() < MOST_ENTRIES
                && name.len() <= LONGEST_NAME
                && !info.pages.iter().any(|(known, _)| known == name)
            {
                info.pages.push((name.to_vec(), pages));
            }
        }
    }

    fn add_total(&mut self, words: &[u8], number: u64) {
        let Some(info) = &mut self.report.memory_info else { return };
        let field = match words {
            b"total pagecache pages" => &mut info.pagecache,
            b"pages in swap cache" => &mut info.swap_cache,
            b"pages RAM" => &mut info.ram,
            b"pages HighMem/MovableOnly" | b"pages HighMem" => &mut info.high_or_movable,
            b"pages reserved" => &mut info.reserved,
            b"pages cma reserved" => &mut info.cma_reserved,
            b"pages hwpoisoned" => &mut info.hwpoisoned,
            _ => return,
        };
        field.get_or_insert(number);
    }

    fn zone(&mut self, node: Option<u32>, name: &[u8]) -> Option<&mut Zone> {
        let zones = &mut self.report.memory_info.as_mut()?.zones;
        let known = zones.iter().position(|zone| zone.node == node && zone.name == name);
        let index = match known {
            Some(index) => index,
            None if zones.len() < MOST_ZONES => {
                zones.push(Zone { node, name: name.to_vec(), ..Zone::default() });
                zones.len() - 1
            }
            None => return None,
        };
        zones.get_mut(index)
    }
}

fn add_watermarks(zone: &mut Zone, pairs: &[u8]) {
    for pair in pairs.split(|&byte| byte == b' ') {
        let Some((name, size)) = split_once(pair, b":") else { continue };
        let field = match name {
            b"free" => &mut zone.free,
            b"min" => &mut zone.min,
            b"low" => &mut zone.low,
            b"high" => &mut zone.high,
            b"managed" => &mut zone.managed,
            _ => continue,
        };
        *field = field.or_else(|| kilobytes(size));
    }
}

/// `3*4kB (UE) 0*8kB … = 12kB`.
fn add_blocks(zone: &mut Zone, text: &[u8]) {
    if !zone.blocks.is_empty() {
        return;
    }
    let pairs = text.split(|&byte| byte == b' ').filter_map(|word| split_once(word, b"*"));
    let blocks = pairs.filter_map(|(count, size)| Some((kilobytes(size)?, decimal(count)?)));
    zone.blocks.extend(blocks.take(MAX_ORDERS).collect::<Vec<(Bytes, u64)>>());
}

/// More orders no kernel has (`MAX_ORDER`, up to 14 with 64 KiB pages).
const MAX_ORDERS: usize = 32;
