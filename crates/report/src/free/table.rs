//! The table and the line that `free` of procps prints, to the letter: scripts cut columns out of them.

use std::fmt::{self, Write};

use reprieve_readings::{Bytes, Meminfo};

use super::scale::Scale;

/// Which rows and columns to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// How to print amounts.
    pub scale: Scale,
    /// Buffers and cache in columns of their own.
    pub wide: bool,
    /// Rows of low and high memory, which only 32-bit kernels tell apart.
    pub low_and_high: bool,
    /// A row that adds up memory and swap.
    pub total: bool,
    /// A row of what may be promised, and what is.
    pub committed: bool,
}

/// What `free` derives from `/proc/meminfo` (library/meminfo.c of procps 4.0.4).
struct Derived {
    used: Option<Bytes>,
    cached: Option<Bytes>,
    available: Option<Bytes>,
    swap_used: Option<Bytes>,
}

impl Derived {
    fn of(meminfo: &Meminfo) -> Self {
        let total = meminfo.total.unwrap_or_default();
        // A machine that has less than it has available is one whose meminfo is made up of two.
        let available = meminfo.available.filter(|available| *available <= total).or(meminfo.free);
        let cached = meminfo.cached.unwrap_or_default().saturating_add(meminfo.slab_reclaimable.unwrap_or_default());
        let used = total.saturating_sub(available.unwrap_or_default());
        let swap_free = meminfo.swap_free.unwrap_or_default();
        let swap_used = meminfo.swap_total.unwrap_or_default().saturating_sub(swap_free);
        Derived { used: Some(used), cached: Some(cached), available, swap_used: Some(swap_used) }
    }

    fn buffers_and_cache(&self, meminfo: &Meminfo) -> Option<Bytes> {
        add(meminfo.buffers, self.cached)
    }
}

/// The table. Each line ends with a line feed.
pub fn free_table(meminfo: &Meminfo, options: &TableOptions) -> String {
    let mut table = String::new();
    // Writing to a String can't fail.
    let _ = write_table(&mut table, meminfo, options);
    table
}

/// The single line of `free --line`, without a line feed.
pub fn free_line(meminfo: &Meminfo, scale: Scale) -> String {
    let derived = Derived::of(meminfo);
    let cells = [
        ("SwapUse", derived.swap_used),
        ("CachUse", derived.buffers_and_cache(meminfo)),
        (" MemUse", derived.used),
        ("MemFree", meminfo.free),
    ];
    cells.map(|(name, bytes)| format!("{name} {:>11} ", scale.show(bytes))).concat()
}

fn write_table(table: &mut String, meminfo: &Meminfo, options: &TableOptions) -> fmt::Result {
    let derived = Derived::of(meminfo);
    let mut columns = vec!["total", "used", "free", "shared"];
    let mut memory = vec![meminfo.total, derived.used, meminfo.free, meminfo.shmem];
    if options.wide {
        columns.extend(["buffers", "cache"]);
        memory.extend([meminfo.buffers, derived.cached]);
    } else {
        columns.push("buff/cache");
        memory.push(derived.buffers_and_cache(meminfo));
    }
    columns.push("available");
    memory.push(derived.available);
    write!(table, "        ")?;
    columns.iter().try_for_each(|column| write!(table, " {column:>11}"))?;
    writeln!(table)?;

    let scale = options.scale;
    let mut row = |name: &str, amounts: &[Option<Bytes>]| {
        let cells: Vec<String> = amounts.iter().map(|bytes| format!("{:>11}", scale.show(*bytes))).collect();
        writeln!(table, "{name:<9}{}", cells.join(" "))
    };
    row("Mem:", &memory)?;
    if options.low_and_high {
        let low_total = meminfo.low_total.filter(|total| *total > Bytes::ZERO);
        let (low_total, low_free) =
            if low_total.is_some() { (low_total, meminfo.low_free) } else { (meminfo.total, meminfo.free) };
        row("Low:", &[low_total, subtract(low_total, low_free), low_free])?;
        let (high_total, high_free) = (meminfo.high_total, meminfo.high_free);
        row("High:", &[high_total, subtract(high_total, high_free), high_free])?;
    }
    row("Swap:", &[meminfo.swap_total, derived.swap_used, meminfo.swap_free])?;
    if options.total {
        let sums = [
            add(meminfo.total, meminfo.swap_total),
            add(derived.used, derived.swap_used),
            add(meminfo.free, meminfo.swap_free),
        ];
        row("Total:", &sums)?;
    }
    if options.committed {
        let signed = |bytes: Option<Bytes>| i128::from(bytes.unwrap_or_default().get());
        let left = signed(meminfo.commit_limit) - signed(meminfo.committed);
        let cells = [scale.show(meminfo.commit_limit), scale.show(meminfo.committed), scale.show_signed(left)];
        writeln!(table, "{:<9}{:>11} {:>11} {:>11}", "Comm:", cells[0], cells[1], cells[2])?;
    }
    Ok(())
}

fn add(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    Some(one.unwrap_or_default().saturating_add(other.unwrap_or_default()))
}

fn subtract(from: Option<Bytes>, what: Option<Bytes>) -> Option<Bytes> {
    Some(from.unwrap_or_default().saturating_sub(what.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::scale::Unit;
    use super::*;

    /// Both of the same machine at the same moment: its `/proc/meminfo`, and what procps 4.0.2 made of it.
    fn machine() -> Meminfo {
        Meminfo::parse(
            b"MemTotal:       24684096 kB\nMemFree:        24553732 kB\nMemAvailable:   24457848 kB\n\
              Buffers:             604 kB\nCached:            25804 kB\nSwapTotal:             0 kB\n\
              SwapFree:              0 kB\nShmem:              8788 kB\nSReclaimable:      34628 kB\n\
              CommitLimit:    12342048 kB\nCommitted_AS:      49996 kB\n",
        )
        .unwrap()
    }

    #[test]
    fn the_default_table_is_procps() {
        assert_eq!(
            free_table(&machine(), &TableOptions::default()),
            "               total        used        free      shared  buff/cache   available\n\
             Mem:        24684096      226248    24553732        8788       61036    24457848\n\
             Swap:              0           0           0\n"
        );
    }

    #[test]
    fn every_row_and_column_is_procps() {
        let all = TableOptions { wide: true, low_and_high: true, total: true, committed: true, ..Default::default() };
        assert_eq!(
            free_table(&machine(), &all),
            "               total        used        free      shared     buffers       cache   available\n\
             Mem:        24684096      226248    24553732        8788         604       60432    24457848\n\
             Low:        24684096      130364    24553732\n\
             High:              0           0           0\n\
             Swap:              0           0           0\n\
             Total:      24684096      226248    24553732\n\
             Comm:       12342048       49996    12292052\n"
        );
    }

    #[test]
    fn the_line_is_procps() {
        let line = free_line(&machine(), Scale { unit: Unit::Power(1), si: false });
        assert_eq!(line, "SwapUse           0 CachUse       61036  MemUse      226248 MemFree    24553732 ");
    }

    #[test]
    fn more_promised_than_allowed_is_shown_as_negative() {
        let over = Meminfo { committed: Some(Bytes::from_kib(12_342_058)), ..machine() };
        let table = free_table(&over, &TableOptions { committed: true, ..TableOptions::default() });
        assert!(table.ends_with("Comm:       12342048    12342058         -10\n"), "{table}");
    }
}
