//! Makes the records of `/dev/kmsg`, from messages and from logs as people post them.

use reprieve_readings::{KmsgRecord, OomKillReader, OomVictim};

/// A kernel's log under way: gives each message its number and time.
#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) records: Vec<Vec<u8>>,
    micros: u64,
}

impl Kernel {
    /// The messages as records of the kernel, 1 ms apart, without callers.
    pub(crate) fn says<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        let mut kernel = Kernel::default();
        messages.into_iter().for_each(|message| kernel.say("-", message.as_bytes()));
        kernel
    }

    /// `flags` is the fourth field of the header and what follows it: `-,caller=T1`.
    pub(crate) fn say(&mut self, flags: &str, message: &[u8]) {
        self.write(4, flags, message);
    }

    pub(crate) fn write(&mut self, priority: u32, flags: &str, message: &[u8]) {
        self.micros += 1_000;
        self.records.push(record(priority, self.records.len() as u64, self.micros, flags, message));
    }

    pub(crate) fn wait_seconds(&mut self, seconds: u64) {
        self.micros += seconds * 1_000_000;
    }

    pub(crate) fn victims(&self) -> Vec<OomVictim> {
        victims(&self.records)
    }

    /// A log as syslog, journalctl or dmesg shows it. Lines of other programs become records of user space.
    pub(crate) fn from_log(log: &[u8]) -> Self {
        let mut kernel = Kernel::default();
        for line in log.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let text = String::from_utf8_lossy(line);
            let from_kernel = !text.contains("systemd[") && !text.contains("containerd[") && !text.contains("dockerd:");
            let text = text.split_once(" kernel: ").map_or(&*text, |(_, text)| text);
            let (stamp, message) = text.split_once("] ").filter(|(stamp, _)| is_stamp(stamp)).unwrap_or(("", text));
            let caller = stamp.split_once("][").map(|(_, caller)| format!(",caller={}", caller.trim()));
            let flags = format!("-{}", caller.unwrap_or_default());
            kernel.write(
                if from_kernel { 4 } else { 28 },
                &flags,
                message.strip_prefix(' ').unwrap_or(message).as_bytes(),
            );
        }
        kernel
    }
}

/// `[  828.600750][ T5241] ` and `[Tue Mar 11 10:16:36 2025] `; a row of the task table begins with a bracket too.
fn is_stamp(text: &str) -> bool {
    text.starts_with('[') && text.contains(['.', ':'])
}

pub(crate) fn record(priority: u32, sequence: u64, micros: u64, flags: &str, message: &[u8]) -> Vec<u8> {
    let mut record = format!("{priority},{sequence},{micros},{flags};").into_bytes();
    for &byte in message {
        match byte {
            b' '..127 if byte != b'\\' => record.push(byte),
            _ => record.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    record.push(b'\n');
    record
}

pub(crate) fn victims<T: AsRef<[u8]>>(records: &[T]) -> Vec<OomVictim> {
    let mut reader = OomKillReader::new();
    let records = records.iter().filter_map(|record| KmsgRecord::parse(record.as_ref()).ok());
    records.filter_map(|record| reader.feed(&record)).collect()
}
