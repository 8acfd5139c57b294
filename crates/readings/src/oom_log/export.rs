//! The journal's export format (`journalctl -o export`): entries of fields, ended by an empty line.
//!
//! A field is `NAME=TEXT`, or, where the text holds a newline or is none, `NAME`, a newline, its length in 8 bytes with
//! the lowest first, and the bytes. Source: "Journal Export Formats", systemd.

use std::borrow::Cow;

use super::envelope::journal_origin;
use super::prefix::Origin;

/// What a line was in the export format.
#[derive(Debug)]
pub(super) enum Entry {
    /// The log is not in this format, or not here.
    None,
    /// A part of an entry.
    Taken,
    /// The end of an entry that had a message.
    Ended(Origin, Vec<u8>),
}

/// Reads entries line by line.
#[derive(Debug, Default)]
pub(super) struct ExportReader {
    is_open: bool,
    fields: Vec<(String, Vec<u8>)>,
    binary: Option<Binary>,
}

/// A field whose bytes are under way.
#[derive(Debug)]
struct Binary {
    name: String,
    bytes: Vec<u8>,
    /// Length included, where that is known.
    read: u64,
}

impl ExportReader {
    /// The fields that are kept; others are passed over.
    const WANTED: [&'static str; 6] = [
        "MESSAGE",
        "_TRANSPORT",
        "SYSLOG_IDENTIFIER",
        "__REALTIME_TIMESTAMP",
        "__MONOTONIC_TIMESTAMP",
        "_SOURCE_MONOTONIC_TIMESTAMP",
    ];
    /// So much of a field is kept.
    const LONGEST_FIELD: usize = 64 * 1024;
    const LENGTH_BYTES: usize = 8;

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a line, without its newline.
    pub(super) fn feed(&mut self, line: &[u8]) -> Entry {
        if !self.is_open {
            if !line.starts_with(b"__CURSOR=") {
                return Entry::None;
            }
            self.is_open = true;
            return Entry::Taken;
        }
        if self.binary.is_some() {
            self.continue_binary(line);
            return Entry::Taken;
        }
        if line.is_empty() {
            return self.finish();
        }
        let name_length =
            line.iter().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_');
        let Some((name, rest)) = line.split_at_checked(name_length.count()) else { return Entry::None };
        let name = String::from_utf8_lossy(name).into_owned();
        match rest.split_first() {
            Some((b'=', value)) => self.keep(name, value),
            None => self.binary = Some(Binary { name, bytes: Vec::new(), read: 0 }),
            Some(_) => {
                // Not the format after all.
                *self = ExportReader::default();
                return Entry::None;
            }
        }
        Entry::Taken
    }

    /// Ends the entry.
    pub(super) fn finish(&mut self) -> Entry {
        let fields = std::mem::take(&mut self.fields);
        let was_open = std::mem::take(&mut self.is_open);
        self.binary = None;
        let value =
            |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, value)| Cow::Borrowed(value.as_slice()));
        match value("MESSAGE") {
            Some(message) if was_open => Entry::Ended(journal_origin(value), message.to_vec()),
            _ => Entry::Taken,
        }
    }

    fn keep(&mut self, name: String, value: &[u8]) {
        if Self::WANTED.contains(&name.as_str()) && !self.fields.iter().any(|(known, _)| *known == name) {
            self.fields.push((name, value.get(..Self::LONGEST_FIELD).unwrap_or(value).to_vec()));
        }
    }

    fn continue_binary(&mut self, line: &[u8]) {
        let Some(binary) = &mut self.binary else { return };
        let room = (Self::LENGTH_BYTES + Self::LONGEST_FIELD).saturating_sub(binary.bytes.len());
        let newline: &[u8] = b"\n";
        let with_newline = line.iter().chain(newline).take(room);
        binary.bytes.extend(with_newline);
        binary.read += line.len() as u64 + 1;
        let Some((length, value)) = binary.bytes.split_first_chunk() else { return };
        // Behind the bytes stands a newline that is not theirs.
        let whole = u64::from_le_bytes(*length).saturating_add(Self::LENGTH_BYTES as u64 + 1);
        if binary.read >= whole {
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let value = value.get(..length).unwrap_or(value).to_vec();
            let name = std::mem::take(&mut binary.name);
            self.binary = None;
            self.keep(name, &value);
        }
    }
}
