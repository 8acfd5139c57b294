//! Tables as Markdown whose source is a table already: columns are padded. The first column is text and stands left,
//! all others are figures and stand right.

use std::fmt;

/// A table with its headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Table { headings: headings.iter().map(|&heading| heading.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let lines = std::iter::once(&self.headings).chain(&self.rows);
        lines.filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.headings.len()).map(|column| self.width(column)).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")
        };
        line(f, &self.headings)?;
        for (column, &width) in widths.iter().enumerate() {
            write!(f, "|{}{}", "-".repeat(width + 1), if column == 0 { "-" } else { ":" })?;
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_padded_and_figures_stand_right() {
        let mut table = Table::new(&["what", "%"]);
        table.row(vec!["a µs".into(), "10.0".into()]);
        assert_eq!(table.to_string(), "| what |    % |\n|------|-----:|\n| a µs | 10.0 |\n");
    }
}
