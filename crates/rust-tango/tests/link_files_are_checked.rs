//! The files of a link are private. Whatever they contain when somebody opens them, the answer is an error
//! and never a crash.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::hostile::{HEAD, HEAD_WORDS, HOT_SLOT, HOT_SLOT_WORDS, MTU, dead_link, overwrite};
use common::process::TestFolder;
use common::{Random, publish};
use rust_tango::{Link, LinkErrorKind, Start, TangoError};

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn other_users_can_neither_read_nor_write_them() {
    let (folder, path) = dead_link(true);
    assert_eq!(mode(path.clone()), 0o700);
    let mut files: Vec<_> = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ctl", "rx.0", "rx.1", "tx"]);
    for file in files {
        assert_eq!(mode(path.join(file)), 0o600);
    }
    let base = folder.path().join("made/for/it");
    Link::builder().dir(&base).create("quotes").unwrap();
    assert_eq!(mode(base), 0o700);
}

#[test]
fn a_folder_that_others_can_write_is_not_trusted() {
    let (folder, path) = dead_link(true);
    let link = Link::open_in(folder.path(), "quotes").unwrap();
    link.consumer().unwrap();
    let set = |path: &PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (changed, open, safe) in [
        (&path, 0o770, 0o700),
        (&path, 0o702, 0o700),
        (&path.join("tx"), 0o660, 0o600),
        (&path.join("rx.1"), 0o620, 0o600),
    ] {
        set(changed, open);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let refused = link.consumer().unwrap_err();
        assert_eq!(refused.kind(), LinkErrorKind::Untrusted, "{changed:?} {open:o}: {refused}");
        assert!(refused.to_string().contains(changed.to_str().unwrap()), "{refused}");
        assert!(refused.to_string().contains("observer"), "it must say what to do instead: {refused}");
        let mut ob = link.observer_from(Start::Oldest).unwrap();
        common::assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
        assert!(link.status().consumers.is_empty(), "no slot may be claimed");
        set(changed, safe);
        link.consumer().unwrap();
    }
}

#[test]
fn things_that_are_not_links_are_not_opened() {
    let (folder, path) = dead_link(true);
    symlink("quotes", folder.path().join("alias")).unwrap();
    assert_eq!(Link::open_in(folder.path(), "alias").unwrap_err().kind(), LinkErrorKind::Incompatible);
    fs::write(folder.path().join("file"), "x").unwrap();
    assert_eq!(Link::open_in(folder.path(), "file").unwrap_err().kind(), LinkErrorKind::Incompatible);
    fs::rename(path.join("ctl"), path.join("ctl.bak")).unwrap();
    symlink("ctl.bak", path.join("ctl")).unwrap();
    assert_eq!(Link::open_in(folder.path(), "quotes").unwrap_err().kind(), LinkErrorKind::Untrusted);
}

/// The magic number, the version and each size in each header, one at a time.
#[test]
fn damaged_headers_are_incompatible() {
    let bad: [(&str, usize, &[u64]); 12] = [
        ("tx", 0, &[0, 1, u64::MAX]),                                            // magic
        ("tx", 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, u64::MAX]),    // version
        ("tx", 2, &[0, 1, 3, 9, 1 << 20, 1 << 28, 1 << 40, 1 << 63, u64::MAX]),  // depth
        ("tx", 3, &[1 << 20, 1 << 32, 1 << 63, u64::MAX]),                       // mtu
        ("tx", 4, &[0, 32, 100, 1 << 20, 1 << 40, u64::MAX]),                    // slot
        ("tx", 5, &[0, 64, 1 << 20, 1 << 38, 1 << 62, u64::MAX - 63, u64::MAX]), // region
        ("tx", 6, &[257, 1 << 32, u64::MAX]),                                    // consumers
        ("tx", 8, &[0, 9, u64::MAX]),                                            // credits
        ("ctl", 0, &[0, u64::MAX]),
        ("ctl", 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]),
        ("rx.1", 0, &[0, u64::MAX]),
        ("rx.0", 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]),
    ];
    for (file, word, values) in bad {
        for value in values {
            let (folder, path) = dead_link(true);
            overwrite(&path.join(file), word as u64 * 8, &value.to_ne_bytes());
            let error = Link::open_in(folder.path(), "quotes").expect_err(file);
            assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{file} word {word} = {value}: {error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}

/// A link of layout version 8 had a file `tx.N` for each slot. It is not opened, but a dead one is replaced and removed.
#[test]
fn a_link_of_the_previous_layout_is_replaced_and_removed() {
    let (folder, path) = dead_link(true);
    let make_older = || {
        fs::write(path.join("tx.0"), [0; 4096]).unwrap();
        fs::write(path.join("tx.1"), [0; 4096]).unwrap();
        for file in ["tx", "ctl", "rx.0", "rx.1", "tx.0", "tx.1"] {
            overwrite(&path.join(file), 8, &8_u64.to_ne_bytes());
        }
        let error = Link::open_in(folder.path(), "quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Incompatible);
        assert!(error.to_string().contains("layout version 8"), "{error}");
        assert!(Link::holders(folder.path(), "quotes").unwrap().is_empty());
    };
    let builder = || Link::builder().depth(8).mtu(MTU).slot(128).consumers(2).dir(folder.path());
    make_older();
    assert_eq!(builder().create_or_take_over("quotes").unwrap_err().kind(), LinkErrorKind::Incompatible);
    drop(builder().create("quotes").unwrap());
    assert!(!path.join("tx.0").exists());
    Link::open_in(folder.path(), "quotes").unwrap();
    make_older();
    Link::remove_dead(folder.path(), "quotes").unwrap();
    drop(builder().create("quotes").unwrap());
    make_older();
    Link::remove_named(folder.path(), "quotes").unwrap();
    assert!(!path.exists());
    // One that is still in use.
    let tx = builder().create("quotes").unwrap().producer().unwrap();
    fs::write(path.join("tx.0"), [0; 4096]).unwrap();
    assert_eq!(builder().create("quotes").unwrap_err().kind(), LinkErrorKind::InUse);
    drop(tx);
    drop(builder().create("quotes").unwrap());
}

#[test]
fn truncated_files_are_incompatible() {
    for file in ["tx", "ctl", "rx.0"] {
        let (folder, path) = dead_link(true);
        let full = fs::metadata(path.join(file)).unwrap().len();
        for len in [full - 1, full / 2, 100, 8, 0] {
            OpenOptions::new().write(true).open(path.join(file)).unwrap().set_len(len).unwrap();
            let error = Link::open_in(folder.path(), "quotes").expect_err(file);
            assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{file} of {len} bytes: {error}");
        }
    }
}

/// The maker of a link has everything that it needs to produce, whatever happens to the files. A later
/// producer notices.
#[test]
fn the_maker_can_produce_on_damaged_files_and_a_later_producer_is_refused() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |file| fs::remove_file(file).unwrap(),
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
        |file| {
            fs::rename(file, file.with_extension("old")).unwrap();
            symlink(file.with_extension("old"), file).unwrap();
        },
        |file| fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    ];
    for (which, damage) in damages.into_iter().enumerate() {
        let folder = TestFolder::new();
        let link =
            Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder.path()).create("quotes").unwrap();
        damage(&folder.path().join("quotes/ctl"));
        let tx = link.producer().unwrap();
        publish(&tx, MTU).unwrap();
        drop(tx);
        for _ in 0..2 {
            let refused = link.producer().unwrap_err();
            assert!(refused.to_string().contains(if which == 3 { "tx" } else { "ctl" }), "{refused}");
        }
        if which < 3 {
            let holders = Link::holders(folder.path(), "quotes").unwrap();
            assert!(holders.is_empty(), "{holders}");
        }
    }
}

/// With any words in the slots and beside them there may be errors, but no crash, and only payloads of a
/// possible size.
#[test]
fn any_bytes_in_the_rings_are_survived() {
    let mut random = Random::new(5);
    for _ in 0..300 {
        let (folder, path) = dead_link(true);
        for _ in 0..1 + random.below(20) {
            let (file, offset) = match random.below(5) {
                0 => ("tx", (HEAD + random.below(HEAD_WORDS)) * 8),
                1 => ("tx", (HOT_SLOT + random.below(HOT_SLOT_WORDS)) * 8),
                2 => ("tx", 8192 + random.below(8) * 128 + random.below(4) * 8), // metadata of a slot
                3 => ("tx", 8192 + random.below(500) * 8),
                _ => (["rx.0", "rx.1", "ctl"][random.below(3) as usize], 128 + random.below(32) * 8),
            };
            let value = match random.below(4) {
                0 => random.next(),
                1 => random.below(20),
                2 => u64::MAX - random.below(20),
                _ => random.below(1 << 12) << 32 | random.below(100),
            };
            overwrite(&path.join(file), offset, &value.to_ne_bytes());
        }
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut readers = [
            link.consumer_from(Start::Oldest).unwrap(),
            link.consumer_from(Start::At(1)).unwrap(),
            link.observer_from(Start::Oldest).unwrap(),
            link.observer_from(Start::At(3)).unwrap(),
        ];
        for reader in &mut readers {
            for _ in 0..20 {
                if let Ok(Some(fragment)) = reader.poll() {
                    assert!(fragment.payload.len() <= MTU);
                    assert_eq!(fragment.payload.len(), fragment.payload.read().len());
                }
                if let Ok(batch) = reader.poll_batch(3) {
                    assert!(batch.iter().all(|fragment| fragment.payload.len() <= MTU));
                }
                let _ = reader.poll_if(|_| false).is_ok();
                let _ = reader.is_closed();
            }
        }
        drop(readers);
        let _ = link.status();
        let tx = link.producer().unwrap();
        for _ in 0..20 {
            let _ = publish(&tx, MTU);
        }
    }
}

/// Metadata with an invalid location is reported, and the fragment is skipped.
#[test]
fn corrupt_fragments_are_skipped() {
    for (place_word, why) in [
        (1000_u64 | 200 << 32, "chunk"),
        ((MTU as u64 + 1) << 32, "size"),
        (u64::from(u32::MAX) | 97 << 32, "slot"),
    ] {
        let (folder, path) = dead_link(true);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let readers =
            [link.consumer_from(Start::Oldest).unwrap(), link.observer_from(Start::Oldest).unwrap()];
        overwrite(&path.join("tx"), 8192 + 2 * 128 + 16, &place_word.to_ne_bytes()); // fragment 2
        for mut reader in readers {
            common::assert_is(&reader.poll().unwrap().unwrap(), 1, MTU);
            assert_eq!(reader.poll().unwrap_err(), TangoError::Corrupt { seq: 2 }, "{why}");
            for seq in 3..=5 {
                common::assert_is(&reader.poll().unwrap().unwrap(), seq, MTU);
            }
        }
    }
}

#[test]
fn a_link_that_others_can_write_lends_no_mutable_slice() {
    let folder = TestFolder::new();
    let builder = || Link::builder().depth(8).mtu(MTU).slot(128).observers(false).dir(folder.path());
    let mut tx = builder().create("mine").unwrap().producer().unwrap();
    assert!(tx.loan(200).unwrap().as_mut_slice().is_some());

    let link = builder().create("open").unwrap();
    fs::set_permissions(folder.path().join("open/tx"), Permissions::from_mode(0o666)).unwrap();
    let mut tx = link.producer().unwrap();
    let mut loan = tx.loan(200).unwrap();
    assert!(loan.as_mut_slice().is_none(), "another user could change it");
    loan.write_at(0, &[1; 200]);
    loan.commit(0, 0, 0).unwrap();
}

#[test]
fn opening_does_not_fill_the_holes_of_a_sparse_file() {
    use std::os::unix::fs::MetadataExt;
    let (_place, path) = dead_link(true);
    let region = 256_u64 << 20;
    let tx = OpenOptions::new().write(true).open(path.join("tx")).unwrap();
    tx.set_len(8192 + 8 * 128 + region).unwrap();
    // The fourth size in the header, after the magic number and the version.
    overwrite(&path.join("tx"), 5 * 8, &region.to_ne_bytes());
    let before = tx.metadata().unwrap().blocks();
    let link = Link::open_in(path.parent().unwrap(), "quotes").unwrap();
    assert_eq!(link.geometry().region as u64, region);
    let mut observer = link.observer_from(Start::Oldest).unwrap();
    while observer.poll().unwrap().is_some() {}
    assert!(tx.metadata().unwrap().blocks() < before + 1024, "opening must not fill it");
}
