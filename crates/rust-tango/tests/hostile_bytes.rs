//! Any bytes in any file of a link lead to an error or to fragments that are reported lost: never to a crash,
//! a read outside of the link's memory, or a call that does not return. Here the files are still; in
//! `hostile_writer.rs` they change.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;

use common::exercise::{comes_to_rest, use_it_all};
use common::hostile::{
    CONSUMER, CONSUMER_WORDS, DEPTH, HEAD, HEAD_WORDS, LATEST, LATEST_WORDS, MTU, NAME, RING, SLOT_WORDS,
    builder, dead_link, store, value,
};
use common::{Random, assert_is, in_time, publish};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Uid, mkfifo};
use rust_tango::{Link, LinkErrorKind, Start, TangoError};

/// Touches every byte, and checks that there are not too many.
fn look(bytes: &[u8]) {
    assert!(bytes.len() <= MTU, "a payload of {} bytes", bytes.len());
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    std::hint::black_box(sum);
}

/// Every word beside the ring, alone, with every kind of value.
#[test]
fn any_word_of_the_head() {
    in_time(|| {
        let values = [0, 1, 2, 3, 4, 6, 14, 1 << 31, 1 << 62, 1 << 63, (1 << 63) + 6, u64::MAX - 7, u64::MAX];
        for word in 0..HEAD_WORDS {
            for (round, value) in values.into_iter().enumerate() {
                let (place, path) = dead_link(round % 2 == 0);
                store(&path.join("tx"), HEAD + word, value);
                use_it_all(&Link::open_in(place.path(), NAME).unwrap(), look);
            }
        }
    });
}

/// Many words at once, anywhere.
#[test]
fn any_words_anywhere() {
    in_time(|| {
        let mut random = Random::new(71);
        for round in 0..600 {
            let (place, path) = dead_link(round % 2 == 0);
            for _ in 0..1 + random.below(40) {
                let (file, word) = match random.below(9) {
                    0 | 1 => ("tx", HEAD + random.below(HEAD_WORDS)),
                    2 | 3 => ("tx", RING + random.below(DEPTH) * SLOT_WORDS + random.below(4)),
                    4 => ("tx", RING + random.below(DEPTH * SLOT_WORDS + 400)),
                    5 => ("rx.0", CONSUMER + random.below(CONSUMER_WORDS)),
                    6 => ("rx.1", CONSUMER + random.below(CONSUMER_WORDS)),
                    7 => ("tx.0", LATEST + random.below(LATEST_WORDS)),
                    _ => ("ctl", 16 + random.below(2)),
                };
                store(&path.join(file), word, value(&mut random));
            }
            use_it_all(&Link::open_in(place.path(), NAME).unwrap(), look);
        }
    });
}

/// All lines say that their fragments are gone, and what comes instead has not been published either: a
/// reader is told of losses a few times, and then there is nothing. It used to be sent on for ever.
#[test]
fn a_ring_of_lines_from_the_future_is_no_endless_loop() {
    for closed in [true, false] {
        let (place, path) = dead_link(closed);
        for index in 0..DEPTH {
            store(&path.join("tx"), RING + index * SLOT_WORDS, (1 << 62) + index);
        }
        let link = Link::open_in(place.path(), NAME).unwrap();
        for mut reader in
            [link.observer_from(Start::Oldest), link.consumer_from(Start::Oldest)].map(Result::unwrap)
        {
            let mut overruns = 0;
            while let Err(TangoError::Overrun { lost, .. }) = reader.poll() {
                assert!(lost > 0);
                overruns += 1;
                assert!(overruns <= 4, "a reader is sent on and on");
            }
            assert!(overruns > 0, "that something is lost is said");
            // Half of the questions go to the kernel only now and then.
            let ended = (0..5000).find_map(|_| match reader.poll().map(|found| found.is_none()) {
                Ok(true) => reader.is_closed().then_some("closed"),
                Err(TangoError::ProducerGone) => Some("gone"),
                other => panic!("{other:?}"),
            });
            assert_eq!(ended, Some(if closed { "closed" } else { "gone" }));
        }
    }
}

/// The same ring, with a producer that goes on: a reader that waits in front of the wrong lines gets what
/// is published into them.
#[test]
fn wrong_lines_ahead_of_the_producer_cost_nothing_that_it_publishes_later() {
    let place = common::process::Place::new();
    let link = builder(place.path()).create(NAME).unwrap();
    let tx = link.producer().unwrap();
    let mut ob = link.observer().unwrap();
    for seq in 1..=3 {
        publish(&tx, MTU).unwrap();
        assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
    }
    for index in 4..8 {
        store(&place.path().join(NAME).join("tx"), RING + index * SLOT_WORDS, (1 << 62) + index);
    }
    let mut at = 4;
    while let Err(TangoError::Overrun { next, .. }) = ob.poll() {
        at = next;
    }
    assert!(at < 4 + 4, "it waits near the producer, not somewhere ahead: {at}");
    for seq in 4..40 {
        publish(&tx, MTU).unwrap();
        if seq >= at {
            assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

/// The state says that no producer has ever been there. A link that was made is never in that state, so a
/// reader must not wait for it.
#[test]
fn a_head_from_before_the_beginning_is_no_endless_wait() {
    in_time(|| {
        let (place, path) = dead_link(true);
        let link = Link::open_in(place.path(), NAME).unwrap();
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

/// Lines that lead outside are not followed. What a reliable consumer gets lies in the mapping of `tx`.
#[test]
fn slices_lie_inside_of_the_mapping() {
    let mut random = Random::new(72);
    let mut slices = 0;
    for _ in 0..200 {
        let (place, path) = dead_link(true);
        for n in 1..=5_u64 {
            store(&path.join("tx"), RING + (n % DEPTH) * SLOT_WORDS + 2, value(&mut random));
        }
        let link = Link::open_in(place.path(), NAME).unwrap();
        let maps = mappings(&path.join("tx"));
        assert!(!maps.is_empty());
        let mut rx = link.consumer_from(Start::Oldest).unwrap();
        comes_to_rest(&mut rx, DEPTH as usize, |bytes| {
            let range = bytes.as_ptr_range();
            let inside = maps.iter().any(|(from, to)| *from <= range.start.addr() && range.end.addr() <= *to);
            assert!(inside || bytes.is_empty(), "{range:?} is outside of {maps:x?}");
            slices += 1;
            look(bytes);
        });
    }
    assert!(slices > 100, "only {slices} slices were looked at");
}

/// Where a file is mapped in this process.
fn mappings(file: &Path) -> Vec<(usize, usize)> {
    let all = fs::read_to_string("/proc/self/maps").unwrap();
    let of_file = all.lines().filter(|line| line.ends_with(file.to_str().unwrap()));
    let range = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
    };
    of_file.map(|line| range(line).unwrap()).collect()
}

/// Consumers' words that say anything: the producer goes on, or says who is in the way.
#[test]
fn any_progress_of_consumers() {
    let mut random = Random::new(73);
    for round in 0..300 {
        let (place, path) = dead_link(true);
        let link = Link::open_in(place.path(), NAME).unwrap();
        let held = link.consumer().unwrap();
        let tx = link.producer().unwrap();
        let mut refused = 0;
        for _ in 0..100 {
            for file in ["rx.0", "rx.1"] {
                // State (one that is held, one that nobody has), next, base, and the words for sleeping.
                let word = [0, 1, 1, 1, 2, 32, 33, 34][random.below(8) as usize];
                let near = tx.next_seq().wrapping_add(random.below(20)).wrapping_sub(10);
                let value = if random.below(2) == 0 { near } else { value(&mut random) };
                store(&path.join(file), CONSUMER + word, value);
            }
            match publish(&tx, MTU) {
                Ok(_) => {}
                Err(TangoError::NoCredits { .. }) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
            let _ = (tx.consumers(), tx.is_drained(), tx.held_by());
            for consumer in link.status().consumers {
                assert!(consumer.slot < 2 && consumer.lag <= 1 << 63);
            }
        }
        assert!(refused < 100, "round {round}: nothing could be published");
        drop(held);
        // Nobody is attached any more: what the words say holds nobody back for long.
        for _ in 0..3 * DEPTH {
            assert!((0..100).any(|_| publish(&tx, MTU).is_ok()), "round {round}: {:?}", link.status());
        }
    }
}

/// Counters at the end of their range go round: they count, and decide nothing.
#[test]
fn counters_go_round() {
    let (place, path) = dead_link(true);
    let link = Link::open_in(place.path(), NAME).unwrap();
    let mut rx = link.consumer_from(Start::Oldest).unwrap();
    for counter in [CONSUMER + 2, CONSUMER + 16, CONSUMER + 17] {
        store(&path.join("rx.0"), counter, u64::MAX);
    }
    store(&path.join("tx"), RING + SLOT_WORDS + 2, u64::MAX); // fragment 1
    assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: 1 });
    let status = link.status().consumers.remove(0);
    assert_eq!((status.overruns, status.lost), (0, 0));
}

/// A file cut short after somebody has looked at the link, and before it is mapped to be written.
#[test]
fn files_truncated_before_they_are_claimed() {
    for file in ["tx", "rx.0", "tx.0"] {
        let (place, path) = dead_link(true);
        let link = Link::open_in(place.path(), NAME).unwrap();
        OpenOptions::new().write(true).open(path.join(file)).unwrap().set_len(8).unwrap();
        let produced = (file != "rx.0").then(|| link.producer().map(drop));
        let consumed = (file != "tx").then(|| link.consumer().map(drop));
        for refused in [produced, consumed].into_iter().flatten() {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains(file), "{refused}");
        }
        assert_eq!(Link::open_in(place.path(), NAME).unwrap_err().kind(), LinkErrorKind::Incompatible);
    }
}

/// Holes in a file that a party is about to write are filled first, so that it finds out then that there is
/// no space, by an error.
#[test]
fn holes_are_filled_before_they_are_written() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    const REGION: u64 = 1 << 20;
    let place = common::process::Place::new();
    drop(builder(place.path()).region(REGION as usize).create(NAME).unwrap());
    let path = |file: &str| place.path().join(NAME).join(file);
    for file in ["tx", "rx.0", "tx.0"] {
        let content = fs::read(path(file)).unwrap();
        let sparse = OpenOptions::new().write(true).open(path(file)).unwrap();
        sparse.set_len(0).unwrap();
        sparse.set_len(content.len() as u64).unwrap();
        // Only the header, of one page, has been written.
        sparse.write_all_at(&content[..128], 0).unwrap();
    }
    let bytes = |file: &str| fs::metadata(path(file)).unwrap().blocks() * 512;
    let link = Link::open_in(place.path(), NAME).unwrap();
    assert!(bytes("tx") < REGION);
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    assert!(bytes("tx") > REGION);
    publish(&tx, MTU).unwrap();
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
}

/// In place of each file: a folder, a link, a pipe, a device, a second name, nothing.
#[test]
fn other_things_in_place_of_a_file() {
    in_time(|| {
        for file in ["tx", "rx.1", "tx.1", "ctl"] {
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
                let (place, path) = dead_link(true);
                let (at, old) = (path.join(file), place.path().join("old"));
                fs::rename(&at, &old).unwrap();
                replace(&at, &old);
                let error = Link::open_in(place.path(), NAME).expect_err(what);
                let expected = match what {
                    "a symbolic link" | "a second name" => LinkErrorKind::Untrusted,
                    "nothing" => LinkErrorKind::NotFound,
                    _ => LinkErrorKind::Incompatible,
                };
                assert_eq!(error.kind(), expected, "{what} for {file}: {error}");
                assert!(error.to_string().contains(file), "{what} for {file}: {error}");
            }
            if Uid::effective().is_root() {
                let (place, path) = dead_link(true);
                fs::remove_file(path.join(file)).unwrap();
                // /dev/zero, which can be mapped and read without end.
                let made = mknod(&path.join(file), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5));
                if made.is_ok() {
                    let error = Link::open_in(place.path(), NAME).expect_err("a device");
                    assert_eq!(error.kind(), LinkErrorKind::Incompatible, "a device for {file}: {error}");
                }
            }
        }
    });
}

/// A file that is replaced between opening the link and joining it is looked at again.
#[test]
fn a_file_that_is_replaced_before_it_is_claimed() {
    let (place, path) = dead_link(true);
    let link = Link::open_in(place.path(), NAME).unwrap();
    fs::rename(path.join("rx.0"), place.path().join("old")).unwrap();
    symlink(place.path().join("old"), path.join("rx.0")).unwrap();
    assert_eq!(link.consumer().unwrap_err().kind(), LinkErrorKind::Untrusted);
    fs::remove_file(path.join("rx.0")).unwrap();
    fs::write(path.join("rx.0"), [7; 4096]).unwrap();
    assert_eq!(link.consumer().unwrap_err().kind(), LinkErrorKind::Incompatible);
    fs::rename(path.join("tx"), place.path().join("old tx")).unwrap();
    mkfifo(&path.join("tx"), Mode::S_IRWXU).unwrap();
    assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Incompatible);
}

/// Names that lead elsewhere, or that no shell likes, are refused by all that takes a name.
#[test]
fn names_lead_nowhere_else() {
    let (place, _) = dead_link(true);
    let inner = place.path().join("inner");
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
        for dir in [place.path(), &inner] {
            let refused = [
                Link::open_in(dir, name).map(drop),
                builder(dir).create(name).map(drop),
                Link::remove_named(Some(dir), name),
            ];
            for result in refused {
                let error = result.expect_err(name);
                assert_eq!(error.kind(), LinkErrorKind::Invalid, "{name:?}: {error}");
            }
        }
    }
    assert_eq!(Link::list(Some(place.path())).unwrap(), [NAME]);
    for name in ["a", "a.b", "A-1_z", "0", &long[..200]] {
        builder(place.path()).create(name).unwrap();
        Link::open_in(place.path(), name).unwrap();
    }
}

/// Whole files of noise, of every size around what is right.
#[test]
fn files_of_noise() {
    let mut random = Random::new(74);
    for round in 0..300 {
        let (place, path) = dead_link(true);
        let file = path.join(["tx", "rx.0", "tx.0", "ctl"][round % 4]);
        let mut noise: Vec<u8> = (0..random.below(12_000)).map(|_| random.next() as u8).collect();
        if random.below(2) == 0 {
            // The magic number and the version are right.
            let kept = fs::read(&file).unwrap();
            let len = noise.len().min(16);
            noise[..len].copy_from_slice(&kept[..len]);
        }
        fs::write(&file, &noise).unwrap();
        match Link::open_in(place.path(), NAME) {
            Ok(link) => {
                assert_ne!(round % 4, 0, "no noise makes sizes that fit");
                use_it_all(&link, look);
            }
            Err(error) => {
                assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{error}");
                assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
            }
        }
    }
}
