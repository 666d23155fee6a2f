//! Links with files that somebody else has written to: the command says what it finds in them, or what is
//! wrong with them, and ends.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use common::Place;
use rust_tango::Link;

/// Where the words beside the ring, and the ring, are in the file `tx`, and how far its slots are apart.
const HEAD: u64 = 4096;
const RING: u64 = 8192;
const SLOT: u64 = 128;

fn closed_link(place: &Place) -> impl Fn(u64, u64) {
    let link = Link::builder().depth(8).mtu(64).dir(place.links()).create("x").unwrap();
    let tx = link.producer().unwrap();
    for byte in b"abc" {
        tx.send(&[*byte]).unwrap();
    }
    let tx = OpenOptions::new().write(true).open(place.links().join("x/tx")).unwrap();
    move |at, value: u64| tx.write_all_at(&value.to_ne_bytes(), at).unwrap()
}

/// Each line claims a fragment from far ahead, and the hints of the producer too: what is lost adds up to more
/// than there are numbers.
#[test]
fn recv_ends_on_a_ring_from_the_future() {
    for options in ["", "--observe", "--lines --observe"] {
        let place = Place::new();
        let store = closed_link(&place);
        for index in 0..8 {
            store(RING + index * SLOT, (1 << 62) + index);
        }
        let ended = place.run(&format!("recv x {options}"));
        ended.assert_failed(3, &["fragments of link x were lost"]);
        // `next` and `oldest`, half the circle ahead.
        for word in [64, 48] {
            store(HEAD + word * 8, (1 << 63) - 1);
        }
        let ended = place.run(&format!("recv x {options}"));
        assert_eq!(ended.code(), 3, "{}", ended.err);
    }
}

#[test]
fn ls_adds_up_sizes_that_are_no_number() {
    let place = Place::new();
    drop(closed_link(&place));
    for file in ["tx", "rx.0", "tx.0", "ctl"] {
        let file = OpenOptions::new().write(true).open(place.links().join("x").join(file)).unwrap();
        // A file of holes, as large as one can be.
        file.set_len((1 << 63) - 4096).unwrap();
    }
    let ended = place.run("ls");
    ended.assert_ok();
    let out = String::from_utf8(ended.out).unwrap();
    assert!(out.contains(&u64::MAX.to_string()), "{out}");
}
