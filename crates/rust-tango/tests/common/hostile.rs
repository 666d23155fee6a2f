//! A link whose files somebody else has overwritten.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rust_tango::{Link, LinkBuilder};

use super::process::TestFolder;
use super::{Random, publish};

pub(crate) const MTU: usize = 300;
pub(crate) const DEPTH: u64 = 8;
pub(crate) const NAME: &str = "quotes";
/// Where the head, the hot slot and the ring begin in `tx`, in words, and their sizes.
pub(crate) const HEAD: u64 = 16;
pub(crate) const HEAD_WORDS: u64 = 80;
pub(crate) const HOT_SLOT: u64 = 512;
pub(crate) const HOT_SLOT_WORDS: u64 = 16;
pub(crate) const RING: u64 = 1024;
pub(crate) const SLOT_WORDS: u64 = 16;
/// Where a consumer's words begin in `rx.N`, and how many there are.
pub(crate) const CONSUMER: u64 = 16;
pub(crate) const CONSUMER_WORDS: u64 = 48;

pub(crate) fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).slot(128).consumers(2).dir(folder)
}

/// A link in a folder of its own, with five fragments in it and nobody attached. With `closed`, its producer
/// ended in an orderly way; otherwise it looks as if the producer had died.
pub(crate) fn dead_link(closed: bool) -> (TestFolder, PathBuf) {
    let folder = TestFolder::new();
    let tx = builder(folder.path()).create(NAME).unwrap().producer().unwrap();
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    drop(tx);
    let path = folder.path().join(NAME);
    if !closed {
        store(&path.join("tx"), HEAD, 1);
    }
    (folder, path)
}

/// Overwrites bytes of a file.
pub(crate) fn overwrite(file: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Overwrites one word of a file.
pub(crate) fn store(file: &Path, word: u64, value: u64) {
    overwrite(file, word * 8, &value.to_ne_bytes());
}

/// A value of a kind that is likely to hurt: near the right one, near the wrap, half the range away, or any.
pub(crate) fn hostile_value(random: &mut Random) -> u64 {
    match random.below(7) {
        0 => random.next(),
        1 => random.below(24),
        2 => 0_u64.wrapping_sub(random.below(24)),
        3 => (1 << 63) + random.below(24) - 12,
        4 => 1 << random.below(64),
        // A payload location: some size after some chunk.
        5 => random.below(1 << 10) << 32 | random.below(100),
        _ => random.below(512) << 32 | u64::from(u32::MAX),
    }
}
