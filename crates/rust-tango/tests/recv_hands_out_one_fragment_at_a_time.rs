//! `recv`, `try_recv` and `recv_timeout` take `&self`, so that fragments can be returned from loops. They hand out one
//! fragment at a time, read what `poll` and `wait` read, and have an error of its own for each reason not to.
#![cfg(feature = "std")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{assert_is, die_by_panic, few, in_time, publish, publish_blocking, sig};
use rust_tango::{
    Consumer, DCache, Fseq, Link, MCache, Meta, Metrics, OwnedFragment, Producer, Received, RecvError, Start,
    TangoError, TrySendError, Wait,
};

const MTU: usize = 200;
const DEPTH: usize = 8;

fn link() -> Link {
    Link::builder().depth(DEPTH).mtu(MTU).consumers(4).build().unwrap()
}

/// A producer, and a reader of each kind.
fn readers(link: &Link) -> (Producer<'static>, [Consumer<'static>; 3]) {
    let tx = link.producer().unwrap();
    let evictable = link.evictable_consumer(Start::Next).unwrap();
    (tx, [link.consumer().unwrap(), link.observer().unwrap(), evictable])
}

/// Three links: one for each kind of reader.
fn pairs() -> impl Iterator<Item = (Producer<'static>, Consumer<'static>)> {
    (0..3).map(|kind| {
        let (tx, readers) = readers(&link());
        (tx, readers.into_iter().nth(kind).unwrap())
    })
}

/// What takes `&mut self` in the caller, and what takes a part of `self`.
struct Quotes<'a> {
    rx: Consumer<'a>,
    skipped: u64,
    bytes: usize,
}

impl Quotes<'_> {
    fn next(&mut self) -> Result<Received<'_>, RecvError> {
        loop {
            match self.rx.recv() {
                Ok(fragment) if fragment.meta.sig == 7 => return Ok(fragment),
                Ok(_) => self.skipped += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn next_now(&mut self) -> Result<Option<Received<'_>>, RecvError> {
        loop {
            match self.rx.try_recv() {
                Ok(fragment) if fragment.meta.sig == 7 => return Ok(Some(fragment)),
                Ok(_) => self.skipped += 1,
                Err(RecvError::Empty) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn sum(&mut self) -> RecvError {
        loop {
            match self.rx.try_recv() {
                Ok(fragment) => {
                    self.skipped += 1;
                    self.bytes += fragment.payload.len();
                }
                Err(error) => return error,
            }
        }
    }
}

fn next_quote<'a>(rx: &'a Consumer<'_>) -> Result<Received<'a>, RecvError> {
    loop {
        match rx.recv() {
            Ok(fragment) if fragment.meta.sig == 7 => return Ok(fragment),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}

fn next_quote_mut<'a>(rx: &'a mut Consumer<'_>) -> Result<Received<'a>, RecvError> {
    loop {
        match rx.recv_timeout(Duration::from_secs(60)) {
            Ok(fragment) if fragment.meta.sig == 7 => return Ok(fragment),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn a_fragment_can_be_returned_from_a_loop_that_skips_others() {
    for (tx, mut rx) in pairs() {
        for sig in [1, 7, 2, 3, 7, 4, 7] {
            tx.publish_with(&[sig as u8; 40], Meta::new().sig(sig)).unwrap();
        }
        let first = rx.next_seq();
        assert_eq!(next_quote(&rx).unwrap().meta.seq, first + 1);
        assert_eq!(next_quote_mut(&mut rx).unwrap().payload.as_slice(), [7; 40]);
        let mut quotes = Quotes { rx, skipped: 0, bytes: 0 };
        assert_eq!(quotes.next().unwrap().meta.seq, first + 6);
        assert_eq!(quotes.skipped, 1);
        assert!(quotes.next_now().unwrap().is_none());
        tx.publish_with(b"eight", Meta::new().sig(8)).unwrap();
        assert_eq!((quotes.sum(), quotes.skipped, quotes.bytes), (RecvError::Empty, 2, 5));
    }
}

/// A consumer that lives long can be used where one is expected that borrows something short-lived.
#[test]
fn a_consumer_is_covariant_and_can_be_sent() {
    fn shorter<'s>(rx: Consumer<'static>, _: &'s Metrics) -> Consumer<'s> {
        rx
    }
    fn is_send<T: Send>(_: &T) {}
    let (link, metrics) = (link(), Metrics::new());
    let (tx, rx) =
        (link.producer().unwrap(), shorter(link.consumer().unwrap(), &metrics).with_metrics(&metrics));
    publish(&tx, MTU).unwrap();
    let fragment = rx.recv().unwrap();
    is_send(&fragment);
    drop(fragment);
    is_send(&rx);
    assert_eq!(metrics.snapshot().consumed, 1);
}

#[test]
fn nothing_yet_and_closed_are_told_apart() {
    let link = link();
    let (tx, readers) = readers(&link);
    let timeout = Duration::from_millis(1);
    for rx in &readers {
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty);
        assert_eq!(rx.recv_timeout(timeout).unwrap_err(), RecvError::Timeout);
        assert_eq!(rx.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::Timeout);
    }
    publish(&tx, MTU).unwrap();
    drop(tx);
    for rx in &readers {
        assert_is(&rx.try_recv().unwrap(), 1, MTU);
        assert_eq!(rx.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::Closed);
        for _ in 0..2 {
            assert_eq!(rx.try_recv().unwrap_err(), RecvError::Closed);
            assert_eq!(rx.recv_timeout(timeout).unwrap_err(), RecvError::Closed);
            assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
        }
    }
}

#[test]
fn a_producer_that_died_and_one_that_took_over_are_told_apart() {
    let link = link();
    let (tx, readers) = readers(&link);
    publish(&tx, MTU).unwrap();
    die_by_panic(tx);
    for rx in &readers {
        assert_is(&rx.recv().unwrap(), 1, MTU);
        for _ in 0..2 {
            assert_eq!(rx.recv().unwrap_err(), RecvError::ProducerGone);
            assert_eq!(rx.try_recv().unwrap_err(), RecvError::ProducerGone);
            assert_eq!(rx.recv_timeout(Duration::from_secs(60)).unwrap_err(), RecvError::ProducerGone);
        }
    }
    let tx = link.producer().unwrap();
    publish(&tx, MTU).unwrap();
    for rx in &readers {
        assert_eq!(rx.recv().unwrap_err(), RecvError::ProducerReplaced { first: 2 });
        assert_is(&rx.recv().unwrap(), 2, MTU);
    }
}

#[test]
fn losses_say_how_many_and_where_reading_continues() {
    let link = link();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let (observer, slow) = (link.observer().unwrap(), link.evictable_consumer(Start::Next).unwrap());
    (0..2 * DEPTH).for_each(|_| publish_blocking(&tx, 40));
    for (rx, is_evictable) in [(observer, false), (slow, true)] {
        let RecvError::Lost { lost, next, evicted } = rx.recv().unwrap_err() else {
            panic!("nothing was lost")
        };
        assert!(lost >= DEPTH as u64);
        assert_eq!((next, evicted), (1 + lost, is_evictable));
        assert_eq!(rx.next_seq(), next);
        let rest = 2 * DEPTH as u64 + 1 - next;
        (0..rest).for_each(|_| assert!(rx.try_recv().is_ok()));
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty);
    }
}

#[test]
fn while_a_fragment_lives_no_other_is_received() {
    let link = link();
    let (tx, readers) = readers(&link);
    for _ in 0..3 {
        publish(&tx, 40).unwrap();
    }
    for rx in &readers {
        let first = rx.recv().unwrap();
        for _ in 0..2 {
            assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
            assert_eq!(rx.recv().unwrap_err(), RecvError::Held);
            assert_eq!(rx.recv_timeout(Duration::from_secs(60)).unwrap_err(), RecvError::Held);
        }
        // What does not read is not refused.
        assert_eq!((rx.next_seq(), rx.is_closed()), (2, false));
        assert!(!format!("{rx:?} {} {first:?}", rx.is_reliable()).is_empty());
        assert_is(&first, 1, 40);
        drop(first);
        assert_is(&rx.recv().unwrap(), 2, 40);
        assert_is(&rx.try_recv().unwrap(), 3, 40);
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty);
    }
}

/// Exclusive access proves that no fragment lives. After the next one that is read with it, nothing is held.
#[test]
fn a_forgotten_fragment_holds_until_one_is_read_with_exclusive_access() {
    let by = [
        |rx: &mut Consumer<'_>| rx.poll().unwrap().unwrap().meta.seq,
        |rx: &mut Consumer<'_>| rx.wait().unwrap().unwrap().meta.seq,
        |rx: &mut Consumer<'_>| rx.poll_batch(1).unwrap().iter().next().unwrap().meta.seq,
    ];
    for ((tx, mut rx), read) in pairs().zip(by) {
        let first = tx.next_seq();
        publish(&tx, 40).unwrap();
        std::mem::forget(rx.recv().unwrap());
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
        assert!(rx.poll().unwrap().is_none());
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
        for _ in 0..2 {
            publish(&tx, 40).unwrap();
        }
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
        assert_eq!(read(&mut rx), first + 1);
        let last = rx.try_recv().unwrap();
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
        assert_is(&last, first + 2, 40);
        drop(last);
        assert_eq!(rx.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::Timeout);
    }
}

#[test]
fn the_credit_returns_when_the_fragment_is_dropped() {
    let link = link();
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    (0..DEPTH).for_each(|_| tx.try_send(b"small").unwrap());
    assert_eq!(tx.try_send(b"small"), Err(TrySendError::Full));
    let held = rx.recv().unwrap();
    assert_eq!((tx.try_send(b"small"), tx.held_by()), (Err(TrySendError::Full), Some(0)));
    drop(held);
    tx.try_send(b"small").unwrap();
    let owned = OwnedFragment::from(rx.recv().unwrap());
    assert_eq!((owned.meta.seq, owned.payload.as_slice()), (2, &b"small"[..]));
    tx.try_send(b"small").unwrap();
    assert_eq!(tx.try_send(&[0; MTU + 1]), Err(TrySendError::TooLarge { size: MTU + 1, max: MTU }));
    assert_eq!(tx.try_send(b"small"), Err(TrySendError::Full));
    link.stop().unwrap();
    assert_eq!(tx.try_send(b"small"), Err(TrySendError::Closed));
}

/// The buffer for copies is the caller's, and shorter-lived than the storage.
#[test]
fn a_borrowed_buffer_is_lent_with_the_fragment() {
    let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1));
    let tx = Producer::new(&mcache, &dcache, &fseq);
    let mut buffer = [0; 4 + 64 / 8];
    let rx = Consumer::observing(&mcache, &dcache, &mut buffer, 1);
    for n in 1..=3 {
        tx.publish_with(&[n; 64], Meta::new().sig(7)).unwrap();
        let fragment = next_quote(&rx).unwrap();
        assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
        assert_eq!((rx.next_seq(), fragment.payload.as_slice()), (u64::from(n) + 1, &[n; 64][..]));
    }
    drop(rx);
    assert!(buffer.contains(&u64::from_ne_bytes([3; 8])), "the last copy");
}

/// Another thread may drop the fragment, also one that was copied into the consumer. The next one is read after that.
#[test]
fn a_fragment_can_be_dropped_by_another_thread() {
    in_time(|| {
        for (tx, rx) in pairs() {
            std::thread::scope(|scope| {
                for seq in 1..=few(1000) {
                    publish(&tx, MTU).unwrap();
                    let fragment = loop {
                        match rx.try_recv() {
                            Ok(fragment) => break fragment,
                            Err(error) => assert_eq!(error, RecvError::Held, "it is there"),
                        }
                        assert_eq!((rx.next_seq(), rx.is_closed()), (seq, false));
                        std::thread::yield_now();
                    };
                    scope.spawn(move || assert_is(&fragment, seq, MTU));
                }
            });
        }
    });
}

/// A function that was passed the fragment may drop it and receive the next one, and so may another thread while the
/// function that dropped it there has not returned. (Under Miri: no reference into the consumer is an argument then.)
#[test]
fn a_function_drops_its_argument_and_receives_the_next() {
    fn next<'c>(rx: &'c Consumer<'_>, last: Received<'c>) -> Result<Received<'c>, RecvError> {
        drop(last);
        rx.recv()
    }
    fn owned<'c>(rx: &'c Consumer<'_>, last: Received<'c>) -> (OwnedFragment, Received<'c>) {
        (last.into(), rx.try_recv().unwrap())
    }
    fn drop_and_say(last: Received<'_>, is_dropped: &AtomicBool) {
        drop(last);
        is_dropped.store(true, Relaxed); // no order, so that only what the consumer does itself counts
        while is_dropped.load(Relaxed) {
            std::thread::yield_now();
        }
    }
    in_time(|| {
        for (tx, rx) in pairs() {
            (0..4).for_each(|_| _ = publish(&tx, MTU).unwrap());
            let second = next(&rx, rx.recv().unwrap()).unwrap();
            let (second, third) = owned(&rx, second);
            assert_eq!(second.meta.seq, 2);
            assert_is(&third, 3, MTU);
            let is_dropped = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| drop_and_say(third, &is_dropped));
                while !is_dropped.load(Relaxed) {
                    std::thread::yield_now();
                }
                loop {
                    match rx.try_recv() {
                        Ok(fourth) => break assert_is(&fourth, 4, MTU),
                        Err(error) => assert_eq!(error, RecvError::Held),
                    }
                }
                is_dropped.store(false, Relaxed);
            });
        }
    });
}

/// All calls read the same sequence, in any mixture, however the consumer waits.
#[test]
fn all_calls_can_be_mixed() {
    for wait in [Wait::Park, Wait::Yield, Wait::Spin] {
        in_time(move || {
            let link = link();
            let tx = link.producer().unwrap();
            let mut rx = link.consumer().unwrap().with_wait(wait);
            let reader = std::thread::spawn(move || {
                let mut seq = 1;
                loop {
                    let done = match seq % 5 {
                        0 => rx.recv().map(|fragment| assert_is(&fragment, seq, MTU)),
                        1 => loop {
                            match rx.try_recv() {
                                Err(RecvError::Empty) => std::thread::yield_now(),
                                done => break done.map(|fragment| assert_is(&fragment, seq, MTU)),
                            }
                        },
                        2 => {
                            let patient = Duration::from_secs(600);
                            rx.recv_timeout(patient).map(|fragment| assert_is(&fragment, seq, MTU))
                        }
                        3 => match rx.wait().unwrap() {
                            Some(fragment) => {
                                assert_is(&fragment, seq, MTU);
                                Ok(())
                            }
                            None => Err(RecvError::Closed),
                        },
                        _ => loop {
                            if let Some(fragment) = rx.poll().unwrap() {
                                assert_is(&fragment, seq, MTU);
                                break Ok(());
                            }
                            if rx.is_closed() {
                                break Err(RecvError::Closed);
                            }
                            std::thread::yield_now();
                        },
                    };
                    match done {
                        Ok(()) => seq += 1,
                        Err(error) => return (seq, error),
                    }
                }
            });
            (0..few(20_000)).for_each(|_| publish_blocking(&tx, MTU));
            drop(tx);
            assert_eq!(reader.join().unwrap(), (few(20_000) + 1, RecvError::Closed));
        });
    }
}

#[test]
fn metadata_by_name_is_the_same_as_by_place() {
    let link = link();
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    const SIG: u64 = u64::MAX - 1;
    const META: Meta = Meta::new().sig(SIG).ctl(9).ts(11);
    let by_name = [tx.publish_with(b"same", META).unwrap(), tx.publish_blocking_with(b"same", META).unwrap()];
    for published in by_name {
        let fragment = rx.recv().unwrap();
        assert_eq!(fragment.meta, published);
        assert_eq!((fragment.meta.sig, fragment.meta.ctl, fragment.meta.ts), (SIG, 9, 11));
    }
    tx.publish_with(b"", Meta::default().sig(sig(1))).unwrap();
    let meta = rx.recv().unwrap().meta;
    assert_eq!((meta.sig, meta.ctl, meta.ts), (sig(1), 0, 0));
}

#[test]
fn errors_say_what_they_are_about() {
    let says = [
        (RecvError::Empty, "there is no fragment now"),
        (RecvError::Timeout, "no fragment came in time"),
        (RecvError::Closed, "the link is closed"),
        (RecvError::ProducerGone, "the producer died without closing the link"),
        (RecvError::Held, "the last fragment that was received is still held: drop it first"),
        (RecvError::Corrupt { seq: 9 }, "fragment 9 has corrupt metadata and was skipped"),
        (
            RecvError::ProducerReplaced { first: 5 },
            "a new producer has taken the link over, starting with fragment 5",
        ),
        (
            RecvError::Lost { lost: 3, next: 8, evicted: false },
            "overrun: 3 fragments lost, reading continues with fragment 8",
        ),
        (
            RecvError::Lost { lost: 3, next: 8, evicted: true },
            "evicted for keeping the producer waiting: 3 fragments lost, reading continues with fragment 8",
        ),
    ];
    for (error, text) in says {
        assert_eq!(error.to_string(), text);
        let _: &dyn std::error::Error = &error;
    }
    for (error, same) in [
        (TrySendError::Full, TangoError::NoCredits),
        (TrySendError::Closed, TangoError::Closed),
        (TrySendError::TooLarge { size: 9, max: 8 }, TangoError::TooLarge { size: 9, max: 8 }),
    ] {
        assert_eq!((TangoError::from(error), error.to_string()), (same, same.to_string()));
        let _: &dyn std::error::Error = &error;
    }
}
