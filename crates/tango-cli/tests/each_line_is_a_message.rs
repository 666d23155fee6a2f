//! With `--lines`, each line of the input is one message, whatever its length, and each message is one line
//! of output.

mod common;

use common::{TestFolder, assert_same, random_bytes};
use rust_tango::Link;

#[track_caller]
fn assert_received(input: &[u8], send: &str, recv: &str, wanted: &[u8]) {
    let folder = TestFolder::new();
    let receiver = folder.start(&format!("recv x {recv}"));
    folder.start_with_input(&format!("send x {send}"), folder.file("file", input)).finish().assert_ok();
    let exited = receiver.finish();
    exited.assert_ok();
    assert_same(&exited.out, wanted);
}

#[test]
fn short_long_and_empty_lines_arrive() {
    let text = b"one\n\n\ntwo\nthis line is longer than the MTU\n\n12345678\n123456789\n1234567890123456\n";
    assert_received(text, "--lines --mtu 8", "--lines", text);
}

#[test]
fn a_last_line_without_a_newline_gets_one() {
    assert_received(b"a\nb", "--lines", "--lines", b"a\nb\n");
    assert_received(b"", "--lines", "--lines", b"");
    assert_received(b"\n", "--lines", "--lines", b"\n");
}

/// The receiver recognises lines. They would run together otherwise.
#[test]
fn lines_arrive_as_lines_without_an_option() {
    let text = b"a\n\nb\nlonger than the MTU\nc\n";
    assert_received(text, "--lines --mtu 4", "", text);
    assert_received(text, "--lines --mtu 4", "--lines", text);
}

#[test]
fn messages_do_not_contain_the_newline() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --lines");
    folder.await_status("x", |status| status.producer);
    let mut reader = Link::open_in(folder.links(), "x").unwrap().consumer().unwrap();
    sender.write(b"a\n\nbc\n");
    for wanted in ["a", "", "bc"] {
        assert_eq!(reader.wait().unwrap().unwrap().payload.as_slice(), wanted.as_bytes());
    }
    sender.finish();
}

/// A newline after each fragment of a stream of bytes would be anywhere in its text.
#[test]
fn a_link_without_lines_is_reported() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv x --lines");
    let mut sender = folder.start("send x");
    sender.write(b"half a");
    receiver.await_output(7);
    sender.write(b" line\n");
    sender.finish().assert_ok();
    let receiver = receiver.finish();
    assert_eq!((receiver.code(), receiver.out.as_slice()), (0, b"half a\n line\n\n".as_slice()));
    assert_eq!(receiver.err.lines().count(), 1, "{}", receiver.err);
    assert!(receiver.err.contains("link x was sent without --lines"), "{}", receiver.err);
}

#[test]
fn a_line_can_have_megabytes_of_any_bytes() {
    let mut line: Vec<u8> = random_bytes(5 << 20).into_iter().filter(|byte| *byte != b'\n').collect();
    line.extend_from_slice(b"\nshort\n");
    assert_received(&line, "--lines --mtu 1000", "--lines", &line);
}

#[test]
fn a_message_without_its_beginning_is_skipped() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --lines --mtu 4 --depth 4 --wait-for 0");
    sender.write(b"0123456789abcdefghijkl\n");
    folder.await_status("x", |status| status.next - status.start == 6);
    let receiver = folder.start("recv x --lines");
    folder.await_status("x", |status| status.consumers.len() == 1);
    sender.write(b"whole\n");
    receiver.await_output(6);
    sender.finish().assert_ok();
    let exited = receiver.finish();
    assert_same(&exited.out, b"whole\n");
    exited.assert_failed(3, &["were lost", "before this receiver joined"]);
}
