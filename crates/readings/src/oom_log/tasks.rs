//! The table of processes in a report: who could have been killed.

use super::line::LONGEST_NAME;
use crate::Bytes;

/// The table of processes. Source: `dump_tasks` in mm/oom_kill.c; columns by version in [`TaskRow`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskTable {
    /// The names of the columns, from `uid` to `name`; none where the line that tells is missing.
    pub columns: Vec<Vec<u8>>,
    /// The rows in the order printed. Of a table that is too long, those with the most memory are kept.
    pub rows: Vec<TaskRow>,
    /// How many rows are not kept.
    pub rows_left_out: u64,
}

/// A process in the table. Memory is in pages, whose size the log does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskRow {
    /// The pid in the first pid namespace, of the thread that has the memory: the leader's, if that lives.
    pub pid: u32,
    /// The process (thread group). The same as `pid` nearly always.
    pub tgid: u32,
    /// The user, in the first user namespace.
    pub uid: u32,
    /// Pages of its address space.
    pub total_vm: Option<u64>,
    /// Pages in RAM.
    pub rss: Option<u64>,
    /// Of these the anonymous ones. From Linux 6.8.
    pub rss_anon: Option<u64>,
    /// Of these the mapped file pages. From Linux 6.8.
    pub rss_file: Option<u64>,
    /// Of these shared memory and tmpfs. From Linux 6.8.
    pub rss_shmem: Option<u64>,
    /// Memory of its page tables. From Linux 4.15.
    pub pgtables: Option<Bytes>,
    /// How many page tables it has (`nr_ptes`, and `nr_pmds` from 4.0). Up to Linux 4.14.
    pub pgtable_pages: Option<u64>,
    /// Pages in swap.
    pub swapents: Option<u64>,
    /// How much its owner wanted it killed, from −1000 (never) to 1000.
    pub oom_score_adj: Option<i16>,
    /// Its name, at most 15 bytes, as it chose it itself.
    pub name: Vec<u8>,
}

/// The numbers of a row, by the first version that prints them so.
const COLUMNS_3_10: &[&[u8]] = &[b"uid", b"tgid", b"total_vm", b"rss", b"nr_ptes", b"swapents", b"oom_score_adj"];
const COLUMNS_4_0: &[&[u8]] =
    &[b"uid", b"tgid", b"total_vm", b"rss", b"nr_ptes", b"nr_pmds", b"swapents", b"oom_score_adj"];
const COLUMNS_4_15: &[&[u8]] =
    &[b"uid", b"tgid", b"total_vm", b"rss", b"pgtables_bytes", b"swapents", b"oom_score_adj"];
const COLUMNS_6_8: &[&[u8]] = &[
    b"uid",
    b"tgid",
    b"total_vm",
    b"rss",
    b"rss_anon",
    b"rss_file",
    b"rss_shmem",
    b"pgtables_bytes",
    b"swapents",
    b"oom_score_adj",
];

/// The names of the columns in the table's first row, from `uid` to `name`.
pub(super) fn parse_columns(header: &[u8]) -> Vec<Vec<u8>> {
    header.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// How many columns of the row have names that a kernel prints, less those that have not.
pub(super) fn known_columns(header: &[u8]) -> i32 {
    let known = |name: &Vec<u8>| {
        let name = name.as_slice();
        matches!(name, b"[" | b"pid" | b"]" | b"name" | b"cpu" | b"oom_adj")
            || COLUMNS_4_0.contains(&name)
            || COLUMNS_6_8.contains(&name)
    };
    parse_columns(header).iter().map(|name| if known(name) { 1 } else { -1 }).sum()
}

impl TaskRow {
    /// `numbers` is what follows `[ pid ]`. Without columns, they are guessed by how many numbers there are.
    pub(super) fn parse(pid: u32, numbers: &[u8], columns: Option<&[Vec<u8>]>) -> Option<Self> {
        match columns {
            Some(columns) => {
                let numeric = columns.split_last().map_or(columns, |(_, numeric)| numeric);
                TaskRow::read(pid, numbers, &numeric.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            None => {
                let words = numbers.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let count = words.take_while(|word| signed(word).is_some()).count();
                let guess = if count >= COLUMNS_6_8.len() {
                    COLUMNS_6_8
                } else if count >= COLUMNS_4_0.len() {
                    COLUMNS_4_0
                } else if page_tables_are_bytes(numbers) {
                    COLUMNS_4_15
                } else {
                    COLUMNS_3_10
                };
                TaskRow::read(pid, numbers, guess)
            }
        }
    }

    fn read(pid: u32, numbers: &[u8], columns: &[&[u8]]) -> Option<Self> {
        let mut row = TaskRow { pid, ..TaskRow::default() };
        let mut rest = numbers;
        let mut pgtable_pages = None;
        for column in columns {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end)?;
            rest = after;
            let number = signed(word)?;
            let count = u64::try_from(number).ok();
            match *column {
                // Some versions print user ids as signed numbers.
                b"uid" => row.uid = u32::try_from(number.rem_euclid(1 << 32)).ok()?,
                b"tgid" => row.tgid = u32::try_from(number).ok()?,
                b"total_vm" => row.total_vm = count,
                b"rss" => row.rss = count,
                b"rss_anon" => row.rss_anon = count,
                b"rss_file" => row.rss_file = count,
                b"rss_shmem" => row.rss_shmem = count,
                b"pgtables_bytes" => row.pgtables = count.map(Bytes::new),
                b"nr_ptes" | b"nr_pmds" => {
                    pgtable_pages = count.map(|count| count.saturating_add(pgtable_pages.unwrap_or(0)));
                }
                b"swapents" => row.swapents = count,
                b"oom_score_adj" => row.oom_score_adj = i16::try_from(number).ok(),
                _ => {}
            }
        }
        row.pgtable_pages = pgtable_pages;
        row.name = rest.trim_ascii_start().to_vec();
        (row.name.len() <= LONGEST_NAME).then_some(row)
    }

    /// What the row holds of memory, to keep the rows that matter.
    fn weight(&self) -> u64 {
        self.rss.unwrap_or(0).saturating_add(self.swapents.unwrap_or(0))
    }
}

/// Page tables in bytes are multiples of the page size; as a number of pages they hardly ever are.
fn page_tables_are_bytes(numbers: &[u8]) -> bool {
    let mut words = numbers.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(4).and_then(signed).is_some_and(|pgtables| pgtables >= 4096 && pgtables % 4096 == 0)
}

fn signed(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

impl TaskTable {
    /// So many rows are kept. The kernel prints each process there is, and there can be millions.
    const MOST_ROWS: usize = 4096;

    pub(super) fn add(&mut self, row: TaskRow) {
        self.rows.push(row);
        if self.rows.len() >= 2 * Self::MOST_ROWS {
            self.drop_the_lightest();
        }
    }

    /// Ends the table: drops the rows that are too many.
    pub(super) fn drop_the_lightest(&mut self) {
        let too_many = self.rows.len().saturating_sub(Self::MOST_ROWS);
        if too_many == 0 {
            return;
        }
        let mut weights: Vec<u64> = self.rows.iter().map(TaskRow::weight).collect();
        weights.sort_unstable();
        let Some(&limit) = weights.get(too_many) else { return };
        let mut spare =
            weights.get(..too_many).map_or(0, |below| below.iter().filter(|weight| **weight == limit).count());
        self.rows.retain(|row| {
            let drop = row.weight() < limit || (row.weight() == limit && spare > 0);
            spare -= usize::from(drop && row.weight() == limit);
            !drop
        });
        self.rows_left_out += too_many as u64;
    }
}
