//! Formulas that were weighed against ours, on the rows of the same runs: what each part of the best guess is good for.

use crate::row::{LevelRow, Row};

/// A formula: what of a level's usage it takes for reclaimable.
pub(crate) struct Other {
    /// What the tables call it.
    pub(crate) name: &'static str,
    reclaimable: fn(&LevelRow) -> u64,
}

/// Those that were weighed.
pub(crate) const OTHERS: [Other; 4] = [
    Other { name: "without dirty cache", reclaimable: |level| clean(level) + slab(level) },
    Other { name: "without slab", reclaimable: file },
    Other { name: "without active cache", reclaimable: |level| level.inactive_file.unwrap_or(0) + slab(level) },
    // The shape of the kernel's si_mem_available, with a w that is larger than any cache here.
    Other {
        name: "half of clean cache and slab",
        reclaimable: |level| clean(level).div_ceil(2) + slab(level).div_ceil(2),
    },
];

impl Other {
    /// Its answer: the smallest of all levels and the machine, with the same swap as the best guess.
    pub(crate) fn answer(&self, row: &Row) -> Option<u64> {
        let of_level = |level: &LevelRow| {
            let (limit, usage) = (level.max?, level.usage?);
            Some(limit.saturating_sub(usage).saturating_add((self.reclaimable)(level).min(usage)).min(limit))
        };
        let levels = row.levels.iter().filter_map(of_level);
        levels.chain(row.node.available).min().map(|answer| answer.saturating_add(row.swap))
    }
}

fn file(level: &LevelRow) -> u64 {
    level.active_file.unwrap_or(0) + level.inactive_file.unwrap_or(0)
}

fn clean(level: &LevelRow) -> u64 {
    file(level).saturating_sub(level.file_dirty.unwrap_or(0) + level.file_writeback.unwrap_or(0))
}

/// v1 has only all of the kernel's memory, page tables with it.
fn slab(level: &LevelRow) -> u64 {
    let page_tables = (level.anon.unwrap_or(0) + level.file_mapped.unwrap_or(0)) / 512;
    level.slab_reclaimable.unwrap_or_else(|| level.kernel.unwrap_or(0).saturating_sub(page_tables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::row;

    #[test]
    fn each_leaves_out_its_part() {
        let level = LevelRow {
            max: Some(1000),
            usage: Some(600),
            active_file: Some(200),
            inactive_file: Some(100),
            file_dirty: Some(40),
            slab_reclaimable: Some(10),
            ..LevelRow::default()
        };
        let tight = LevelRow { max: Some(900), usage: Some(890), ..LevelRow::default() };
        let answers = |levels: &[LevelRow]| {
            let row = Row { levels: levels.to_vec(), ..row("cache", (0, 0, 0), 0, None) };
            OTHERS.iter().map(|other| other.answer(&row).unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(answers(&[level]), [400 + 260 + 10, 400 + 300, 400 + 100 + 10, 400 + 130 + 5]);
        assert_eq!(answers(&[level, tight]), [10; 4]);
    }
}
