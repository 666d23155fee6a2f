//! `tango ping` measures round trips between two processes that were started apart, in either order. It spares links of other
//! programs, says what the other side has done, and removes its own link.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use common::{Exited, Running, TestFolder};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::Value;

#[track_caller]
fn assert_measured(exited: &Exited, link: &str) {
    exited.assert_ok();
    let report: Value = serde_json::from_slice(&exited.out).unwrap();
    assert_eq!((&report["command"], &report["link"]), (&"ping".into(), &link.into()));
    assert_eq!((&report["lost"], &report["wrong"]), (&0.into(), &0.into()));
    assert_eq!(report["sent"], report["received"]);
    for row in ["raw_round_trip", "round_trip"] {
        let percentiles = ["p50", "p90", "p99", "p999", "max"];
        let percentiles = percentiles.map(|key| report[row]["ns"][key]["median"].as_f64().unwrap());
        assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{report}");
    }
    assert!(report["round_trip_to_raw"]["median"].as_f64().unwrap() > 0.0);
}

const SHORT: &str = "--count 500 --windows 2 --json";

/// Starts a measurement that takes long, and waits until messages are under way. Returns the asking and the answering side.
fn measuring(folder: &TestFolder, answer: &str) -> [Running; 2] {
    let answering = folder.start(&format!("ping test --answer {answer}"));
    let asking = folder.start("ping test --duration 600 --windows 1000");
    folder.await_status("test", |status| status.next > 1000);
    folder.await_status("test.back", |status| status.next > 1000);
    [asking, answering]
}

#[test]
fn either_side_can_be_started_first() {
    let folder = TestFolder::new();
    let answering = folder.start("ping test --answer --once");
    assert_measured(&folder.run(&format!("ping test {SHORT}")), "test");
    answering.wait().assert_ok();

    let asking = folder.start(&format!("ping test {SHORT}"));
    folder.await_status("test", |status| status.producer);
    folder.start("ping test --echo --once").wait().assert_ok();
    assert_measured(&asking.wait(), "test");
    assert!(folder.list().is_empty());
}

#[test]
fn it_can_measure_all_and_print_text() {
    let folder = TestFolder::new();
    let answering = folder.start("ping test --answer --once");
    let what = "--measure throughput,one-way,round-trip --count 500 --windows 2";
    let exited = folder.run(&format!("ping test {what}"));
    exited.assert_ok();
    let text = String::from_utf8(exited.out).unwrap();
    for part in ["raw line", "round trip", "one way", "throughput", "0 lost, 0 wrong"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    answering.wait().assert_ok();
}

#[test]
fn an_answering_side_answers_until_terminated() {
    let folder = TestFolder::new();
    let answering = folder.start("ping test --answer");
    for _ in 0..3 {
        assert_measured(&folder.run(&format!("ping test {SHORT}")), "test");
    }
    answering.signal(Signal::SIGTERM);
    let exited = answering.wait();
    assert_eq!((exited.code(), exited.err.as_str()), (143, ""));
    assert!(folder.list().is_empty());
}

#[test]
fn it_says_that_the_answering_side_has_died() {
    let folder = TestFolder::new();
    let [asking, answering] = measuring(&folder, "");
    answering.signal(Signal::SIGKILL);
    answering.wait();
    asking.wait().assert_failed(1, &["the answering side has died"]);
    assert_eq!(folder.list(), ["test.back"], "only the link of the killed side is left");

    let next = folder.start("ping test --answer --once");
    assert_measured(&folder.run(&format!("ping test {SHORT}")), "test");
    next.wait().assert_ok();
    assert!(folder.list().is_empty());
}

#[test]
fn the_answering_side_survives_that_the_other_is_killed() {
    let folder = TestFolder::new();
    let [asking, once] = measuring(&folder, "--once");
    asking.signal(Signal::SIGKILL);
    asking.wait();
    once.wait().assert_failed(1, &["the asking side has died"]);
    assert_eq!(folder.list(), ["test"], "only the link of the killed side is left");

    let [asking, answering] = measuring(&folder, "");
    asking.signal(Signal::SIGKILL);
    asking.wait();
    assert_measured(&folder.run(&format!("ping test {SHORT}")), "test");
    assert_eq!(answering.stderr().lines().count(), 1, "{}", answering.stderr());
    assert!(answering.stderr().contains("the asking side has died"), "{}", answering.stderr());
    answering.signal(Signal::SIGINT);
    assert_eq!(answering.wait().code(), 130);
    assert!(folder.list().is_empty());
}

#[test]
fn a_signal_removes_the_link_and_ends_the_other_side() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let folder = TestFolder::new();
        let [asking, answering] = measuring(&folder, "--once");
        asking.signal(signal);
        let exited = asking.wait();
        assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
        assert!(!folder.list().contains(&"test".to_owned()));
        answering.wait().assert_failed(1, &["the asking side"]);
        assert!(folder.list().is_empty());

        let [asking, answering] = measuring(&folder, "--once");
        answering.signal(signal);
        assert_eq!(answering.wait().code(), 128 + signal as i32);
        asking.wait().assert_failed(1, &["the answering side"]);
        assert!(folder.list().is_empty());
    }
}

/// A link of another program must not be used, and not be replaced, even if its sender is dead.
#[test]
fn links_of_other_programs_are_spared() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send quotes --wait-for 0");
    sender.write(b"bid 101");
    folder.await_status("quotes", |status| status.next > status.start);
    folder.leave_dead_link("dead");
    folder.leave_dead_link("x.back");
    for (arguments, link) in [("ping quotes", "quotes"), ("ping dead", "dead"), ("ping x", "x.back")] {
        for side in ["", " --answer", " --answer --once"] {
            let parts = [&format!("link {link} exists"), "'tango ping' has not made it", "choose a name"];
            folder.run(&format!("{arguments}{side}")).assert_failed(1, &parts);
        }
    }
    let mut left = folder.list();
    left.sort();
    assert_eq!(left, ["dead", "quotes", "x.back"]);
    let receiver = folder.start("recv quotes");
    receiver.await_output(7);
    sender.finish().assert_ok();
    assert_eq!(receiver.finish().out, b"bid 101");
}

#[test]
fn a_third_process_is_refused() {
    let folder = TestFolder::new();
    let [asking, answering] = measuring(&folder, "");
    folder.run("ping test").assert_failed(1, &["test", "in use"]);
    folder.run("ping test --answer").assert_failed(1, &["another process answers on link test"]);
    for side in [asking, answering] {
        side.signal(Signal::SIGTERM);
        side.wait();
    }
    assert!(folder.list().is_empty());
}

#[test]
fn waiting_ends_and_says_what_for() {
    let folder = TestFolder::new();
    let how = "to start one, run: tango ping test --answer";
    folder
        .run("ping test --timeout 0.1")
        .assert_failed(1, &["no process answers on link test", how, "waited 0."]);
    let how = "to start one, run: tango ping test";
    folder.run("ping test --answer --timeout 0.1").assert_failed(1, &["no process asks on link test", how]);
    assert!(folder.list().is_empty());
}

#[test]
fn invalid_options_are_named() {
    let folder = TestFolder::new();
    folder.run("ping").assert_failed(2, &["LINK"]);
    folder.run("ping test --once").assert_failed(2, &["--answer"]);
    folder.run("ping test --answer --size 8").assert_failed(2, &["--answer", "--size"]);
    folder.run("ping test --core 9999").assert_failed(2, &["--core", "9999"]);
    folder.run("ping a/b").assert_failed(2, &["a/b"]);
}

/// Needs root, to become other users. Without it, the test reports that it is skipped.
#[test]
fn members_of_a_group_measure_between_them() {
    const USERS: [u32; 2] = [61_001, 61_002];
    const GROUP: u32 = 61_500;
    if !Uid::effective().is_root() {
        assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "this user is not root");
        eprintln!("skipped: this user is not root");
        return;
    }
    let folder = TestFolder::new();
    let (links, program) = (folder.links(), folder.path_of("tango"));
    fs::set_permissions(links.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tango"), &program).unwrap();
    fs::create_dir(&links).unwrap();
    chown(&links, Some(USERS[0]), Some(GROUP)).unwrap();
    fs::set_permissions(&links, Permissions::from_mode(0o2770)).unwrap();
    let ping = |user: u32, arguments: &str| {
        let program = program.display();
        let become_user = format!("exec setpriv --reuid={user} --regid={user} --groups={GROUP}");
        folder.start_in_shell(&format!("{become_user} {program} ping test {arguments}"))
    };
    let group = format!("--group {GROUP}");
    let answering = ping(USERS[1], &format!("--answer --once {group}"));
    let asking = ping(USERS[0], &format!("{SHORT} {group}"));
    assert_measured(&asking.wait(), "test");
    answering.wait().assert_ok();
    let left = fs::read_dir(&links).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name != ".lock").collect();
    assert!(left.is_empty(), "{left:?}");

    // Without the group, the link is for its user only.
    let asking = ping(USERS[0], SHORT);
    folder.await_status("test", |status| status.producer);
    ping(USERS[1], &format!("--answer {group}")).wait().assert_failed(1, &["test", "user 61002"]);
    asking.signal(Signal::SIGTERM);
    asking.wait();
}
