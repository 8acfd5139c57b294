//! Amounts as `free` of procps prints them: which unit, and how it is rounded. Scripts depend on both.

use reprieve_readings::Bytes;

/// The unit that the user chose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// None: KiB, or with `--si` thousands of bytes.
    #[default]
    Default,
    /// Bytes.
    Bytes,
    /// A power of 1024 or, with `--si`, of 1000: 1 is KiB or kB, 5 is PiB or PB.
    Power(u32),
    /// Whichever has at most three digits.
    Human,
}

/// How to print amounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scale {
    /// The unit.
    pub unit: Unit,
    /// Powers of 1000 in place of 1024.
    pub si: bool,
}

impl Scale {
    /// An amount, cut to the whole unit as procps does. `None`, what this kernel doesn't tell, is 0 there.
    pub(super) fn show(self, bytes: Option<Bytes>) -> String {
        self.show_signed(i128::from(bytes.unwrap_or_default().get()))
    }

    /// The same of a difference, which can be negative.
    pub(super) fn show_signed(self, bytes: i128) -> String {
        let base: i128 = if self.si { 1000 } else { 1024 };
        match self.unit {
            Unit::Default => (bytes / base).to_string(),
            Unit::Bytes => bytes.to_string(),
            Unit::Power(power) => (bytes / base.pow(power.min(6))).to_string(),
            Unit::Human => self.show_human(bytes),
        }
    }

    /// The first unit in which the text is short enough: four characters, five with the `i` of a binary unit.
    fn show_human(self, bytes: i128) -> String {
        let (suffix, room) = if self.si { ("", 4) } else { ("i", 5) };
        let plain = format!("{bytes}B");
        if plain.len() <= 4 {
            return plain;
        }
        let mut amount = bytes as f64;
        let mut text = plain;
        for unit in ["K", "M", "G", "T", "P"] {
            amount /= if self.si { 1000.0 } else { 1024.0 };
            text = format!("{:.1}{unit}{suffix}", amount as f32);
            if text.len() <= room {
                break;
            }
            text = format!("{}{unit}{suffix}", amount as i64);
            if text.len() <= room {
                break;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unit: Unit, si: bool, kib: u64, expected: &str) {
        let shown = Scale { unit, si }.show(Some(Bytes::from_kib(kib)));
        assert_eq!(shown, expected, "{unit:?} {si} {kib}");
    }

    /// Each line was printed by procps 4.0.2 from a file with this amount; the kernel tests compare many more.
    #[test]
    fn prints_as_procps_does() {
        check(Unit::Default, false, 24_684_096, "24684096");
        check(Unit::Default, true, 24_684_096, "25276514");
        check(Unit::Bytes, false, 3, "3072");
        check(Unit::Power(2), false, 2047, "1");
        check(Unit::Power(2), true, 2047, "2");
        check(Unit::Human, false, 0, "0B");
        check(Unit::Human, false, 1, "1.0Ki");
        check(Unit::Human, false, 8788, "8.6Mi");
        check(Unit::Human, false, 226_248, "220Mi");
        check(Unit::Human, true, 8788, "9.0M");
        check(Unit::Human, true, 61_036, "62M");
    }

    #[test]
    fn a_negative_difference_stays_one() {
        assert_eq!(Scale::default().show_signed(-2048), "-2");
    }
}
