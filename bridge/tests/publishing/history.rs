//! What the ring still has is sent again when it is asked for, and the rest is said to be gone.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::Link;
use tango_bridge::settings::{Publish, Reading};
use tango_bridge::wire::GapCause;
use zenoh::Wait;

use super::setup::{Got, PATIENCE, Setup, all, eventually, follow, gaps, piece, pieces, publish};

/// The answer to `first=...;count=...`, which accounts for each number up to `end`.
fn asked(setup: &Setup, first: u64, count: u64, end: u64) -> Vec<Got> {
    let replies = setup.ask("quotes", &format!("first={first};count={count}"));
    let got = replies.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(got.iter().fold(first, follow), end);
    got
}

#[test]
fn fragments_are_sent_again_as_far_as_the_ring_has_them() {
    let mut setup = Setup::new();
    let start = u64::MAX - 400;
    let link = setup.create("quotes", Link::builder().depth(256).mtu(1000).start(start));
    let tx = link.producer().unwrap();
    setup.start(Publish { batch: 3000, ..all() });
    let (origin, ..) = setup.state();
    (0..800).for_each(|_| _ = publish(&tx, 1000));
    let end = start.wrapping_add(800);
    setup.until(start, end);

    let got = asked(&setup, end.wrapping_sub(100), 50, end.wrapping_sub(50));
    assert!(gaps(&got).is_empty() && got.len() > 1, "in messages of 3000 bytes");
    assert!(got.iter().all(|got| matches!(got, Got::Fragments(of, _) if *of == origin)));
    assert!(pieces(&got).into_iter().all(|found| found == piece(found.seq, 1000)));

    // From before the oldest one on, and beyond the newest.
    let got = asked(&setup, start, 5000, end);
    let gaps = gaps(&got);
    assert!(matches!(got[0], Got::Gap(_, first, _, GapCause::Overrun) if first == start) && gaps.len() == 1);
    assert!((200..=256).contains(&pieces(&got).len()), "{}", pieces(&got).len());

    // All of it is gone, or still to come, or none is asked for.
    assert_eq!(asked(&setup, start, 10, start.wrapping_add(10)).len(), 1);
    assert!(asked(&setup, end, 10, end).is_empty());
    assert!(asked(&setup, end.wrapping_add(5), 10, end.wrapping_add(5)).is_empty());
    assert!(asked(&setup, start, 0, start).is_empty());
}

#[test]
fn the_state_is_told_when_it_is_asked_for_and_a_wrong_question_is_refused() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(64).mtu(64).start(3));
    let tx = link.producer().unwrap();
    setup.start(all());
    let (origin, _, description) = setup.state();
    publish(&tx, 64);
    setup.until(3, 4);
    // The number of the next fragment is stored a moment after the one before was put.
    let expected = [Ok(Got::State(origin, 4, description))];
    let begin = Instant::now();
    while setup.ask("quotes", "state") != expected {
        assert!(begin.elapsed() < PATIENCE, "{:?}", setup.ask("quotes", "state"));
    }
    let refused = setup.ask("quotes", "first=one;count=2");
    assert!(matches!(&refused[..], [Err(why)] if why.contains("first is \"one\"")), "{refused:?}");
    assert!(matches!(&setup.ask("quotes", "")[..], [Err(why)] if why.contains("\"state\"")));
}

#[test]
fn no_more_history_is_sent_than_is_set() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(256).mtu(64).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { history: 10, ..all() });
    assert_eq!(setup.state().2.history, 10);
    (0..100).for_each(|_| _ = publish(&tx, 64));
    setup.until(0, 100);
    let got = asked(&setup, 50, 50, 100);
    assert_eq!(gaps(&got), [(50, 40, GapCause::Overrun)]);
    assert_eq!(pieces(&got).len(), 10);
    assert_eq!(gaps(&asked(&setup, 50, 10, 60)), [(50, 10, GapCause::Overrun)]);
}

#[test]
fn a_link_without_observers_has_no_history_and_says_so() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(64).mtu(64).observers(false).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { read: Reading::Reliable, ..all() });
    assert_eq!(setup.state().2.history, 0);
    (0..5).for_each(|_| _ = publish(&tx, 64));
    setup.until(0, 5);
    assert_eq!(gaps(&asked(&setup, 0, 5, 5)), [(0, 5, GapCause::Overrun)]);
    assert!(setup.has_event("no_history"));
}

#[test]
fn the_answer_is_true_while_the_producer_laps_the_answer() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(64).mtu(500).consumers(0).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { read: Reading::Observer, ..all() });
    setup.state();
    let is_over = AtomicBool::new(false);
    let (mut sent, mut gone) = (0, 0);
    thread::scope(|scope| {
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(SeqCst) {
                publish(&tx, 500);
            }
        });
        for _ in 0..200 {
            let newest = link.status().next;
            let first = newest.saturating_sub(80);
            let count = newest - first;
            let got = asked(&setup, first, count, newest);
            assert!(pieces(&got).into_iter().all(|found| found == piece(found.seq, 500)));
            sent += pieces(&got).len();
            gone += gaps(&got).len();
        }
        is_over.store(true, SeqCst);
    });
    assert!(gone > 0, "{sent} fragments were sent, and {gone} gaps");
}

#[test]
fn many_queries_at_once_wait_for_their_turn_and_no_thread_of_the_network_does() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(16384).mtu(1000).consumers(0).start(0));
    let tx = link.producer().unwrap();
    (0..8000).for_each(|_| _ = publish(&tx, 1000));
    setup.start(Publish { read: Reading::Observer, ..all() });
    assert_eq!(setup.state().1, 8000);
    let (to, from) = channel();
    let near = setup.context.session.declare_subscriber("other/program");
    let near = near.callback(move |_| _ = to.send(())).wait().unwrap();
    let other = setup.far.declare_publisher("other/program").wait().unwrap();
    eventually("the program hears of the subscriber", || other.matching_status().wait().unwrap().matching());
    // The network takes nothing: eight answers stand still, 256 queries wait, and the others are refused.
    setup.is_stalled.store(true, SeqCst);
    let long = (0..8).map(|_| setup.ask_at_once("quotes", "first=0;count=8000")).collect::<Vec<_>>();
    let short = (0..266).map(|at| setup.ask_at_once("quotes", &format!("first={};count=1", 7000 + at)));
    let short = short.collect::<Vec<_>>();
    // Later than these, from the same program.
    let begun = Instant::now();
    while from.recv_timeout(Duration::from_millis(100)).is_err() {
        other.put("hello").wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(7), "the threads of the network wait for the answers");
    }
    setup.is_stalled.store(false, SeqCst);
    let is_no_sign = |got: &Result<Got, String>| !matches!(got, Ok(Got::State(..)));
    for answer in long {
        let got = answer.iter().filter(is_no_sign).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(got.iter().fold(0, follow), 8000);
        assert!(gaps(&got).is_empty());
    }
    let mut refused = 0;
    for (at, answer) in (7000..).zip(short) {
        match &answer.iter().filter(is_no_sign).collect::<Vec<_>>()[..] {
            [Ok(got)] => assert_eq!(pieces(std::slice::from_ref(got)), [piece(at, 1000)]),
            [Err(why)] if why.contains("ask again later") => refused += 1,
            other => panic!("{at}: {other:?}"),
        }
    }
    assert_eq!(refused, 10);
    other.undeclare().wait().unwrap();
    near.undeclare().wait().unwrap();
}
