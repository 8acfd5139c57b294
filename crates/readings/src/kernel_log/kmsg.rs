//! One record of `/dev/kmsg`, as one `read()` gives it.
//!
//! `PRIORITY,SEQUENCE,TIMESTAMP,FLAGS[,KEY=VALUE…];MESSAGE\n`, then lines of ` KEY=VALUE` about a device, where there is
//! one. Bytes outside printable ASCII and the backslash are written `\xNN`, so a message with newlines is still one
//! line. Source: Documentation/ABI/testing/dev-kmsg; `info_print_ext_header` and `msg_add_ext_text` in
//! kernel/printk/printk.c, Linux 6.18.

use std::borrow::Cow;
use std::time::Duration;

use crate::parse::{self, ParseError};

/// One record of the kernel's log.
///
/// It borrows the text that it was read from: the agent reads every record of the kernel, and wants next to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsgRecord<'a> {
    /// Who wrote it (syslog's facility): 0 is the kernel. The kernel lets nobody else claim 0, see
    /// [`KmsgRecord::is_from_kernel`].
    pub facility: u32,
    /// How grave it is (syslog's level), from 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Its number. Counts up by one from boot on; a gap means records that were overwritten before they were read.
    pub sequence: u64,
    /// When it was written, since boot, by the kernel's `local_clock`, which stands still while the machine sleeps.
    pub since_boot: Duration,
    /// Who printed it. `None` where the kernel does not tell (`CONFIG_PRINTK_CALLER`, Linux 5.1 and later).
    pub caller: Option<PrintkCaller>,
    /// Whether it continues the line of an earlier record that had no end yet (flag `c`, or `+` before Linux 4.10).
    pub continuation: bool,
    escaped: &'a [u8],
}

/// Who printed a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrintkCaller {
    /// A task, by its pid in the first pid namespace (`caller=T123`).
    Task(u32),
    /// An interrupt, by its CPU (`caller=C3`).
    Cpu(u32),
}

impl<'a> KmsgRecord<'a> {
    /// Parses one record, with the newline that ends its message. A record without that was cut off, and is an error.
    pub fn parse(record: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_parts(record).ok_or_else(|| ParseError::new("a record `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`", record))
    }

    fn parse_parts(record: &'a [u8]) -> Option<Self> {
        let (header, rest) = split_at_byte(record, b';')?;
        let (escaped, _device) = split_at_byte(rest, b'\n')?;
        let mut fields = header.split(|&byte| byte == b',');
        let priority = u32::try_from(parse::decimal(fields.next()?)?).ok()?;
        let sequence = parse::decimal(fields.next()?)?;
        let since_boot = Duration::from_micros(parse::decimal(fields.next()?)?);
        let flags = fields.next()?;
        Some(KmsgRecord {
            facility: priority >> 3,
            level: (priority & 7) as u8,
            sequence,
            since_boot,
            caller: fields.find_map(|field| PrintkCaller::parse(field.strip_prefix(b"caller=")?)),
            continuation: flags.iter().any(|flag| matches!(flag, b'c' | b'+')),
            escaped,
        })
    }

    /// Whether the kernel itself wrote the record. Whoever may open `/dev/kmsg` for writing can put any text there, but
    /// not as facility 0: the kernel turns that into 1 (`devkmsg_write`, kernel/printk/printk.c). Only such a record can
    /// tell of a kill.
    pub fn is_from_kernel(&self) -> bool {
        self.facility == 0
    }

    /// The message, unescaped. Without a final newline, though it may hold others.
    pub fn message(&self) -> Cow<'a, [u8]> {
        if self.escaped.contains(&b'\\') { Cow::Owned(unescape(self.escaped)) } else { Cow::Borrowed(self.escaped) }
    }

    /// The message with its `\xNN`, for a first look that costs no allocation.
    pub(super) fn escaped_message(&self) -> &'a [u8] {
        self.escaped
    }
}

impl PrintkCaller {
    pub(crate) fn parse(caller: &[u8]) -> Option<Self> {
        let (kind, number) = caller.split_first()?;
        let number = u32::try_from(parse::decimal(number)?).ok()?;
        match kind {
            b'T' => Some(PrintkCaller::Task(number)),
            b'C' => Some(PrintkCaller::Cpu(number)),
            _ => None,
        }
    }
}

fn split_at_byte(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Undoes `\xNN`. A backslash that begins no such escape is kept: the kernel writes none.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, after)) = rest.split_first() {
        match escaped_byte(rest) {
            Some((value, after_escape)) => {
                plain.push(value);
                rest = after_escape;
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

fn escaped_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, after @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(*high)? << 4 | digit(*low)?;
    Some((u8::try_from(value).ok()?, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> KmsgRecord<'_> {
        KmsgRecord::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn reads_every_field() {
        let record = parse("30,339,5140900123,c,caller=T1234;hello\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n");
        assert_eq!((record.facility, record.level, record.sequence), (3, 6, 339));
        assert_eq!(record.since_boot, Duration::from_micros(5_140_900_123));
        assert_eq!(record.caller, Some(PrintkCaller::Task(1234)));
        assert!(record.continuation);
        assert_eq!(*record.message(), *b"hello");
    }

    #[test]
    fn the_kernel_is_facility_zero_and_nobody_else() {
        assert!(parse("6,1,2,-;a\n").is_from_kernel());
        assert!(!parse("14,1,2,-;a\n").is_from_kernel());
        assert!(!parse("8,1,2,-;a\n").is_from_kernel());
    }

    #[test]
    fn callers_and_unknown_keys() {
        assert_eq!(parse("6,1,2,-,later=x,caller=C3;a\n").caller, Some(PrintkCaller::Cpu(3)));
        assert_eq!(parse("6,1,2,-,caller=X3;a\n").caller, None);
        assert_eq!(parse("6,1,2,-;caller=T3\n").caller, None);
    }

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(*parse("6,1,2,-;a\\x0ab\\xff\\x5cx41;c\n").message(), *b"a\nb\xff\\x41;c");
        assert_eq!(*parse("6,1,2,-;\\x4\\xzz\\\n").message(), *b"\\x4\\xzz\\");
        assert!(matches!(parse("6,1,2,-;plain\n").message(), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_whole_record_is_an_error() {
        for text in ["", "\n", "6,1,2,-;cut", "6,1,2,-\n", "6,1,2;a\n", "6,1,x,-;a\n", "-6,1,2,-;a\n", ",,,;\n"] {
            assert!(KmsgRecord::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let too_large = "99999999999,1,2,-;a\n";
        assert!(KmsgRecord::parse(too_large.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_message_survives_the_kernel_s_escaping(message: Vec<u8>) {
            let escaped: String = message.iter().map(|&byte| match byte {
                b' '..127 if byte != b'\\' => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            }).collect();
            let text = format!("6,7,8,-;{escaped}\n");
            let record = parse(&text);
            prop_assert_eq!(&*record.message(), &message[..]);
        }

        #[test]
        fn any_bytes_do_not_panic(record: Vec<u8>) {
            let _ = KmsgRecord::parse(&record).map(|record| record.message().len());
        }
    }
}
