//! Tables for a terminal: columns aligned, no frames, so that they can be cut and searched.
//!
//! Must never wrap: a cell is short, sentences go below the table.

use comfy_table::{ContentArrangement, Table, presets};

use crate::output::visible;

/// Lays out rows under a header.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = rows.iter().map(|row| row.iter().map(|cell| visible(cell)));
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header)
        .add_rows(cells);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines();
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let rows = [
            vec!["long name".to_owned(), "1".to_owned()],
            vec!["b\n".to_owned(), String::new()],
        ];
        assert_eq!(
            render(&["NAME", "N"], &rows),
            "NAME       N\nlong name  1\nb\\n"
        );
    }
}
