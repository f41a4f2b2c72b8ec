//! Rows under headings, lined up as `kubectl get` prints them.
//!
//! Each column is as wide as its widest cell and three spaces, at least six places; the last one is not filled up.
//! Every character counts as one place, as in Go's `text/tabwriter`.

/// Whether the headings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headings {
    /// Above the rows, in upper case.
    Shown,
    /// Not at all, as with `--no-headers`.
    Hidden,
}

const PADDING: usize = 3;
const LEAST_WIDTH: usize = 6;

/// Prints tables one below the other; columns never become narrower again, so that rows printed later, as with
/// `--watch`, stand under their headings.
#[derive(Clone, Debug, Default)]
pub struct TablePrinter {
    widths: Vec<usize>,
}

impl TablePrinter {
    /// Lines up `rows` under `columns`. What a row has beyond its headings is left out.
    pub fn print(&mut self, columns: &[&str], rows: &[Vec<String>], headings: Headings) -> String {
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 1);
        if headings == Headings::Shown {
            lines.push(columns.iter().map(|name| name.to_uppercase()).collect());
        }
        lines.extend(
            rows.iter().map(|row| row.iter().take(columns.len()).map(|cell| printable(cell)).collect()),
        );
        self.widen(&lines);
        let mut text = String::new();
        for line in &lines {
            for (i, cell) in line.iter().enumerate() {
                text.push_str(cell);
                if i + 1 < line.len() {
                    let width = self.widths.get(i).copied().unwrap_or_default();
                    text.extend(std::iter::repeat_n(' ', width.saturating_sub(places(cell))));
                }
            }
            text.push('\n');
        }
        text
    }

    fn widen(&mut self, lines: &[Vec<String>]) {
        for line in lines {
            // The last cell of a line pushes nothing aside.
            for (i, cell) in line.iter().take(line.len().saturating_sub(1)).enumerate() {
                if self.widths.len() <= i {
                    self.widths.push(LEAST_WIDTH);
                }
                if let Some(width) = self.widths.get_mut(i) {
                    *width = (*width).max(places(cell) + PADDING);
                }
            }
        }
    }
}

/// One table alone.
pub fn print(columns: &[&str], rows: &[Vec<String>], headings: Headings) -> String {
    TablePrinter::default().print(columns, rows, headings)
}

fn places(cell: &str) -> usize {
    cell.chars().count()
}

// Only the first line of a cell is shown, with `...` behind it; what would steer a terminal is made visible.
fn printable(cell: &str) -> String {
    let (line, rest) = match cell.find(['\n', '\r', '\u{c}']) {
        Some(end) => (&cell[..end], "..."),
        None => (cell, ""),
    };
    // A tab would start another column.
    format!("{}{rest}", line.replace('\u{1b}', "^[").replace('\t', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn columns_line_up_as_kubectl_prints_them() {
        let rows = rows(&[&["web-0", "1/1", "Running"], &["a-long-name", "0/1", "Pending"]]);
        assert_eq!(
            print(&["Name", "Ready", "Status"], &rows, Headings::Shown),
            "NAME          READY   STATUS\nweb-0         1/1     Running\na-long-name   0/1     Pending\n"
        );
        assert_eq!(
            print(&["Name", "Ready", "Status"], &rows, Headings::Hidden),
            "web-0         1/1   Running\na-long-name   0/1   Pending\n"
        );
    }

    #[test]
    fn columns_are_at_least_six_places_wide() {
        assert_eq!(print(&["A", "B"], &rows(&[&["x", "y"]]), Headings::Shown), "A     B\nx     y\n");
    }

    #[test]
    fn later_rows_stand_under_their_headings() {
        let mut printer = TablePrinter::default();
        printer.print(&["Name", "Age"], &rows(&[&["a-long-name", "1s"]]), Headings::Shown);
        assert_eq!(
            printer.print(&["Name", "Age"], &rows(&[&["b", "2s"]]), Headings::Hidden),
            "b             2s\n"
        );
    }

    #[test]
    fn cells_cannot_tear_the_table() {
        let rows = rows(&[&["a\nb", "ä\u{1b}[31m", "more", "than", "columns"]]);
        assert_eq!(print(&["A", "B"], &rows, Headings::Hidden), "a...   ä^[[31m\n");
    }
}
