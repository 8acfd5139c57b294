//! What an ELF executable tells of its runtime and its allocator.
//!
//! An executable can have gigabytes, so it is not read whole: the parser asks for the few ranges that it needs, none of
//! them larger than [`LARGEST_RANGE`], whatever the headers claim. Only names are looked at (of sections, libraries and
//! symbols), so nothing here depends on what the program's code is. The format: elf(5) and the System V ABI, chapter 4.

mod fields;

use fields::{Fields, Section};
use memchr::memmem;

/// The most that is asked for in one range; larger tables of strings are left out.
const LARGEST_RANGE: u64 = 8 * 1024 * 1024;
/// The most that is asked for in all, where each range counts as a page at least: sections may overlap, and a file that
/// claims thousands of large ones must not keep its program from starting.
const BUDGET: u64 = 32 * 1024 * 1024;
const PAGE: u64 = 4096;
/// More sections and libraries than any compiler makes.
const MOST_SECTIONS: u64 = 4096;
const MOST_LIBRARIES: usize = 256;
/// Longer than the name of any library.
const LONGEST_NAME: u64 = 256;

const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;
const SHT_DYNAMIC: u32 = 6;
const DT_NEEDED: u64 = 1;

/// What an executable tells of its runtime and its allocator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElfFacts {
    /// The libraries that it names (`DT_NEEDED`).
    pub needed: Vec<Vec<u8>>,
    /// Whether the Go linker made it (section `.note.go.buildid` or `.go.buildinfo`, which stripping leaves).
    pub go: bool,
    /// Whether it is .NET's launcher of an application.
    pub dotnet: Option<DotnetHost>,
    /// Whether it holds Node.js, under whatever name (symbol `node::Start`).
    pub node: bool,
    /// Whether glibc was linked into it (section `__libc_IO_vtables`, or symbol `__libc_mallopt`).
    pub static_glibc: bool,
    /// The variable that its own jemalloc reads (symbol `mallctl` with the prefix that it was built with).
    pub jemalloc: Option<&'static str>,
    /// Whether gperftools' tcmalloc was linked into it (symbol `tc_malloc`).
    pub tcmalloc: bool,
}

/// A launcher that the .NET SDK makes, told by the bundle marker in its data (`bundle_marker.cpp`, dotnet/runtime).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotnetHost {
    /// It starts `NAME.dll` beside it, which `NAME.runtimeconfig.json` configures.
    AppHost,
    /// The application and its configuration are inside of it.
    SingleFile,
}

/// Section names, and what they tell.
const SECTIONS: &[(&[u8], Fact)] = &[
    (b".note.go.buildid", |facts| facts.go = true),
    (b".go.buildinfo", |facts| facts.go = true),
    (b"__libc_IO_vtables", |facts| facts.static_glibc = true),
];

/// Symbols, and what they tell. A prefix of jemalloc's is that of its variable too (INSTALL.md,
/// --with-jemalloc-prefix).
const SYMBOLS: &[(&[u8], Fact)] = &[
    (b"_ZN4node5StartEiPPc", |facts| facts.node = true),
    (b"__libc_mallopt", |facts| facts.static_glibc = true),
    (b"mallctl", |facts| facts.jemalloc = Some("MALLOC_CONF")),
    (b"je_mallctl", |facts| facts.jemalloc = Some("JE_MALLOC_CONF")),
    (b"_rjem_mallctl", |facts| facts.jemalloc = Some("_RJEM_MALLOC_CONF")),
    (b"tc_malloc", |facts| facts.tcmalloc = true),
];

type Fact = fn(&mut ElfFacts);

/// SHA-256 of ".net core bundle"; the eight bytes before it say where the bundle is, or nothing.
const BUNDLE_MARKER: [u8; 32] = [
    0x8b, 0x12, 0x02, 0xb9, 0x6a, 0x61, 0x20, 0x38, 0x72, 0x7b, 0x93, 0x02, 0x14, 0xd7, 0xa0, 0x32, 0x13, 0xf5, 0xb9,
    0xe6, 0xef, 0xae, 0x33, 0x18, 0xee, 0x3b, 0x2d, 0xce, 0x24, 0xb3, 0x6a, 0xae,
];

/// Parses an executable. `read` returns the bytes from an offset, at most as many as asked for and fewer at the file's
/// end; it is never asked for more than 8 MiB at once and 32 MiB in all. `None` where the file is no ELF file; what
/// can't be read or understood further on is left out, since a fact that is missing does no harm.
pub fn parse_elf(mut read: impl FnMut(u64, usize) -> Vec<u8>) -> Option<ElfFacts> {
    let head = read(0, Fields::HEADER);
    let fields = Fields::of(&head)?;
    let mut facts = ElfFacts::default();
    let mut budget = BUDGET;
    let mut range = |offset: u64, size: u64| {
        let rest = budget.checked_sub(size.max(PAGE)).filter(|_| size <= LARGEST_RANGE);
        budget = rest.unwrap_or(budget);
        let length = usize::try_from(size).ok().filter(|_| rest.is_some()).unwrap_or_default();
        let mut bytes = if length == 0 { Vec::new() } else { read(offset, length) };
        bytes.truncate(length);
        bytes
    };
    let table = fields.section_table(&head).unwrap_or_default();
    let count = table.count.min(MOST_SECTIONS);
    let bytes = range(table.offset, count * fields.section_size());
    let sections: Vec<Section> = fields.sections(&bytes).collect();
    let Some(names) = sections.get(usize::from(table.names)).map(|names| range(names.offset, names.size)) else {
        return Some(facts);
    };
    for section in &sections {
        let name = string_at(&names, u64::from(section.name));
        SECTIONS.iter().filter(|(known, _)| *known == name).for_each(|(_, tell)| tell(&mut facts));
        match section.kind {
            SHT_DYNAMIC => {
                let strings = usize::try_from(section.link).ok().and_then(|link| sections.get(link));
                let entries = range(section.offset, section.size.min(64 * 1024));
                let offsets = fields.dynamic(&entries).filter(|&(tag, _)| tag == DT_NEEDED).map(|(_, value)| value);
                for offset in offsets.take(MOST_LIBRARIES) {
                    let Some(at) = strings.and_then(|strings| strings.offset.checked_add(offset)) else { continue };
                    facts.needed.push(string_at(&range(at, LONGEST_NAME), 0).to_vec());
                }
            }
            SHT_STRTAB if name == b".dynstr" || name == b".strtab" => {
                let strings = range(section.offset, section.size);
                for (symbol, tell) in SYMBOLS {
                    if holds_string(&strings, symbol) {
                        tell(&mut facts);
                    }
                }
            }
            SHT_PROGBITS if name == b".data" => facts.dotnet = dotnet_host(&range(section.offset, section.size)),
            _ => {}
        }
    }
    facts.needed.retain(|name| !name.is_empty());
    Some(facts)
}

/// The string that begins at an offset of a table of strings; empty where there is none.
fn string_at(strings: &[u8], offset: u64) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| strings.get(offset..)).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Whether a table of strings has this one. A string that a linker keeps only as another one's end is not found.
fn holds_string(strings: &[u8], string: &[u8]) -> bool {
    memmem::find(strings, &[b"\0", string, b"\0"].concat()).is_some()
}

fn dotnet_host(data: &[u8]) -> Option<DotnetHost> {
    let marker = memmem::find(data, &BUNDLE_MARKER)?;
    let location = data.get(marker.checked_sub(8)?..marker)?;
    Some(if location.iter().all(|&byte| byte == 0) { DotnetHost::AppHost } else { DotnetHost::SingleFile })
}

#[cfg(test)]
mod tests;
