//! Both bridges as processes, on the loopback device: what arrives is what was sent, also when a producer or a bridge is
//! started again.

mod support;

use std::thread;

use rust_tango::{Assembler, Link, LinkBuilder, TangoError};
use support::pair::{NEAR, Pair};
use support::traffic::{Found, Traffic, read_until};

/// Numbers do not begin at 0, so that it shows if they are not taken over.
const START: u64 = (1 << 40) + 5;

fn builder() -> LinkBuilder {
    Link::builder().depth(1 << 14).mtu(1000).slot(128).region(16 << 20).start(START)
}

const TRAFFIC: Traffic = Traffic { seed: 1, largest: 1000, equal: false };

#[test]
fn what_arrives_is_what_was_sent() {
    let pair = Pair::start(builder(), None, "--congestion block", "--congestion block");
    let (far, near) = (pair.far_link().geometry(), pair.link.geometry());
    assert_eq!(
        (far.depth, far.mtu, far.slot, far.region),
        (near.depth, near.mtu, near.slot, near.region),
        "the far link is made like the one at the origin"
    );
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    assert_eq!(consumer.next_seq(), START);
    let count = 100_000;
    // The producer ends as soon as it has published all.
    let publishing = thread::spawn(move || TRAFFIC.publish(&producer, count));
    assert_eq!(read_until(&mut consumer, &TRAFFIC, START + count), Found { read: count, gaps: vec![] });
    publishing.join().unwrap();
    assert!(consumer.wait().unwrap().is_none() && consumer.is_closed(), "the far link is closed, too");
    for (status, said) in pair.finish() {
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

#[test]
fn messages_over_the_mtu_arrive_whole() {
    let pair = Pair::start(builder(), None, "--congestion block", "--congestion block");
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    let message = |at: u64| -> Vec<u8> {
        // From nothing to three network messages.
        let size = (at * at * 977) % 200_000;
        (0..size).map(|byte| (byte ^ at) as u8).collect()
    };
    let publishing =
        thread::spawn(move || (0..100).for_each(|at| _ = producer.send_message(&message(at), at).unwrap()));
    let (mut assembler, mut at) = (Assembler::new(1 << 20), 0);
    while at < 100 {
        let fragment = consumer.wait().unwrap().expect("the link is not closed before the last message");
        assert_eq!(fragment.meta.sig, at);
        if let Some(found) = assembler.push(&fragment).unwrap() {
            assert!(found == message(at), "message {at}");
            at += 1;
        }
    }
    publishing.join().unwrap();
}

#[test]
fn another_producer_continues() {
    let mut pair = Pair::start(builder(), None, "", "");
    let mut consumer = pair.consumer();
    for run in 0..3 {
        let producer = pair.link.producer().unwrap();
        assert_eq!(producer.next_seq(), START + run * 1000);
        TRAFFIC.publish(&producer, 1000);
        let found = read_until(&mut consumer, &TRAFFIC, START + (run + 1) * 1000);
        assert_eq!(found, Found { read: 1000, gaps: vec![] });
        drop(producer);
        // Producers that follow each other at once may count as one.
        pair.subscribe().wait_for("ended", run as usize + 1);
    }
    assert!(pair.subscribe().wait_for("producer_restarted", 2).iter().all(|event| event["link"] == "far"));
    assert_eq!(pair.subscribe().events_of("ended").len(), 3, "each end is said once");
    assert!(pair.subscribe().events_of("bridge_restarted").is_empty());
    assert!(pair.subscribe().events_of("link_made_anew").is_empty());
}

#[test]
fn a_bridge_that_is_started_again_continues() {
    let mut pair = Pair::start(builder(), None, "", "");
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    let mut end = START;
    for run in 0..2 {
        TRAFFIC.publish(&producer, 1000);
        end += 1000;
        assert_eq!(read_until(&mut consumer, &TRAFFIC, end), Found { read: 1000, gaps: vec![] });

        // Beside the link. It knows by the ring what was published without it.
        let (status, said) = pair.publish.take().unwrap().finish();
        assert_eq!(status.code(), Some(0), "{said}");
        TRAFFIC.publish(&producer, 1000);
        end += 1000;
        pair.start_publish();
        assert_eq!(read_until(&mut consumer, &TRAFFIC, end), Found { read: 1000, gaps: vec![] });
        assert_eq!(pair.subscribe().wait_for("bridge_restarted", 1).len(), 1);

        // On the other side. The far link stays, with its consumers.
        let (status, said) = pair.subscribe.take().unwrap().finish();
        assert_eq!(status.code(), Some(0), "run {run}: {said}");
        TRAFFIC.publish(&producer, 1000);
        end += 1000;
        pair.start_subscribe();
        assert_eq!(read_until(&mut consumer, &TRAFFIC, end), Found { read: 1000, gaps: vec![] });
        assert!(pair.subscribe().events_of("link_made_anew").is_empty());
    }
}

#[test]
fn what_the_ring_lost_while_a_bridge_was_away_is_said() {
    let mut pair = Pair::start(Link::builder().start(0).depth(1024).mtu(64), None, "", "");
    let traffic = Traffic { seed: 2, largest: 64, equal: true };
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    traffic.publish(&producer, 1000);
    assert_eq!(read_until(&mut consumer, &traffic, 1000), Found { read: 1000, gaps: vec![] });
    let (status, said) = pair.subscribe.take().unwrap().finish();
    assert_eq!(status.code(), Some(0), "{said}");
    traffic.publish(&producer, 5000);
    pair.start_subscribe();
    let found = read_until(&mut consumer, &traffic, 6000);
    // An observer sees a little less than the depth: the producer announces what it will overwrite.
    assert!((900..=1024).contains(&found.read), "all that the ring still had: {found:?}");
    assert_eq!(found.gaps, [(1000, 5000 - found.read)]);
    let gaps = pair.subscribe().wait_for("gap", 1);
    assert_eq!((&gaps[0]["first"], &gaps[0]["count"]), (&1000.into(), &found.missing().into()));
    let (status, said) = pair.subscribe.take().unwrap().finish();
    assert_eq!(status.code(), Some(3), "fragments were lost: {said}");
}

#[test]
fn a_link_that_is_made_anew_is_made_anew_on_the_other_side() {
    let mut pair = Pair::start(builder(), None, "", "");
    let mut consumer = pair.consumer();
    let producer = pair.link.producer().unwrap();
    TRAFFIC.publish(&producer, 1000);
    assert_eq!(read_until(&mut consumer, &TRAFFIC, START + 1000).read, 1000);
    drop(producer);
    pair.link.remove().unwrap();
    pair.link = Link::builder().start(0).depth(64).mtu(100).dir(pair.near.links()).create(NEAR).unwrap();
    pair.subscribe().wait_for("link_made_anew", 1);
    let mut consumer = pair.consumer();
    assert_eq!((consumer.next_seq(), pair.far_link().geometry().depth), (0, 64));
    let producer = pair.link.producer().unwrap();
    let traffic = Traffic { seed: 3, largest: 100, equal: false };
    traffic.publish(&producer, 50);
    assert_eq!(read_until(&mut consumer, &traffic, 50), Found { read: 50, gaps: vec![] });
}

#[test]
fn a_link_that_is_stopped_is_stopped_on_the_other_side() {
    let pair = Pair::start(builder(), None, "", "");
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    TRAFFIC.publish(&producer, 10);
    pair.link.stop().unwrap();
    assert_eq!(producer.publish(b"no", 0, 0, 0), Err(TangoError::Closed));
    assert_eq!(read_until(&mut consumer, &TRAFFIC, START + 10), Found { read: 10, gaps: vec![] });
    assert!(consumer.wait().unwrap().is_none() && consumer.is_closed());
}
