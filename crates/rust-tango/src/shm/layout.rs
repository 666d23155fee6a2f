//! What lies where in the files of a link, and how a file is recognised.
//!
//! ```text
//!   file   offset
//!   tx     0       header: magic, version, geometry        written once, when the link is created
//!          128     Head (5 x 128 bytes)
//!          1024    name of the payload type (256 bytes)   written once, when the link is created
//!          4096    HotSlot (128 bytes), alone in its page
//!          8192    ring: `depth` slots; then the region
//!   rx.N   0       header: magic, version, N
//!          128     ConsumerSlot (3 x 128 bytes)
//!   ctl    0       header: magic, version
//!          128     command word: not 0 when the link is stopped
//! ```
//!
//! Files consist of words of eight bytes in the byte order of the machine, which a link never leaves.
//! `docs/layout.md` describes every word, and the tests of this folder (`layout_doc`) compare that text
//! with this code.
//!
//! A header is read once. Every field is checked against its range and against the real size of the file,
//! and the values that were checked are kept. The header is never read again, because another process could
//! have changed it.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::forks::ChildWords;
use super::map::Pages;
use crate::cpu::words::{self, WORD};
use crate::credits::slot::ConsumerSlot;
use crate::error::{LinkError, LinkErrorKind};
use crate::memory::geometry::Geometry;
use crate::memory::head::Head;
use crate::memory::hints::Hints;
use crate::memory::parts::Parts;
use crate::memory::payload_type::PayloadType;
use crate::ring::hot_slot::HotSlot;
use crate::ring::region::Granules;
use crate::ring::slots::Ring;
use crate::sync::{AtomicU64, Relaxed};

/// "tango", below the byte for the kind of file.
const MAGIC: u64 = u64::from_be_bytes(*b"\0\0\0tango");
/// Raised with each change of the layout or of the protocol.
pub(super) const VERSION: u64 = 13;

/// The kinds of files. The number is part of the magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `tx`
    Producer = 1,
    /// `rx.N`
    Consumer = 2,
    /// `ctl`
    Control = 3,
}

pub(super) const HEAD: usize = 128;
pub(super) const TYPE_NAME: usize = 1024;
/// The start of the page that readers may map writable, and that has nothing but the hot slot.
pub(super) const HOT_SLOT: usize = 4096;
/// Bytes of that page.
pub(super) const HOT_PAGE: usize = 4096;
pub(super) const RING: usize = HOT_SLOT + HOT_PAGE;
pub(super) const CONSUMER_SLOT: usize = 128;
pub(super) const COMMAND: usize = 128;
/// Bytes of a header.
pub(super) const HEADER: usize = 128;
/// Bytes of the files `rx.N` and `ctl`.
pub(super) const SMALL_FILE: usize = 4096;

const _: () = {
    // All offsets are multiples of this.
    const ALIGNMENT: usize = 128;
    assert!(HEAD + size_of::<Head>() <= TYPE_NAME && TYPE_NAME + PayloadType::MAX_NAME <= HOT_SLOT);
    assert!(size_of::<HotSlot>() <= HOT_PAGE && PayloadType::MAX_NAME % WORD == 0);
    assert!(CONSUMER_SLOT + size_of::<ConsumerSlot>() <= SMALL_FILE);
    assert!(HEAD >= HEADER && CONSUMER_SLOT >= HEADER && COMMAND >= HEADER);
    assert!(HEAD % ALIGNMENT == 0 && RING % ALIGNMENT == 0 && CONSUMER_SLOT % ALIGNMENT == 0);
    assert!(HOT_SLOT % HOT_PAGE == 0);
    assert!(align_of::<Head>() <= ALIGNMENT && align_of::<ConsumerSlot>() <= ALIGNMENT);
    assert!(align_of::<HotSlot>() <= ALIGNMENT);
};

/// Name of the file with the progress of the consumer in this slot.
pub(super) fn rx_name(slot: usize) -> String {
    format!("rx.{slot}")
}

/// Bytes of the file `tx`.
pub(super) fn producer_len(geometry: &Geometry) -> usize {
    RING + geometry.depth * geometry.slot + geometry.region
}

pub(super) fn magic(kind: Kind) -> u64 {
    MAGIC | (kind as u64) << 40
}

/// Writes the header of a file that no other process can see yet.
pub(super) fn write_header(file: &[AtomicU64], kind: Kind, fields: &[u64]) {
    for (word, value) in file[2..].iter().zip(fields) {
        word.store(*value, Relaxed);
    }
    file[1].store(VERSION, Relaxed);
    file[0].store(magic(kind), Relaxed);
}

/// Reads the header of a file, without a mapping of it.
///
/// # Errors
///
/// `UnexpectedEof`: the file is shorter than a header.
pub(super) fn read_header(file: &File) -> io::Result<[AtomicU64; HEADER / WORD]> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, 0)?;
    let mut words = bytes.chunks_exact(WORD).map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
    Ok(std::array::from_fn(|_| AtomicU64::new(words.next().unwrap_or_default())))
}

/// Checks magic and version. `what` names the file in errors.
pub(super) fn check_header(file: &[AtomicU64], kind: Kind, what: &str) -> Result<(), LinkError> {
    let wrong = |why| Err(LinkError::new(LinkErrorKind::Incompatible, format!("{what} {why}")));
    if file[0].load(Relaxed) != magic(kind) {
        return wrong("is not a file of a link: wrong magic number".to_owned());
    }
    match file[1].load(Relaxed) {
        VERSION => Ok(()),
        other => {
            wrong(format!("has layout version {other}, but this program supports only version {VERSION}"))
        }
    }
}

/// The fields of the header of `tx`, behind magic and version.
pub(super) fn producer_fields(
    geometry: &Geometry,
    pages: Pages,
    payload_type: Option<&PayloadType>,
) -> [u64; 12] {
    let Geometry { depth, mtu, slot, region, consumers, observers, credits, start } = *geometry;
    let [depth, mtu, slot, region, consumers] = [depth, mtu, slot, region, consumers].map(|size| size as u64);
    let prefault = u64::from(pages == Pages::AtOnce);
    let [size, align, name_len] =
        payload_type.map_or([0; 3], |of| [of.size(), of.align(), of.name().len()]).map(|size| size as u64);
    let observers = observers.into();
    [depth, mtu, slot, region, consumers, observers, credits, start, prefault, size, align, name_len]
}

/// Writes the name of the payload type into a `tx` that no other process can see yet, and has zeros there.
pub(super) fn write_type_name(tx: &[AtomicU64], payload_type: Option<&PayloadType>) {
    let name = payload_type.map_or("", PayloadType::name);
    words::store(&tx[TYPE_NAME / WORD..][..PayloadType::MAX_NAME / WORD], name.as_bytes());
}

/// Reads the payload type of a link, whose header has passed [`check_header`].
///
/// # Errors
///
/// The outer error: the name cannot be read. The inner one: this cannot be a payload type of a link with this MTU.
pub(super) fn read_payload_type(
    tx: &File,
    header: &[AtomicU64],
    mtu: usize,
    what: &str,
) -> io::Result<Result<Option<PayloadType>, LinkError>> {
    let [size, align, name_len] =
        [11, 12, 13].map(|word| usize::try_from(header[word].load(Relaxed)).unwrap_or(usize::MAX));
    if align == 0 {
        return Ok(Ok(None));
    }
    let wrong = |why| {
        let message = format!("{what} has a bad header: {why}");
        Ok(Err(LinkError::new(LinkErrorKind::Incompatible, message)))
    };
    let mut name = [0; PayloadType::MAX_NAME];
    tx.read_exact_at(&mut name, TYPE_NAME as u64)?;
    let Some(name) = name.get(..name_len) else {
        return wrong(format!("a name of a payload type of {name_len} bytes is too long"));
    };
    let Ok(name) = std::str::from_utf8(name) else {
        return wrong("the name of the payload type is not UTF-8".to_owned());
    };
    let payload_type = PayloadType::new(Cow::Owned(name.to_owned()), size, align);
    if let Err(error) = payload_type.check() {
        return wrong(error.to_string());
    }
    if size > mtu {
        return wrong(format!("payload type {payload_type} is larger than the MTU of {mtu} bytes"));
    }
    Ok(Ok(Some(payload_type)))
}

/// When the pages of `tx` are to be mapped, from its header.
pub(super) fn read_pages(header: &[AtomicU64]) -> Pages {
    if header[10].load(Relaxed) == 0 { Pages::WhenTouched } else { Pages::AtOnce }
}

/// Reads the geometry from a header of `tx` that has passed [`check_header`]. `file_len` is the real size
/// of the file.
pub(super) fn read_geometry(header: &[AtomicU64], file_len: u64, what: &str) -> Result<Geometry, LinkError> {
    let wrong = |why| LinkError::new(LinkErrorKind::Incompatible, format!("{what} has a bad header: {why}"));
    let field = |index: usize| header[2 + index].load(Relaxed);
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
    // `check` has bounded the region and depth times slot, so this does not overflow.
    let need = producer_len(&geometry) as u64;
    if file_len < need {
        return Err(wrong(format!("its geometry needs {need} bytes, but the file has {file_len}")));
    }
    Ok(geometry)
}

/// A link in the first [`producer_len`] bytes of `tx` and in `ctl`. The content of the files does not matter.
pub(super) fn parts<'a>(tx: &'a [AtomicU64], ctl: &'a [AtomicU64], geometry: &Geometry) -> Parts<'a> {
    let (ring, region) = tx[RING / WORD..].split_at(geometry.depth * geometry.slot / WORD);
    Parts {
        ring: Ring::new(ring, geometry.slot),
        granules: Granules::new(&region[..geometry.region / WORD]),
        // SAFETY: `Head` is made of atomics, all in cells with their padding.
        head: unsafe { at(tx, HEAD) },
        hot_slot: hot_slot(&tx[HOT_SLOT / WORD..]),
        stop: command(ctl),
        mtu: geometry.mtu,
        observers: geometry.observers,
        hints: Hints::NONE, // the caller's
    }
}

/// The consumer slot in a file `rx.N`.
pub(super) fn consumer_slot(rx: &[AtomicU64]) -> &ConsumerSlot {
    // SAFETY: `ConsumerSlot` is made of atomics, all in cells with their padding.
    unsafe { at(rx, CONSUMER_SLOT) }
}

/// The hot slot at the start of its page.
pub(super) fn hot_slot(page: &[AtomicU64]) -> &HotSlot {
    // SAFETY: `HotSlot` is made of atomics, without padding.
    unsafe { at(page, 0) }
}

/// The command word in the file `ctl`.
pub(super) fn command(ctl: &[AtomicU64]) -> &AtomicU64 {
    &ctl[COMMAND / WORD]
}

/// The `T` at this offset, in bytes, of a file.
///
/// # Safety
///
/// Any bytes are a valid `T`, and all bytes of it, padding included, lie in cells.
unsafe fn at<T>(file: &[AtomicU64], offset: usize) -> &T {
    let words = &file[offset / WORD..][..size_of::<T>() / WORD];
    let value: *const T = words.as_ptr().cast();
    assert!(value.is_aligned(), "files are mapped at the start of a page");
    // SAFETY: the words are borrowed for as long as the result, as many as a `T` takes, and aligned for it.
    // They are atomics, so they may be written through shared references, and so may the whole `T`: the
    // caller's promise.
    unsafe { &*value }
}

/// What a forked child finds in `tx`: no fragment in any line, and none in the hot slot.
///
/// Not even fragment 0 is in the ring, which is what zeros would say.
pub(super) fn tx_in_child(geometry: &Geometry) -> ChildWords {
    [Some((RING / WORD, u64::MAX)), Some((HOT_SLOT / WORD, seq_in_child(geometry)))]
}

/// What a forked child finds in the page of the hot slot.
pub(super) fn hot_page_in_child(geometry: &Geometry) -> ChildWords {
    [Some((0, seq_in_child(geometry))), None]
}

/// The number in the hot slot of a link into which nothing was published: no reader waits for it.
fn seq_in_child(geometry: &Geometry) -> u64 {
    geometry.start.wrapping_sub(1)
}

/// What a forked child finds in `ctl`: the link is stopped.
pub(super) const CTL_IN_CHILD: ChildWords = [Some((COMMAND / WORD, 1)), None];

/// What a forked child finds in any other mapping: zeros.
pub(super) const ZEROS_IN_CHILD: ChildWords = [None; 2];
