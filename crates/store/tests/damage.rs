//! What stands in the store's place and is none is moved aside, never deleted, never overwritten.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::{ids, open, told};
use redb::{Database, TableDefinition};
use reprieve_judgement::SavedLedger;
use reprieve_store::{StoreError, WhyMoved, open_read_only};

/// A directory with a store of some kills, closed.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    for id in 1..=40 {
        opened.store.apply(&[told(id)]).unwrap();
    }
    directory
}

/// Opening must move what is there aside, as it is, and work.
fn moves_aside(directory: &Path, why: WhyMoved, number: u32) -> String {
    let path = directory.join("kills.redb");
    let before = fs::read(&path).ok();
    assert!(open_read_only(directory).is_err());
    assert_eq!(fs::read(&path).ok(), before, "looking leaves it");
    let mut opened = open(directory);
    assert_eq!(opened.moved.len(), 1);
    let moved = opened.moved.pop().unwrap();
    assert_eq!(moved.why, why);
    assert_eq!(moved.to, directory.join(format!("kills.redb.{}-{number}", why.as_str())));
    assert_eq!(fs::read(&moved.to).ok(), before, "{}", moved.what);
    assert_eq!(opened.saved, SavedLedger::default());
    opened.store.apply(&[told(1)]).unwrap();
    drop(opened);
    assert_eq!(ids(&open(directory).store.reader()), [1]);
    moved.what
}

#[test]
fn a_file_that_is_no_store_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kills.redb");
    let noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (number, content) in [&b""[..], b"x", b"not a database\n", &noise, &[0; 70_000]].into_iter().enumerate() {
        fs::write(&path, content).unwrap();
        moves_aside(directory.path(), WhyMoved::Corrupt, number as u32 + 1);
    }
}

#[test]
fn a_directory_in_its_place_is_moved_aside_with_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("kills.redb")).unwrap();
    fs::write(directory.path().join("kills.redb/inside"), "x").unwrap();
    moves_aside(directory.path(), WhyMoved::Corrupt, 1);
    assert_eq!(fs::read(directory.path().join("kills.redb.corrupt-1/inside")).unwrap(), b"x");
}

#[test]
fn a_fifo_in_its_place_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kills.redb");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(open_read_only(directory.path()), Err(StoreError::Corrupt { .. })));
    let opened = open(directory.path());
    assert_eq!(opened.moved[0].what, "it is no regular file");
}

#[test]
fn a_file_cut_short_is_moved_aside() {
    let directory = filled();
    let path = directory.path().join("kills.redb");
    let whole = fs::read(&path).unwrap();
    for (number, len) in [1, 100, 4096, 5000, 20_000, whole.len() - 4096, whole.len() - 1].into_iter().enumerate() {
        fs::write(&path, &whole[..len]).unwrap();
        moves_aside(directory.path(), WhyMoved::Corrupt, number as u32 + 1);
    }
}

#[test]
fn flipped_bits_are_found_or_harmless() {
    let directory = filled();
    let path = directory.path().join("kills.redb");
    let whole = fs::read(&path).unwrap();
    let mut moved = 0;
    // Every 1999th byte: all pages, and more of the fields of the first, which has the header.
    for at in (0..whole.len()).step_by(1999).chain((0..320).step_by(7)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let inside = tempfile::tempdir().unwrap();
        fs::write(inside.path().join("kills.redb"), &flipped).unwrap();
        let seen = open_read_only(inside.path()).map(|reader| ids(&reader));
        assert_eq!(fs::read(inside.path().join("kills.redb")).unwrap(), flipped, "looking leaves it");
        let opened = open(inside.path());
        match opened.moved.first() {
            Some(aside) => {
                moved += 1;
                assert!(seen.is_err());
                assert_eq!(fs::read(&aside.to).unwrap(), flipped, "byte {at}");
            }
            None => {
                // A page that nothing uses, or the header's older half.
                let there = ids(&opened.store.reader());
                assert!(there == (1..=40).collect::<Vec<_>>() || there == (1..=39).collect::<Vec<_>>(), "byte {at}");
                assert_eq!(seen.unwrap(), there);
            }
        }
    }
    assert!(moved > 20, "{moved}");
}

#[test]
fn a_newer_schema_is_moved_aside() {
    let directory = filled();
    let database = Database::open(directory.path().join("kills.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("schema", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = open_read_only(directory.path()).unwrap_err();
    assert!(refused.to_string().contains("was written by a newer version of reprieve (schema 2)"), "{refused}");
    let before = fs::read(directory.path().join("kills.redb")).unwrap();
    let opened = open(directory.path());
    assert_eq!((opened.moved[0].why, &*opened.moved[0].what), (WhyMoved::Newer, "schema 2"));
    let moved = directory.path().join("kills.redb.newer-1");
    assert_eq!(opened.moved[0].to, moved);
    assert_eq!(before.len(), fs::read(&moved).unwrap().len());
    let database = Database::open(moved).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let kills = transaction.open_table(TableDefinition::<u64, &[u8]>::new("kills")).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&kills).unwrap(), 40, "all is still there");
}

#[test]
fn other_tables_are_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(directory.path().join("kills.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("meta")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(open_read_only(directory.path()), Err(StoreError::Corrupt { .. })));
    let opened = open(directory.path());
    assert_eq!(opened.moved[0].why, WhyMoved::Corrupt);
}

/// The byte of a slot of redb's header that holds the file format's number: the first of each slot (docs/design.md of redb).
fn with_format(version: u8) -> tempfile::TempDir {
    let directory = filled();
    let path = directory.path().join("kills.redb");
    let mut bytes = fs::read(&path).unwrap();
    for slot in [64, 192] {
        assert_eq!(bytes[slot], 3);
        bytes[slot] = version;
    }
    fs::write(&path, bytes).unwrap();
    directory
}

#[test]
fn other_formats_of_redb_are_moved_aside() {
    moves_aside(with_format(2).path(), WhyMoved::Older, 1);
    moves_aside(with_format(9).path(), WhyMoved::Newer, 1);
}

#[test]
fn a_store_that_vanishes_under_its_writer_is_noticed() {
    let directory = filled();
    let mut opened = open(directory.path());
    fs::remove_file(directory.path().join("kills.redb")).unwrap();
    assert!(matches!(opened.store.apply(&[told(41)]), Err(StoreError::Gone { .. })));
    drop(opened);
    open(directory.path()).store.apply(&[told(41)]).unwrap();
}
