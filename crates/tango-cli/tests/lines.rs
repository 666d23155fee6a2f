//! With `--lines`, each line is a message, whatever its length.

mod common;

use common::{Place, assert_same, noise};

#[track_caller]
fn lines(input: &[u8], send: &str, recv: &str, wanted: &[u8]) {
    let place = Place::new();
    let receiver = place.start(&format!("recv x {recv}"));
    place.start_with_input(&format!("send x {send}"), place.file("file", input)).end().assert_ok();
    let ended = receiver.end();
    ended.assert_ok();
    assert_same(&ended.out, wanted);
}

#[test]
fn short_long_and_empty_lines() {
    let text = b"one\n\n\ntwo\nthis line is longer than the MTU\n\n12345678\n123456789\n1234567890123456\n";
    lines(text, "--lines --mtu 8", "--lines", text);
}

#[test]
fn a_last_line_without_newline() {
    lines(b"a\nb", "--lines", "--lines", b"a\nb\n");
    lines(b"", "--lines", "--lines", b"");
    lines(b"\n", "--lines", "--lines", b"\n");
}

#[test]
fn each_line_is_a_message_without_its_newline() {
    lines(b"a\n\nb\nc\n", "--lines", "", b"abc");
}

#[test]
fn a_line_of_megabytes_of_any_bytes() {
    let mut line: Vec<u8> = noise(5 << 20).into_iter().filter(|byte| *byte != b'\n').collect();
    line.extend_from_slice(b"\nshort\n");
    lines(&line, "--lines --mtu 1000", "--lines", &line);
}

#[test]
fn a_message_without_its_beginning_is_left_out() {
    let place = Place::new();
    let mut sender = place.start("send x --lines --mtu 4 --depth 4 --wait-for 0");
    sender.write(b"0123456789abcdefghijkl\n");
    place.await_status("x", |status| status.next - status.start == 6);
    let receiver = place.start("recv x --lines");
    place.await_status("x", |status| status.consumers.len() == 1);
    sender.write(b"whole\n");
    receiver.await_output(6);
    sender.end().assert_ok();
    let ended = receiver.end();
    assert_same(&ended.out, b"whole\n");
    ended.assert_failed(3, &["were lost", "before it joined"]);
}
