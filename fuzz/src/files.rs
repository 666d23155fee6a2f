//! The files of a link, changed as the input says. The input is short: places are numbers of one or two
//! bytes, and values are near what hurts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use arbitrary::Unstructured;
use rust_tango::Link;

use crate::byte;

pub(crate) const NAME: &str = "quotes";
/// Where the words beside the ring, the hot slot, the ring, and a consumer's words are, in words.
const HEAD: u64 = 16;
const HOT_SLOT: u64 = 512;
const RING: u64 = 1024;
const CONSUMER: u64 = 16;
const FILES: [&str; 4] = ["tx", "rx.0", "rx.1", "ctl"];
/// The longest that a file is made: there are many of them.
const LONGEST: u64 = 1 << 20;

/// A link in a private folder, which is deleted when this is dropped.
pub(crate) struct Files {
    base: PathBuf,
    files: [File; FILES.len()],
    depth: u64,
}

impl Files {
    /// One of a few kinds, with some fragments in it, whose producer has closed it or seems to have died.
    pub(crate) fn new(kind: u8) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::var_os("TANGO_FUZZ_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = parent.join(format!("tango-fuzz-{}-{count}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&base).unwrap();
        let depth = [8_u64, 2, 4, 16][kind as usize % 4];
        let mtu = [300, 96, 0, 200][kind as usize / 4 % 4];
        let start = if kind & 16 == 0 { 1 } else { 0_u64.wrapping_sub(3) };
        let builder =
            Link::builder().depth(depth as usize).mtu(mtu).slot(128).consumers(2).start(start).dir(&base);
        let tx = builder.create(NAME).unwrap().producer().unwrap();
        for round in 0..u64::from(kind >> 5) * 2 {
            let payload = vec![round as u8; round as usize * 61 % (mtu + 1)];
            tx.publish(&payload, round, [0, 2, 3, 1][round as usize % 4], 0).unwrap();
        }
        drop(tx);
        let open = |file| OpenOptions::new().read(true).write(true).open(base.join(NAME).join(file)).unwrap();
        Self { files: FILES.map(open), base, depth }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Changes any of the files in any way.
    pub(crate) fn change(&self, input: &mut Unstructured<'_>) {
        let what = byte(input);
        let which = byte(input) as usize % FILES.len();
        let file = &self.files[which];
        match what % 8 {
            0..=3 => self.change_ring(input),
            // Any word of the first kilobyte: headers, and the words of consumers and of the operator.
            4 => store(file, u64::from(byte(input)) % 128, value(input)),
            // A length.
            5 => file.set_len(value(input) % LONGEST).unwrap(),
            // Bytes as they are.
            6 => {
                let (at, len) = (value(input) % LONGEST, byte(input) as usize);
                let bytes = input.bytes(len.min(input.len())).unwrap_or_default();
                file.write_all_at(bytes, at).unwrap();
            }
            // Something else in its place.
            _ => self.replace(which, byte(input)),
        }
    }

    /// Changes a word that is read again and again: of a line, beside the ring, of a consumer.
    pub(crate) fn change_ring(&self, input: &mut Unstructured<'_>) {
        let (what, at) = (byte(input), u64::from(byte(input)));
        let tx = &self.files[0];
        match what % 9 {
            // The metadata of a line.
            0..=2 => store(tx, RING + at / 4 % self.depth * 16 + at % 4, value(input)),
            // Payloads.
            3 => store(tx, RING + at * 4, value(input)),
            4 | 5 => store(tx, HEAD + at % 80, value(input)),
            6 => store(&self.files[1 + at as usize % 2], CONSUMER + at / 2 % 48, value(input)),
            7 => store(tx, HOT_SLOT + at % 16, value(input)),
            _ => store(&self.files[3], CONSUMER, at % 2),
        }
    }

    fn replace(&self, which: usize, by: u8) {
        let path = self.base.join(NAME).join(FILES[which]);
        let old = self.base.join(format!("old.{which}"));
        if old.exists() {
            return; // done before
        }
        fs::rename(&path, &old).unwrap();
        match by % 5 {
            0 => {}
            1 => fs::create_dir(&path).unwrap(),
            2 => std::os::unix::fs::symlink(&old, &path).unwrap(),
            3 => fs::hard_link(&old, &path).unwrap(),
            _ => fs::write(&path, vec![by; usize::from(by) * 64]).unwrap(),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn store(file: &File, word: u64, value: u64) {
    file.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
}

/// A number: near 0, near the wrap, half the circle away, a place, or anything.
pub(crate) fn value(input: &mut Unstructured<'_>) -> u64 {
    let kind = byte(input);
    let mut small = || u64::from(byte(input));
    match kind % 8 {
        0 | 1 => small(),
        2 => 0_u64.wrapping_sub(small()),
        3 => (1_u64 << 63).wrapping_add(small()).wrapping_sub(128),
        4 => 1 << (small() % 64),
        // A size behind a chunk; a size in the slot.
        5 => small() << 32 | small(),
        6 => small() << 32 | u64::from(u32::MAX),
        _ => input.arbitrary().unwrap_or_default(),
    }
}
