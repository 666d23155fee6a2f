//! Lost fragments are counted in a message on standard error, and the exit status is then 3.

mod common;

use common::{TestFolder, assert_same};

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
