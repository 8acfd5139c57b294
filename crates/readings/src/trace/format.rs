//! The `format` file of an event: where each field of a record lies.
//!
//! A line is `field:TYPE NAME; offset:N; size:N; signed:0|1;`, with tabs between the parts (`f_show` in
//! kernel/trace/trace_events.c, Linux 6.18). The head of a page is described the same way, with a space after `field:`.

use crate::parse::{self, ParseError};

/// The number of an event, with which its records begin: `common_type` is the first field of every format.
pub(super) fn event_id(record: &[u8]) -> Option<u16> {
    record.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// The format of one event.
#[derive(Debug, Clone)]
pub(super) struct EventFormat {
    id: u16,
    fields: Vec<NamedField>,
}

/// A field and its name.
pub(super) type NamedField = (Box<[u8]>, Field);

/// Where a field lies, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) offset: usize,
    pub(super) size: usize,
    signed: bool,
    storage: Storage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Inline,
    /// The field says where in the record the bytes lie: the length in its upper half, the offset in its lower.
    DataLocation,
    /// The same, with the offset counted from the end of the field.
    RelativeLocation,
}

impl EventFormat {
    /// More fields than any event has.
    const MOST_FIELDS: usize = 256;

    pub(super) fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let id = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"ID:"));
        let id = id.and_then(|id| parse::decimal(id.trim_ascii())).and_then(|id| u16::try_from(id).ok());
        let id = id.ok_or_else(|| ParseError::new("an event's format with a line `ID: NUMBER`", text))?;
        Ok(EventFormat { id, fields: parse_fields(text)? })
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|(known, _)| **known == *name.as_bytes()).map(|(_, field)| field)
    }

    /// A number of a record, where the event has the field and its value fits.
    pub(super) fn number<T: TryFrom<i128>>(&self, name: &str, record: &[u8]) -> Option<T> {
        T::try_from(self.field(name)?.integer(record)?).ok()
    }

    /// A text of a record, without the zero that ends it.
    pub(super) fn text<'a>(&self, name: &str, record: &'a [u8]) -> Option<&'a [u8]> {
        self.field(name)?.text(record)
    }
}

/// The lines of a text that describe fields.
pub(super) fn parse_fields(text: &[u8]) -> Result<Vec<NamedField>, ParseError> {
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| line.trim_ascii().strip_prefix(b"field:"));
    lines
        .take(EventFormat::MOST_FIELDS)
        .map(|line| parse_field(line).ok_or_else(|| ParseError::new("a line `field:TYPE NAME; offset:…`", line)))
        .collect()
}

fn parse_field(line: &[u8]) -> Option<NamedField> {
    let mut parts = line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let declaration = parts.next()?;
    let mut number = |key: &[u8]| parts.next()?.strip_prefix(key).and_then(parse::decimal);
    let offset = usize::try_from(number(b"offset:")?).ok()?;
    let size = usize::try_from(number(b"size:")?).ok()?;
    let signed = number(b"signed:")? != 0;
    let storage = match declaration {
        [b'_', b'_', b'd', b'a', b't', b'a', b'_', b'l', b'o', b'c', ..] => Storage::DataLocation,
        [b'_', b'_', b'r', b'e', b'l', b'_', b'l', b'o', b'c', ..] => Storage::RelativeLocation,
        _ => Storage::Inline,
    };
    let name = declaration.rsplit(|byte| byte.is_ascii_whitespace() || *byte == b'*').next()?;
    // The name of an array is followed by its length: `comm[16]`.
    let name = name.split(|&byte| byte == b'[').next().filter(|name| !name.is_empty())?;
    Some((name.into(), Field { offset, size, signed, storage }))
}

impl Field {
    fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        record.get(self.offset..self.offset.checked_add(self.size)?)
    }

    /// The field as a number. None has more than 8 bytes.
    pub(super) fn integer(&self, record: &[u8]) -> Option<i128> {
        let bytes = self.bytes(record)?;
        if self.storage != Storage::Inline || !matches!(bytes.len(), 1 | 2 | 4 | 8) {
            return None;
        }
        let negative = self.signed && bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = if negative { [0xff; 16] } else { [0; 16] };
        wide.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        Some(i128::from_le_bytes(wide))
    }

    fn text<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = match self.storage {
            Storage::Inline => self.bytes(record)?,
            Storage::DataLocation => self.located(record, 0)?,
            Storage::RelativeLocation => self.located(record, self.offset.checked_add(self.size)?)?,
        };
        bytes.split(|&byte| byte == 0).next()
    }

    fn located<'a>(&self, record: &'a [u8], from: usize) -> Option<&'a [u8]> {
        let location = u32::from_le_bytes(*self.bytes(record)?.first_chunk()?);
        let start = from.checked_add(usize::try_from(location & 0xffff).ok()?)?;
        let length = usize::try_from(location >> 16).ok()?;
        record.get(start..start.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &[u8] = b"name: x\nID: 609\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \n\tfield:short adj;\toffset:2;\tsize:2;\tsigned:1;\n\tfield:__data_loc char[] path;\toffset:4;\tsize:4;\tsigned:0;\n\
        \tfield:__rel_loc char[] near;\toffset:8;\tsize:4;\tsigned:0;\n\tfield:char comm[4];\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:const char *name;\toffset:16;\tsize:8;\tsigned:0;\n\nprint fmt: \"field:%d;\", REC->adj\n";

    #[test]
    fn fields_are_found_by_name_and_read_by_place() {
        let format = EventFormat::parse(FORMAT).unwrap();
        let record = b"\x61\x02\xfe\xff\x18\x00\x03\x00\x0f\x00\x02\x00abc\0\x07\0\0\0\0\0\0\0xy\0z\0";
        assert_eq!((format.id(), event_id(record)), (609, Some(609)));
        assert_eq!(format.number::<i16>("adj", record), Some(-2));
        assert_eq!(format.number::<u32>("adj", record), None, "a negative number");
        assert_eq!(format.number::<u64>("name", record), Some(7), "a pointer");
        assert_eq!(format.text("path", record), Some(&b"xy"[..]));
        assert_eq!(format.text("near", record), Some(&b"z"[..]));
        assert_eq!(format.text("comm", record), Some(&b"abc"[..]));
        assert_eq!(format.text("absent", record), None);
    }

    #[test]
    fn a_place_outside_of_the_record_is_no_value() {
        let format = EventFormat::parse(FORMAT).unwrap();
        assert_eq!(format.text("path", b"\0\0\0\0\x00\x00\xff\xff"), None);
        assert_eq!(format.text("near", b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff"), None);
        assert_eq!(format.number::<u64>("name", b"\0\0\0\0"), None);
    }

    #[test]
    fn malformed_formats_are_errors() {
        for text in [&b""[..], b"ID: 65536\n", b"ID: x\n", b"ID: 1\n\tfield:int a;\toffset:-1;\tsize:4;\tsigned:1;\n"] {
            assert!(EventFormat::parse(text).is_err(), "{text:?}");
        }
        let far = b"ID: 1\nfield:int a; offset:18446744073709551615; size:18446744073709551615; signed:1;\n";
        assert_eq!(EventFormat::parse(far).unwrap().number::<u32>("a", b"12345678"), None);
    }
}
