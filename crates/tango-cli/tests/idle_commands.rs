//! A command that waits takes less than a hundredth of a core, whatever it waits for.

mod common;

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{Place, Running, noise};
use nix::unistd::Pid;

/// Long enough for a hundredth of it to be more than what the system rounds.
const IDLE: Duration = Duration::from_secs(3);
/// What comes before the idling, like falling asleep by and by, is not counted.
const SETTLED: Duration = Duration::from_millis(300);

/// Processor time that all threads of a process have taken.
fn used(process: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // The first number: nanoseconds that the thread has run.
    let of_thread = |folder: fs::DirEntry| -> u64 {
        let times = fs::read_to_string(folder.path().join("schedstat")).unwrap();
        times.split(' ').next().unwrap().parse().unwrap()
    };
    Duration::from_nanos(threads.map(|folder| of_thread(folder.unwrap())).sum())
}

#[track_caller]
fn assert_idle(commands: &[(&str, &Running)]) {
    thread::sleep(SETTLED);
    let before: Vec<Duration> = commands.iter().map(|(_, running)| used(running.pid())).collect();
    thread::sleep(IDLE);
    for ((what, running), before) in commands.iter().zip(before) {
        let used = used(running.pid()) - before;
        println!("{what}: {used:?} in {IDLE:?}");
        assert!(used < IDLE / 100, "{what} took {used:?} in {IDLE:?}");
    }
}

#[test]
fn who_waits_for_the_other_to_come() {
    let place = Place::new();
    let receiver = place.start("recv nobody-sends");
    let sender = place.start("send nobody-receives");
    place.await_status("nobody-receives", |status| status.producer);
    assert_idle(&[("recv before there is a link", &receiver), ("send before there is a receiver", &sender)]);
}

#[test]
fn who_waits_for_something_to_send() {
    let place = Place::new();
    let mut sender = place.start("send x --consumers 4 --wait-for 3");
    let receivers = ["recv x", "recv x --lines", "recv x"].map(|receiver| place.start(receiver));
    let observer = place.start("recv x --observe");
    sender.write(b"something\n");
    receivers.iter().for_each(|receiver| receiver.await_output(10));
    observer.await_output(10);
    assert_idle(&[
        ("send without input", &sender),
        ("recv", &receivers[0]),
        ("recv --lines", &receivers[1]),
        ("recv --observe", &observer),
    ]);
}

/// A receiver whose output nobody reads, and the sender that it holds back; then one that has sent all.
#[test]
fn who_waits_for_a_slow_receiver() {
    let place = Place::new();
    let blocked = ["full", "drained"]
        .map(|link| place.start_with(&format!("recv {link}"), Stdio::null(), Some(Stdio::piped())));
    let full = place.start_with_input("send full --depth 4", place.file("long", &noise(4 << 20)));
    let drained = place.start_with_input("send drained", place.file("short", &noise(512 << 10)));
    for link in ["full", "drained"] {
        place.await_status(link, |status| {
            let is_behind = status.consumers.iter().any(|consumer| consumer.lag > 0);
            is_behind && (link == "drained" || status.held_by == Some(0))
        });
    }
    assert_idle(&[
        ("send without credits", &full),
        ("send until all is read", &drained),
        ("recv that cannot write", &blocked[0]),
    ]);
}
