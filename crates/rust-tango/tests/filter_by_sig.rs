//! `poll_if` selects fragments by their `sig`, releases the others, and reports overruns.
#![cfg(feature = "std")]

mod common;

use common::{assert_is, assert_whole, few, in_time, publish, publish_blocking, sig};
use rust_tango::{Link, TangoError};

const MTU: usize = 200;

fn link(depth: usize) -> Link {
    Link::builder().depth(depth).mtu(MTU).consumers(2).build().unwrap()
}

#[test]
fn only_accepted_fragments_are_returned() {
    let link = link(64);
    let tx = link.producer().unwrap();
    for join in [Link::consumer, Link::observer] {
        let mut rx = join(&link).unwrap();
        let first = tx.next_seq();
        for _ in 0..50 {
            publish(&tx, MTU).unwrap();
        }
        let wanted: Vec<u64> = (first..first + 50).filter(|seq| sig(*seq) % 3 == 0).collect();
        assert!((5..45).contains(&wanted.len()));
        let mut asked = Vec::new();
        for seq in &wanted {
            let fragment = rx.poll_if(|sig| {
                asked.push(sig);
                sig % 3 == 0
            });
            assert_is(&fragment.unwrap().unwrap(), *seq, MTU);
        }
        assert!(rx.poll_if(|sig| sig % 3 == 0).unwrap().is_none());
        assert_eq!(rx.next_seq(), first + 50, "the other fragments are skipped");
        asked.extend((asked.len() as u64..50).map(|at| sig(first + at)));
        assert_eq!(
            asked,
            (first..first + 50).map(sig).collect::<Vec<_>>(),
            "the filter must see each fragment once"
        );
    }
}

#[test]
fn skipped_fragments_return_their_credit() {
    let link = link(8);
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for _ in 0..8 {
        publish(&tx, MTU).unwrap();
    }
    let held = rx.poll_if(|tag| tag == sig(6)).unwrap().unwrap();
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!(
        (publish(&tx, MTU), tx.held_by()),
        (Err(TangoError::NoCredits), Some(0)),
        "the accepted fragment is held"
    );
    assert_is(&held, 6, MTU);
    drop(held);
    publish(&tx, MTU).unwrap();
    assert!(rx.poll_if(|_| false).unwrap().is_none());
    for _ in 0..8 {
        publish(&tx, MTU).unwrap();
    }
}

/// A call returns although the producer never pauses.
#[test]
fn one_call_skips_no_more_than_the_ring_holds() {
    let link = link(8);
    let tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap();
    for _ in 0..8 {
        publish(&tx, MTU).unwrap();
    }
    let mut asked = 0;
    let none = rx.poll_if(|_| {
        asked += 1;
        let _ = publish(&tx, MTU);
        false
    });
    assert!(none.unwrap().is_none());
    assert_eq!(asked, 8);
}

#[test]
fn an_observer_learns_what_it_has_lost() {
    let link = link(8);
    let (tx, mut ob) = (link.producer().unwrap(), link.observer().unwrap());
    for _ in 0..20 {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!(ob.poll_if(|_| true).unwrap_err(), TangoError::Overrun { lost: 12, next: 13 });
    assert_is(&ob.poll_if(|tag| tag == sig(15)).unwrap().unwrap(), 15, MTU);
}

#[test]
fn between_threads() {
    in_time(|| {
        let link = link(16);
        let tx = link.producer().unwrap();
        let readers: Vec<_> = (0..2)
            .map(|parity| {
                let mut rx = link.consumer().unwrap();
                std::thread::spawn(move || {
                    let mut seen = 0;
                    loop {
                        if let Some(fragment) = rx.poll_if(|sig| sig % 2 == parity).unwrap() {
                            assert_eq!(fragment.meta.sig % 2, parity);
                            assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
                            seen += 1;
                            continue;
                        }
                        if rx.is_closed() {
                            return seen;
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..few(5_000) {
            publish_blocking(&tx, MTU);
        }
        drop(tx);
        assert_eq!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>(), few(5_000));
    });
}
