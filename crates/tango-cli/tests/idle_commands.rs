//! A command that waits uses less than 1 % of a core, whatever it waits for.

mod common;

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{Running, TestFolder, random_bytes};
use nix::unistd::Pid;

/// How long processor time is measured: 1 % of it is well over the resolution of the kernel's accounting.
const IDLE: Duration = Duration::from_secs(3);
/// How often it is measured at most: a virtual machine charges a thread for what its host did meanwhile, so a
/// measurement may be too high, but never too low.
const ATTEMPTS: u32 = 3;
/// Time for a command to become idle before the measurement: its pauses first grow to their full length.
const SETTLED: Duration = Duration::from_millis(300);

/// Processor time that all threads of a process have used.
fn cpu_time(process: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // The first number of `schedstat`: nanoseconds that the thread has run.
    let of_thread = |thread: fs::DirEntry| -> u64 {
        let times = fs::read_to_string(thread.path().join("schedstat")).unwrap();
        times.split(' ').next().unwrap().parse().unwrap()
    };
    Duration::from_nanos(threads.map(|thread| of_thread(thread.unwrap())).sum())
}

#[track_caller]
fn assert_idle(commands: &[(&str, &Running)]) {
    thread::sleep(SETTLED);
    let mut least = vec![Duration::MAX; commands.len()];
    for _ in 0..ATTEMPTS {
        let before: Vec<Duration> = commands.iter().map(|(_, running)| cpu_time(running.pid())).collect();
        thread::sleep(IDLE);
        for (((description, running), before), least) in commands.iter().zip(before).zip(&mut least) {
            let used = cpu_time(running.pid()) - before;
            println!("{description}: {used:?} in {IDLE:?}");
            *least = used.min(*least);
        }
        if least.iter().all(|used| *used < IDLE / 100) {
            return;
        }
    }
    panic!("the least in {ATTEMPTS} times {IDLE:?}: {least:?}");
}

#[test]
fn waiting_for_the_other_side_to_start() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv nobody-sends");
    let sender = folder.start("send nobody-receives");
    folder.await_status("nobody-receives", |status| status.producer);
    assert_idle(&[
        ("recv before the link exists", &receiver),
        ("send before a receiver has joined", &sender),
    ]);
}

#[test]
fn waiting_for_data() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --consumers 4 --wait-for 3");
    let receivers = ["recv x", "recv x --lines", "recv x"].map(|receiver| folder.start(receiver));
    let observer = folder.start("recv x --observe");
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

/// Two receivers whose standard output is not read. One sender waits for credits, the other until its link
/// is drained.
#[test]
fn waiting_for_a_slow_receiver() {
    let folder = TestFolder::new();
    let blocked = ["full", "drained"]
        .map(|link| folder.start_with(&format!("recv {link}"), Stdio::null(), Some(Stdio::piped())));
    let full = folder.start_with_input("send full --depth 4", folder.file("long", &random_bytes(4 << 20)));
    let drained = folder.start_with_input("send drained", folder.file("short", &random_bytes(512 << 10)));
    for link in ["full", "drained"] {
        folder.await_status(link, |status| {
            let is_behind = status.consumers.iter().any(|consumer| consumer.lag > 0);
            is_behind && (link == "drained" || status.held_by == Some(0))
        });
    }
    assert_idle(&[
        ("send without credits", &full),
        ("send until everything is read", &drained),
        ("recv with a full output pipe", &blocked[0]),
    ]);
}
