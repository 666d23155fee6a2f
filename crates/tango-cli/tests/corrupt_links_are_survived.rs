//! If another program has overwritten the files of a link, the command prints what it finds or reports the
//! damage, and exits. It neither hangs nor panics.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use common::TestFolder;
use rust_tango::Link;

/// Offset of the producer's words in the file `tx`, in bytes.
const HEAD: u64 = 128;
/// Offset of the ring in the file `tx`, in bytes.
const RING: u64 = 8192;
/// Size of a slot, in bytes.
const SLOT: u64 = 128;

/// Creates and closes the link `x`. Returns a function that stores a value at an offset of its file `tx`.
fn closed_link(folder: &TestFolder) -> impl Fn(u64, u64) {
    let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create("x").unwrap();
    let tx = link.producer().unwrap();
    for byte in b"abc" {
        tx.send(&[*byte]).unwrap();
    }
    let tx = OpenOptions::new().write(true).open(folder.links().join("x/tx")).unwrap();
    move |at, value: u64| tx.write_all_at(&value.to_ne_bytes(), at).unwrap()
}

/// Every slot, and then the producer's words too, claim sequence numbers far ahead. The sum of the lost
/// fragments overflows.
#[test]
fn recv_exits_if_sequence_numbers_are_far_ahead() {
    for options in ["", "--observe", "--lines --observe"] {
        let folder = TestFolder::new();
        let store = closed_link(&folder);
        for index in 0..8 {
            store(RING + index * SLOT, (1 << 62) + index);
        }
        let exited = folder.run(&format!("recv x {options}"));
        exited.assert_failed(3, &["fragments of link x were lost"]);
        // `next` and `oldest`, half of all sequence numbers ahead.
        for word in [64, 48] {
            store(HEAD + word * 8, (1 << 63) - 1);
        }
        let exited = folder.run(&format!("recv x {options}"));
        assert_eq!(exited.code(), 3, "{}", exited.err);
    }
}

#[test]
fn ls_survives_file_sizes_whose_sum_overflows() {
    let folder = TestFolder::new();
    drop(closed_link(&folder));
    for file in ["tx", "rx.0", "ctl"] {
        let file = OpenOptions::new().write(true).open(folder.links().join("x").join(file)).unwrap();
        // A sparse file of the largest possible size.
        file.set_len((1 << 63) - 4096).unwrap();
    }
    let exited = folder.run("ls");
    exited.assert_ok();
    let out = String::from_utf8(exited.out).unwrap();
    assert!(out.contains(&u64::MAX.to_string()), "{out}");
}
