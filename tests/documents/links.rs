//! Links between documents. Links to other sites are nobody's business here: tests use no network.

use std::collections::BTreeMap;

use crate::markdown::documents;

#[test]
fn every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let documents = documents();
    let anchors: BTreeMap<_, _> = documents
        .iter()
        .map(|document| (document.path.canonicalize().unwrap(), document.anchors()))
        .collect();
    let mut checked = 0;
    for document in &documents {
        for link in document.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            assert!(
                path.is_empty() || document.reaches(path),
                "{document}: {link}"
            );
            if !anchor.is_empty() {
                let target = if path.is_empty() {
                    document.path.clone()
                } else {
                    document.path.parent().unwrap().join(path)
                };
                let known = &anchors[&target.canonicalize().unwrap()];
                assert!(known.iter().any(|one| one == anchor), "{document}: {link}");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "the search found the links");
}

#[test]
fn every_decision_is_in_the_index() {
    let index = crate::markdown::document_at("docs/adr/README.md");
    let links = index.links();
    let folder = index.path.parent().unwrap();
    let mut decisions = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "README.md" {
            decisions += 1;
            assert!(links.contains(&name), "{name} is not in docs/adr/README.md");
        }
    }
    assert!(decisions > 5);
}
