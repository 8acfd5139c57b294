//! UTF-16, which some programs of Windows make of a log, back to UTF-8.

/// Tells UTF-16 by its mark, or by the zeros of its first letters.
#[derive(Debug, Default)]
pub(super) struct Encoding {
    kind: Option<Kind>,
    /// The first bytes, until there are enough to tell; then a byte or a surrogate that is half of something.
    begun: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    Utf16 { is_big_endian: bool },
}

impl Encoding {
    /// How many bytes tell the encoding.
    const ENOUGH: usize = 4;

    /// Takes bytes. `give` gets what they are without the encoding.
    pub(super) fn decode(&mut self, bytes: &[u8], give: &mut dyn FnMut(&[u8])) {
        match self.kind {
            Some(Kind::Bytes) => give(bytes),
            Some(Kind::Utf16 { is_big_endian }) => self.decode_utf16(bytes, is_big_endian, give),
            None => {
                self.begun.extend_from_slice(bytes);
                if self.begun.len() >= Self::ENOUGH {
                    self.tell_kind(give);
                }
            }
        }
    }

    /// Ends the log.
    pub(super) fn finish(&mut self, give: &mut dyn FnMut(&[u8])) {
        if self.kind.is_none() {
            self.tell_kind(give);
        }
    }

    fn tell_kind(&mut self, give: &mut dyn FnMut(&[u8])) {
        let begun = std::mem::take(&mut self.begun);
        let (kind, rest) = match *begun.as_slice() {
            [0xff, 0xfe, ref rest @ ..] => (Kind::Utf16 { is_big_endian: false }, rest),
            [0xfe, 0xff, ref rest @ ..] => (Kind::Utf16 { is_big_endian: true }, rest),
            [0xef, 0xbb, 0xbf, ref rest @ ..] => (Kind::Bytes, rest),
            [first, 0, second, 0, ..] if first != 0 && second != 0 => (Kind::Utf16 { is_big_endian: false }, &*begun),
            [0, first, 0, second, ..] if first != 0 && second != 0 => (Kind::Utf16 { is_big_endian: true }, &*begun),
            _ => (Kind::Bytes, &*begun),
        };
        self.kind = Some(kind);
        self.decode(rest, give);
    }

    fn decode_utf16(&mut self, bytes: &[u8], is_big_endian: bool, give: &mut dyn FnMut(&[u8])) {
        self.begun.extend_from_slice(bytes);
        let (pairs, odd) = self.begun.as_chunks::<2>();
        let mut units: Vec<u16> = pairs
            .iter()
            .map(|pair| if is_big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) })
            .collect();
        let mut kept = odd.to_vec();
        // The first half of a surrogate pair waits for the other.
        if let Some(last) = units.pop_if(|last| (0xd800..0xdc00).contains(last)) {
            let half = if is_big_endian { last.to_be_bytes() } else { last.to_le_bytes() };
            kept = [&half, odd].concat();
        }
        let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        self.begun = kept;
        // A unit becomes three bytes at most, and no more than a block is to be given at once.
        text.as_bytes().chunks(super::lines::Lines::BLOCK).for_each(give);
    }
}
