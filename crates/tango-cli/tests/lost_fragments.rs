//! What does not come through is counted on standard error, and makes the exit status 3.

mod common;

use common::{Place, assert_same};

/// A receiver that comes when 16 fragments were published and 8 of them overwritten.
fn comes_late(options: &str) {
    let place = Place::new();
    let mut sender = place.start("send x --mtu 1 --depth 8 --wait-for 0");
    sender.write(b"0123456789abcdef");
    place.await_status("x", |status| status.next - status.start == 16);
    let receiver = place.start(&format!("recv x {options}"));
    receiver.await_output(8);
    sender.end().assert_ok();
    let ended = receiver.end();
    assert_same(&ended.out, b"89abcdef");
    ended.assert_failed(3, &["8 fragments of link x were lost", "8 before it joined"]);
}

#[test]
fn a_receiver_that_comes_late() {
    comes_late("");
}

#[test]
fn an_observer_that_comes_late() {
    comes_late("--observe");
}

#[test]
fn who_comes_before_the_ring_is_full_has_lost_nothing() {
    let place = Place::new();
    let mut sender = place.start("send x --mtu 1 --depth 32 --wait-for 0");
    sender.write(b"0123456789abcdef");
    place.await_status("x", |status| status.next - status.start == 16);
    let receiver = place.start("recv x");
    receiver.await_output(16);
    sender.end().assert_ok();
    receiver.end().assert_ok();
}
