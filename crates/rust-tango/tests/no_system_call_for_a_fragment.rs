//! As long as nobody sleeps and there is something to do, publishing and reading make no system call, neither
//! for a fragment nor for a batch. A reader that polls and finds nothing makes none but the question whether its
//! producer lives, and none to read a clock. The kernel is told to kill a process that makes one (SIGSYS).
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::kernel::allow_only;
use common::process::{Child, TestFolder, role, say, skip};
use common::{assert_is, in_time, payload, sig};
use nix::libc;
use nix::sys::signal::Signal;
use rust_tango::{Consumer, Link, Producer, Start};

const MTU: usize = 700;
const DEPTH: usize = 256;
/// Rounds before a system call is fatal, and after that.
const ROUNDS: [u64; 2] = [2, 100];
/// The fragments of a round that have the content of all tests, and all fragments of a round.
const WHOLE: u64 = 50;
const ROUND: u64 = WHOLE + 5;

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let (what, and) = role.split_once(", ").unwrap_or((&role, ""));
    let builder = Link::builder().depth(DEPTH).mtu(MTU).consumers(3);
    let link = if what == "heap" { builder.build() } else { builder.dir(&folder).create("quotes") };
    let link = link.unwrap();
    let mut tx = link.producer().unwrap();
    let mut readers =
        [link.consumer().unwrap(), link.evictable_consumer(Start::Next).unwrap(), link.observer().unwrap()];
    let mut sleeper = link.consumer().unwrap();
    // Allocated before, because an allocation may be a system call.
    let payloads: Vec<_> = (0..=ROUND * (ROUNDS[0] + ROUNDS[1])).map(|seq| payload(seq, MTU)).collect();
    let mut round = |first| {
        publish_all(&mut tx, first, &payloads);
        readers.iter_mut().for_each(|rx| read_all(rx, first));
        for _ in 0..if and == "finds nothing" { 2000 } else { 0 } {
            readers.iter_mut().for_each(|rx| assert!(rx.poll().unwrap().is_none()));
        }
        (0..ROUND).for_each(|_| assert!(sleeper.poll().unwrap().is_some()));
    };
    let mut firsts = (0..ROUNDS[0] + ROUNDS[1]).map(|at| 1 + at * ROUND);
    firsts.by_ref().take(ROUNDS[0] as usize).for_each(&mut round);
    // To report the end, and to exit. A reader that finds nothing asks the kernel at times whether the producer
    // lives, by a lock.
    let allowed = [libc::SYS_write, libc::SYS_exit_group, libc::SYS_fcntl];
    let allowed = if and == "finds nothing" { &allowed[..] } else { &allowed[..2] };
    if let Err(error) = allow_only(allowed) {
        return say(format!("no filter: {error}"));
    }
    firsts.for_each(&mut round);
    assert!(tx.is_drained());
    if and == "sleeps" {
        let _ = sleeper.wait_timeout(Duration::from_millis(1));
    }
    say("done");
    // SAFETY: ends the process without the usual cleanup of a Rust program.
    unsafe { libc::_exit(0) }
}

/// Every publishing method. There are always enough credits.
fn publish_all(tx: &mut Producer<'_>, first: u64, payloads: &[Vec<u8>]) {
    for seq in first..first + WHOLE {
        tx.publish(&payloads[seq as usize], sig(seq), sig(seq) as u16, seq as u32).unwrap();
    }
    let bytes = [7; MTU];
    assert_eq!(tx.publish_batch(&[&bytes[..10], &bytes, &[]], 0, 0), 3);
    let mut loan = tx.loan(300).unwrap();
    loan.write_at(0, &bytes[..300]);
    loan.commit(0, 0, 0).unwrap();
    tx.publish_blocking(&bytes, 0, 0, 0).unwrap();
    assert_eq!(tx.next_seq(), first + ROUND);
}

/// Every reading method. There is always a fragment.
fn read_all(rx: &mut Consumer<'_>, first: u64) {
    for seq in first..first + WHOLE {
        let found = if seq % 2 == 0 { rx.poll() } else { rx.wait() };
        assert_is(&found.unwrap().unwrap(), seq, MTU);
    }
    assert_eq!(rx.poll_batch(4).unwrap().len(), 4);
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), [7; MTU]);
    assert_eq!(rx.next_seq(), first + ROUND);
}

#[test]
fn publishing_and_reading_make_no_system_call() {
    in_time(|| {
        for role in ["heap", "shared", "heap, finds nothing", "shared, finds nothing"] {
            let folder = TestFolder::new();
            let mut child = Child::start(role, &folder);
            match child.hear().as_str() {
                "done" => child.succeeds(),
                why => skip(why),
            }
        }
    });
}

/// A single sleep is a system call. This shows that the filter works.
#[test]
fn sleeping_makes_a_system_call() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start("shared, sleeps", &folder);
        let said = child.hear_or_end();
        let status = child.ends();
        match said {
            None => assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{status}"),
            Some(why) if why != "done" => skip(&why),
            Some(_) => panic!("it was allowed to sleep"),
        }
    });
}
