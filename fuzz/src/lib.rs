//! What is fuzzed: each target is a function of bytes here, which the libFuzzer program of that name
//! (`fuzz_targets/`) and the replay of committed inputs (`tests/replay.rs`) call.
//!
//! | target | the bytes are | holds |
//! |---|---|---|
//! | [`open_link`] | changes to the files of a link | everything answers, readers come to rest |
//! | [`observe_ring`] | words of a ring, and calls between them | no payload over the MTU, every batch ends |
//! | [`operations`] | sizes, and operations on a link | the link is what the model in the tests says |
//! | [`command_line`] | arguments of `tango` | accepted, or refused in one line |
//!
//! Seeds are in `corpus/`, inputs that once found a fault in `cases/`. `.ci/fuzz` runs all of it.

mod files;

// The library's tests, which have these files, are for Rust 1.85 as well.
#[allow(clippy::manual_is_multiple_of)]
#[path = "../../crates/rust-tango/tests/common/exercise.rs"]
mod exercise;
#[allow(clippy::manual_is_multiple_of)]
#[path = "../../crates/rust-tango/tests/common/model.rs"]
mod model;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use arbitrary::Unstructured;
use rust_tango::{Assembler, Link, Start, TangoError};

use files::{Files, NAME};

/// Does something with any bytes, and panics if that shows a fault.
pub type Target = fn(&[u8]);

/// The targets, by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("open_link", open_link),
    ("observe_ring", observe_ring),
    ("operations", operations),
    ("command_line", command_line),
];

/// A link whose files hold anything is opened and used in all ways that there are.
pub fn open_link(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let files = Files::new(byte(&mut input));
    while !input.is_empty() {
        files.change(&mut input);
    }
    let Ok(link) = Link::open_in(files.base(), NAME) else { return };
    let mtu = link.geometry().mtu;
    // Files are as large as they were made, or a little larger.
    assert!(link.geometry().depth <= 64 && mtu <= 1 << 16, "{:?} fits no file here", link.geometry());
    exercise::use_it_all(&link, |bytes| look(bytes, mtu));
}

/// A ring is read while its words change between the calls.
pub fn observe_ring(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let files = Files::new(byte(&mut input));
    let link = Link::open_in(files.base(), NAME).unwrap();
    let mtu = link.geometry().mtu;
    let start = match byte(&mut input) % 3 {
        0 => Start::Oldest,
        1 => Start::Next,
        _ => Start::At(files::value(&mut input)),
    };
    let mut readers = vec![link.observer_from(start).unwrap()];
    readers.extend(link.evictable_consumer(start));
    let mut assembler = Assembler::new(1 << 12);
    while !input.is_empty() {
        let what = byte(&mut input);
        for reader in &mut readers {
            let before = reader.next_seq();
            let found = match what % 16 {
                0..8 => {
                    files.change_ring(&mut input);
                    break;
                }
                8 | 9 => reader.poll().map(|found| {
                    found.map_or(0, |fragment| {
                        look(fragment.payload.as_slice(), mtu);
                        let _ = assembler
                            .push(&fragment)
                            .map(|message| message.map(|bytes| look(bytes, 1 << 12)));
                        1
                    })
                }),
                10 | 11 => reader.poll_batch(usize::MAX).map(|batch| {
                    assert!(batch.len() <= link.geometry().depth);
                    assert_eq!(
                        batch.iter().map(|found| look(found.payload.as_slice(), mtu)).count(),
                        batch.len()
                    );
                    batch.len() as u64
                }),
                12 => {
                    let found = reader.poll_if(|sig| sig % 2 == 0).map(|found| found.is_some());
                    let passed = reader.next_seq().wrapping_sub(before);
                    found.map(|_| passed)
                }
                13 => reader.wait_timeout(std::time::Duration::ZERO).map(|found| found.is_some().into()),
                14 => {
                    let _ = (reader.is_closed(), link.status());
                    continue;
                }
                _ => {
                    exercise::comes_to_rest(reader, link.geometry().depth, |bytes| look(bytes, mtu));
                    continue;
                }
            };
            // How far it has moved is what it says, and it never stands still with a loss.
            let moved = reader.next_seq().wrapping_sub(before);
            match found {
                Ok(count) => assert!(moved == count || reader.is_reliable(), "{count} read, {moved} passed"),
                Err(TangoError::Overrun { lost, next }) => {
                    // A consumer may have moved when it joined, and tells of it now. What is filtered out may
                    // have been passed before the loss.
                    let all = lost == moved || reader.is_reliable() || (what % 16 == 12 && lost < moved);
                    assert!(lost > 0 && all, "{lost} lost, {moved} passed");
                    assert_eq!(next, reader.next_seq());
                }
                Err(TangoError::Corrupt { seq }) => {
                    assert_eq!(seq.wrapping_add(1), reader.next_seq());
                    assert!(moved == 1 || what % 16 == 12, "{moved} passed");
                }
                Err(TangoError::ProducerGone | TangoError::ProducerReplaced { .. }) => {
                    assert!(moved == 0 || what % 16 == 12, "{moved} passed");
                }
                Err(TangoError::Evicted { .. }) => assert!(reader.is_reliable()),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

/// Operations on a link on the heap, compared with a model of it.
pub fn operations(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let numbers: [u8; 6] = input.arbitrary().unwrap_or_default();
    let shape = model::Shape::from_numbers(numbers, input.arbitrary().unwrap_or_default());
    let mut operations: Vec<model::Operation> = Vec::new();
    while !input.is_empty() && operations.len() < 400 {
        operations.push(input.arbitrary().unwrap_or_default());
    }
    let count = operations.len() as u64;
    let seen = model::run(shape, operations);
    assert!(seen.published <= count * 16 && seen.overruns <= count * 8);
}

/// Arguments, separated by line ends, and what the command makes of them.
pub fn command_line(data: &[u8]) {
    let words = data.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    let arguments: Vec<OsString> = std::iter::once("tango".into()).chain(words).collect();
    if let Err(sentence) = tango_cli::check(arguments) {
        assert!(!sentence.is_empty() && !sentence.contains(char::is_control), "{sentence:?}");
    }
    // A name that the library takes leads nowhere but into the folder of links.
    if let Ok(name) = std::str::from_utf8(data) {
        let folder = std::path::Path::new("/nonexistent/folder");
        let error = Link::open_in(folder, name).unwrap_err();
        if error.is_not_found() {
            assert!(name.is_ascii() && !name.contains(['/', '\0', '\n']) && !name.starts_with(['.', '-']));
            assert!((1..=200).contains(&name.len()));
            assert_eq!(folder.join(name).parent(), Some(folder));
        } else {
            assert_eq!(error.kind(), rust_tango::LinkErrorKind::Invalid);
        }
    }
}

/// Touches every byte, and checks that there are not too many.
fn look(bytes: &[u8], most: usize) {
    assert!(bytes.len() <= most, "{} bytes, {most} at most", bytes.len());
    std::hint::black_box(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
}

fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or_default()
}
