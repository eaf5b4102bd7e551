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

/// Every `Row::new(status, type, code, …)` of `dataplane/src/fault.rs`.
fn in_table() -> BTreeSet<Row> {
    let text = std::fs::read_to_string(root().join("dataplane/src/fault.rs")).unwrap();
    let calls = text.split("Row::new(").skip(1);
    calls
        .map(|call| {
            let mut arguments = call
                .split(',')
                .map(|argument| value(&text, argument.trim()));
            let mut next = || arguments.next().unwrap();
            (next(), next(), next())
        })
        .collect()
}

/// A literal, or what the constant or variable of that name is bound to.
fn value(text: &str, argument: &str) -> String {
    let is_name = argument.starts_with(char::is_alphabetic);
    let literal = if is_name {
        let bound = [
            format!("const {argument}: &str = "),
            format!("let {argument} = "),
        ];
        let mut bound = bound.iter().filter_map(|start| text.split_once(start));
        let (_, rest) = bound.next().unwrap();
        rest.split(';').next().unwrap()
    } else {
        argument
    };
    literal.trim_matches('"').to_owned()
}

#[test]
fn the_list_of_errors_is_the_table_of_faults() {
    let table = in_table();
    assert!(table.len() > 15, "the search found the table: {table:?}");
    assert_eq!(in_document(), table);
}
