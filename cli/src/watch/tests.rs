//! Which events mean that something may have changed.

use std::fs;
use std::os::unix::fs::symlink;

use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};
use tempfile::TempDir;

use super::*;
use crate::links::way;

fn event(kind: EventKind, path: &str) -> Event {
    Event::new(kind).add_path(path.into())
}

fn interest(folder: &Path) -> Interest {
    Interest {
        folders: BTreeSet::from([folder.to_owned()]),
        paths: BTreeSet::from([folder.to_owned()]),
    }
}

#[test]
fn a_file_is_being_written_from_its_first_write_until_it_is_closed_or_replaced() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut watch = Watch::new().unwrap();
    watch.set(&interest(&folder)).unwrap();
    let at = |name: &str| folder.join(name);
    let note = |watch: &mut Watch, kind, name: &str| {
        watch.note(&Event::new(kind).add_path(at(name)));
        std::mem::take(&mut watch.is_changed)
    };
    let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let rename = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    let touch = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    assert!(note(&mut watch, EventKind::Create(CreateKind::File), "a"));
    assert!(watch.writing().is_empty());
    assert!(!note(&mut watch, write, "a") && !note(&mut watch, write, "b"));
    assert!(note(&mut watch, touch, "a"));
    assert_eq!(watch.writing(), BTreeSet::from([at("a"), at("b")]));
    assert!(note(&mut watch, close, "a"));
    assert_eq!(watch.writing(), BTreeSet::from([at("b")]));
    assert!(note(&mut watch, rename, "b"));
    assert!(watch.writing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_written_for_too_long_is_a_change() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut watch = Watch::new().unwrap();
    watch.set(&interest(&folder)).unwrap();
    let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let begin = Instant::now();
    watch.note(&Event::new(write).add_path(folder.join("a")));
    watch.changed().await;
    assert!(begin.elapsed() >= WRITING);
    assert!(watch.writing().is_empty());
}

#[tokio::test]
async fn what_is_behind_a_link_is_watched() {
    let outer = TempDir::new().unwrap();
    let at = |name: &str| outer.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/real.yaml"), "old").unwrap();
    symlink("../other/real.yaml", at("folder/link.yaml")).unwrap();
    let mut watch = Watch::new().unwrap();
    let interest = Interest {
        folders: BTreeSet::from([at("folder")]),
        paths: way(&at("folder/link.yaml")).into_iter().collect(),
    };
    watch.set(&interest).unwrap();
    fs::write(at("other/neighbour.yaml"), "new").unwrap();
    fs::write(at("other/real.yaml"), "new").unwrap();
    watch.changed().await;
    assert!(watch.writing().is_empty());
}

#[test]
fn reading_and_other_peoples_files_do_not_concern_us() {
    let folder = TempDir::new().unwrap();
    let mut watch = Watch::new().unwrap();
    watch.set(&interest(folder.path())).unwrap();
    let of = |kind, name: &str| Event::new(kind).add_path(folder.path().join(name));
    let created = EventKind::Create(CreateKind::File);
    assert!(watch.concerns_us(&of(created, "a.yaml")));
    assert!(watch.concerns_us(&of(created, "..data")));
    assert!(watch.concerns_us(&of(
        EventKind::Remove(notify::event::RemoveKind::Folder),
        ""
    )));
    assert!(
        watch.concerns_us(&Event::new(EventKind::Any)),
        "something was missed"
    );
    assert!(!watch.concerns_us(&of(created, ".a.yaml.swp")));
    assert!(!watch.concerns_us(&of(
        EventKind::Access(AccessKind::Open(AccessMode::Any)),
        "a.yaml"
    )));
    assert!(!watch.concerns_us(&event(created, "/elsewhere/a.yaml")));
    let neighbour = folder.path().with_file_name("neighbour");
    assert!(!watch.concerns_us(&Event::new(created).add_path(neighbour)));
}

#[tokio::test]
async fn a_file_written_in_place_is_noticed() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.yaml"), "old").unwrap();
    let mut watch = Watch::new().unwrap();
    assert!(watch.set(&interest(folder.path())).unwrap());
    assert!(
        !watch.set(&interest(folder.path())).unwrap(),
        "watched already"
    );
    fs::read(folder.path().join("a.yaml")).unwrap();
    fs::write(folder.path().join("b.yaml"), "new").unwrap();
    watch.changed().await;
    assert!(
        watch.events.try_recv().is_err(),
        "the one change was gathered whole"
    );
}

#[tokio::test]
async fn a_folder_made_anew_under_its_name_is_watched_anew() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    let mut watch = Watch::new().unwrap();
    watch.set(&interest(&folder)).unwrap();
    fs::rename(&folder, outer.path().join("old")).unwrap();
    fs::create_dir(&folder).unwrap();
    watch.changed().await;
    assert!(watch.set(&interest(&folder)).unwrap());
    fs::write(folder.join("a.yaml"), "new").unwrap();
    watch.changed().await;
}
