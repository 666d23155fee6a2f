//! A message of any length arrives whole, or it does not arrive and the reason is reported.
#![cfg(feature = "std")]

mod common;

use common::{Random, bytes, in_time};
use rust_tango::{Assembler, Consumer, Control, Link, MessageError, Producer, TangoError};

const MTU: usize = 100;

fn pair(depth: usize) -> (Producer<'static>, Consumer<'static>) {
    let link = Link::builder().depth(depth).mtu(MTU).build().unwrap();
    (link.producer().unwrap(), link.consumer().unwrap())
}

/// Everything that the assembler returns for the available fragments: messages and errors.
fn assemble(rx: &mut Consumer<'_>, assembler: &mut Assembler) -> Vec<Result<Vec<u8>, MessageError>> {
    let mut results = Vec::new();
    while let Some(fragment) = rx.poll().unwrap() {
        results.extend(assembler.push(&fragment).map(|message| message.map(<[u8]>::to_vec)).transpose());
    }
    results
}

#[test]
fn around_the_multiples_of_the_mtu() {
    for len in [0, 1, 99, 100, 101, 199, 200, 201, 299, 300, 301, 800] {
        let (tx, mut rx) = pair(8);
        let message = bytes(len as u64, len);
        let fragments = tx.send_message(&message, 77).unwrap();
        assert_eq!(
            fragments as usize,
            len.div_ceil(MTU).max(1),
            "a message of {len} bytes must not end with an empty fragment"
        );
        assert_eq!(tx.next_seq(), 1 + fragments);
        let mut assembler = Assembler::new(800);
        for at in 0..fragments {
            let fragment = rx.poll().unwrap().unwrap();
            let control = Control::from_bits(fragment.meta.ctl);
            assert_eq!((control.continues(), control.more()), (at != 0, at != fragments - 1));
            assert_eq!((control.error(), control.origin(), fragment.meta.sig), (false, 0, 77));
            let whole = assembler.push(&fragment).unwrap();
            assert_eq!(whole, (at == fragments - 1).then_some(message.as_slice()));
        }
        assert_eq!(assembler.dropped(), 0);
    }
}

#[test]
fn a_message_longer_than_the_ring_between_threads() {
    in_time(|| {
        const MESSAGES: u64 = if cfg!(miri) { 3 } else { 50 };
        let (tx, mut rx) = pair(4);
        let lengths: Vec<usize> = (0..MESSAGES).map(|n| Random::new(n).below(20_000) as usize).collect();
        let sent = lengths.clone();
        let sender = std::thread::spawn(move || {
            for (len, seed) in sent.into_iter().zip(0..) {
                let fragments = tx.send_message(&bytes(seed, len), seed).unwrap();
                assert_eq!(fragments as usize, len.div_ceil(MTU).max(1));
            }
        });
        let mut assembler = Assembler::new(20_000);
        let mut received = 0;
        while let Some(fragment) = rx.wait().unwrap() {
            assert_eq!(fragment.meta.sig, received);
            if let Some(message) = assembler.push(&fragment).unwrap() {
                assert_eq!(message, bytes(received, lengths[received as usize]));
                received += 1;
            }
        }
        assert_eq!(received, MESSAGES);
        sender.join().unwrap();
    });
}

#[test]
fn an_observer_that_loses_the_middle_gets_the_next_message() {
    let link = Link::builder().depth(4).mtu(MTU).build().unwrap();
    let (tx, mut ob) = (link.producer().unwrap(), link.observer().unwrap());
    let mut assembler = Assembler::new(10_000);
    let long = bytes(1, 900);
    let publish = |at: usize| {
        let control =
            if at == 0 { Control::WHOLE.with_more() } else { Control::WHOLE.with_continues().with_more() };
        let part = &long[at * MTU..][..MTU];
        tx.publish(part, 0, if at == 8 { Control::CONTINUES } else { control.bits() }, 0).unwrap()
    };
    publish(0);
    assert_eq!(assembler.push(&ob.poll().unwrap().unwrap()), Ok(None));
    let last = (1..9).map(publish).last().unwrap();
    assert_eq!(last.seq, 9);
    assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 4, next: 6 });
    // Reported once for the message, not for each of its fragments.
    assert_eq!(assemble(&mut ob, &mut assembler), [Err(MessageError::Incomplete { seq: 6 })]);
    assert_eq!(assembler.dropped(), 1);
    tx.send_message(&long[..300], 0).unwrap();
    assert_eq!(assemble(&mut ob, &mut assembler), [Ok(long[..300].to_vec())]);
}

#[test]
fn a_reader_that_joins_in_the_middle_skips_the_rest() {
    let link = Link::builder().depth(8).mtu(MTU).build().unwrap();
    let tx = link.producer().unwrap();
    let mut late = link.consumer_from(rust_tango::Start::At(2)).unwrap();
    tx.send_message(&bytes(1, 350), 0).unwrap();
    tx.send_message(&bytes(2, 150), 0).unwrap();
    let expected = [Err(MessageError::Incomplete { seq: 2 }), Ok(bytes(2, 150))];
    assert_eq!(assemble(&mut late, &mut Assembler::new(1000)), expected);
}

#[test]
fn a_message_that_is_never_finished_is_counted() {
    let (tx, mut rx) = pair(16);
    let mut assembler = Assembler::new(1000);
    let more = Control::WHOLE.with_more().bits();
    tx.publish(b"begins, ", 0, more, 0).unwrap();
    tx.publish(b"whole", 0, 0, 0).unwrap();
    tx.publish(b"begins again, ", 0, more, 0).unwrap();
    tx.send_message(&bytes(3, 250), 0).unwrap();
    let expected = [Ok(b"whole".to_vec()), Ok(bytes(3, 250))];
    assert_eq!(assemble(&mut rx, &mut assembler), expected, "messages must not be mixed");
    assert_eq!(assembler.dropped(), 2);
}

#[test]
fn messages_that_are_interleaved_are_not_mixed() {
    let (tx, mut rx) = pair(16);
    let mut assembler = Assembler::new(1000);
    let (a, b) = (Control::new(1), Control::new(2));
    tx.publish(b"a1", 0, a.with_more().bits(), 0).unwrap();
    tx.publish(b"b2", 0, b.with_continues().bits(), 0).unwrap(); // of another origin
    tx.publish(b"b1", 0, b.with_more().bits(), 0).unwrap();
    tx.publish(b"b2", 0, b.with_continues().bits(), 0).unwrap();
    tx.publish(b"c2", 0, Control::CONTINUES, 0).unwrap(); // continues nothing
    tx.publish(b"c3", 0, 0, 0).unwrap();
    let expected = [
        Err(MessageError::Incomplete { seq: 2 }),
        Ok(b"b1b2".to_vec()),
        Err(MessageError::Incomplete { seq: 5 }),
        Ok(b"c3".to_vec()),
    ];
    assert_eq!(assemble(&mut rx, &mut assembler), expected);
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let (tx, mut rx) = pair(16);
    let mut assembler = Assembler::new(250);
    for len in [250, 251, 100, 700, 250] {
        tx.send_message(&bytes(len as u64, len), 0).unwrap();
        let result = assemble(&mut rx, &mut assembler);
        let expected =
            if len <= 250 { Ok(bytes(len as u64, len)) } else { Err(MessageError::TooLong { max: 250 }) };
        assert_eq!(result, [expected], "{len}");
    }
    assert_eq!(assembler.dropped(), 2);
    assert!(MessageError::TooLong { max: 250 }.to_string().contains("250"));
    let mut tiny = Assembler::new(0);
    tx.send_message(&[], 0).unwrap();
    tx.send_message(&[1], 0).unwrap();
    assert_eq!(assemble(&mut rx, &mut tiny), [Ok(vec![]), Err(MessageError::TooLong { max: 0 })]);
}

#[test]
fn a_message_that_the_sender_gives_up_is_reported() {
    let (tx, mut rx) = pair(16);
    let control = Control::WHOLE;
    tx.publish(b"begins", 0, control.with_more().bits(), 0).unwrap();
    tx.publish(b"", 0, control.with_continues().with_error().bits(), 0).unwrap();
    tx.publish(b"bad start", 0, control.with_more().with_error().bits(), 0).unwrap();
    tx.publish(b"the rest of it", 0, control.with_continues().bits(), 0).unwrap();
    tx.publish(b"fine", 0, 0, 0).unwrap();
    let expected = [Err(MessageError::Damaged), Err(MessageError::Damaged), Ok(b"fine".to_vec())];
    assert_eq!(assemble(&mut rx, &mut Assembler::new(100)), expected);
}

#[test]
fn a_link_with_an_mtu_of_zero_carries_only_empty_messages() {
    let tx = Link::builder().mtu(0).build().unwrap().producer().unwrap();
    assert_eq!(tx.send_message(b"x", 0), Err(TangoError::TooLarge { size: 1, max: 0 }));
    assert_eq!(tx.send_message(b"", 0), Ok(1));
}
