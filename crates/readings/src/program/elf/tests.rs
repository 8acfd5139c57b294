use proptest::prelude::*;

use super::*;

fn parse(file: &[u8]) -> Option<ElfFacts> {
    parse_elf(|offset, length| {
        assert!(length as u64 <= LARGEST_RANGE, "asked for {length} bytes");
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        file[start..start.saturating_add(length).min(file.len())].to_vec()
    })
}

/// A section to be made: its name, type and content. A dynamic section's table of strings is the section before it.
type Made<'a> = (&'a str, u32, &'a [u8]);

/// A file with these sections: 64 bits and little-endian, or 32 bits and big-endian.
fn make(wide: bool, sections: &[Made<'_>]) -> Vec<u8> {
    let number = |value: u64, bytes: usize| {
        if wide { value.to_le_bytes()[..bytes].to_vec() } else { value.to_be_bytes()[8 - bytes..].to_vec() }
    };
    let address = if wide { 8 } else { 4 };
    let zeros = |bytes: usize| vec![0; bytes];
    let (header, entry) = if wide { (64, 64) } else { (52, 40) };
    let mut names = vec![0];
    let mut body = Vec::new();
    let mut table = vec![0; entry];
    let all: Vec<Made<'_>> = sections.iter().copied().chain([(".shstrtab", SHT_STRTAB, &b""[..])]).collect();
    for (index, (name, kind, content)) in all.iter().enumerate() {
        let name_at = names.len() as u64;
        names.extend([name.as_bytes(), b"\0"].concat());
        let content = if *name == ".shstrtab" { names.clone() } else { content.to_vec() };
        let offset = (header + body.len()) as u64;
        table.extend([number(name_at, 4), number((*kind).into(), 4), zeros(2 * address)].concat());
        table.extend([number(offset, address), number(content.len() as u64, address)].concat());
        table.extend([number(index as u64, 4), number(0, 4), zeros(2 * address)].concat());
        body.extend(content);
    }
    let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, if wide { 1 } else { 2 }, 1];
    file.resize(16, 0);
    file.extend([number(2, 2), number(62, 2), number(1, 4), zeros(2 * address)].concat());
    file.extend([number((header + body.len()) as u64, address), number(0, 4), number(header as u64, 2)].concat());
    file.extend([number(0, 4), number(entry as u64, 2)].concat());
    file.extend([number(all.len() as u64 + 1, 2), number(all.len() as u64, 2)].concat());
    assert_eq!(file.len(), header);
    [file, body, table].concat()
}

fn check(sections: &[Made<'_>], expected: ElfFacts) {
    for wide in [true, false] {
        assert_eq!(parse(&make(wide, sections)), Some(expected.clone()), "wide: {wide}");
    }
}

#[test]
fn go_is_told_by_its_sections() {
    for name in [".note.go.buildid", ".go.buildinfo"] {
        check(&[(name, SHT_PROGBITS, b"id")], ElfFacts { go: true, ..ElfFacts::default() });
    }
    check(&[(".go.build", SHT_PROGBITS, b"id")], ElfFacts::default());
}

#[test]
fn allocators_are_told_by_whole_symbols() {
    let of = |strings: &[u8], expected| check(&[(".strtab", SHT_STRTAB, strings)], expected);
    let jemalloc = |variable| ElfFacts { jemalloc: Some(variable), ..ElfFacts::default() };
    of(b"\0main\0mallctl\0free\0", jemalloc("MALLOC_CONF"));
    of(b"\0je_mallctl\0", jemalloc("JE_MALLOC_CONF"));
    of(b"\0_rjem_mallctl\0", jemalloc("_RJEM_MALLOC_CONF"));
    of(b"\0tc_malloc\0", ElfFacts { tcmalloc: true, ..ElfFacts::default() });
    of(b"\0__libc_mallopt\0", ElfFacts { static_glibc: true, ..ElfFacts::default() });
    of(b"\0my_mallctl\0mallctlbymib\0tc_malloc_size\0", ElfFacts::default());
    check(&[(".dynstr", SHT_STRTAB, b"\0_ZN4node5StartEiPPc\0")], ElfFacts { node: true, ..ElfFacts::default() });
    check(&[(".comment", SHT_PROGBITS, b"\0mallctl\0")], ElfFacts::default());
}

#[test]
fn libraries_are_named_by_the_dynamic_section() {
    let strings: Made<'_> = (".dynstr", SHT_STRTAB, b"\0libc.so.6\0libjemalloc.so.2\0");
    let wide: Vec<u8> =
        [1_u64, 1, 5, 1, 1, 11, 1, 1 << 40, 0, 0, 1, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    let narrow: Vec<u8> = [1_u32, 1, 5, 1, 1, 11, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    for (is_wide, dynamic) in [(true, wide), (false, narrow)] {
        let facts = parse(&make(is_wide, &[strings, (".dynamic", SHT_DYNAMIC, &dynamic)])).unwrap();
        assert_eq!(facts.needed, [&b"libc.so.6"[..], b"libjemalloc.so.2"]);
    }
}

#[test]
fn dotnet_is_told_by_the_bundle_marker() {
    let data = |location: u8| [&[1, 2, 3][..], &[location; 8], &BUNDLE_MARKER, &[9; 20]].concat();
    let host = |host| ElfFacts { dotnet: Some(host), ..ElfFacts::default() };
    check(&[(".data", SHT_PROGBITS, &data(0))], host(DotnetHost::AppHost));
    check(&[(".data", SHT_PROGBITS, &data(7))], host(DotnetHost::SingleFile));
    check(&[(".rodata", SHT_PROGBITS, &data(0))], ElfFacts::default());
    check(&[(".data", SHT_PROGBITS, &BUNDLE_MARKER)], ElfFacts::default());
}

#[test]
fn what_is_no_elf_file_is_none() {
    for file in [&b""[..], b"\x7fELF", b"\x7fELF\x03\x01", b"\x7fELF\x02\x07", b"#!/bin/sh\n", b"MZ"] {
        assert_eq!(parse(file), None);
    }
    assert_eq!(parse(b"\x7fELF\x02\x01"), Some(ElfFacts::default()), "cut off behind its first bytes");
}

#[test]
fn a_claim_of_gigabytes_is_not_believed() {
    let mut file = make(true, &[(".strtab", SHT_STRTAB, b"\0mallctl\0")]);
    let table = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
    file[table + 64 + 32..table + 64 + 40].copy_from_slice(&(1_u64 << 31).to_le_bytes());
    assert_eq!(parse(&file), Some(ElfFacts::default()));
}

#[test]
fn thousands_of_claims_are_not_followed() {
    let strings = vec![b'x'; 64 * 1024];
    let mut file = make(true, &vec![(".strtab", SHT_STRTAB, &b""[..]); 2000]);
    let table = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
    let strings_at = file.len() as u64;
    for section in 1..=2000 {
        let at = table + 64 * section;
        file[at + 24..at + 32].copy_from_slice(&strings_at.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&(strings.len() as u64).to_le_bytes());
    }
    file.extend(strings);
    let mut asked = 0;
    parse_elf(|offset, length| {
        asked += length as u64;
        file.get(offset as usize..(offset as usize + length).min(file.len())).unwrap_or_default().to_vec()
    });
    assert!(asked <= BUDGET + 64, "{asked} bytes");
    assert!(asked > BUDGET / 2, "{asked} bytes: the claims were not met at all");
}

proptest! {
    #[test]
    fn any_byte_may_be_wrong(at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
        let dynamic: Vec<u8> = [1_u64, 1, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut file = make(true, &[(".dynstr", SHT_STRTAB, b"\0libc.so.6\0"), (".dynamic", SHT_DYNAMIC, &dynamic)]);
        let at = at.index(file.len());
        file[at] = byte;
        parse(&file);
        file.truncate(end.index(file.len()));
        parse(&file);
    }
}
