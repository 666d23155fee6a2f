//! What arrives is what was sent, in order, in messages of the right size.

use std::thread;
use std::time::Duration;

use rust_tango::{Control, Link};
use tango_bridge::settings::{Publish, Reading};

use super::setup::{Got, Setup, all, eventually, gaps, piece, pieces, publish};

const READINGS: [Reading; 3] = [Reading::Evictable, Reading::Reliable, Reading::Observer];

#[test]
fn each_kind_of_reader_sends_what_was_published_where_numbers_wrap_around() {
    for read in READINGS {
        let mut setup = Setup::new();
        let start = u64::MAX - 1000;
        let builder = Link::builder().depth(64).mtu(3000).slot(128).region(1 << 20).consumers(3).start(start);
        let link = setup.create("quotes", builder);
        let tx = link.producer().unwrap();
        setup.start(Publish {
            read,
            batch: 10_000,
            congestion: tango_bridge::settings::Congestion::Block,
            ..all()
        });
        let (origin, next, description) = setup.state();
        assert_eq!((next, origin.bridge, origin.producer), (start, 77, 1));
        assert_eq!((&*description.name, description.depth, description.mtu), ("quotes", 64, 3000));
        assert_eq!((description.slot, description.consumers, description.history), (128, 3, 64));
        assert!(description.region >= 1 << 20);
        for _ in 0..2000 {
            let seq = publish(&tx, 3000);
            if read == Reading::Observer {
                // The producer does not wait for it.
                let counts = setup.counts("quotes");
                let count = seq.wrapping_sub(start) + 1;
                eventually("the observer has sent it", || {
                    let sent = counts.fragments.load(std::sync::atomic::Ordering::SeqCst);
                    sent + 16 > count
                });
            }
        }
        let end = start.wrapping_add(2000);
        let got = setup.until(start, end);
        assert!(gaps(&got).is_empty(), "{read:?}: {:?}", gaps(&got));
        for (at, found) in pieces(&got).into_iter().enumerate() {
            assert_eq!(found, piece(start.wrapping_add(at as u64), 3000), "{read:?}");
        }
        for got in &got {
            let Got::Fragments(of, found) = got else { continue };
            let size = 48 + found.iter().map(|piece| 20 + piece.payload.len()).sum::<usize>();
            assert!(*of == origin && size <= 10_000, "{of:?}, {size} bytes");
        }
        let counts = setup.counts("quotes");
        eventually("all is counted", || counts.fragments.load(std::sync::atomic::Ordering::SeqCst) == 2000);
        setup.stop();
        assert_eq!(setup.end(), (origin, end, tango_bridge::wire::EndCause::BridgeLeft));
    }
}

#[test]
fn the_smallest_ring_and_fragments_larger_than_a_batch_pass() {
    for read in [Reading::Evictable, Reading::Reliable] {
        let mut setup = Setup::new();
        let link = setup.create("small", Link::builder().depth(2).mtu(5000).start(1));
        let tx = link.producer().unwrap();
        setup.start(Publish { read, batch: 100, ..all() });
        setup.state();
        (0..300).for_each(|_| _ = publish(&tx, 5000));
        let got = setup.until(1, 301);
        assert!(gaps(&got).is_empty(), "{:?}", gaps(&got));
        assert!(pieces(&got).into_iter().eq((1..301).map(|seq| piece(seq, 5000))));
    }
}

#[test]
fn fragments_of_one_message_are_in_one_network_message_if_it_fits() {
    let mut setup = Setup::new();
    let link = setup.create("parts", Link::builder().depth(1024).mtu(100).start(0));
    let tx = link.producer().unwrap();
    // Long enough for this thread to be held up in the middle of a message.
    setup.start(Publish { batch: 2000, delay: Duration::from_millis(500), ..all() });
    setup.state();
    let mut seed = 1_u64;
    let sizes: Vec<usize> = (0..500)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % 1500
        })
        .collect();
    for size in &sizes {
        tx.send_message(&vec![*size as u8; *size], 7).unwrap();
    }
    let got = setup.until(0, tx.next_seq());
    let mut found = Vec::new();
    for got in &got {
        let Got::Fragments(_, pieces) = got else { panic!("{got:?}") };
        let mut size = None;
        for piece in pieces {
            let control = Control::from_bits(piece.ctl);
            let before = if control.continues() { size.take().expect("its beginning is here") } else { 0 };
            assert!(size.is_none(), "its end is here");
            let all = before + piece.payload.len();
            if control.more() { size = Some(all) } else { found.push(all) }
        }
        assert!(size.is_none(), "its end is here");
    }
    assert_eq!(found, sizes);
}

#[test]
fn fragments_wait_for_others_but_not_for_longer_than_the_delay() {
    let mut setup = Setup::new();
    let link = setup.create("slow", Link::builder().depth(1024).mtu(64).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { delay: Duration::from_millis(300), ..all() });
    setup.state();
    // A trickle that never pauses for as long as the delay: each fragment finds a batch that still waits.
    let stop = setup.context.stop.clone();
    let producer = thread::spawn(move || {
        while !stop.wait(Duration::from_millis(10)) {
            publish(&tx, 64);
        }
    });
    let mut counts = Vec::new();
    while counts.len() < 5 {
        if let Got::Fragments(_, pieces) = setup.next() {
            counts.push(pieces.len());
        }
    }
    setup.stop();
    producer.join().unwrap();
    assert!(counts.iter().sum::<usize>() > 20, "they share messages: {counts:?}");
}

#[test]
fn a_message_that_does_not_end_is_sent_all_the_same() {
    let mut setup = Setup::new();
    let link = setup.create("open", Link::builder().depth(64).mtu(64).start(0));
    let tx = link.producer().unwrap();
    setup.start(all());
    setup.state();
    for ctl in [Control::MORE, Control::MORE, Control::MORE | Control::CONTINUES] {
        tx.publish(b"part", 0, ctl, 0).unwrap();
    }
    assert_eq!(pieces(&setup.until(0, 3)).len(), 3);
}
