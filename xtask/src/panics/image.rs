//! The places of panics that an executable holds.
//!
//! Whatever panics hands over a `core::panic::Location`: a pointer to a file's name and its length, a line and a column.
//! These are constants of the program, and the linker keeps only those that some code still uses.

use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fmt};

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    /// As the compiler was given it: relative for the workspace's own.
    pub(super) file: String,
    pub(super) line: u32,
}

/// All places, by the address that they have in the running program.
pub(super) type Locations = BTreeMap<u64, Location>;

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A part of the file that is loaded.
struct Segment<'a> {
    address: u64,
    bytes: &'a [u8],
}

/// Finds them in an executable for a 64-bit little-endian machine, linked to a fixed address.
pub(super) fn locations(elf: &[u8]) -> Result<Locations> {
    /// Pointer, length, line and column.
    const SIZE: usize = 24;
    let segments = segments(elf)?;
    let mut found = Locations::new();
    for segment in &segments {
        let skipped = usize::try_from(segment.address.wrapping_neg() % 8)?;
        for offset in (skipped..segment.bytes.len().saturating_sub(SIZE - 1)).step_by(8) {
            if let Some(location) = location(segment.bytes, offset, &segments) {
                found.insert(segment.address + offset as u64, location);
            }
        }
    }
    Ok(found)
}

fn location(bytes: &[u8], offset: usize, segments: &[Segment<'_>]) -> Option<Location> {
    /// Longer than the path of any source file.
    const LONGEST: u64 = 1000;
    let (name, length) = (number::<8>(bytes, offset)?, number::<8>(bytes, offset + 8)?);
    let line = u32::try_from(number::<4>(bytes, offset + 16)?).ok()?;
    if length > LONGEST || line == 0 {
        return None;
    }
    let segment = segments.iter().rev().find(|segment| segment.address <= name)?;
    let start = usize::try_from(name - segment.address).ok()?;
    let file = std::str::from_utf8(segment.bytes.get(start..start + usize::try_from(length).ok()?)?).ok()?;
    file.ends_with(".rs").then(|| Location { file: file.to_owned(), line })
}

/// Reads the program headers (elf(5)).
fn segments(elf: &[u8]) -> Result<Vec<Segment<'_>>> {
    const LOADED: u64 = 1;
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not an executable for a 64-bit little-endian machine");
    let field = |offset: usize| usize::try_from(number::<8>(elf, offset)?).ok();
    let mut segments = Vec::new();
    let headers = field(32).context("the executable has no program headers")?;
    let (size, count) = (number::<2>(elf, 54).unwrap_or(0), number::<2>(elf, 56).unwrap_or(0));
    for header in 0..usize::try_from(count)? {
        let header = headers + header * usize::try_from(size)?;
        if number::<4>(elf, header) != Some(LOADED) {
            continue;
        }
        let place = field(header + 8).zip(number::<8>(elf, header + 16)).zip(field(header + 32));
        let ((offset, address), length) = place.context("a program header is cut off")?;
        let bytes = elf.get(offset..offset + length).context("a segment reaches beyond the file")?;
        segments.push(Segment { address, bytes });
    }
    segments.sort_by_key(|segment| segment.address);
    Ok(segments)
}

fn number<const SIZE: usize>(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + SIZE)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment at 0x1000: a name, and a location that points to it.
    fn image(length: u64) -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        let mut header = vec![0; 56];
        header[0] = 1;
        header[8] = 120;
        header[16..18].copy_from_slice(&[0, 0x10]);
        header[32] = 40;
        elf.extend(header);
        elf.extend(b"crates/a.rs\0\0\0\0\0");
        elf.extend(0x1000_u64.to_le_bytes());
        elf.extend(length.to_le_bytes());
        elf.extend([7, 0, 0, 0, 9, 0, 0, 0]);
        elf
    }

    #[test]
    fn finds_a_place_by_its_address() {
        let found = locations(&image(11)).unwrap();
        assert_eq!(found, Locations::from([(0x1010, Location { file: "crates/a.rs".into(), line: 7 })]));
        assert_eq!(locations(&image(10)).unwrap(), Locations::new(), "no source file's name");
        assert_eq!(locations(&image(u64::MAX)).unwrap(), Locations::new());
        assert!(locations(b"#!/bin/sh\n").is_err() && locations(&image(11)[..100]).is_err());
    }
}
