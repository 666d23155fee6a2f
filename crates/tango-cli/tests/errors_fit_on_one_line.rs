//! Every error is one line that names what is wrong. The exit status is 2 for invalid usage and 1 for other
//! failures.

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::TestFolder;

#[test]
fn invalid_usage() {
    let cases: [(&str, &[&str]); 43] = [
        ("send", &["<LINK>"]),
        ("recv", &["<LINK>"]),
        ("rm", &["<LINK>"]),
        ("rm --dead x", &["--dead", "[LINK]"]),
        ("rm --dead --force", &["--dead", "--force"]),
        ("frobnicate", &["frobnicate"]),
        ("send x --dept 4", &["--dept"]),
        ("send x --depth many", &["many", "--depth"]),
        ("send x --depth 100", &["100", "power of two"]),
        ("send x --depth -4", &["-4", "--depth", "power of two"]),
        ("send x --mtu 0", &["'0'", "--mtu", "1 or more"]),
        ("send x --mtu -5", &["-5", "--mtu", "1 or more"]),
        ("send x --mtu 9999999999", &["9999999999", "limit"]),
        ("send x --wait-for -1", &["-1", "--wait-for", "0 or more"]),
        ("send x --consumers few", &["few", "--consumers", "0 or more"]),
        ("send x --wait-for 3 --consumers 2", &["--wait-for 3", "--consumers 2"]),
        ("send a/b", &["a/b"]),
        ("recv ..", &[".."]),
        ("recv x --timeout soon", &["soon", "--timeout", "seconds of 0 or more"]),
        ("recv x --timeout -1", &["-1", "--timeout", "seconds of 0 or more"]),
        ("recv x --timeout nan", &["nan", "--timeout", "seconds of 0 or more"]),
        ("demo --consumers -2", &["-2", "--consumers", "1..=64"]),
        ("demo --depth 3", &["--depth", "3", "power of two"]),
        ("demo --size -1", &["-1", "--size", "from 0 to"]),
        ("demo --duration 0", &["--duration", "0.1"]),
        ("record -o f", &["<LINK>"]),
        ("record x", &["--output <FILE>"]),
        ("record x x -o f", &["link x is named twice"]),
        ("record a/b -o f", &["a/b"]),
        ("record x -o f --compress gzip", &["gzip", "--compress <KIND>"]),
        ("record x -o f --from first", &["first", "--from <WHERE>", "'next'"]),
        ("record x -o f --reliable --evictable", &["--reliable", "--evictable"]),
        ("record x -o f --count 0", &["'0'", "--count", "1 or more"]),
        ("record x -o f --duration 0", &["'0'", "--duration", "10m"]),
        ("record x -o f --rotate-size 1X", &["1X", "--rotate-size", "1G"]),
        ("record x -o f --rotate-every soon", &["soon", "--rotate-every", "10m"]),
        ("info", &["<FILE>"]),
        ("replay", &["<FILE>"]),
        ("replay f --speed 0", &["'0'", "--speed", "over 0"]),
        ("replay f --speed inf", &["inf", "--speed", "over 0"]),
        ("replay f --speed 2 --fast", &["--speed", "--fast"]),
        ("replay f --from soon", &["soon", "--from", "1h30m"]),
        ("replay f --to -1", &["-1", "--to", "number of a fragment"]),
    ];
    let folder = TestFolder::new();
    for (arguments, parts) in cases {
        folder.run(arguments).assert_failed(2, parts);
    }
    assert!(folder.list().is_empty());
}

/// Nothing that is only for the demonstration, and nothing that would not help.
#[test]
fn tips_help() {
    let folder = TestFolder::new();
    let cases = [
        ("rol", "tango: unrecognized subcommand 'rol' (see 'tango --help')\n"),
        ("role", "tango: unrecognized subcommand 'role' (see 'tango --help')\n"),
        ("help role", "tango: unrecognized subcommand 'role' (see 'tango --help')\n"),
        ("ls x", "tango: unexpected argument 'x' found (see 'tango ls --help')\n"),
        ("recv x --json", "tango: unexpected argument '--json' found (see 'tango recv --help')\n"),
        ("rm -z", "tango: unexpected argument '-z' found (see 'tango rm --help')\n"),
    ];
    for (arguments, message) in cases {
        let exited = folder.run(arguments);
        assert_eq!((exited.code(), exited.err.as_str()), (2, message));
    }
    folder.run("sen x").assert_failed(2, &["a similar subcommand exists: 'send'"]);
    folder.run("send x --line").assert_failed(2, &["a similar argument exists: '--lines'"]);
    let sender = folder.start_sender("quotes");
    folder.run("recv qoutes --timeout 0").assert_failed(1, &["similar names", ": quotes"]);
    drop(sender);
}

#[test]
fn a_link_that_does_not_appear() {
    let folder = TestFolder::new();
    folder.run("recv x --timeout 0.05").assert_failed(1, &["no link", "waited"]);
    // The name that `--from` had before.
    folder.run("record x -o /dev/null/x --start next").assert_failed(1, &["/dev/null/x"]);
    let other = folder.start("send y");
    folder.await_status("y", |status| status.producer);
    folder.run("recv x --timeout 0").assert_failed(1, &["no link named x", "waited"]);
    drop(other);
}

/// A path can have any characters, and an error names it.
#[test]
fn names_cannot_change_what_a_terminal_shows() {
    let folder = TestFolder::new();
    let dir = folder.links().join("a\u{202e}b\u{1b}[2Jc");
    for arguments in ["recv x --timeout 0", "send ..", "rm x"] {
        let exited = folder.run(&format!("{arguments} --dir {}", dir.display()));
        assert_eq!(exited.err.lines().count(), 1, "{}", exited.err);
        assert!(!exited.err.contains(['\u{202e}', '\u{1b}']), "{:?}", exited.err);
        if !arguments.starts_with("send") {
            assert!(exited.err.contains(r"/a\u{202e}b [2Jc"), "{}", exited.err);
        }
    }
    for arguments in ["ls", "rm --dead"] {
        let exited = folder.run(&format!("{arguments} --dir {}", dir.display()));
        exited.assert_ok();
        let text = String::from_utf8(exited.out).unwrap();
        assert!(text.contains(r"/a\u{202e}b [2Jc.") && text.lines().count() == 1, "{text:?}");
    }
}

#[test]
fn a_second_sender() {
    let folder = TestFolder::new();
    let sender = folder.start("send x");
    folder.await_status("x", |status| status.producer);
    let holder = format!("link x is in use by its producer (tx, process {})", sender.pid());
    folder.run("send x").assert_failed(1, &[&holder]);
    let receiver = folder.start("recv x");
    folder.await_status("x", |status| status.consumers.len() == 1);
    let holders = format!("{holder} and the consumer in slot 0 (rx.0, process {})", receiver.pid());
    folder.run("send x").assert_failed(1, &[&holders]);
    assert_eq!(folder.list(), ["x"]);
    drop(receiver);
    drop(sender);
}

#[test]
fn one_receiver_too_many() {
    let folder = TestFolder::new();
    let sender = folder.start("send x");
    let receiver = folder.start("recv x");
    folder.await_status("x", |status| status.consumers.len() == 1);
    folder.run("recv x").assert_failed(1, &["all receiver slots of link x", "--observe", "--consumers"]);
    sender.finish().assert_ok();
    receiver.finish().assert_ok();
}

#[test]
fn a_folder_that_is_a_file() {
    let folder = TestFolder::new();
    drop(folder.file("links", b"a file"));
    for arguments in ["send x", "ls", "rm x", "recv x"] {
        folder.run(arguments).assert_failed(1, &["links"]);
    }
}

#[test]
fn a_folder_that_others_can_write_to() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --wait-for 0");
    folder.await_status("x", |status| status.producer);
    fs::set_permissions(folder.links(), Permissions::from_mode(0o777)).unwrap();
    folder.run("recv y --timeout 0").assert_failed(1, &["no link named y"]);
    let link = folder.links().join("x");
    fs::set_permissions(&link, Permissions::from_mode(0o777)).unwrap();
    let mends = format!("chmod go-w {}", link.display());
    let refused = folder.run("recv x");
    refused.assert_failed(1, &[&mends, "mode 777", "--observe"]);
    assert!(!refused.err.contains("consumer_trusting"), "{}", refused.err);
    let observer = folder.start("recv x --observe");
    sender.write(b"seen");
    observer.await_output(4);
    sender.finish().assert_ok();
    observer.finish().assert_ok();
}

#[test]
fn input_that_cannot_be_read() {
    let folder = TestFolder::new();
    let directory = File::open("/").unwrap();
    folder
        .start_with_input("send x --wait-for 0", directory)
        .finish()
        .assert_failed(1, &["cannot read standard input"]);
    assert!(folder.list().is_empty());
}

#[test]
fn more_consumers_than_allowed() {
    let folder = TestFolder::new();
    folder.run("send x --depth 2 --mtu 2147483648 --wait-for 0 --consumers 257").assert_failed(2, &["257"]);
    assert!(folder.list().is_empty());
}

#[test]
fn help_is_not_an_error_and_fits_80_columns() {
    let folder = TestFolder::new();
    let mut all: Vec<_> = folder.subcommands().iter().map(|name| format!("{name} --help")).collect();
    assert!(all.len() >= 16, "{all:?}");
    all.extend(["--help", "--version"].map(String::from));
    for arguments in &all {
        let exited = folder.run(arguments);
        exited.assert_ok();
        let text = String::from_utf8(exited.out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.lines().any(|line| line.trim().starts_with("role")), "{text}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let exited = folder.start_with(arguments, Stdio::null(), Some(full.into())).finish();
        exited.assert_failed(1, &["cannot write to standard output"]);
    }
}
