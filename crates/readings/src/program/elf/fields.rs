//! The fields of ELF headers and tables, for both word sizes and both byte orders.

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    wide: bool,
    little_endian: bool,
}

/// Where the table of sections is, and which section names them all.
#[derive(Debug, Default)]
pub(super) struct SectionTable {
    pub(super) offset: u64,
    pub(super) count: u64,
    pub(super) names: u16,
}

/// One section, as far as it is of use.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
}

impl Fields {
    /// The size of the larger header.
    pub(super) const HEADER: usize = 64;

    pub(super) fn of(head: &[u8]) -> Option<Fields> {
        let identification = head.strip_prefix(b"\x7fELF")?;
        let wide = match identification.first()? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little_endian = match identification.get(1)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        Some(Fields { wide, little_endian })
    }

    pub(super) fn section_table(self, head: &[u8]) -> Option<SectionTable> {
        let (offset, size, count, names) = if self.wide { (40, 58, 60, 62) } else { (32, 46, 48, 50) };
        let of_these = u64::from(self.half(head, size)?) == self.section_size();
        Some(SectionTable {
            offset: self.address(head, offset)?,
            count: if of_these { self.half(head, count)?.into() } else { 0 },
            names: self.half(head, names)?,
        })
    }

    pub(super) fn section_size(self) -> u64 {
        if self.wide { 64 } else { 40 }
    }

    /// The sections of their table.
    pub(super) fn sections(self, table: &[u8]) -> impl Iterator<Item = Section> + '_ {
        let (offset, size, link) = if self.wide { (24, 32, 40) } else { (16, 20, 24) };
        table.chunks_exact(if self.wide { 64 } else { 40 }).filter_map(move |entry| {
            Some(Section {
                name: self.word(entry, 0)?,
                kind: self.word(entry, 4)?,
                offset: self.address(entry, offset)?,
                size: self.address(entry, size)?,
                link: self.word(entry, link)?,
            })
        })
    }

    /// Tags and values of a dynamic section, up to the null that ends it.
    pub(super) fn dynamic(self, section: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
        let size = if self.wide { 16 } else { 8 };
        let entries = section.chunks_exact(size);
        entries
            .map_while(move |entry| Some((self.address(entry, 0)?, self.address(entry, size / 2)?)))
            .take_while(|&(tag, _)| tag != 0)
    }

    fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    }

    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    }

    /// A number as wide as the file's addresses.
    fn address(self, bytes: &[u8], at: usize) -> Option<u64> {
        if !self.wide {
            return self.word(bytes, at).map(u64::from);
        }
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian { u64::from_le_bytes(raw) } else { u64::from_be_bytes(raw) })
    }
}
