//! `/proc/meminfo` in the kernel's layout, with the lines of a container.

use reprieve_readings::Meminfo;

/// The machine's text with each line that is known of the container in place of the machine's. All other lines, and
/// those that say the same, stay as they are to the byte.
///
/// The layout is that of `show_val_kb` in fs/proc/meminfo.c (Linux 6.18): a key of 16 columns, a number of 8.
pub fn meminfo_text(machine: &[u8], container: &Meminfo) -> Vec<u8> {
    let parsed = Meminfo::parse(machine).unwrap_or_default();
    let mut text = Vec::with_capacity(machine.len());
    for line in machine.split_inclusive(|&byte| byte == b'\n') {
        let key = line.split(|&byte| byte == b':').next().unwrap_or_default();
        match container.line(key) {
            Some(bytes) if parsed.line(key) != Some(bytes) => {
                let label = format!("{}:", String::from_utf8_lossy(key));
                text.extend_from_slice(format!("{label:<16}{:>8} kB\n", bytes.get() / 1024).as_bytes());
            }
            _ => text.extend_from_slice(line),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use reprieve_readings::Bytes;

    use super::*;

    const MACHINE: &[u8] = b"MemTotal:       24684092 kB\nMemFree:        21945648 kB\nActive(file):     970452 kB\n\
        VmallocTotal:   34359738367 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n";

    #[test]
    fn only_lines_of_the_container_change() {
        let container = Meminfo {
            total: Some(Bytes::from_kib(65_536)),
            free: Some(Bytes::ZERO),
            active_file: Some(Bytes::from_kib(970_452)),
            ..Meminfo::default()
        };
        let text = String::from_utf8(meminfo_text(MACHINE, &container)).unwrap();
        assert_eq!(
            text,
            "MemTotal:          65536 kB\nMemFree:               0 kB\nActive(file):     970452 kB\n\
             VmallocTotal:   34359738367 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n"
        );
    }

    #[test]
    fn the_machine_s_own_lines_stay_to_the_byte() {
        let parsed = Meminfo::parse(MACHINE).unwrap();
        assert_eq!(meminfo_text(MACHINE, &parsed), MACHINE);
        let odd = b"MemTotal: 1 kB\nno colon\n\xff\xfe: 3\nMemFree:";
        assert_eq!(meminfo_text(odd, &Meminfo::default()), odd);
    }
}
