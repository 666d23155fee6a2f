//! Any bytes in any file of a link lead to an error, or to fragments that are reported lost. They never cause
//! a crash, a read outside of the link's memory, or a call that does not return. Here the files do not change
//! during the calls; in `hostile_writer` they do.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;

use common::exercise::{comes_to_rest, use_it_all};
use common::hostile::{
    CONSUMER, CONSUMER_WORDS, DEPTH, HEAD, HEAD_WORDS, HOT_SLOT, HOT_SLOT_WORDS, MTU, NAME, RING, SLOT_WORDS,
    builder, dead_link, hostile_value, store,
};
use common::{Random, assert_is, in_time, publish};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Uid, mkfifo};
use rust_tango::{Link, LinkErrorKind, Start, TangoError};

/// Reads every byte, and checks the length.
fn read_bytes(bytes: &[u8]) {
    assert!(bytes.len() <= MTU, "a payload of {} bytes", bytes.len());
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    std::hint::black_box(sum);
}

/// Each word of the head, alone, with every kind of value.
#[test]
fn any_word_of_the_head_is_survived() {
    in_time(|| {
        let values = [0, 1, 2, 3, 4, 6, 14, 1 << 31, 1 << 62, 1 << 63, (1 << 63) + 6, u64::MAX - 7, u64::MAX];
        for word in (HEAD..HEAD + HEAD_WORDS).chain(HOT_SLOT..HOT_SLOT + HOT_SLOT_WORDS) {
            for (round, value) in values.into_iter().enumerate() {
                let (folder, path) = dead_link(round % 2 == 0);
                store(&path.join("tx"), word, value);
                use_it_all(&Link::open_in(folder.path(), NAME).unwrap(), read_bytes);
            }
        }
    });
}

/// Many words at once, at random places.
#[test]
fn any_words_anywhere_are_survived() {
    in_time(|| {
        let mut random = Random::new(71);
        for round in 0..600 {
            let (folder, path) = dead_link(round % 2 == 0);
            for _ in 0..1 + random.below(40) {
                let (file, word) = match random.below(9) {
                    0 | 1 => ("tx", HEAD + random.below(HEAD_WORDS)),
                    2 | 3 => ("tx", RING + random.below(DEPTH) * SLOT_WORDS + random.below(4)),
                    4 => ("tx", RING + random.below(DEPTH * SLOT_WORDS + 400)),
                    5 => ("rx.0", CONSUMER + random.below(CONSUMER_WORDS)),
                    6 => ("rx.1", CONSUMER + random.below(CONSUMER_WORDS)),
                    7 => ("tx", HOT_SLOT + random.below(HOT_SLOT_WORDS)),
                    _ => ("ctl", 16 + random.below(2)),
                };
                store(&path.join(file), word, hostile_value(&mut random));
            }
            use_it_all(&Link::open_in(folder.path(), NAME).unwrap(), read_bytes);
        }
    });
}

/// All lines say that their fragments are overwritten by later ones, which were never published. A reader
/// reports a few losses and then finds nothing. It must not skip ahead forever.
#[test]
fn lines_from_the_future_cause_no_endless_loop() {
    for closed in [true, false] {
        let (folder, path) = dead_link(closed);
        for index in 0..DEPTH {
            store(&path.join("tx"), RING + index * SLOT_WORDS, (1 << 62) + index);
        }
        let link = Link::open_in(folder.path(), NAME).unwrap();
        for mut reader in
            [link.observer_from(Start::Oldest), link.consumer_from(Start::Oldest)].map(Result::unwrap)
        {
            let mut overruns = 0;
            while let Err(TangoError::Overrun { lost, .. }) = reader.poll() {
                assert!(lost > 0);
                overruns += 1;
                assert!(overruns <= 4, "a reader skips again and again");
            }
            assert!(overruns > 0, "a loss must be reported");
            // Half of these calls ask the kernel only now and then.
            let ended = (0..5000).find_map(|_| match reader.poll().map(|found| found.is_none()) {
                Ok(true) => reader.is_closed().then_some("closed"),
                Err(TangoError::ProducerGone) => Some("gone"),
                other => panic!("{other:?}"),
            });
            assert_eq!(ended, Some(if closed { "closed" } else { "gone" }));
        }
    }
}

/// The same ring, with a producer that continues: a reader that was sent to a wrong number gets what is
/// published there.
#[test]
fn wrong_lines_ahead_of_the_producer_hide_no_later_fragments() {
    let folder = common::process::TestFolder::new();
    let link = builder(folder.path()).create(NAME).unwrap();
    let tx = link.producer().unwrap();
    let mut ob = link.observer().unwrap();
    for seq in 1..=3 {
        publish(&tx, MTU).unwrap();
        assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
    }
    for index in 4..8 {
        store(&folder.path().join(NAME).join("tx"), RING + index * SLOT_WORDS, (1 << 62) + index);
    }
    let mut at = 4;
    while let Err(TangoError::Overrun { next, .. }) = ob.poll() {
        at = next;
    }
    assert!(at < 4 + 4, "it must wait near the producer, and waits at {at}");
    for seq in 4..40 {
        publish(&tx, MTU).unwrap();
        if seq >= at {
            assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

/// The state word says that there has never been a producer. A created link is never in that state, so a
/// reader must not wait.
#[test]
fn a_head_without_a_first_producer_causes_no_endless_wait() {
    in_time(|| {
        let (folder, path) = dead_link(true);
        let link = Link::open_in(folder.path(), NAME).unwrap();
        let mut early = link.observer_from(Start::Oldest).unwrap();
        store(&path.join("tx"), HEAD, 0);
        let mut late = link.observer_from(Start::Oldest).unwrap();
        for seq in 1..=5 {
            assert_is(&early.poll().unwrap().unwrap(), seq, MTU);
        }
        assert_eq!(early.wait().unwrap_err(), TangoError::ProducerGone);
        assert_eq!(late.wait().unwrap_err(), TangoError::ProducerGone);
    });
}

/// Lines that point outside of the region are not followed. The slices of a reliable consumer lie in the
/// mapping of `tx`.
#[test]
fn slices_lie_inside_the_mapping() {
    let mut random = Random::new(72);
    let mut slices = 0;
    for _ in 0..200 {
        let (folder, path) = dead_link(true);
        for n in 1..=5_u64 {
            store(&path.join("tx"), RING + (n % DEPTH) * SLOT_WORDS + 2, hostile_value(&mut random));
        }
        let link = Link::open_in(folder.path(), NAME).unwrap();
        let maps = mappings(&path.join("tx"));
        assert!(!maps.is_empty());
        let mut rx = link.consumer_from(Start::Oldest).unwrap();
        comes_to_rest(&mut rx, DEPTH as usize, |bytes| {
            let range = bytes.as_ptr_range();
            let inside = maps.iter().any(|(from, to)| *from <= range.start.addr() && range.end.addr() <= *to);
            assert!(inside || bytes.is_empty(), "{range:?} is outside of {maps:x?}");
            slices += 1;
            read_bytes(bytes);
        });
    }
    assert!(slices > 100, "only {slices} slices were read");
}

/// The address ranges at which a file is mapped in this process.
fn mappings(file: &Path) -> Vec<(usize, usize)> {
    let all = fs::read_to_string("/proc/self/maps").unwrap();
    let of_file = all.lines().filter(|line| line.ends_with(file.to_str().unwrap()));
    let range = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
    };
    of_file.map(|line| range(line).unwrap()).collect()
}

/// With any values in the consumers' words, the producer continues or names the consumer that holds it back.
#[test]
fn any_progress_of_consumers_is_survived() {
    let mut random = Random::new(73);
    for round in 0..300 {
        let (folder, path) = dead_link(true);
        let link = Link::open_in(folder.path(), NAME).unwrap();
        let held = link.consumer().unwrap();
        let tx = link.producer().unwrap();
        let mut refused = 0;
        for _ in 0..100 {
            for file in ["rx.0", "rx.1"] {
                // The state (of a slot in use, and of a free one), next, base, and the words for sleeping.
                let word = [0, 1, 1, 1, 2, 32, 33, 34][random.below(8) as usize];
                let near = tx.next_seq().wrapping_add(random.below(20)).wrapping_sub(10);
                let value = if random.below(2) == 0 { near } else { hostile_value(&mut random) };
                store(&path.join(file), CONSUMER + word, value);
            }
            match publish(&tx, MTU) {
                Ok(_) => {}
                Err(TangoError::NoCredits) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
            let _ = (tx.consumers(), tx.is_drained(), tx.held_by());
            for consumer in link.status().consumers {
                assert!(consumer.slot < 2 && consumer.lag <= 1 << 63);
            }
        }
        assert!(refused < 100, "round {round}: nothing could be published");
        drop(held);
        // Nobody is attached any more, so the words hold the producer back for a short time only.
        for _ in 0..3 * DEPTH {
            assert!((0..100).any(|_| publish(&tx, MTU).is_ok()), "round {round}: {:?}", link.status());
        }
    }
}

/// Counters wrap at the end of their range. Nothing depends on their values.
#[test]
fn counters_wrap() {
    let (folder, path) = dead_link(true);
    let link = Link::open_in(folder.path(), NAME).unwrap();
    let mut rx = link.consumer_from(Start::Oldest).unwrap();
    for counter in [CONSUMER + 2, CONSUMER + 16, CONSUMER + 17] {
        store(&path.join("rx.0"), counter, u64::MAX);
    }
    store(&path.join("tx"), RING + SLOT_WORDS + 2, u64::MAX); // fragment 1
    assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: 1 });
    let status = link.status().consumers.remove(0);
    assert_eq!((status.overruns, status.lost), (0, 0));
}

/// A file is truncated after the link was opened, and before the file is mapped writable.
#[test]
fn files_truncated_before_they_are_claimed_are_refused() {
    for file in ["tx", "rx.0"] {
        let (folder, path) = dead_link(true);
        let link = Link::open_in(folder.path(), NAME).unwrap();
        OpenOptions::new().write(true).open(path.join(file)).unwrap().set_len(8).unwrap();
        let produced = (file != "rx.0").then(|| link.producer().map(drop));
        let consumed = (file != "tx").then(|| link.consumer().map(drop));
        for refused in [produced, consumed].into_iter().flatten() {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains(file), "{refused}");
        }
        assert_eq!(Link::open_in(folder.path(), NAME).unwrap_err().kind(), LinkErrorKind::Incompatible);
    }
}

/// Holes in a file that a party is about to write are filled first, so that a lack of space is an error then.
#[test]
fn holes_are_filled_before_they_are_written() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    const REGION: u64 = 1 << 20;
    let folder = common::process::TestFolder::new();
    drop(builder(folder.path()).region(REGION as usize).create(NAME).unwrap());
    let path = |file: &str| folder.path().join(NAME).join(file);
    for file in ["tx", "rx.0"] {
        let content = fs::read(path(file)).unwrap();
        let sparse = OpenOptions::new().write(true).open(path(file)).unwrap();
        sparse.set_len(0).unwrap();
        sparse.set_len(content.len() as u64).unwrap();
        // Only the header, of one page, has been written.
        sparse.write_all_at(&content[..128], 0).unwrap();
    }
    let bytes = |file: &str| fs::metadata(path(file)).unwrap().blocks() * 512;
    let link = Link::open_in(folder.path(), NAME).unwrap();
    assert!(bytes("tx") < REGION);
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    assert!(bytes("tx") > REGION);
    publish(&tx, MTU).unwrap();
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
}

/// A folder, a link, a pipe, a device, a second name or nothing in place of each file.
#[test]
fn other_file_types_are_refused() {
    in_time(|| {
        for file in ["tx", "rx.1", "ctl"] {
            type Replace = fn(&Path, &Path);
            let replacements: [(&str, Replace); 6] = [
                ("a folder", |at, _| fs::create_dir(at).unwrap()),
                ("a symbolic link", |at, old| symlink(old, at).unwrap()),
                ("a pipe", |at, _| mkfifo(at, Mode::S_IRWXU).unwrap()),
                ("a socket", |at, _| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
                ("a second name", |at, old| fs::hard_link(old, at).unwrap()),
                ("nothing", |_, _| {}),
            ];
            for (what, replace) in replacements {
                let (folder, path) = dead_link(true);
                let (at, old) = (path.join(file), folder.path().join("old"));
                fs::rename(&at, &old).unwrap();
                replace(&at, &old);
                let error = Link::open_in(folder.path(), NAME).expect_err(what);
                let expected = match what {
                    "a symbolic link" | "a second name" => LinkErrorKind::Untrusted,
                    "nothing" => LinkErrorKind::Damaged,
                    _ => LinkErrorKind::Incompatible,
                };
                assert_eq!(error.kind(), expected, "{what} for {file}: {error}");
                assert!(error.to_string().contains(file), "{what} for {file}: {error}");
            }
            if Uid::effective().is_root() {
                let (folder, path) = dead_link(true);
                fs::remove_file(path.join(file)).unwrap();
                // /dev/zero, which can be mapped and read without end.
                let made = mknod(&path.join(file), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5));
                if made.is_ok() {
                    let error = Link::open_in(folder.path(), NAME).expect_err("a device");
                    assert_eq!(error.kind(), LinkErrorKind::Incompatible, "a device for {file}: {error}");
                }
            }
        }
    });
}

/// A file that is replaced between opening the link and joining it is checked again.
#[test]
fn a_file_that_is_replaced_before_it_is_claimed_is_refused() {
    let (folder, path) = dead_link(true);
    let link = Link::open_in(folder.path(), NAME).unwrap();
    fs::rename(path.join("rx.0"), folder.path().join("old")).unwrap();
    symlink(folder.path().join("old"), path.join("rx.0")).unwrap();
    assert_eq!(link.consumer().unwrap_err().kind(), LinkErrorKind::Untrusted);
    fs::remove_file(path.join("rx.0")).unwrap();
    fs::write(path.join("rx.0"), [7; 4096]).unwrap();
    assert_eq!(link.consumer().unwrap_err().kind(), LinkErrorKind::Incompatible);
    fs::rename(path.join("tx"), folder.path().join("old tx")).unwrap();
    mkfifo(&path.join("tx"), Mode::S_IRWXU).unwrap();
    assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Incompatible);
}

/// Every call that takes a name refuses names that lead elsewhere or need quoting in a shell.
#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (folder, _) = dead_link(true);
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let long = "x".repeat(201);
    let names = [
        "",
        ".",
        "..",
        "../quotes",
        "/quotes",
        "./quotes",
        "quotes/",
        "quotes/tx",
        "inner/../quotes",
        ".quotes",
        "-quotes",
        "quo tes",
        "quotes\0",
        "quotes\n",
        "qu\u{f6}tes",
        "*",
        long.as_str(),
    ];
    for name in names {
        for dir in [folder.path(), &inner] {
            let refused = [
                Link::open_in(dir, name).map(drop),
                builder(dir).create(name).map(drop),
                Link::remove_named(dir, name),
            ];
            for result in refused {
                let error = result.expect_err(name);
                assert_eq!(error.kind(), LinkErrorKind::Invalid, "{name:?}: {error}");
            }
        }
    }
    assert_eq!(Link::list(folder.path()).unwrap(), [NAME]);
    for name in ["a", "a.b", "A-1_z", "0", &long[..200]] {
        builder(folder.path()).create(name).unwrap();
        Link::open_in(folder.path(), name).unwrap();
    }
}

/// Files of random bytes, of many sizes.
#[test]
fn files_of_random_bytes_are_survived() {
    let mut random = Random::new(74);
    for round in 0..300 {
        let (folder, path) = dead_link(true);
        let file = path.join(["tx", "rx.0", "ctl"][round % 3]);
        let mut noise: Vec<u8> = (0..random.below(12_000)).map(|_| random.next() as u8).collect();
        if random.below(2) == 0 {
            // Keep the magic number and the version.
            let kept = fs::read(&file).unwrap();
            let len = noise.len().min(16);
            noise[..len].copy_from_slice(&kept[..len]);
        }
        fs::write(&file, &noise).unwrap();
        match Link::open_in(folder.path(), NAME) {
            Ok(link) => {
                assert_ne!(round % 3, 0, "random bytes cannot form a valid header");
                use_it_all(&link, read_bytes);
            }
            Err(error) => {
                assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{error}");
                assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
            }
        }
    }
}
