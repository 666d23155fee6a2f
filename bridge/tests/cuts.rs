//! Both bridges as processes on two hosts, with a wire between them that delays, loses, lets overtake, and is cut.
//!
//! Each test prints what the wire did.

mod support;

use std::thread;
use std::time::Duration;

use rust_tango::Link;
use serde_json::Value;
use support::bridge::Folder;
use support::pair::Pair;
use support::traffic::{Found, Traffic, read_until};
use support::wire::Network;

const TRAFFIC: Traffic = Traffic { seed: 7, largest: 24, equal: true };

/// A configuration of zenoh with which a dead connection is noticed after a second, and not after ten.
fn short_lease(folder: &Folder) -> String {
    let path = folder.file("zenoh.json5", "{ transport: { link: { tx: { lease: 1000, queue: { congestion_control: { block: { wait_before_close: 1000000 } } } } } } }");
    format!("--zenoh-config {}", path.display())
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Sets a wire as between two cities.
fn as_between_cities(network: &Network) {
    network.set(|conditions| {
        conditions.delay = millis(5);
        conditions.jitter = millis(1);
        conditions.loss = 0.001;
    });
}

/// How many fragments a bridge said were lost or dropped.
fn lost(said: &str) -> u64 {
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let losses = events.filter(|event| event["event"] == "gap" || event["event"] == "dropped");
    losses.map(|event| event["count"].as_u64().unwrap_or(0)).sum()
}

#[test]
fn a_million_messages_through_a_wire_that_is_cut() {
    let Some(network) = Network::new(11) else { return };
    as_between_cities(&network);
    let folder = Folder::new();
    let lease = short_lease(&folder);
    // The ring holds all of them.
    let builder = Link::builder().start(0).depth(1 << 20).mtu(24).slot(64);
    let mut pair = Pair::start(
        builder,
        Some(&network),
        &format!("--congestion block {lease}"),
        &format!("--congestion block --depth 65536 {lease}"),
    );
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    let count = 1_000_000;
    let publishing = thread::spawn(move || {
        TRAFFIC.publish_at_rate(&producer, count, 120_000.0);
        producer
    });
    let reading = thread::spawn(move || read_until(&mut consumer, &TRAFFIC, count));
    // TCP survives the first. The others are longer than the lease, and the last is one that is reported.
    for cut in [300, 1500, 4000] {
        thread::sleep(millis(1000));
        network.cut_for(millis(cut));
    }
    let _producer = publishing.join().unwrap();
    assert_eq!(reading.join().unwrap(), Found { read: count, gaps: vec![] });
    let [delivered, lost, overtaken] = network.counts();
    eprintln!("packets: {delivered} delivered, {lost} lost, {overtaken} have overtaken another");
    assert!(lost > 100 && overtaken > 100);
    pair.subscribe().wait_for("cut", 1);
    pair.subscribe().wait_for("reconnected", 1);
    for (status, said) in pair.finish() {
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

#[test]
fn what_a_ring_does_not_hold_is_what_both_sides_say() {
    let Some(network) = Network::new(12) else { return };
    as_between_cities(&network);
    let folder = Folder::new();
    let lease = short_lease(&folder);
    let builder = Link::builder().start(0).depth(1 << 12).mtu(24).slot(64);
    let mut pair = Pair::start(builder, Some(&network), &format!("--read observer {lease}"), &lease);
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    let count = 160_000;
    let publishing = thread::spawn(move || {
        TRAFFIC.publish_at_rate(&producer, count, 20_000.0);
        producer
    });
    let reading = thread::spawn(move || read_until(&mut consumer, &TRAFFIC, count));
    for cut in [1500, 2500] {
        thread::sleep(millis(800));
        network.cut_for(millis(cut));
    }
    let _producer = publishing.join().unwrap();
    let found = reading.join().unwrap();
    eprintln!("missing: {:?}; packets: {:?}", found.gaps, network.counts());
    assert!(found.missing() > 0 && found.read > 0);
    assert_eq!(found.read + found.missing(), count);
    let (status, said) = pair.subscribe.take().unwrap().finish();
    assert_eq!(lost(&said), found.missing(), "{said}");
    assert_eq!(status.code(), Some(3), "fragments were lost: {said}");
}

#[test]
fn what_is_dropped_is_what_both_sides_say() {
    let Some(network) = Network::new(13) else { return };
    as_between_cities(&network);
    // TCP and zenoh hold some megabytes, the queue little more.
    let builder = Link::builder().start(0).depth(1 << 15).mtu(1024).slot(64).region(64 << 20);
    let pair = Pair::start(builder, Some(&network), "--congestion drop --queue 1000000", "");
    let traffic = Traffic { seed: 8, largest: 1024, equal: true };
    let (producer, mut consumer) = (pair.link.producer().unwrap(), pair.consumer());
    let count = 100_000;
    let publishing = thread::spawn(move || {
        traffic.publish_at_rate(&producer, count, 25_000.0);
        producer
    });
    let reading = thread::spawn(move || read_until(&mut consumer, &traffic, count));
    thread::sleep(millis(500));
    network.cut_for(millis(2000));
    let _producer = publishing.join().unwrap();
    let found = reading.join().unwrap();
    eprintln!("missing: {:?}; packets: {:?}", found.gaps, network.counts());
    assert!(found.missing() > 0 && found.read > 0);
    for (status, said) in pair.finish() {
        assert_eq!(lost(&said), found.missing(), "{said}");
        assert_eq!(status.code(), Some(3), "fragments were dropped: {said}");
    }
}
