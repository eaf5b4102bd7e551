//! `docs/errors.md` against the one table of faults. The table is private to the data plane, so its text is
//! read.

use std::collections::BTreeSet;

use crate::markdown::{code, document_at, root};

/// Status, type and code of an error.
type Row = (String, String, String);

fn in_document() -> BTreeSet<Row> {
    let rows = document_at("docs/errors.md").rows_under("The gateway's own errors");
    let mut found = BTreeSet::new();
    for cells in rows {
        let [status, kind, codes, ..] = cells.as_slice() else {
            panic!("{cells:?}");
        };
        let only = |cell: &str| code(cell).first().cloned().unwrap_or_default();
        found.insert((status.clone(), only(kind), only(codes)));
    }
    found
}

/// Every `(status, type, code)` of `Fault::row` in `dataplane/src/fault.rs`.
fn in_table() -> BTreeSet<Row> {
    let text = std::fs::read_to_string(root().join("dataplane/src/fault.rs")).unwrap();
    let (_, rest) = text.split_once("fn row(&self)").unwrap();
    let (table, _) = rest.split_once("Row { status").unwrap();
    let tuples = table
        .split('(')
        .filter(|tuple| tuple.starts_with(char::is_numeric));
    tuples
        .map(|tuple| {
            let (tuple, _) = tuple.split_once(')').unwrap();
            let mut parts = tuple.split(',').map(|part| value(&text, part.trim()));
            let mut next = || parts.next().unwrap();
            (next(), next(), next())
        })
        .collect()
}

/// A literal, or what the constant of that name is bound to.
fn value(text: &str, part: &str) -> String {
    let literal = if part.starts_with(char::is_alphabetic) {
        let (_, rest) = text.split_once(&format!("const {part}: &str = ")).unwrap();
        rest.split(';').next().unwrap()
    } else {
        part
    };
    literal.trim_matches('"').to_owned()
}

#[test]
fn the_list_of_errors_is_the_table_of_faults() {
    let table = in_table();
    assert!(table.len() > 15, "the search found the table: {table:?}");
    assert_eq!(in_document(), table);
}
