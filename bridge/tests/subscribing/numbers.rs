//! Each number is published once, in order, or left out and counted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rust_tango::{Consumer, Link, Start};
use tango_bridge::settings::{Congestion, Subscribe};
use tango_bridge::wire::GapCause;

use super::peer::{
    Answers, Far, Next, Peer, pair, pair_with, read, sessions, subscribe, until, until_closed,
};

#[test]
fn readers_of_all_kinds_find_what_was_sent() {
    let (peer, far) = pair("all", 0);
    let link = far.meet(&peer);
    let mut readers =
        [link.consumer().unwrap(), link.evictable_consumer(Start::Next).unwrap(), link.observer().unwrap()];
    for count in [1, 5, 0, 20, 1] {
        peer.send(count);
    }
    for reader in &mut readers {
        assert_eq!(read(reader, 1, 28), [Next::Fragments(1, 27)]);
    }
    far.until_count(&peer, "fragments", 27);
    let bytes = (1..28).map(|seq| super::peer::payload(seq).len() as u64).sum();
    far.until_counts(&peer, ["bytes", "messages", "up", "backlog"], [bytes, 5, 1, 0]);
}

#[test]
fn duplicates_and_late_messages_are_not_published_again() {
    let (peer, far) = pair("twice", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(5);
    peer.again(1, 5);
    peer.again(3, 2);
    peer.again(4, 4);
    peer.send(7);
    peer.again(0u64.wrapping_sub(10), 5);
    assert_eq!(read(&mut reader, 1, 13), [Next::Fragments(1, 12)]);
    far.until_count(&peer, "messages", 6);
    far.until_counts(&peer, ["fragments", "lost_in_network"], [12, 0]);
}

#[test]
fn readers_see_what_the_other_bridge_has_lost() {
    let (peer, far) = pair("gap", 0);
    let link = far.meet(&peer);
    let mut readers = [link.consumer().unwrap(), link.observer().unwrap()];
    peer.send(2);
    peer.gap(30, GapCause::Evicted);
    peer.gap(5, GapCause::Congestion);
    peer.send(2);
    for reader in &mut readers {
        let expected = [Next::Fragments(1, 2), Next::Lost(35), Next::Fragments(38, 2)];
        assert_eq!(read(reader, 1, 40), expected);
    }
    far.until_counts(&peer, ["lost_at_origin", "dropped", "lost_in_network"], [30, 5, 0]);
    let gap = far.event("gap");
    assert_eq!((gap.link.as_deref(), gap.first, gap.count), (Some("far.gap"), Some(3), Some(30)));
    assert_eq!((far.event("dropped").first, far.event("dropped").count), (Some(33), Some(5)));
}

#[test]
fn what_got_lost_is_asked_for_and_the_rest_is_left_out() {
    let (peer, far) = pair("asked", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(3);
    peer.lose(12);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 17), [Next::Fragments(1, 16)]);
    peer.lose(12);
    peer.forget_before(22);
    // A state says which number is next, so what is missing is missed before the next fragment.
    peer.state();
    assert_eq!(read(&mut reader, 17, 29), [Next::Lost(5), Next::Fragments(22, 7)]);
    far.until_counts(&peer, ["recovered", "lost_in_network", "fragments"], [19, 5, 23]);
    let questions = peer.questions().into_iter().filter(|asked| asked != "state").collect::<Vec<_>>();
    assert_eq!(questions, ["first=4;count=12", "first=17;count=12"]);
    // No further back than the history reaches.
    peer.lose(100);
    peer.send(1);
    assert_eq!(read(&mut reader, 29, 130), [Next::Lost(36), Next::Fragments(65, 65)]);
    assert_eq!(peer.questions().last().unwrap(), "first=65;count=64");
}

#[test]
fn an_answer_with_holes_is_asked_for_again() {
    let (peer, far) = pair("holes", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.set_answers(Answers::WithHoles);
    peer.lose(18);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 20), [Next::Fragments(1, 19)]);
    far.until_counts(&peer, ["recovered"], [18]);
}

/// Reads while the peer says every now and then what its link is, as a bridge does.
fn read_of_living(peer: &Peer, reader: &mut Consumer<'static>, from: u64, end: u64) -> Vec<Next> {
    let is_read = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_read.load(Relaxed) {
                peer.state();
                thread::sleep(Duration::from_millis(200));
            }
        });
        let found = read(reader, from, end);
        is_read.store(true, Relaxed);
        found
    })
}

#[test]
fn nobody_who_lives_and_does_not_answer_holds_up_what_follows() {
    let (peer, far) = pair("silent", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.set_answers(Answers::Never);
    peer.lose(4);
    peer.send(1);
    peer.lose(2);
    peer.send(1);
    let expected = [Next::Lost(4), Next::Fragments(5, 1), Next::Lost(2), Next::Fragments(8, 1)];
    assert_eq!(read_of_living(&peer, &mut reader, 1, 9), expected);
    far.until_counts(&peer, ["lost_in_network"], [6]);

    // It says that it has a history, and has no queryable.
    let (there, here) = sessions();
    let peer = Peer::new(&there, "nobody").with_description(|of| of.history = 64);
    let far = Far::new(here, subscribe());
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.lose(4);
    peer.send(1);
    assert_eq!(read_of_living(&peer, &mut reader, 1, 6), [Next::Lost(4), Next::Fragments(5, 1)]);
}

#[test]
fn a_question_that_nobody_hears_is_asked_again() {
    let (peer, far) = pair("deaf", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.set_answers(Answers::Never);
    peer.lose(4);
    peer.send(1);
    // As during a cut, nothing comes: no answer, and nothing else.
    until("asked again", || {
        (peer.questions().iter().filter(|of| of.starts_with("first=")).count() >= 2).then_some(())
    });
    peer.set_answers(Answers::Rightly);
    assert_eq!(read(&mut reader, 1, 6), [Next::Fragments(1, 5)]);
    far.until_counts(&peer, ["recovered", "lost_in_network"], [4, 0]);
}

#[test]
fn a_question_that_is_refused_is_asked_again() {
    let (peer, far) = pair("busy", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.set_answers(Answers::Refused);
    peer.lose(4);
    peer.send(1);
    let lives = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while lives.load(Relaxed) {
                peer.state();
                thread::sleep(Duration::from_millis(200));
            }
        });
        // For longer than a bridge has that does not answer at all.
        thread::sleep(Duration::from_secs(6));
        peer.set_answers(Answers::Rightly);
        assert_eq!(read(&mut reader, 1, 6), [Next::Fragments(1, 5)]);
        lives.store(false, Relaxed);
    });
}

#[test]
fn numbers_wrap_around() {
    let (peer, far) = pair("wrap", 64);
    let first = 0u64.wrapping_sub(20);
    peer.set_next(first);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(10);
    peer.lose(15);
    peer.send(5);
    peer.gap(7, GapCause::Overrun);
    peer.send(3);
    let expected = [Next::Fragments(first, 30), Next::Lost(7), Next::Fragments(17, 3)];
    assert_eq!(read(&mut reader, first, 20), expected);
    far.until_counts(&peer, ["recovered", "lost_at_origin"], [15, 7]);
}

#[test]
fn a_gap_of_millions_is_left_out_and_a_larger_one_makes_the_link_anew() {
    let (peer, mut far) = pair("large", 0);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(1);
    peer.gap(3_000_000, GapCause::Overrun);
    peer.send(1);
    let expected = [Next::Fragments(1, 1), Next::Lost(3_000_000), Next::Fragments(3_000_002, 1)];
    assert_eq!(read(&mut reader, 1, 3_000_003), expected);
    peer.set_next(1 << 60);
    peer.send(1);
    assert_eq!(far.event("numbers_jump").link.as_deref(), Some("far.large"));
    until_closed(&mut reader);
    assert!(link.status().stopped);
    let link = until("the new link", || far.nth_event("made", 1).link.map(|_| far.open(&peer)));
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 1 << 60, (1 << 60) + 1), [Next::Fragments(1 << 60, 1)]);
    far.until_counts(&peer, ["lost_in_network"], [(1 << 60) - 3_000_003]);
    // The bridge ends although a consumer keeps it from leaving out numbers.
    peer.gap(500_000_000, GapCause::Overrun);
    until("some of them", || (link.status().next > (1 << 60) + 60).then_some(()));
    far.stop();
}

fn slow(name: &str, congestion: Congestion) -> (Peer, Far, Link) {
    let settings = Subscribe { congestion, queue: 8 << 10, ..subscribe() };
    let (peer, far) = pair_with(name, 0, settings);
    let link = far.meet(&peer);
    (peer, far, link)
}

#[test]
fn what_slow_consumers_do_not_take_is_dropped_and_counted() {
    let (peer, far, link) = slow("slow", Congestion::Drop);
    let mut reader = link.consumer().unwrap();
    // 64 are in the ring, and some in the queue.
    for _ in 0..200 {
        peer.send(8);
    }
    until("a queue that is full", || (far.count(&peer, ["backlog"])[0] > 7 << 10).then_some(()));
    // All have arrived when the next is there.
    peer.gap(1, GapCause::Corrupt);
    peer.send(0);
    let found = read(&mut reader, 1, 1602);
    let lost = found.iter().map(|next| if let Next::Lost(count) = next { *count } else { 0 }).sum::<u64>();
    // The last one.
    far.until_count(&peer, "lost_at_origin", 1);
    let counts = ["fragments", "dropped", "lost_at_origin", "lost_in_network"];
    let [fragments, dropped, at_origin, in_network] = far.count(&peer, counts);
    assert!(dropped > 1000, "{dropped}");
    assert_eq!((fragments + lost, at_origin, in_network), (1601, 1, 0));
    assert_eq!(dropped + at_origin, lost);
    assert!(far.event("dropped").message.contains("dropped here"));
}

#[test]
fn blocking_holds_the_network_back_and_loses_nothing() {
    let (peer, mut far, link) = slow("block", Congestion::Block);
    let mut reader = link.consumer().unwrap();
    let sends = std::thread::spawn(move || {
        for _ in 0..2000 {
            peer.send(8);
        }
        peer
    });
    assert_eq!(read(&mut reader, 1, 16_001), [Next::Fragments(1, 16_000)]);
    let peer = sends.join().unwrap();
    far.until_counts(&peer, ["fragments", "dropped"], [16_000, 0]);
    // It ends although all wait for a consumer.
    for _ in 0..100 {
        peer.send(8);
    }
    until("a queue that is full", || (far.count(&peer, ["backlog"])[0] > 7 << 10).then_some(()));
    far.stop();
    drop(reader);
    assert!(link.status().closed, "the far link stays");
}

#[test]
fn a_consumer_that_died_holds_nothing_back() {
    let (peer, far, link) = slow("dead", Congestion::Block);
    // It leaves without saying so, as far as the producer can tell: an evictable one that never reads.
    let _never_reads = link.evictable_consumer(Start::Next).unwrap();
    let mut reader = link.consumer().unwrap();
    peer.send(64);
    peer.send(8);
    peer.gap(200, GapCause::Overrun);
    peer.send(8);
    let expected = [Next::Fragments(1, 72), Next::Lost(200), Next::Fragments(273, 8)];
    assert_eq!(read(&mut reader, 1, 281), expected);
    assert_eq!(link.status().evicted, 1);
    drop(far);
}

#[test]
fn a_new_far_link_begins_with_the_oldest_that_there_is_if_it_is_told_to() {
    let settings = Subscribe { from_oldest: true, ..subscribe() };
    let (peer, far) = pair_with("oldest", 40, settings);
    peer.lose(100);
    peer.forget_before(71);
    let link = far.meet(&peer);
    until("the history", || (link.status().next == 101).then_some(()));
    peer.send(2);
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 71, 103), [Next::Fragments(71, 32)]);
    assert_eq!(link.status().start, 71);
    far.until_counts(&peer, ["lost_in_network", "recovered"], [0, 30]);
    // Without anything to send again, with the next.
    let (there, here) = sessions();
    let peer = Peer::new(&there, "empty").with_history(40);
    peer.lose(5);
    peer.forget_before(6);
    let far = Far::new(here, Subscribe { from_oldest: true, ..subscribe() });
    assert_eq!(far.meet(&peer).status().start, 6);
}

#[test]
fn what_the_link_is_is_asked_if_fragments_come_first() {
    let (peer, far) = pair("first", 64);
    let link = until("the far link", || {
        peer.send(1);
        std::thread::sleep(std::time::Duration::from_millis(50));
        Link::open_in(&far.context.folder, "far.first").ok()
    });
    assert_eq!(peer.questions()[0], "state");
    peer.send(1);
    let start = link.status().start;
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    let end = until("all", || {
        (far.counts(&peer).fragments.load(std::sync::atomic::Ordering::Relaxed) > 1)
            .then(|| link.status().next)
    });
    assert_eq!(read(&mut reader, start, end), [Next::Fragments(start, end - start)]);
}
