//! What lies where in the files of a link, and how a file proves that it is one.
//!
//! ```text
//!   tx     0       header: magic, version, sizes                       written once, when it is made
//!          4096    Head (6 x 128 bytes)
//!          8192    ring: depth slots; then the region
//!   rx.N   0       header: magic, version, N
//!          128     ConsumerSlot (3 x 128 bytes)
//!   tx.N   0       header: magic, version, N
//!          128     Latest (128 bytes)
//!   ctl    0       header: magic, version
//!          128     command word: not 0, the link is stopped
//! ```
//!
//! All in words of eight bytes, native endian: a link does not leave its machine. A header is read once,
//! every field is checked against its range and the real size of the file, and what was read is kept:
//! nobody goes back to the header, which could have changed since.
#![allow(unsafe_code)]

use super::map::Mapping;
use crate::cpu::words::WORD;
use crate::credits::slot::ConsumerSlot;
use crate::error::{LinkError, LinkErrorKind};
use crate::memory::geometry::Geometry;
use crate::memory::head::Head;
use crate::memory::parts::Parts;
use crate::ring::hot_slot::HotSlot;
use crate::ring::region::Granules;
use crate::ring::slots::Ring;
use crate::sync::{AtomicU64, Relaxed};

/// "tango" and the kind of file.
const MAGIC: u64 = u64::from_be_bytes(*b"\0\0\0tango");
/// Raised with each change of the layout or of the protocol.
const VERSION: u64 = 8;

/// The kinds of files, mixed into the magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Producer = 1,
    Consumer = 2,
    Control = 3,
    HotSlot = 4,
}

const HEAD: usize = 4096;
const RING: usize = 8192;
const SLOT: usize = 128;
const COMMAND: usize = 128;
const HOT_SLOT: usize = 128;
/// Bytes of a header.
const HEADER: usize = 128;
/// Bytes of the files `rx.N`, `tx.N` and `ctl`.
pub(super) const SMALL_FILE: usize = 4096;

const _: () = {
    assert!(HEAD + size_of::<Head>() <= RING && HEAD % align_of::<Head>() == 0);
    assert!(SLOT + size_of::<ConsumerSlot>() <= SMALL_FILE && SLOT % align_of::<ConsumerSlot>() == 0);
    assert!(HOT_SLOT + size_of::<HotSlot>() <= SMALL_FILE && HOT_SLOT % 128 == 0);
    assert!(SLOT >= HEADER && COMMAND >= HEADER && HOT_SLOT >= HEADER);
};

/// Bytes of the file `tx`.
pub(super) fn producer_len(geometry: &Geometry) -> usize {
    RING + geometry.depth * geometry.slot + geometry.region
}

fn magic(kind: Kind) -> u64 {
    MAGIC | (kind as u64) << 40
}

/// Writes the header of a file that nobody else has seen yet.
pub(super) fn write_header(map: &Mapping, kind: Kind, fields: &[u64]) {
    for (word, value) in map.words()[2..].iter().zip(fields) {
        word.store(*value, Relaxed);
    }
    map.words()[1].store(VERSION, Relaxed);
    map.words()[0].store(magic(kind), Relaxed);
}

/// Checks magic and version. `what` names the file in errors.
pub(super) fn check_header(map: &Mapping, kind: Kind, what: &str) -> Result<(), LinkError> {
    let wrong = |why| Err(LinkError::new(LinkErrorKind::Incompatible, format!("{what} {why}")));
    let words = map.words();
    if words[0].load(Relaxed) != magic(kind) {
        return wrong("is not a file of a link: wrong magic number".to_owned());
    }
    match words[1].load(Relaxed) {
        VERSION => Ok(()),
        other => wrong(format!("has layout version {other}, this program knows version {VERSION}")),
    }
}

pub(super) fn geometry_fields(geometry: &Geometry) -> [u64; 8] {
    let Geometry { depth, mtu, slot, region, consumers, observers, credits, start } = *geometry;
    [depth as u64, mtu as u64, slot as u64, region as u64, consumers as u64, observers.into(), credits, start]
}

/// Reads the geometry from a header of `tx` that has passed [`check_header`]; `file_len` is the real size.
pub(super) fn read_geometry(map: &Mapping, file_len: u64, what: &str) -> Result<Geometry, LinkError> {
    let wrong = |why| LinkError::new(LinkErrorKind::Incompatible, format!("{what} has a bad header: {why}"));
    let field = |index: usize| map.words()[2 + index].load(Relaxed);
    let size = |index| usize::try_from(field(index)).unwrap_or(usize::MAX);
    let geometry = Geometry {
        depth: size(0),
        mtu: size(1),
        slot: size(2),
        region: size(3),
        consumers: size(4),
        observers: field(5) != 0,
        credits: field(6),
        start: field(7),
    };
    geometry.check().map_err(|error| wrong(error.to_string()))?;
    // `check` has bounded depth times slot and the region, so this does not overflow.
    let need = producer_len(&geometry) as u64;
    if file_len < need {
        return Err(wrong(format!("its sizes need {need} bytes, the file has {file_len}")));
    }
    Ok(geometry)
}

/// Bytes of `tx` that hold its header.
pub(super) const fn header_len() -> usize {
    HEADER
}

/// The parts of a link in a mapping of `tx` of at least [`producer_len`] bytes, and one of `ctl`.
///
/// # Safety
/// Both mappings live for 'a. (What they contain does not matter.)
pub(super) unsafe fn parts<'a>(tx: &Mapping, ctl: &Mapping, geometry: &Geometry) -> Parts<'a> {
    let words = tx.words();
    let ring_words = geometry.depth * geometry.slot / WORD;
    let (ring, region) = words[RING / WORD..].split_at(ring_words);
    let region = &region[..geometry.region / WORD];
    // A forked child finds the link stopped, and in no line a fragment: not even number 0, as in zeros.
    let newest = (HEAD + core::mem::offset_of!(Head, hot_slot)) / WORD;
    tx.child_finds([Some((RING / WORD, u64::MAX)), Some((newest, HotSlot::closed_mark(geometry.start)))]);
    ctl.child_finds([Some((COMMAND / WORD, 1)), None]);
    let head: *const Head = words[HEAD / WORD..][..size_of::<Head>() / WORD].as_ptr().cast();
    // SAFETY: `Head` is made of atomics and padding, so any bytes are valid; its place was sliced
    // from the mapping, which is page-aligned, at an offset that the assertion above found aligned. The
    // slices are atomics of the mappings. All of it lives for 'a: the caller's promise.
    unsafe {
        Parts {
            ring: Ring::new(extend(ring), geometry.slot),
            granules: Granules::new(extend(region)),
            head: &*head,
            stop: &extend(&ctl.words()[COMMAND / WORD..])[0],
            mtu: geometry.mtu,
            observers: geometry.observers,
        }
    }
}

/// The consumer slot in a mapping of `rx.N`.
///
/// # Safety
/// The mapping lives for 'a.
pub(super) unsafe fn consumer_slot<'a>(rx: &Mapping) -> &'a ConsumerSlot {
    let words = &rx.words()[SLOT / WORD..][..size_of::<ConsumerSlot>() / WORD];
    // SAFETY: as for `Head` in `parts`.
    unsafe { &*words.as_ptr().cast() }
}

/// Where the newest fragment is shown to one consumer, in a mapping of `tx.N`.
///
/// # Safety
/// The mapping lives for 'a.
pub(super) unsafe fn hot_slot<'a>(tx: &Mapping, geometry: &Geometry) -> &'a HotSlot {
    let words = &tx.words()[HOT_SLOT / WORD..][..size_of::<HotSlot>() / WORD];
    tx.child_finds([Some((HOT_SLOT / WORD, HotSlot::closed_mark(geometry.start))), None]);
    // SAFETY: as for `Head` in `parts`.
    unsafe { &*words.as_ptr().cast() }
}

/// The command word in a mapping of `ctl`.
pub(super) fn command(ctl: &Mapping) -> &AtomicU64 {
    &ctl.words()[COMMAND / WORD]
}

/// # Safety
/// What `words` refers to lives for 'a.
unsafe fn extend<'a>(words: &[AtomicU64]) -> &'a [AtomicU64] {
    // SAFETY: the same slice; the lifetime is the caller's promise.
    unsafe { core::slice::from_raw_parts(words.as_ptr(), words.len()) }
}
