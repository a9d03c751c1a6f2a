//! Columns for a person to read.

/// Rows under a heading, each column as wide as its widest cell. The last column is not padded.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub(super) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|cell| cell.to_uppercase()).collect()],
        }
    }

    /// Adds a row. Control characters and line ends in a cell become spaces.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let clean = |cell: String| cell.replace(|c: char| c.is_control(), " ");
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// The whole table as lines.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_cell_breaks_its_line() {
        let mut table = Table::new(&["name", "size"]);
        table.row(["é\u{1b}[31m".to_owned(), "1".to_owned()]);
        table.row(["longer\nname".to_owned(), "22".to_owned()]);
        assert_eq!(
            table.text(),
            "NAME         SIZE\né [31m       1\nlonger name  22"
        );
    }
}
