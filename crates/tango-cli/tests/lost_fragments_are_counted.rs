//! Lost fragments are counted in a message on standard error, and the exit status is then 3.

mod common;

use common::recordings::publish;
use common::{TestFolder, assert_same};
use rust_tango::Start;

/// Starts a receiver when 16 fragments were published and 8 of them overwritten.
fn join_late(options: &str) {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --mtu 1 --depth 8 --wait-for 0");
    sender.write(b"0123456789abcdef");
    folder.await_status("x", |status| status.next - status.start == 16);
    let receiver = folder.start(&format!("recv x {options}"));
    receiver.await_output(8);
    sender.finish().assert_ok();
    let exited = receiver.finish();
    assert_same(&exited.out, b"89abcdef");
    exited.assert_failed(3, &["8 fragments of link x were lost", "(8 before this receiver joined)"]);
}

#[test]
fn a_receiver_that_joins_late_reports_the_loss() {
    join_late("");
}

#[test]
fn an_observer_that_joins_late_reports_the_loss() {
    join_late("--observe");
}

#[test]
fn a_receiver_that_joins_before_the_ring_is_full_loses_nothing() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --mtu 1 --depth 32 --wait-for 0");
    sender.write(b"0123456789abcdef");
    folder.await_status("x", |status| status.next - status.start == 16);
    let receiver = folder.start("recv x");
    receiver.await_output(16);
    sender.finish().assert_ok();
    receiver.finish().assert_ok();
}

/// Numbers that the sender left out were not lost before the receiver joined, though it hears of both first.
#[test]
fn numbers_that_were_left_out_are_told_from_those_that_came_too_early() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(16).mtu(1).consumers(2).create("x").unwrap();
    let tx = link.producer().unwrap();
    let check = |from: u64, lost: &str| {
        for observe in ["", "--observe"] {
            let exited = folder.run(&format!("recv x --from {from} --count 1 --meta {observe}"));
            exited.assert_failed(3, &[lost]);
            assert_eq!(
                exited.err.contains("before this receiver joined"),
                lost.contains("before"),
                "{}",
                exited.err
            );
            let text = String::from_utf8(exited.out).unwrap();
            assert!(text.contains("seq 6  "), "{text}");
        }
    };
    publish(&tx, 1..2);
    assert_eq!(tx.skip(4), 4); // 2 to 5
    publish(&tx, 6..7);
    check(2, "4 fragments of link x were lost\n");
    // 1 to 3 are overwritten, and the rest is held.
    let _holds = link.consumer_from(Start::At(4)).unwrap();
    publish(&tx, 7..20);
    assert_eq!(link.status().oldest, 4);
    check(2, "4 fragments of link x were lost (2 before this receiver joined)");
}
