//! Another process that shares a standard stream may make it non-blocking. A command then waits until the
//! stream is ready.

mod common;

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{TestFolder, assert_same, full_pipe, random_bytes, set_nonblocking};

/// Longer than a process takes to find that its input is empty or its output full.
const PAUSE: Duration = Duration::from_millis(100);

/// A pipe whose reading end is non-blocking.
fn nonblocking_input() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    set_nonblocking(&reader, true);
    (reader, writer)
}

/// Reads everything, in pieces, with pauses in which the pipe fills up.
fn read_slowly(mut reader: impl Read) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        thread::sleep(Duration::from_millis(1));
        match reader.read(&mut piece).unwrap() {
            0 => return all,
            len => all.extend_from_slice(&piece[..len]),
        }
    }
}

#[test]
fn input_that_comes_late() {
    for (options, pieces) in [("", ["one\n", "tw", "o\n"]), ("--lines", ["one\n", "tw", "o\n"])] {
        let folder = TestFolder::new();
        let receiver = folder.start("recv x");
        let (reader, mut writer) = nonblocking_input();
        let sender = folder.start_with(&format!("send x {options}"), reader.into(), None);
        for piece in pieces {
            thread::sleep(PAUSE);
            writer.write_all(piece.as_bytes()).unwrap();
        }
        thread::sleep(PAUSE);
        drop(writer);
        sender.finish().assert_ok();
        let receiver = receiver.finish();
        receiver.assert_ok();
        assert_eq!(receiver.out, b"one\ntwo\n");
    }
}

#[test]
fn received_data_that_is_read_slowly() {
    let mut bytes = random_bytes(8 << 20);
    *bytes.last_mut().unwrap() = b'\n';
    for options in ["", "--lines"] {
        let folder = TestFolder::new();
        let (reader, writer) = io::pipe().unwrap();
        set_nonblocking(&writer, true);
        let receiver = folder.start_with("recv x", Stdio::null(), Some(writer.into()));
        let sender = folder.start_with_input(&format!("send x {options}"), folder.file("file", &bytes));
        thread::sleep(PAUSE);
        assert_same(&read_slowly(reader), &bytes);
        receiver.finish().assert_ok();
        sender.finish().assert_ok();
    }
}

/// What the command writes into a full pipe that is read later, and its exit status.
fn write_into_full_pipe(folder: &TestFolder, arguments: &str, is_output: bool) -> (String, i32) {
    let (mut reader, writer, filled) = full_pipe();
    set_nonblocking(&writer, true);
    let (output, errors): (Option<Stdio>, Option<Stdio>) =
        if is_output { (Some(writer.into()), None) } else { (None, Some(writer.into())) };
    let running = folder.start_all_with(arguments, Stdio::null(), output, errors);
    thread::sleep(PAUSE);
    io::copy(&mut reader.by_ref().take(filled as u64), &mut io::sink()).unwrap();
    let text = io::read_to_string(reader).unwrap();
    (text, running.finish().code())
}

#[test]
fn output_of_other_commands() {
    let folder = TestFolder::new();
    folder.leave_dead_link("dead");
    let cases = [
        ("--help", "Exit status:"),
        ("send --help", "Memory:"),
        ("--version", "tango"),
        ("ls", "dead"),
        ("rm --dead", "removed dead\n"),
        ("demo --duration 0.1", "result        ok"),
    ];
    for (arguments, wanted) in cases {
        let (text, code) = write_into_full_pipe(&folder, arguments, true);
        assert!(code == 0 && text.contains(wanted), "{arguments}: {code}, {text:?}");
    }
}

#[test]
fn error_messages() {
    let folder = TestFolder::new();
    for (arguments, wanted) in [("recv x --timeout 0", "no "), ("rm x", "no "), ("send --lines", "<LINK>")] {
        let (text, code) = write_into_full_pipe(&folder, arguments, false);
        assert!(code > 0 && text.starts_with("tango: ") && text.contains(wanted), "{arguments}: {text:?}");
        assert!(text.ends_with('\n'), "{text:?}");
    }
}
