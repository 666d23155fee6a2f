//! With the real publishing side, which is started again in the middle.

use std::sync::atomic::Ordering::Relaxed;

use rust_tango::{Link, Start};
use tango_bridge::context::{Context, Stop};
use tango_bridge::journal::Journal;
use tango_bridge::publishing::Publishing;
use tango_bridge::settings::{Congestion, Publish, Reading, Subscribe};

use super::peer::{Far, Next, meta, payload, read, sessions, subscribe, until, until_closed};

const MESSAGES: u64 = 60_000;

#[test]
fn what_is_published_at_the_origin_is_read_here() {
    let (there, here) = sessions();
    let settings = Subscribe { key: "tango/quotes".to_owned(), congestion: Congestion::Block, ..subscribe() };
    let far = Far::new(here, settings);
    let folder = far.context.folder.join("there");
    std::fs::create_dir_all(&folder).unwrap();
    let origin =
        Link::builder().dir(&folder).depth(1024).mtu(64).slot(128).consumers(4).create("quotes").unwrap();
    let publish = Publish {
        links: vec!["quotes".to_owned()],
        read: Reading::Reliable,
        congestion: Congestion::Block,
        ..Publish::default()
    };
    let start = |bridge| {
        let context = Context {
            session: there.clone(),
            bridge,
            folder: folder.clone(),
            journal: Journal::new(|_| {}),
            stop: Stop::default(),
            ..far.context.clone()
        };
        let publishing = Publishing::start(&context, publish.clone()).unwrap();
        move || {
            context.stop.set();
            publishing.join();
        }
    };
    let tx = origin.producer().unwrap();
    let end = start(1);
    let link = until("the far link", || Link::open_in(&far.context.folder, "far.quotes").ok());
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    let reads = std::thread::spawn(move || {
        let found = read(&mut reader, 1, MESSAGES + 1);
        until_closed(&mut reader);
        found
    });
    let send = |seqs: std::ops::Range<u64>| {
        for seq in seqs {
            let meta = meta(seq);
            tx.publish_blocking(&payload(seq), meta.sig, meta.ctl, meta.ts).unwrap();
        }
    };
    send(1..MESSAGES / 2);
    until("the first half", || (link.status().next == MESSAGES / 2).then_some(()));
    end();
    // Less than a ring, while there is no bridge.
    send(MESSAGES / 2..MESSAGES / 2 + 500);
    let end = start(2);
    until("what was missing", || (link.status().next == MESSAGES / 2 + 500).then_some(()));
    send(MESSAGES / 2 + 500..MESSAGES + 1);
    drop(tx);
    let found = reads.join().unwrap();
    assert_eq!(found, [Next::Fragments(1, MESSAGES)]);
    let counts = far.context.register.all();
    let counts = &counts.iter().find(|entry| entry.link == "far.quotes").unwrap().counts;
    assert_eq!(counts.bridge_restarts.load(Relaxed), 1);
    assert_eq!(counts.recovered.load(Relaxed), 500);
    assert_eq!(counts.fragments.load(Relaxed), MESSAGES);
    end();
}
