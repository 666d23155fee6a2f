//! `tango send x < FILE` and `tango recv x > COPY` give the same bytes, for any file and every receiver.

mod common;

use common::{Place, assert_same, noise};

/// Sends these bytes with `options` to this many receivers.
#[track_caller]
fn copies(bytes: &[u8], options: &str, receivers: usize) {
    let place = Place::new();
    let receivers: Vec<_> = (0..receivers).map(|_| place.start("recv x")).collect();
    let sender = place.start_with_input(&format!("send x {options}"), place.file("file", bytes));
    sender.end().assert_ok();
    for receiver in receivers {
        let ended = receiver.end();
        ended.assert_ok();
        assert_same(&ended.out, bytes);
    }
    assert!(place.list().is_empty(), "the link is removed at the end");
}

#[test]
fn an_empty_file() {
    copies(b"", "", 1);
}

#[test]
fn one_byte() {
    copies(b"x", "", 1);
}

#[test]
fn around_multiples_of_the_mtu() {
    for len in [4095, 4096, 4097, 3 * 4096, 65_536] {
        copies(&noise(len), "--mtu 4096", 1);
    }
}

#[test]
fn a_large_file() {
    copies(&noise(50 << 20), "", 1);
}

#[test]
fn a_ring_that_is_always_full() {
    copies(&noise(100_000), "--depth 2 --mtu 64", 1);
    copies(&noise(100_000), "--depth 2 --mtu 1000", 1);
}

#[test]
fn two_receivers_get_everything() {
    copies(&noise(10 << 20), "--wait-for 2", 2);
}

#[test]
fn the_sender_may_come_first() {
    let place = Place::new();
    let bytes = noise(1 << 20);
    let sender = place.start_with_input("send x", place.file("file", &bytes));
    place.await_status("x", |status| status.producer);
    let receiver = place.start("recv x").end();
    receiver.assert_ok();
    assert_same(&receiver.out, &bytes);
    sender.end().assert_ok();
}

#[test]
fn what_is_written_arrives_at_once() {
    let place = Place::new();
    let receiver = place.start("recv x");
    let mut sender = place.start("send x");
    sender.write(b"first");
    receiver.await_output(5);
    sender.write(b" second");
    receiver.await_output(12);
    sender.end().assert_ok();
    assert_same(&receiver.end().out, b"first second");
}

#[test]
fn an_observer_that_keeps_up_misses_nothing() {
    let place = Place::new();
    let mut sender = place.start("send x --wait-for 0");
    let observer = place.start("recv x --observe");
    sender.write(b"seen");
    observer.await_output(4);
    sender.write(b" too");
    observer.await_output(8);
    sender.end().assert_ok();
    let observer = observer.end();
    observer.assert_ok();
    assert_same(&observer.out, b"seen too");
}
