//! Cuts, restarts of the bridge and of the producer, and links made anew are told apart.

use std::time::Duration;

use rust_tango::{Link, Start};
use tango_bridge::wire::EndCause;

use super::peer::{Far, Next, Peer, pair, read, sessions, subscribe, until, until_closed};

/// Longer than a bridge may be silent.
const SILENT: Duration = Duration::from_millis(3300);

#[test]
fn after_a_cut_what_is_missing_is_sent_again() {
    let (peer, far) = pair("cut", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(2);
    std::thread::sleep(SILENT);
    assert!(far.event("cut").message.contains("nothing arrives"));
    far.until_count(&peer, "up", 0);
    peer.lose(10);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 14), [Next::Fragments(1, 13)]);
    let back = far.event("reconnected").message;
    assert!(
        back.contains("is back after 3.") && back.contains("10 fragments were sent again, and 0 are lost"),
        "{back}"
    );
    far.until_counts(&peer, ["cuts", "bridge_restarts", "up"], [1, 0, 1]);
}

#[test]
fn another_bridge_that_comes_after_silence_takes_over() {
    let (peer, far) = pair("restart", 64);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(2);
    peer.set_origin(|origin| origin.bridge += 1);
    peer.lose(3);
    // Rejected at first, as the other one may live.
    until("another bridge", || {
        peer.state();
        std::thread::sleep(Duration::from_millis(100));
        far.kinds().contains(&"bridge_restarted").then_some(())
    });
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 7), [Next::Fragments(1, 6)]);
    assert!(far.event("bridge_restarted").message.contains("3 fragments were sent again, and 0 are lost"));
    far.until_counts(&peer, ["cuts", "bridge_restarts", "rejected", "recovered"], [0, 1, 0, 3]);
    assert!(!far.kinds().contains(&"second_bridge"));
    // One that has left is not waited for.
    peer.end(EndCause::BridgeLeft);
    peer.set_origin(|origin| origin.bridge += 1);
    peer.send(1);
    assert_eq!(read(&mut reader, 7, 8), [Next::Fragments(7, 1)]);
    far.until_count(&peer, "bridge_restarts", 2);
}

#[test]
fn what_another_bridge_sends_while_the_first_may_live_is_not_lost() {
    let (peer, far) = pair("held", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(2);
    peer.set_origin(|origin| origin.bridge += 1);
    for _ in 0..35 {
        peer.send(2);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(read(&mut reader, 1, 73), [Next::Fragments(1, 72)]);
    far.event("bridge_restarted");
    far.until_counts(&peer, ["bridge_restarts", "rejected", "lost_in_network"], [1, 0, 0]);
}

#[test]
fn of_two_bridges_the_first_counts() {
    let (peer, far) = pair("two", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    let other = |peer: &Peer| {
        peer.set_origin(|origin| (origin.bridge, origin.link) = (1, 1));
        peer.again(500, 3);
        peer.set_origin(|origin| *origin = super::peer::ORIGIN);
    };
    other(&peer);
    peer.send(1);
    assert!(far.event("second_bridge").message.contains("a second bridge"));
    other(&peer);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
    far.until_count(&peer, "rejected", 2);
    far.until_counts(&peer, ["bridge_restarts", "links_made_anew", "lost_in_network"], [0, 0, 0]);
    assert_eq!(far.kinds().iter().filter(|kind| **kind == "second_bridge").count(), 1);
}

#[test]
fn another_producer_continues_the_link() {
    let (peer, far) = pair("producer", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.send(2);
    peer.end(EndCause::ProducerGone);
    peer.set_origin(|origin| origin.producer += 1);
    peer.send(2);
    assert_eq!(read(&mut reader, 1, 5), [Next::Fragments(1, 4)]);
    assert!(far.event("ended").message.contains("its producer died"));
    far.event("producer_restarted");
    far.until_counts(&peer, ["producer_restarts", "bridge_restarts", "cuts"], [1, 0, 0]);
}

#[test]
fn a_link_that_closes_and_comes_back_does_so_here() {
    let (peer, far) = pair("closes", 0);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(2);
    peer.end(EndCause::Closed);
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
    until_closed(&mut reader);
    // States go on, and that it has ended, and are no news.
    peer.state();
    peer.end(EndCause::Closed);
    peer.set_origin(|origin| origin.producer += 1);
    peer.state();
    until("another producer", || (link.status().producers == 2).then_some(()));
    peer.send(1);
    assert_eq!(read(&mut reader, 3, 4), [Next::Fragments(3, 1)]);
    // A state that says that fragments are missing attaches the producer, too.
    peer.end(EndCause::Closed);
    until_closed(&mut reader);
    peer.lose(5);
    peer.state();
    assert_eq!(read(&mut reader, 4, 9), [Next::Lost(5)]);
    assert_eq!(far.kinds().iter().filter(|kind| **kind == "ended").count(), 2);
}

#[test]
fn a_link_that_is_stopped_or_removed_is_so_here() {
    let (peer, far) = pair("stopped", 0);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(2);
    peer.end(EndCause::Stopped);
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
    until_closed(&mut reader);
    assert!(link.status().stopped && link.is_named());

    let (peer, far) = pair("removed", 0);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(2);
    peer.end(EndCause::Closed);
    peer.end(EndCause::Removed);
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
    until_closed(&mut reader);
    until("the removal", || (!link.is_named()).then_some(()));
    assert!(Link::list(&far.context.folder).unwrap().is_empty());
}

/// The link at the origin is made anew, and begins with `next`.
fn made_anew(name: &str, next: u64) {
    let (peer, far) = pair(name, 64);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(20);
    peer.set_origin(|origin| (origin.link, origin.producer) = (origin.link + 1, 1));
    peer.set_next(next);
    // The first of its messages get lost.
    peer.lose(3);
    peer.state();
    peer.send(2);
    assert_eq!(read(&mut reader, 1, 21), [Next::Fragments(1, 20)]);
    until_closed(&mut reader);
    far.event("link_made_anew");
    far.nth_event("made", 1);
    let link = far.open(&peer);
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, next, next + 5), [Next::Fragments(next, 5)]);
    far.until_counts(&peer, ["links_made_anew", "lost_in_network"], [1, 0]);
    // A late message of the link before.
    peer.set_origin(|origin| origin.link -= 1);
    peer.again(next + 5, 1);
    peer.set_origin(|origin| origin.link += 1);
    peer.send(1);
    assert_eq!(read(&mut reader, next + 5, next + 6), [Next::Fragments(next + 5, 1)]);
    far.until_counts(&peer, ["links_made_anew"], [1]);
}

#[test]
fn a_link_made_anew_with_smaller_numbers() {
    made_anew("smaller", 1);
}

#[test]
fn a_link_made_anew_with_larger_numbers() {
    made_anew("larger", 1000);
}

#[test]
fn a_link_made_anew_while_this_bridge_was_away() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "away").with_history(64);
    let mut far = Far::new(here.clone(), subscribe());
    far.meet(&peer);
    peer.send(20);
    far.until_count(&peer, "fragments", 20);
    far.stop();
    peer.set_origin(|origin| origin.link += 1);
    peer.set_next(5);
    peer.lose(4);
    // Of other sizes, too.
    let peer = peer.with_description(|of| of.depth = 128);
    let again = Far::after(here, subscribe(), &far);
    let link = again.meet(&peer);
    again.event("link_made_anew");
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 5, 9), [Next::Fragments(5, 4)]);
    assert_eq!(again.count(&peer, ["links_made_anew"]), [1]);
}

#[test]
fn after_a_restart_of_this_bridge_the_far_link_continues() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "continues").with_history(64);
    let mut far = Far::new(here.clone(), subscribe());
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(5);
    far.until_count(&peer, "fragments", 5);
    far.stop();
    peer.lose(7);
    let again = Far::after(here, subscribe(), &far);
    again.meet(&peer);
    assert!(again.event("continued").message.ends_with("continues with number 6"));
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 14), [Next::Fragments(1, 13)]);
    assert_eq!(again.count(&peer, ["recovered", "links_made_anew"]), [7, 0]);
}

#[test]
fn the_end_of_this_bridge_is_not_the_end_of_the_link() {
    let (peer, mut far) = pair("leaves", 0);
    let link = far.meet(&peer);
    let mut reader = link.consumer().unwrap();
    peer.send(2);
    far.until_count(&peer, "fragments", 2);
    far.context.stop.set();
    far.subscribing.take().unwrap().join();
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
    assert!(reader.poll().unwrap().is_none() && !reader.is_closed() && !link.status().closed);
}
