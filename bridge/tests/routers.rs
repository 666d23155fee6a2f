//! One origin and several hosts: by a router between them, and beside a host that is cut off. The configurations of zenoh
//! are those of docs/beyond.md.

mod support;

use std::thread;

use rust_tango::{Consumer, Link, Start};
use support::bridge::{Bridge, Folder, PATIENCE, free_port};
use support::traffic::{Found, Traffic, read_until};
use support::wire::{ADDRESSES, Network};
use zenoh::Wait;

const TRAFFIC: Traffic = Traffic { seed: 5, largest: 200, equal: false };

/// A router of zenoh that listens and connects there, as `zenohd` with a configuration like that.
fn router(listen: &str, connect: &str) -> zenoh::Session {
    let text = format!(
        "{{ mode: 'router', listen: {{ endpoints: ['{listen}'] }}, connect: {{ endpoints: ['{connect}'] }}, \
         scouting: {{ multicast: {{ enabled: false }} }} }}"
    );
    zenoh::open(zenoh::Config::from_json5(&text).unwrap()).wait().unwrap()
}

/// A reliable consumer of the link `far` in this folder, as soon as it is there.
fn consumer(folder: &Folder, bridge: &Bridge) -> Consumer<'static> {
    let link = Link::open_wait_in(folder.links(), "far", Some(PATIENCE))
        .unwrap_or_else(|error| panic!("{error}\n{}", bridge.said()));
    link.consumer_from(Start::Oldest).unwrap()
}

#[test]
fn hosts_behind_routers_get_all_also_when_a_router_is_started_again() {
    let endpoint = || format!("tcp/127.0.0.1:{}", free_port());
    let [origin, city, rack] = [endpoint(), endpoint(), endpoint()];
    let near = Folder::new();
    let link = Link::builder().start(0).depth(1 << 14).mtu(200).dir(near.links()).create("near").unwrap();
    let _publish = Bridge::start(&near, &format!("publish near --as routed --listen {origin}"));
    let _city = router(&city, &origin);
    let of_rack = router(&rack, &city);

    // Behind a router, a bridge is a client.
    let client = near.file("client.json5", "{ mode: 'client' }");
    let hosts: Vec<_> = [&city, &rack, &rack]
        .map(|router| {
            let folder = Folder::new();
            let arguments =
                format!("subscribe routed far --connect {router} --zenoh-config {}", client.display());
            (Bridge::start(&folder, &arguments), folder)
        })
        .into();
    let mut consumers: Vec<_> = hosts.iter().map(|(bridge, folder)| consumer(folder, bridge)).collect();
    let producer = link.producer().unwrap();
    TRAFFIC.publish(&producer, 5000);
    for consumer in &mut consumers {
        assert_eq!(read_until(consumer, &TRAFFIC, 5000), Found { read: 5000, gaps: vec![] });
    }
    of_rack.close().wait().unwrap();
    TRAFFIC.publish(&producer, 5000);
    let _again = router(&rack, &city);
    for consumer in &mut consumers {
        assert_eq!(read_until(consumer, &TRAFFIC, 10_000), Found { read: 5000, gaps: vec![] });
    }
}

#[test]
fn a_host_that_is_cut_off_does_not_hold_up_the_others() {
    let Some(network) = Network::new(21) else { return };
    let (near, beside, cut_off) = (Folder::new(), Folder::new(), Folder::new());
    let link = Link::builder().start(0).depth(1 << 17).mtu(1024).slot(64).region(160 << 20);
    let link = link.dir(near.links()).create("near").unwrap();
    // A dead connection is not noticed before the test ends, so that nothing else can help.
    let config = near.file(
        "zenoh.json5",
        "{ transport: { link: { tx: { lease: 600000, queue: { congestion_control: {
             block: { wait_before_close: 600000000 } } } } } },
           qos: { network: [{ messages: ['put'], flows: ['egress'], key_exprs: ['tango/**'],
                              overwrite: { congestion_control: 'drop' } }] } }",
    );
    let _publish = Bridge::start_on(
        &network.hosts[0],
        &near,
        &format!(
            "publish near --congestion block --listen tcp/0.0.0.0:7448 --zenoh-config {}",
            config.display()
        ),
    );
    let subscribe = |host: usize, folder: &Folder, address: &str| {
        let arguments = format!("subscribe tango/near far --congestion block --connect tcp/{address}:7448");
        Bridge::start_on(&network.hosts[host], folder, &arguments)
    };
    let here = subscribe(0, &beside, "127.0.0.1");
    let there = subscribe(1, &cut_off, ADDRESSES[0]);
    let (mut at_once, mut later) = (consumer(&beside, &here), consumer(&cut_off, &there));
    let producer = link.producer().unwrap();
    let traffic = Traffic { seed: 6, largest: 1024, equal: true };

    network.set(|conditions| conditions.cut = true);
    let count = 100_000;
    let publishing = thread::spawn(move || {
        traffic.publish_at_rate(&producer, count, 30_000.0);
        producer
    });
    assert_eq!(read_until(&mut at_once, &traffic, count), Found { read: count, gaps: vec![] });
    let _producer = publishing.join().unwrap();
    assert!(later.next_seq() < count, "it was cut off");
    network.set(|conditions| conditions.cut = false);
    assert_eq!(read_until(&mut later, &traffic, count), Found { read: count, gaps: vec![] });
}
