//! Hints and pace decide when a fragment is found, and never which: with each setting, every reader gets every fragment,
//! whole and in order, in a stream and one by one.
#![cfg(feature = "std")]

mod common;

use std::thread;

use common::{few, in_time, payload, sig};
use rust_tango::{Consumer, Hints, Link, Pace};

const MTU: usize = 200;

/// Reads `count` fragments.
fn read(rx: &mut Consumer<'_>, count: u64, hints: Hints) {
    for _ in 0..count {
        let n = rx.next_seq();
        let fragment = rx.wait().unwrap().expect("the link was closed");
        let found = (fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        assert_eq!(found, (n, sig(n), &payload(n, MTU)[..]), "with {hints}");
    }
}

fn all_hints() -> impl Iterator<Item = Hints> {
    let words = ["write-back", "evict", "hot-slot"];
    let ahead = ["", "prefetch=4", "prefetch=64", "prefetch-batches=4,prefetch-large=64"];
    ahead.into_iter().flat_map(move |ahead| {
        (0..8_usize).map(move |bits| {
            let chosen = words.iter().enumerate().filter(|(at, _)| bits >> at & 1 != 0);
            let mut text: Vec<_> = chosen.map(|(_, word)| (*word).to_owned()).collect();
            if !ahead.is_empty() {
                text.push(ahead.to_owned());
            }
            if text.is_empty() { Hints::NONE } else { text.join(",").parse().unwrap() }
        })
    })
}

#[test]
fn with_all_hints_and_each_pace_readers_get_every_fragment() {
    in_time(|| {
        let count = few(2_000);
        for hints in all_hints() {
            for (depth, consumers, pace) in
                // The last ring has more than 2 MiB.
                [
                    (16, 1, Pace::Latency),
                    (256, 1, Pace::Throughput),
                    (256, 2, Pace::Latency),
                    (32_768, 1, Pace::Latency),
                ]
            {
                let builder = Link::builder().depth(depth).mtu(MTU).slot(128).consumers(consumers);
                let link = builder.hints(hints).build().unwrap();
                let tx = link.producer().unwrap();
                let end = tx.next_seq().wrapping_add(count);
                let readers: Vec<_> =
                    (0..consumers).map(|_| link.consumer().unwrap().with_pace(pace)).collect();
                thread::scope(|scope| {
                    for mut rx in readers {
                        scope.spawn(move || read(&mut rx, count, hints));
                    }
                    let mut batch = true;
                    while tx.next_seq() != end {
                        let n = tx.next_seq();
                        // A batch has one `sig`, so it is of one fragment. The next one is published alone.
                        batch = !batch && tx.publish_batch(&[&payload(n, MTU)[..]], sig(n), 0) == 1;
                        if !batch {
                            tx.publish_blocking(&payload(n, MTU), sig(n), 0, 0).unwrap();
                        }
                    }
                    tx.wait_until_drained(None);
                });
            }
        }
    });
}
