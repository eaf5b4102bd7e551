//! Links in the file system, followed one by one.
//!
//! Must never end in a circle.

use std::path::{Path, PathBuf};

/// The most links that are followed: as many as Linux does.
const LINKS: usize = 40;

/// Every link on the way to a path, and what is behind the last one: when one of these changes,
/// something else is found at the path.
pub(crate) fn way(path: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut next = std::path::absolute(path).ok();
    while let Some(path) = next.take_if(|_| way.len() <= LINKS) {
        let links = path.ancestors();
        let mut links = links.filter_map(|link| Some((link, link.read_link().ok()?)));
        if let Some((link, target)) = links.next() {
            let folder = link.parent().unwrap_or(link);
            let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
            next = Some(join(&folder.join(target), rest));
            way.push(link.to_owned());
        } else {
            way.push(path);
        }
    }
    way
}

/// Joins without a slash at the end, which would name a folder's inside.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        path.to_owned()
    } else {
        path.join(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_named_and_what_is_behind_them() {
        let folder = TempDir::new().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let at = |name: &str| folder.join(name);
        fs::create_dir(at("one")).unwrap();
        fs::write(at("one/file"), "").unwrap();
        symlink("one", at("current")).unwrap();
        symlink("current/file", at("link")).unwrap();
        assert_eq!(
            way(&at("link")),
            [at("link"), at("current"), at("one/file")]
        );
        assert_eq!(way(&at("one/file")), [at("one/file")]);
        assert_eq!(way(&at("none")), [at("none")]);
    }

    #[test]
    fn a_circle_ends() {
        let folder = TempDir::new().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(way(&folder.path().join("a")).len() > 2);
    }
}
