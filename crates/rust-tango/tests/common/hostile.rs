//! A link whose files somebody else has written to, and a reader of it that must come to rest.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rust_tango::{Consumer, Link, LinkBuilder, TangoError};

use super::process::Place;
use super::{Random, publish};

pub(crate) const MTU: usize = 300;
pub(crate) const DEPTH: u64 = 8;
pub(crate) const NAME: &str = "quotes";
/// Where things are in `tx`, in words: the words beside the ring, and the ring.
pub(crate) const HEAD: u64 = 512;
pub(crate) const HEAD_WORDS: u64 = 64;
pub(crate) const RING: u64 = 1024;
pub(crate) const SLOT_WORDS: u64 = 16;
/// Where a consumer's words are in `rx.N`, and how many.
pub(crate) const CONSUMER: u64 = 16;
pub(crate) const CONSUMER_WORDS: u64 = 48;

pub(crate) fn builder(place: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).consumers(2).dir(place)
}

/// A link in a place of its own, with five fragments in it, and nobody attached. `closed`: its producer has
/// ended in good order; otherwise it looks as if it had died.
pub(crate) fn dead_link(closed: bool) -> (Place, PathBuf) {
    let place = Place::new();
    let tx = builder(place.path()).create(NAME).unwrap().producer().unwrap();
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    drop(tx);
    let path = place.path().join(NAME);
    if !closed {
        store(&path.join("tx"), HEAD, 1);
    }
    (place, path)
}

/// Writes one word of a file.
pub(crate) fn store(file: &Path, word: u64, value: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
}

/// A number of the kinds that hurt: near what is right, near the wrap, half the circle away, or anything.
pub(crate) fn value(random: &mut Random) -> u64 {
    match random.below(7) {
        0 => random.next(),
        1 => random.below(24),
        2 => 0_u64.wrapping_sub(random.below(24)),
        3 => (1 << 63) + random.below(24) - 12,
        4 => 1 << random.below(64),
        // A place: some size behind some chunk.
        5 => random.below(1 << 10) << 32 | random.below(100),
        _ => random.below(512) << 32 | u64::from(u32::MAX),
    }
}

/// Reads all there is, in all ways there are, and looks at every byte. The files do not change meanwhile, so
/// there must be an end: nothing more to be had, after so many calls.
#[track_caller]
pub(crate) fn comes_to_rest(reader: &mut Consumer<'_>, mut look: impl FnMut(&[u8])) {
    let mut rest = 0;
    for call in 0..40 * DEPTH {
        let found = match call % 4 {
            0 | 1 => reader.poll().map(|found| {
                found.is_some_and(|fragment| {
                    look(fragment.payload.as_slice());
                    true
                })
            }),
            2 => reader.poll_batch(usize::MAX).map(|batch| {
                batch.iter().for_each(|fragment| look(fragment.payload.as_slice()));
                !batch.is_empty()
            }),
            _ => reader.poll_if(|sig| sig % 3 == 0).map(|found| {
                found.is_some_and(|fragment| {
                    look(fragment.payload.as_slice());
                    true
                })
            }),
        };
        let _ = reader.is_closed();
        rest = match found {
            Ok(false) | Err(TangoError::ProducerGone) => rest + 1,
            Ok(true) | Err(_) => 0,
        };
    }
    assert!(rest >= 8, "after {} calls {reader:?} still goes on, at rest for {rest}", 40 * DEPTH);
}

/// What a link is asked for by programs that know nothing of its state: all of it answers, and ends.
pub(crate) fn use_it_all(link: &Link, look: impl Fn(&[u8])) {
    use rust_tango::Start;
    let _ = link.status();
    for start in [Start::Oldest, Start::Next, Start::At(3), Start::At(u64::MAX)] {
        let mut readers = Vec::new();
        readers.extend(link.observer_from(start));
        readers.extend(link.evictable_consumer(start));
        readers.extend(link.consumer_from(start));
        for reader in &mut readers {
            comes_to_rest(reader, &look);
        }
        let _ = link.status();
    }
    let mut readers = [link.observer_from(Start::Oldest), link.evictable_consumer(Start::Oldest)];
    let Ok(mut tx) = link.producer() else { return };
    for round in 0..3 * DEPTH {
        let _ = publish(&tx, MTU);
        if let Ok(mut loan) = tx.loan(1 + round as usize * 9) {
            loan.write_at(0, &[round as u8]);
            loan.commit(round, 0, 0);
        }
        let _ = (tx.consumers(), tx.held_by(), tx.is_drained(), link.status());
        for reader in readers.iter_mut().flatten() {
            if let Ok(Some(fragment)) = reader.poll() {
                look(fragment.payload.as_slice());
            }
        }
    }
    drop(tx);
    for reader in readers.iter_mut().flatten() {
        comes_to_rest(reader, &look);
    }
}
