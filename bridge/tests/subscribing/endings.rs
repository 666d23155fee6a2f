//! The origin ends, or this bridge does: nothing is missing in silence, and nothing is left behind.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rust_tango::{Link, Start};
use tango_bridge::settings::{Congestion, Subscribe};
use tango_bridge::wire::EndCause;

use super::peer::{
    Answers, Far, Next, Peer, pair, pair_with, read, sessions, subscribe, until, until_closed,
};

/// Longer than a bridge may be silent.
const SILENT: Duration = Duration::from_millis(3300);

fn lingering(linger: Duration) -> Subscribe {
    Subscribe { linger, ..subscribe() }
}

/// What a bridge says every second of a link that is gone.
fn repeat_removal(peer: &Peer) {
    peer.last_state();
    peer.end(EndCause::Closed);
    peer.end(EndCause::Removed);
}

fn count_of(far: &Far, kind: &str) -> usize {
    far.kinds().iter().filter(|of| **of == kind).count()
}

#[test]
fn what_is_missing_at_the_end_is_sent_again_or_counted() {
    for (name, history, expected) in
        [("tail", 64, vec![Next::Fragments(1, 7)]), ("lost", 0, vec![Next::Fragments(1, 2), Next::Lost(5)])]
    {
        let (peer, far) = pair_with(name, history, lingering(Duration::from_millis(300)));
        let link = far.meet(&peer);
        let mut reader = link.consumer().unwrap();
        peer.send(2);
        far.until_count(&peer, "fragments", 2);
        thread::sleep(SILENT);
        peer.lose(5);
        // Heard late, and again and again, without a state.
        for _ in 0..3 {
            peer.end(EndCause::Closed);
            peer.end(EndCause::Removed);
        }
        assert_eq!(read(&mut reader, 1, 8), expected);
        until_closed(&mut reader);
        assert!(!link.status().stopped, "that would mean that the end may be missing");
        until("the removal", || (!link.is_named()).then_some(()));
        assert!(!link.status().stopped);
        let lost = if history == 0 { 5 } else { 0 };
        far.until_counts(&peer, ["lost_in_network", "recovered"], [lost, 5 - lost]);
        let said = far.events().into_iter().filter(|event| event.event == "ended");
        let said = said.map(|event| event.message).collect::<Vec<_>>();
        let back = far.event("reconnected").message;
        let known = if history == 0 {
            "0 fragments were sent again, and 5 are lost"
        } else {
            "5 fragments were sent"
        };
        assert!(back.contains(known), "{back}");
        assert_eq!(said, ["at the origin: its producer has ended", "at the origin: it was removed"]);
    }
}

#[test]
fn a_question_that_is_refused_is_asked_again_also_if_the_link_was_removed() {
    for (name, answers) in [("refused", Answers::Refused), ("waits", Answers::WaitsAndRefused)] {
        let (peer, far) = pair(name, 64);
        let mut reader = far.meet(&peer).consumer().unwrap();
        peer.set_answers(answers);
        peer.lose(4);
        peer.end(EndCause::Closed);
        peer.end(EndCause::Removed);
        until("some questions", || (peer.questions().len() > 5).then_some(()));
        peer.set_answers(Answers::Rightly);
        assert_eq!(read(&mut reader, 1, 5), [Next::Fragments(1, 4)]);
        until_closed(&mut reader);
        far.until_counts(&peer, ["recovered", "lost_in_network"], [4, 0]);
    }
}

#[test]
fn a_short_stream_can_be_found_a_little_later() {
    let (peer, far) = pair_with("short", 0, lingering(Duration::from_secs(600)));
    let link = far.meet(&peer);
    peer.send(3);
    repeat_removal(&peer);
    until("the end", || (count_of(&far, "ended") == 2).then_some(()));
    let mut reader = far.open(&peer).consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 1, 4), [Next::Fragments(1, 3)]);
    until_closed(&mut reader);
    assert!(link.is_named() && !link.status().stopped);
    // Another one does not wait for that.
    peer.set_origin(|origin| origin.link += 1);
    peer.set_next(1);
    peer.state();
    far.nth_event("made", 1);
    assert!(!link.is_named() && !link.status().stopped);
}

#[test]
fn one_that_was_removed_while_its_producer_was_there_is_stopped_and_removed() {
    let (peer, far) = pair_with("at-once", 0, lingering(Duration::from_millis(300)));
    let link = far.meet(&peer);
    peer.send(3);
    peer.end(EndCause::Removed);
    until("the removal", || (!link.is_named()).then_some(()));
    assert!(link.status().stopped);
    assert!(Link::list(&far.context.folder).unwrap().is_empty());
}

#[test]
fn a_link_that_is_gone_gives_way_to_another_one_and_does_not_come_back() {
    let (there, here) = sessions();
    let far = Far::new(here, Subscribe { max_links: 1, ..lingering(Duration::ZERO) });
    let gone = Peer::new(&there, "gone");
    let link = far.meet(&gone);
    gone.send(1);
    repeat_removal(&gone);
    until("the removal", || (!link.is_named()).then_some(()));
    let next = Peer::new(&there, "next");
    until("another link", || {
        repeat_removal(&gone);
        next.state();
        thread::sleep(Duration::from_millis(50));
        Link::open_in(&far.context.folder, "far.next").ok()
    });
    repeat_removal(&next);
    until("its removal", || Link::list(&far.context.folder).unwrap().is_empty().then_some(()));
    // The first one is said to be gone for a minute. Then there is a new one of its name.
    for _ in 0..10 {
        repeat_removal(&gone);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((count_of(&far, "made"), count_of(&far, "ended")), (2, 4));
    gone.set_origin(|origin| origin.link += 1);
    until("the link again", || {
        gone.state();
        thread::sleep(Duration::from_millis(50));
        Link::open_in(&far.context.folder, "far.gone").ok()
    });
    far.until_counts(&gone, ["links_made_anew"], [1]);
}

#[test]
fn a_link_that_ended_while_this_bridge_was_away_ends_here() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "away").with_history(64);
    let mut far = Far::new(here.clone(), lingering(Duration::ZERO));
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(2);
    far.until_count(&peer, "fragments", 2);
    far.context.stop.set();
    far.subscribing.take().unwrap().close();
    peer.lose(3);
    let again = Far::after(here.clone(), lingering(Duration::ZERO), &far);
    until("the end", || {
        peer.end(EndCause::Closed);
        peer.end(EndCause::Removed);
        thread::sleep(Duration::from_millis(50));
        (count_of(&again, "ended") == 2).then_some(())
    });
    assert_eq!(read(&mut reader, 1, 6), [Next::Fragments(1, 5)]);
    until_closed(&mut reader);
    until("the removal", || (!link.is_named()).then_some(()));
    drop(again);
    // One that comes later still makes nothing of it.
    let last = Far::after(here, lingering(Duration::ZERO), &far);
    until("the end", || {
        repeat_removal(&peer);
        thread::sleep(Duration::from_millis(50));
        last.kinds().contains(&"ended").then_some(())
    });
    assert_eq!(count_of(&last, "made"), 0);
    assert!(Link::list(&far.context.folder).unwrap().is_empty());
}

#[test]
fn what_waits_when_this_bridge_ends_is_counted() {
    for congestion in [Congestion::Drop, Congestion::Block] {
        let settings = Subscribe { congestion, queue: 8 << 10, ..subscribe() };
        let (peer, mut far) = pair_with("waits", 0, settings);
        let link = far.meet(&peer);
        let _never_reads = link.consumer().unwrap();
        // 64 are in the ring.
        for _ in 0..5 {
            peer.send(16);
        }
        peer.lose(3);
        for _ in 0..60 {
            peer.send(1);
        }
        let is_full = || far.count(&peer, ["backlog"])[0] > 7 << 10;
        until("a queue that is full", || is_full().then_some(()));
        far.stop();
        let counts = ["fragments", "dropped", "lost_in_network", "backlog"];
        let [fragments, dropped, lost, backlog] = far.count(&peer, counts);
        assert_eq!((fragments, lost, backlog), (64, 3, 0), "{congestion:?}");
        if congestion == Congestion::Drop {
            assert!(dropped >= 16 + 7, "{dropped}");
        }
        let left =
            far.events().into_iter().find(|event| event.message.contains("were not published")).unwrap();
        assert_eq!((left.event, left.first), ("dropped", Some(65)), "{left:?}");
    }
}

#[test]
fn what_waits_for_a_link_that_could_not_be_made_is_counted() {
    let (peer, mut far) = pair("in-the-way", 0);
    let in_the_way = Link::builder().dir(&far.context.folder).create("far.in-the-way").unwrap();
    in_the_way.producer().unwrap().send(b"theirs").unwrap();
    peer.state();
    far.event("far_link_failed");
    peer.send(5);
    peer.lose(2);
    peer.send(1);
    until("that they arrive", || (far.count(&peer, ["backlog"])[0] > 256 * 2).then_some(()));
    far.stop();
    far.until_counts(&peer, ["fragments", "dropped", "lost_in_network"], [0, 6, 2]);
}

#[test]
fn without_anything_that_waits_nothing_is_said_at_the_end() {
    let (peer, mut far) = pair("quiet", 0);
    far.meet(&peer);
    let sends = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while sends.load(Relaxed) {
                peer.send(1);
                thread::sleep(Duration::from_millis(1));
            }
        });
        until("some", || (far.count(&peer, ["fragments"])[0] > 100).then_some(()));
        far.stop();
        sends.store(false, Relaxed);
    });
    far.until_counts(&peer, ["dropped", "lost_in_network"], [0, 0]);
}

#[test]
fn after_a_cut_it_is_not_known_yet_what_is_missing() {
    let (peer, far) = pair("so-far", 0);
    far.meet(&peer);
    thread::sleep(SILENT);
    peer.state();
    assert!(far.event("reconnected").message.ends_with("no fragments are missing so far"));
}

#[test]
fn a_link_that_was_removed_before_anything_of_it_was_heard_is_not_made() {
    let (peer, far) = pair("gone", 0);
    until("it is heard", || {
        repeat_removal(&peer);
        (count_of(&far, "ended") > 0).then_some(())
    });
    (0..3).for_each(|_| repeat_removal(&peer));
    peer.set_origin(|origin| origin.link += 1);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 2), [Next::Fragments(1, 1)]);
    assert_eq!((count_of(&far, "made"), count_of(&far, "ended")), (1, 1), "{:?}", far.kinds());
}
