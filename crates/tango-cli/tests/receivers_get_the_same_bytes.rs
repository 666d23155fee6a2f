//! Every `tango recv x` writes the bytes that `tango send x` reads, whatever they are.

mod common;

use common::{TestFolder, assert_same, random_bytes};

/// Sends these bytes with `options` to this many receivers and compares what they write.
#[track_caller]
fn assert_copied(bytes: &[u8], options: &str, receivers: usize) {
    let folder = TestFolder::new();
    let receivers: Vec<_> = (0..receivers).map(|_| folder.start("recv x")).collect();
    let sender = folder.start_with_input(&format!("send x {options}"), folder.file("file", bytes));
    sender.finish().assert_ok();
    for receiver in receivers {
        let exited = receiver.finish();
        exited.assert_ok();
        assert_same(&exited.out, bytes);
    }
    assert!(folder.list().is_empty(), "the sender removes the link at the end");
}

#[test]
fn an_empty_file_is_copied() {
    assert_copied(b"", "", 1);
}

#[test]
fn a_file_of_one_byte_is_copied() {
    assert_copied(b"x", "", 1);
}

#[test]
fn sizes_around_multiples_of_the_mtu_are_copied() {
    for len in [4095, 4096, 4097, 3 * 4096, 65_536] {
        assert_copied(&random_bytes(len), "--mtu 4096", 1);
    }
}

#[test]
fn a_large_file_is_copied() {
    assert_copied(&random_bytes(50 << 20), "", 1);
}

#[test]
fn nothing_is_lost_if_the_ring_is_always_full() {
    assert_copied(&random_bytes(100_000), "--depth 2 --mtu 64", 1);
    assert_copied(&random_bytes(100_000), "--depth 2 --mtu 1000", 1);
}

#[test]
fn two_receivers_get_everything() {
    assert_copied(&random_bytes(10 << 20), "--wait-for 2", 2);
}

#[test]
fn the_sender_may_start_first() {
    let folder = TestFolder::new();
    let bytes = random_bytes(1 << 20);
    let sender = folder.start_with_input("send x", folder.file("file", &bytes));
    folder.await_status("x", |status| status.producer);
    let receiver = folder.start("recv x").finish();
    receiver.assert_ok();
    assert_same(&receiver.out, &bytes);
    sender.finish().assert_ok();
}

#[test]
fn input_is_received_before_the_sender_ends() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv x");
    let mut sender = folder.start("send x");
    sender.write(b"first");
    receiver.await_output(5);
    sender.write(b" second");
    receiver.await_output(12);
    sender.finish().assert_ok();
    assert_same(&receiver.finish().out, b"first second");
}

#[test]
fn an_observer_that_keeps_up_loses_nothing() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --wait-for 0");
    let observer = folder.start("recv x --observe");
    sender.write(b"seen");
    observer.await_output(4);
    sender.write(b" too");
    observer.await_output(8);
    sender.finish().assert_ok();
    let observer = observer.finish();
    observer.assert_ok();
    assert_same(&observer.out, b"seen too");
}
