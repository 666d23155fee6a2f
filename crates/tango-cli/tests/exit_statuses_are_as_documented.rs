//! Each subcommand says in its help text with which statuses it exits, `docs/operating.md` has them in a table, and it exits
//! with them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use common::{TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::Link;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md");

/// The subcommands, and the statuses in the help text of each.
fn documented_in_help(folder: &TestFolder) -> BTreeMap<String, Vec<String>> {
    let help = |arguments: &str| String::from_utf8(folder.run(arguments).out).unwrap();
    let statuses = |name: &str| {
        let text = help(&format!("{name} --help"));
        let section = text.split("\n\nExit status:\n").nth(1);
        let section = section.unwrap_or_else(|| panic!("tango {name} --help has no exit statuses"));
        let entries = section.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        entries.filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
    };
    folder.subcommands().into_iter().map(|name| (name.clone(), statuses(&name))).collect()
}

/// The rows of the table in the document: by command, whether each of 0, 1 and 3 is there.
fn documented_in_table() -> BTreeMap<String, [bool; 3]> {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let section = document.split("\n## Exit statuses\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `tango "));
    let row = |row: &str| {
        let cells: Vec<_> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [name, rest @ ..] = cells.as_slice() else { panic!("{row}") };
        let of = |index: usize| rest.get(index).is_some_and(|cell| !cell.is_empty() && *cell != "-");
        (name.trim_end_matches('`').to_owned(), [of(0), of(1), of(2)])
    };
    rows.map(row).collect()
}

#[test]
fn help_and_document_agree() {
    let folder = TestFolder::new();
    let (help, table) = (documented_in_help(&folder), documented_in_table());
    assert_eq!(help.keys().collect::<Vec<_>>(), table.keys().collect::<Vec<_>>());
    for (name, statuses) in help {
        for status in ["0", "1", "2", "128+N"] {
            assert!(statuses.iter().any(|each| each == status), "no {status} in tango {name} --help");
        }
        let is_lossy = statuses.iter().any(|each| each == "3");
        assert_eq!(table[&name], [true, true, is_lossy], "{name}");
    }
}

#[test]
fn invalid_usage_is_2_everywhere() {
    let folder = TestFolder::new();
    for name in documented_in_help(&folder).keys() {
        folder
            .run(&format!("{name} --frobnicate"))
            .assert_failed(2, &["--frobnicate", &format!("tango {name} --help")]);
    }
}

/// A link with 16 fragments, of which 8 are gone.
fn link(folder: &TestFolder, name: &str) -> Link {
    let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create(name).unwrap();
    let tx = link.producer().unwrap();
    for _ in 0..16 {
        tx.publish(b"x", 0, 0, 0).unwrap();
    }
    link
}

#[test]
fn success_failure_and_loss() {
    let folder = TestFolder::new();
    let _link = link(&folder, "x");
    let path = |name: &str| folder.path_of(name).display().to_string();
    drop(folder.file("file", b""));
    let (recording, pages, file) = (path("x.mcap"), path("pages"), path("file"));
    let capture = path("x.pcapng");
    let cases = [
        // Lossy ones first: the link has an end, and its beginning is gone.
        (3, "recv x".to_owned()),
        (0, "recv x --from 9".to_owned()),
        (1, "recv nothing --timeout 0".to_owned()),
        (3, format!("record x -o {recording}")),
        (0, format!("record x -o {recording} --force --from 9")),
        (1, format!("record x -o {recording}")),
        (3, format!("capture x -o {capture}")),
        (0, format!("capture x -o {capture} --force --from 9")),
        (1, format!("capture x -o {capture}")),
        (0, format!("info {recording}")),
        (1, format!("info {file}")),
        (0, format!("replay {recording} y --wait-for 0 --fast")),
        (1, format!("replay {recording} --wait-for 0 --dir {file}")),
        (0, "peek x".to_owned()),
        (1, "peek nothing".to_owned()),
        (0, "send y --wait-for 0".to_owned()),
        (1, format!("send y --wait-for 0 --dir {file}")),
        (0, "ls".to_owned()),
        (1, format!("ls --dir {file}")),
        (0, "inspect x".to_owned()),
        (1, "inspect nothing".to_owned()),
        (0, "top --interval 0.1".to_owned()),
        (1, format!("top --interval 0.1 --dir {file}")),
        (0, "export --once".to_owned()),
        (1, format!("export --once --dir {file}")),
        (0, "signal x run".to_owned()),
        (1, "signal nothing run".to_owned()),
        (0, "demo --duration 0.1".to_owned()),
        (1, format!("demo --duration 0.1 --dir {file}")),
        (0, "bench --count 50 --windows 1".to_owned()),
        (1, format!("bench --dir {file}")),
        (1, "ping x".to_owned()),
        (0, "completions bash".to_owned()),
        (0, format!("man {pages}")),
        (1, format!("man {file}")),
        (0, "rm --dead".to_owned()),
        (1, "rm nothing".to_owned()),
    ];
    for (status, arguments) in cases {
        let exited = folder.run(&arguments);
        assert_eq!(exited.code(), status, "tango {arguments}: {}", exited.err);
        // The demonstration shows its progress.
        let speaks = status != 0 || arguments.starts_with("demo");
        assert_eq!(exited.err.is_empty(), !speaks, "tango {arguments}: {}", exited.err);
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = folder.start_with("completions zsh", std::process::Stdio::null(), Some(full.into()));
    full.finish().assert_failed(1, &["cannot write to standard output"]);
}

/// A shell shows the end by a signal as 128+N, whether the command has exited with that or the signal has ended it.
#[test]
fn signals_are_128_and_their_number() {
    let folder = TestFolder::new();
    let link = link(&folder, "x");
    // Otherwise the link is closed, and peek ends.
    let _tx = link.producer().unwrap();
    let recording = folder.path_of("x.mcap").display().to_string();
    for arguments in [
        "send y",
        "recv nothing",
        &format!("record nothing -o {recording}"),
        &format!("capture nothing -o {recording}.pcapng"),
        "peek x --follow --last 0",
        "ls --watch 60",
        "top --interval 60",
        "export --listen 127.0.0.1:0",
        "demo --duration 600",
        "bench --duration 600",
        "ping y",
        "ping y --answer",
    ] {
        // The shell becomes the command, and its parent sees what a shell would.
        let running = folder.start_in_shell(&format!("$0 {arguments} & echo $! >&2; wait $!; echo $?"));
        let mut id = 0;
        wait_until("the process", || {
            id = running.stderr().lines().next().and_then(|line| line.parse().ok()).unwrap_or(0);
            id != 0
                && fs::read_to_string(format!("/proc/{id}/stat"))
                    .is_ok_and(|stat| stat.contains("(tango) S "))
        });
        // Until it waits for what it was started for. If it does not yet, the status is the same.
        thread::sleep(Duration::from_millis(100));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM).unwrap();
        let exited = running.wait();
        let text = String::from_utf8(exited.out).unwrap();
        assert_eq!(text.lines().last(), Some("143"), "tango {arguments}: {text} {}", exited.err);
    }
}
