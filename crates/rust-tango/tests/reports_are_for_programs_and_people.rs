//! The counts of a link can be read by every process that has it open; reports of a link are text for people, and JSON
//! for programs (feature `serde`).
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::time::Duration;

use common::PATIENCE;
use common::process::{Child, TestFolder, is_told, role, say};
use rust_tango::{Link, Start, TangoError};

/// Publishes ten fragments, of which a consumer of this process reads nine and an evictable one loses some.
fn use_it(link: &Link) -> (rust_tango::Producer<'static>, [rust_tango::Consumer<'static>; 2]) {
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = link.consumer().unwrap();
    let mut logger = link.evictable_consumer(Start::Next).unwrap();
    for n in 0..10_u8 {
        if n == 1 {
            assert!(logger.poll().unwrap().is_some());
        }
        tx.send(&[n]).unwrap();
        if n < 9 {
            assert!(rx.poll().unwrap().is_some());
        }
    }
    assert!(matches!(logger.poll(), Err(TangoError::Evicted { .. })));
    (tx, [rx, logger])
}

fn builder() -> rust_tango::LinkBuilder {
    Link::builder().depth(4).mtu(64).consumers(3)
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    assert_eq!(role, "uses it");
    let link = builder().dir(folder).create("quotes").unwrap();
    let _ends = use_it(&link);
    say("ready");
    while !is_told("end") {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn counts_of_another_process() {
    let folder = TestFolder::new();
    let mut child = Child::start_ready("uses it", &folder);
    let link = Link::open_wait_in(folder.path(), "quotes", Some(PATIENCE)).unwrap();
    let heap = builder().build().unwrap();
    let _ends = use_it(&heap);
    for link in [&link, &heap] {
        let metrics = link.metrics();
        assert_eq!((metrics.published, metrics.evicted, metrics.reaped), (10, 1, 0));
        assert_eq!((metrics.producers, metrics.takeovers), (1, 0));
        let [rx, logger] = metrics.consumers[..] else { panic!("{metrics:?}") };
        assert_eq!((rx.slot, rx.consumed, rx.lag, rx.lost), (0, 9, 1, 0));
        assert_eq!((logger.slot, logger.consumed, logger.overruns), (1, 1, 1));
        assert_eq!(logger.consumed + logger.lost + logger.lag, 10);
        assert_eq!((metrics.consumed(), metrics.lost()), (10, logger.lost));
        assert_eq!(metrics.lag(), rx.lag.max(logger.lag));
        let text = metrics.to_string();
        assert!(text.starts_with("published=10 consumed=10 lag=") && text.contains(" evicted=1 "), "{text}");

        let status = link.status().to_string();
        let lines: Vec<_> = status.lines().collect();
        assert_eq!(lines.len(), 3, "{status}");
        assert!(lines[0].starts_with("producer attached; next fragment 11, oldest "), "{status}");
        assert!(lines[0].contains("; evictions: 1"), "{status}");
        assert_eq!(lines[1], "consumer in slot 0: 1 behind, 9 consumed");
        assert!(lines[2].starts_with("evictable consumer in slot 1: "), "{status}");
        assert!(lines[2].contains(&format!(" {} lost", logger.lost)), "{status}");
    }
    child.tell("end");
    child.succeeds();
    // The counts stay, and the consumers of the process have left.
    assert_eq!(link.metrics().published, 10);
    assert!(link.metrics().consumers.is_empty());
    assert!(link.status().to_string().starts_with("producer has ended; "));
    link.stop().unwrap();
    assert!(link.status().to_string().starts_with("the link has ended: it was stopped; "));
}

/// A backlog that holds the producer back, and a consumer that died.
#[test]
fn what_is_wrong_is_said() {
    let folder = TestFolder::new();
    let link = builder().dir(folder.path()).create("quotes").unwrap();
    assert!(builder().build().unwrap().status().to_string().starts_with("no producer yet; "));
    let (tx, _rx) = (link.producer().unwrap(), link.consumer().unwrap());
    while tx.publish(b"x", 0, 0, 0).is_ok() {}
    assert_eq!(link.metrics().backpressure_events, 1);
    let status = link.status().to_string();
    assert!(status.contains("; fragments that had to wait for credits: 1"), "{status}");
    assert!(status.ends_with("slot 0: 4 behind, 0 consumed, holds the producer back"), "{status}");
}

#[cfg(feature = "serde")]
#[test]
fn json_of_a_link() {
    use serde_json::{json, to_value};

    let folder = TestFolder::new();
    let link = builder().dir(folder.path()).create("quotes").unwrap();
    let metrics = std::sync::Arc::new(rust_tango::Metrics::new());
    let tx = link.producer().unwrap().with_metrics(&metrics);
    let mut rx = link.consumer().unwrap().with_metrics(metrics.clone());
    tx.send(b"one").unwrap();
    tx.send(b"two").unwrap();
    drop(rx.poll().unwrap());

    let status = json!({
        "producer": true, "closed": false, "heartbeat": 0, "stopped": false, "name_lost": false,
        "start": 1, "next": 3, "oldest": link.status().oldest, "backpressure": 0, "held_by": null,
        "reaped": 0, "evicted": 0, "producers": 1, "takeovers": 0,
        "consumers": [{
            "slot": 0, "evictable": false, "asleep": false, "alive": true, "next": 2, "lag": 1, "consumed": 1,
            "overruns": 0, "lost": 0,
        }],
    });
    assert_eq!(to_value(link.status()).unwrap(), status);
    let counts = json!({
        "published": 2, "backpressure_events": 0, "evicted": 0, "reaped": 0, "producers": 1, "takeovers": 0,
        "consumers": [{ "slot": 0, "consumed": 1, "lag": 1, "overruns": 0, "lost": 0 }],
    });
    assert_eq!(to_value(link.metrics()).unwrap(), counts);
    let own = json!({ "published": 2, "consumed": 1, "overruns": 0, "backpressure_events": 0 });
    assert_eq!(to_value(metrics.snapshot()).unwrap(), own);
    let geometry = json!({
        "depth": 4, "mtu": 64, "slot": 128, "region": 0, "consumers": 3, "observers": true, "credits": 4, "start": 1,
    });
    assert_eq!(to_value(link.geometry()).unwrap(), geometry);
    let hints = json!({
        "prefetch": 0, "prefetch_batches": 0, "prefetch_large": 0, "write_back": false, "evict": false, "hot_slot": false, "hot_page": false,
    });
    assert_eq!(to_value(rust_tango::Hints::NONE).unwrap(), hints);
}
