//! What a reader says about itself and its link, and what it waits for.

#[cfg(feature = "std")]
use crate::error::TangoError;
use crate::{Consumer, DCache, Fseq, Link, MCache, Producer, Start};

/// Drops the producer during a panic that prints nothing, which counts as its death.
#[cfg(feature = "std")]
fn die(producer: Producer<'_>) {
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _producer = producer;
        std::panic::resume_unwind(std::boxed::Box::new(()));
    }));
    assert!(died.is_err());
}

#[test]
fn a_payload_says_how_long_it_is() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for len in [0, 1, 8, 64] {
        tx.send(&[7; 64][..len]).unwrap();
        let payload = rx.poll().unwrap().unwrap().payload;
        assert_eq!((payload.len(), payload.is_empty()), (len, len == 0));
    }
}

#[test]
fn consumers_with_a_slot_are_reliable_and_observers_are_not() {
    let link = Link::builder().depth(8).mtu(64).consumers(2).build().unwrap();
    assert!(link.consumer().unwrap().is_reliable());
    assert!(link.evictable_consumer(Start::Next).unwrap().is_reliable());
    assert!(!link.observer().unwrap().is_reliable());
}

/// Before the first producer of borrowed storage, the lines say nothing.
#[test]
fn a_reader_that_came_before_the_producer_joins_when_there_is_one() {
    let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(7));
    let mut reading = Consumer::new(&mcache, &dcache, 7);
    let idle = Consumer::new(&mcache, &dcache, 7);
    assert!(!idle.is_closed() && !reading.is_closed());
    assert!(reading.poll().unwrap().is_none() && !reading.is_closed());
    #[cfg(feature = "std")]
    assert!(!reading.reader().watch().has_news());
    let tx = Producer::new(&mcache, &dcache, &fseq);
    #[cfg(feature = "std")]
    assert!(reading.reader().watch().has_news(), "it has to join");
    assert!(reading.poll().unwrap().is_none());
    #[cfg(feature = "std")]
    assert!(!reading.reader().watch().has_news());
    assert!(!idle.is_closed() && !reading.is_closed());
    drop(tx);
    assert!(idle.is_closed() && reading.is_closed());
    let tx = Producer::new(&mcache, &dcache, &fseq);
    tx.publish(b"one", 0, 0, 0).unwrap();
    drop(tx);
    assert!(!idle.is_closed() && !reading.is_closed(), "there is a fragment");
    assert!(reading.poll().unwrap().is_some() && reading.is_closed());
}

#[test]
fn a_link_is_closed_when_it_is_stopped_or_read_to_the_end() {
    let link = Link::builder().depth(8).mtu(64).consumers(4).build().unwrap();
    let before = link.consumer().unwrap();
    assert!(!before.is_closed());
    let tx = link.producer().unwrap();
    let (idle, mut reading) = (link.consumer().unwrap(), link.consumer().unwrap());
    assert!([&before, &idle, &reading].iter().all(|rx| !rx.is_closed()));
    tx.send(b"the last").unwrap();
    drop(tx);
    assert!(!idle.is_closed() && !reading.is_closed(), "there is a fragment");
    drop(reading.poll().unwrap().unwrap());
    assert!(reading.is_closed());
    assert!(link.consumer().unwrap().is_closed(), "it begins after the last fragment");

    let vacant = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let rx = vacant.consumer().unwrap();
    assert!(!rx.is_closed());
    vacant.stop().unwrap();
    assert!(rx.is_closed());
}

#[test]
fn a_batch_says_how_many_fragments_it_may_still_have() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    (0..5).for_each(|_| tx.send(b"one of five").unwrap());
    let batch = rx.poll_batch(8).unwrap();
    let mut fragments = batch.iter();
    for left in (0..5).rev() {
        assert_eq!(fragments.size_hint(), (0, Some(left + 1)));
        assert!(fragments.next().is_some());
    }
    assert_eq!(fragments.size_hint(), (0, Some(0)));
    assert!(fragments.next().is_none());
}

/// The death is reported once, and ends the loop. The iterator goes on if a producer takes over.
#[test]
#[cfg(feature = "std")]
fn an_iterator_reports_a_death_once_and_ends() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(b"before").unwrap();
    let mut fragments = rx.into_iter();
    assert_eq!(fragments.next().unwrap().unwrap().payload, b"before");
    die(tx);
    assert_eq!(fragments.next(), Some(Err(TangoError::ProducerGone)));
    assert_eq!((fragments.next(), fragments.next()), (None, None));
    let tx = link.producer().unwrap();
    tx.send(b"after").unwrap();
    assert!(matches!(fragments.next(), Some(Err(TangoError::ProducerReplaced { .. }))));
    assert_eq!(fragments.next().unwrap().unwrap().payload, b"after");
    drop(tx);
    assert_eq!(fragments.next(), None);
}

/// Each kind of news alone: a fragment, the end, a death with a successor, a stop.
#[test]
#[cfg(feature = "std")]
fn a_reader_that_sleeps_has_news_when_there_is_anything_to_report() {
    let link = Link::builder().depth(8).mtu(64).consumers(4).build().unwrap();
    let mut rx = link.consumer().unwrap();
    assert!(!rx.reader().watch().has_news());
    let tx = link.producer().unwrap();
    assert!(rx.poll().unwrap().is_none());
    assert!(!rx.reader().watch().has_news());
    tx.send(b"news").unwrap();
    assert!(rx.reader().watch().has_news());
    drop(rx.poll().unwrap().unwrap());
    assert!(!rx.reader().watch().has_news());
    die(tx);
    assert!(rx.reader().watch().has_news(), "the producer is gone");
    let tx = link.producer().unwrap();
    assert!(rx.reader().watch().has_news(), "the producer was replaced");
    assert!(matches!(rx.poll(), Err(TangoError::ProducerReplaced { .. })));
    assert!(!rx.reader().watch().has_news());
    drop(tx);
    assert!(rx.reader().watch().has_news(), "the link is closed");
    assert!(rx.poll().unwrap().is_none() && rx.is_closed());

    let vacant = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let rx = vacant.consumer().unwrap();
    assert!(!rx.reader().watch().has_news());
    vacant.stop().unwrap();
    assert!(rx.reader().watch().has_news(), "the link is stopped");
}

/// Whoever waits for a reader without a slot compares them.
#[test]
#[cfg(all(feature = "async", target_os = "linux"))]
fn the_signs_of_a_link_change_with_all_that_happens() {
    let link = Link::builder().depth(8).mtu(64).build().unwrap();
    let rx = link.observer().unwrap();
    let watch = rx.reader().watch();
    let mut before = watch.signs();
    let mut changes = |what| {
        let after = watch.signs();
        assert_ne!(before, after, "{what}");
        assert_eq!(after, watch.signs());
        before = after;
    };
    let tx = link.producer().unwrap();
    changes("the first producer");
    tx.send(b"one").unwrap();
    changes("a fragment");
    assert_eq!(tx.publish_batch(&[b"two", b"three"], 0, 0), 2);
    changes("a batch");
    die(tx);
    changes("a death");
    let tx = link.producer().unwrap();
    changes("a takeover");
    drop(tx);
    changes("the end");
    let tx = link.producer().unwrap();
    changes("another producer");
    assert!(!watch.is_stopped());
    link.stop().unwrap();
    changes("a stop");
    assert!(watch.is_stopped());
    drop(tx);
}
