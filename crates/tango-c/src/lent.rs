//! What is lent lives beside what it borrows from: each order of calls, for Miri.
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use crate::batch::{tango_batch_release, tango_poll_batch};
use crate::consumer::{
    tango_consumer, tango_consumer_close, tango_consumer_is_closed, tango_consumer_next_seq,
    tango_consumer_open, tango_evictable_open, tango_observer_open,
};
use crate::link::{tango_link, tango_link_build, tango_link_close};
use crate::loan::{tango_loan, tango_loan_commit, tango_loan_data, tango_loan_write};
use crate::options::{tango_options, tango_options_default};
use crate::producer::{tango_producer, tango_producer_close, tango_producer_next_seq, tango_producer_open};
use crate::publish::tango_publish;
use crate::read::{tango_fragment, tango_fragment_release, tango_poll, tango_recv};
use crate::status::*;

const NONE: tango_fragment =
    tango_fragment { data: std::ptr::null(), len: 0, seq: 0, sig: 0, ts: 0, ctl: 0, reserved: 0 };

/// A link of eight slots, its producer, and a reader.
fn ends(observers: u8, kind: usize) -> (tango_link, tango_producer, tango_consumer) {
    let mut options = MaybeUninit::<tango_options>::uninit();
    assert_eq!(tango_options_default(options.as_mut_ptr(), size_of::<tango_options>()), TANGO_OK);
    #[allow(unsafe_code)]
    // SAFETY: it was filled in.
    let mut options = unsafe { options.assume_init() };
    (options.depth, options.mtu, options.observers) = (8, 200, observers);
    let (mut link, mut tx, mut rx) =
        (tango_link { handle: 0 }, tango_producer { handle: 0 }, tango_consumer { handle: 0 });
    assert_eq!(tango_link_build(&options, &mut link), TANGO_OK);
    assert_eq!(tango_producer_open(link, &mut tx), TANGO_OK);
    let open = [tango_consumer_open, tango_evictable_open, tango_observer_open][kind];
    assert_eq!(open(link, 0, 0, &mut rx), TANGO_OK);
    (link, tx, rx)
}

fn publish(tx: tango_producer, bytes: &[u8]) {
    assert_eq!(tango_publish(tx, bytes.as_ptr().cast(), bytes.len(), 0, 0, 0), TANGO_OK);
}

#[allow(unsafe_code)]
fn bytes(fragment: &tango_fragment) -> &[u8] {
    // SAFETY: a fragment that its reader holds.
    unsafe { std::slice::from_raw_parts(fragment.data, fragment.len) }
}

/// Questions to a reader that has lent something.
fn ask(rx: tango_consumer) {
    let (mut next, mut is_closed) = (0, 2);
    assert_eq!(tango_consumer_next_seq(rx, &mut next), TANGO_OK);
    assert_eq!(tango_consumer_is_closed(rx, &mut is_closed), TANGO_OK);
    assert_eq!(is_closed, 0);
}

#[test]
fn fragments_live_beside_their_reader() {
    for kind in 0..3 {
        let (link, tx, rx) = ends(1, kind);
        let mut fragment = NONE;
        // Sleeping first, so that the fragment is found in the hot slot at times.
        for round in 0..20_u8 {
            let long = [round; 200]; // in the region
            for payload in [&long[..1 + usize::from(round)], &long] {
                assert_eq!(tango_poll(rx, &mut fragment), TANGO_EMPTY);
                publish(tx, payload);
                let read = match round % 2 {
                    0 => tango_poll(rx, &mut fragment),
                    _ => tango_recv(rx, -1, &mut fragment),
                };
                assert_eq!((read, bytes(&fragment)), (TANGO_OK, payload));
                ask(rx);
                assert_eq!(bytes(&fragment), payload);
                if round % 3 == 0 {
                    assert_eq!(tango_fragment_release(rx, &mut fragment), TANGO_OK);
                    assert_eq!(tango_fragment_release(rx, &mut fragment), TANGO_NOT_HELD);
                }
            }
        }
        assert_eq!(tango_link_close(link), TANGO_OK);
        publish(tx, b"held to the end");
        assert_eq!(tango_poll(rx, &mut fragment), TANGO_OK);
        assert_eq!(tango_producer_close(tx), TANGO_OK);
        assert_eq!(bytes(&fragment), b"held to the end");
        assert_eq!(tango_consumer_close(rx), TANGO_OK);
        assert_eq!(tango_poll(rx, &mut fragment), TANGO_BAD_HANDLE);
    }
}

#[test]
fn batches_live_beside_their_reader() {
    for kind in 0..3 {
        let (link, tx, rx) = ends(1, kind);
        let (mut fragments, mut count) = ([NONE; 8], 0);
        for round in 0..6_u8 {
            for n in 0..4 {
                publish(tx, &[n; 200][..1 + usize::from(n) * 60]);
            }
            assert_eq!(tango_poll_batch(rx, fragments.as_mut_ptr(), 8, &mut count), TANGO_OK);
            assert_eq!(count, 4);
            ask(rx);
            for (n, fragment) in fragments[..4].iter().enumerate() {
                assert_eq!(bytes(fragment), &[n as u8; 200][..1 + n * 60]);
            }
            match round % 3 {
                0 => assert_eq!(tango_batch_release(rx), TANGO_OK),
                1 => assert_eq!(tango_poll(rx, &mut fragments[0]), TANGO_EMPTY),
                _ => {} // the next one releases it
            }
        }
        assert_eq!(tango_consumer_close(rx), TANGO_OK);
        assert_eq!(tango_producer_close(tx), TANGO_OK);
        assert_eq!(tango_link_close(link), TANGO_OK);
    }
}

#[test]
fn loans_live_beside_their_producer() {
    for observers in 0..2 {
        let (link, tx, rx) = ends(observers, 0);
        let (mut fragment, mut data, mut next) = (NONE, null_mut(), 0);
        for len in [8, 200] {
            assert_eq!(tango_loan(tx, len), TANGO_OK);
            assert_eq!(tango_producer_next_seq(tx, &mut next), TANGO_OK);
            assert_eq!(tango_loan_write(tx, 0, b"written.".as_ptr().cast(), 8), TANGO_OK);
            if tango_loan_data(tx, &mut data) == TANGO_OK {
                #[allow(unsafe_code)]
                // SAFETY: the loan has at least eight bytes, and lives.
                unsafe {
                    data.add(7).write(b'!');
                }
            }
            assert_eq!(tango_publish(tx, b"x".as_ptr().cast(), 1, 0, 0, 0), TANGO_LOANED);
            assert_eq!(tango_loan_commit(tx, 0, 0, 0), TANGO_OK);
            assert_eq!(tango_poll(rx, &mut fragment), TANGO_OK);
            assert_eq!(&bytes(&fragment)[..8], if observers == 0 { b"written!" } else { b"written." });
        }
        assert_eq!(tango_loan(tx, 8), TANGO_OK);
        assert_eq!(tango_producer_close(tx), TANGO_OK);
        assert_eq!(tango_consumer_close(rx), TANGO_OK);
        assert_eq!(tango_link_close(link), TANGO_OK);
    }
}
