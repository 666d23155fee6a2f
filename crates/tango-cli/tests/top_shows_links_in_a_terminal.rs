//! `tango top` shows what all links of a folder do, in a real terminal, and leaves the terminal as it was. Without a
//! terminal, it prints one table.

mod common;
#[path = "common/tmux.rs"]
mod tmux;

use std::fs;

use common::{TestFolder, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_tango::Link;
use tmux::Tmux;

fn link(folder: &TestFolder, name: &str) -> Link {
    Link::builder().depth(16).mtu(64).consumers(2).dir(folder.links()).create(name).unwrap()
}

/// A link whose file with the payloads is gone.
fn damage(folder: &TestFolder, name: &str) {
    drop(link(folder, name));
    fs::remove_file(folder.links().join(name).join("tx")).unwrap();
}

/// The words of the line that begins with this one.
fn row(screen: &str, name: &str) -> Option<Vec<String>> {
    let line = screen.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    Some(line.split_whitespace().map(String::from).collect())
}

/// The process in the terminal that is `tango top`.
fn pid_of_top(folder: &TestFolder) -> Pid {
    let links = format!("TANGO_DIR={}", folder.links().display());
    let mut found = None;
    wait_until("tango top", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        found = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let is_top = read("cmdline").split(|byte| *byte == 0).nth(1) == Some(b"top");
            is_top && read("environ").split(|byte| *byte == 0).any(|variable| variable == links.as_bytes())
        });
        found.is_some()
    });
    Pid::from_raw(found.unwrap())
}

#[test]
fn links_come_go_and_are_sorted() {
    let folder = TestFolder::new();
    let Some(tmux) = Tmux::start(&folder, (80, 24)) else { return };
    tmux.line("$tango top --interval 0.1");
    tmux.await_text("There are no links.");

    let busy = link(&folder, "busy");
    let (tx, mut rx) = (busy.producer().unwrap(), busy.consumer().unwrap());
    let idle = link(&folder, "another");
    damage(&folder, "broken");
    let screen = tmux.await_screen("three links", |screen| row(screen, "broken").is_some());
    assert_eq!(row(&screen, "another").unwrap()[1], "alive");
    assert_eq!(row(&screen, "broken").unwrap()[1..3], ["damaged", "-"]);
    assert!(screen.contains("3 links"), "{screen}");

    // Some fragments wait for the consumer all the time.
    for _ in 0..4 {
        tx.publish(b"x", 0, 0, 0).unwrap();
    }
    wait_until("a rate", || {
        tx.publish(b"x", 0, 0, 0).unwrap();
        drop(rx.poll().unwrap());
        row(&tmux.screen(), "busy").is_some_and(|row| row[1] == "alive" && row[2] != "0" && row[2] != "-")
    });
    let screen = tmux.await_screen("the lag", |screen| row(screen, "busy").is_some_and(|row| row[5] == "4"));
    assert_eq!(row(&screen, "busy").unwrap()[4], "25%", "{screen}");

    // The link with the largest lag comes first, then last of those whose lag is known.
    let order = |screen: &str| {
        ["another", "broken", "busy"].map(|name| screen.lines().position(|line| line.starts_with(name)))
    };
    tmux.keys(&["Right", "Right", "Right", "Right", "Right"]);
    tmux.await_screen("the order by lag", |screen| order(screen) == [Some(3), Some(4), Some(2)]);
    tmux.keys(&["r"]);
    tmux.await_screen("the reverse order", |screen| order(screen) == [Some(2), Some(4), Some(3)]);

    // A link that is removed goes from the screen, and one that is damaged says so when it is selected.
    idle.remove().unwrap();
    tmux.await_screen("two links", |screen| row(screen, "another").is_none());
    tmux.keys(&["End"]);
    tmux.await_screen("the reason", |screen| {
        screen.lines().any(|line| line.starts_with("link broken is damaged"))
    });
    // The list has no room for all of it.
    tmux.keys(&["Enter"]);
    tmux.await_text("is missing");
    tmux.keys(&["Escape"]);
    tmux.await_text("FRAG/s MAX B/s");
    tmux.keys(&["Home", "Enter"]);
    let screen = tmux.await_text("depth 16, MTU 64, credits 16");
    let consumer = row(&screen, "#0").unwrap();
    assert_eq!((consumer[1].as_str(), consumer[3].as_str()), ("alive", "4"), "{screen}");
    tmux.keys(&["Escape"]);
    tmux.await_text("FRAG/s MAX B/s");

    // The terminal becomes smaller and larger.
    tmux.resize(120, 30);
    tmux.await_screen("a line at the bottom", |screen| {
        screen.lines().nth(29).is_some_and(|line| line.starts_with("q quit")) && screen.contains("CONSUMERS")
    });
    tmux.resize(30, 6);
    tmux.await_screen("few columns", |screen| {
        screen.lines().nth(5).is_some_and(|line| line.starts_with("q quit")) && !screen.contains("MAX")
    });
    tmux.keys(&["q"]);
    tmux.await_screen("the prompt", |screen| screen.contains("ready>") && !screen.contains("STATE"));
}

/// Asserts that the terminal is as it was before, at a prompt of the shell, and that this was the exit status.
#[track_caller]
fn assert_restored(tmux: &Tmux, status: i32) {
    wait_until("the screen of before", || tmux.modes() == (false, true));
    tmux.line("stty -a > $TANGO_DIR/../after; echo status=$?.");
    tmux.await_text("status=0.");
    tmux.line("cmp $TANGO_DIR/../before $TANGO_DIR/../after; echo same=$?,$was.");
    tmux.await_text(&format!("same=0,{status}."));
    tmux.line("clear");
    tmux.await_screen("an empty screen", |screen| !screen.contains("same="));
}

#[test]
fn every_exit_restores_the_terminal() {
    let folder = TestFolder::new();
    let Some(tmux) = Tmux::start(&folder, (80, 24)) else { return };
    let _link = link(&folder, "numbers");
    tmux.line("stty -a > $TANGO_DIR/../before");
    let start = || {
        tmux.line("$tango top; was=$?");
        tmux.await_text("numbers: producer alive");
        assert_eq!(tmux.modes(), (true, false));
    };
    for (key, status) in [("q", 0), ("C-c", 130)] {
        start();
        tmux.keys(&[key]);
        assert_restored(&tmux, status);
    }
    // SIGBUS is what a link whose file is truncated causes.
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGBUS, 1)] {
        start();
        kill(pid_of_top(&folder), signal).unwrap();
        assert_restored(&tmux, status);
    }
    start();
    tmux.keys(&["C-\\"]); // does nothing
    // The shell gets the terminal as it was, and the screen comes back.
    tmux.keys(&["C-z"]);
    tmux.await_screen("the prompt", |screen| screen.contains("ready>") && !screen.contains("STATE"));
    tmux.line("was=stopped");
    wait_until("the screen of before", || tmux.modes() == (false, true));
    tmux.line("stty -a > $TANGO_DIR/../after; cmp $TANGO_DIR/../before $TANGO_DIR/../after; echo same=$?.");
    tmux.await_text("same=0.");
    tmux.line("fg; was=$?");
    tmux.await_text("numbers: producer alive");
    assert_eq!(tmux.modes(), (true, false));
    // A stop that no process can handle.
    let top = pid_of_top(&folder);
    kill(top, Signal::SIGSTOP).unwrap();
    wait_until("a stop", || fs::read_to_string(format!("/proc/{top}/status")).unwrap().contains("State:\tT"));
    tmux.line("printf '\\033[2J\\033[Hgarbage\\n'");
    tmux.await_text("garbage\n");
    tmux.line("fg; was=$?");
    tmux.await_screen("the list", |screen| {
        screen.contains("numbers: producer alive") && !screen.contains("garbage")
    });
    tmux.keys(&["q"]);
    assert_restored(&tmux, 0);
}

#[test]
fn colors_are_shown_only_if_they_are_wanted() {
    let folder = TestFolder::new();
    let Some(tmux) = Tmux::start(&folder, (80, 24)) else { return };
    damage(&folder, "broken");
    let has_colors = |screen: &str| screen.contains("[38;5;") || screen.contains("[48;5;");
    tmux.line("$tango top");
    tmux.await_text("link broken is damaged");
    assert!(has_colors(&tmux.colored_screen()), "{:?}", tmux.colored_screen());
    tmux.keys(&["q"]);
    tmux.await_screen("the prompt", |screen| !screen.contains("STATE"));
    tmux.line("NO_COLOR=1 LC_ALL=C $tango top");
    let screen = tmux.await_text("link broken is damaged");
    let colored = tmux.colored_screen();
    let of_eight = (30..38).chain(40..48).any(|color| colored.contains(&format!("[{color}m")));
    assert!(!of_eight && !has_colors(&colored), "{colored:?}");
    assert!(screen.is_ascii(), "{screen}");
    tmux.keys(&["q"]);
    tmux.await_screen("the prompt", |screen| !screen.contains("STATE"));
    // A terminal that cannot place the cursor gets a table.
    tmux.line("TERM=dumb $tango top --interval 0.1; echo status=$?.");
    let screen = tmux.await_text("status=1.");
    assert!(screen.contains("STATE") && screen.contains("tango: broken: "), "{screen}");
    assert_eq!(tmux.modes(), (false, true));
}

#[test]
fn without_a_terminal_it_prints_one_table() {
    let folder = TestFolder::new();
    let exited = folder.run("top --interval 0.1");
    exited.assert_ok();
    assert!(String::from_utf8(exited.out).unwrap().starts_with("There are no links in "));

    let quotes = link(&folder, "quotes");
    let (tx, _rx) = (quotes.producer().unwrap(), quotes.consumer().unwrap());
    for _ in 0..16 {
        tx.publish(b"x", 0, 0, 0).unwrap();
    }
    let exited = folder.run("top --interval 0.1");
    exited.assert_ok();
    let text = String::from_utf8(exited.out).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["LINK", "STATE", "FRAG/s"]);
    assert_eq!(lines[1], ["quotes", "alive", "0", "0", "100%", "16", "0", "0", "1", "of", "2"]);

    damage(&folder, "broken");
    let exited = folder.run("top --interval 0.1");
    exited.assert_failed(1, &["broken: "]);
    assert!(String::from_utf8(exited.out).unwrap().contains("broken  damaged"));

    for interval in ["0", "0.09", "-1", "soon"] {
        folder.run(&format!("top --interval {interval}")).assert_failed(2, &["0.1 or more"]);
    }
}

#[test]
fn it_writes_no_file_of_a_link() {
    let folder = TestFolder::new();
    let quotes = link(&folder, "quotes");
    let (tx, _rx) = (quotes.producer().unwrap(), quotes.consumer().unwrap());
    tx.publish(b"x", 0, 0, 0).unwrap();
    let files = || {
        let entries = fs::read_dir(folder.links().join("quotes")).unwrap().flatten();
        let mut files: Vec<_> =
            entries.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    folder.run("top --interval 0.1").assert_ok();
    assert!(files() == before);
}
