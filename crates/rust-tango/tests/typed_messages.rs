//! Values of a type arrive whole, by each kind of reader, between threads and processes. Another type is refused when
//! the link is opened, and a payload of another size when it is read.
#![cfg(all(feature = "zerocopy", feature = "std"))]

mod common;

use std::borrow::Cow;
use std::mem::offset_of;

use common::{few, in_time};
use rust_tango::{
    Consumer, DCache, Fctl, Fseq, Link, LinkErrorKind, MCache, Meta, PayloadType, Producer, RecvError, Start,
    TangoError, TypeName, TypedConsumer, TypedFragment, TypedLink, TypedProducer, TypedReceived,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// More empty polls than any reader makes in the ring before it switches to the hot slot.
const EMPTY_POLLS: usize = 20;

/// A type with the largest alignment that payloads have.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Debug, Clone, Copy, PartialEq)]
#[repr(C, align(32))]
struct Quote {
    instrument: u64,
    bid: f64,
    ask: f64,
    /// Follows from the others.
    sum: u64,
}

impl TypeName for Quote {}

impl Quote {
    fn of(n: u64) -> Self {
        let (bid, ask) = (n as f64 / 4.0, n as f64 / 2.0);
        Self { instrument: n, bid, ask, sum: n ^ bid.to_bits() ^ ask.to_bits() }
    }

    #[track_caller]
    fn assert_is(&self, n: u64) {
        assert_eq!((std::ptr::from_ref(self).addr() % 32, *self), (0, Self::of(n)));
    }
}

/// One that fits no slot.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Book {
    number: u64,
    levels: [[u64; 2]; 100],
}

impl TypeName for Book {
    fn type_name() -> Cow<'static, str> {
        "exchange.Book".into()
    }
}

type Kind = fn(&TypedLink<Quote>) -> TypedConsumer<'static, Quote>;
const KINDS: [Kind; 3] = [
    |link| link.consumer().unwrap(),
    |link| link.observer().unwrap(),
    |link| link.evictable_consumer(Start::Next).unwrap(),
];

fn on_heap() -> TypedLink<Quote> {
    Link::builder().depth(8).consumers(2).of().build().unwrap()
}

const META: Meta = Meta::new().sig(1).ctl(2).ts(3);

/// Publishes the value that follows from the next number, by the call that `way` selects.
fn put(tx: &mut TypedProducer<'_, Quote>, way: u64) -> u64 {
    let n = tx.producer().next_seq();
    let quote = Quote::of(n);
    match way % 9 {
        0 => drop(tx.publish(&quote, 1, 2, 3).unwrap()),
        1 => drop(tx.publish_blocking(&quote, 1, 2, 3).unwrap()),
        2 => drop(tx.publish_timeout(&quote, 1, 2, 3, common::PATIENCE).unwrap()),
        3 => tx.send(&quote).unwrap(),
        4 => drop(tx.producer().publish_as(&quote, 1, 2, 3).unwrap()),
        5 => tx.try_send(&quote).unwrap(),
        6 => drop(tx.publish_with(&quote, META).unwrap()),
        7 => drop(tx.publish_blocking_with(&quote, META).unwrap()),
        _ => {
            let mut loan = tx.loan().unwrap();
            loan.write(&Quote::of(n + 1));
            loan.write_at(offset_of!(Quote, sum), &quote.sum);
            loan.write_at(offset_of!(Quote, bid), &[quote.bid, quote.ask]);
            loan.write_at(0, &n);
            _ = loan.commit(1, 2, 3).unwrap();
        }
    }
    n
}

/// A value whose fields and methods have the names that those of its guards have, or had.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Debug, Clone, Copy)]
#[repr(C)]
struct Homonyms {
    meta: u64,
    payload: u64,
    fragment: u64,
    received: u64,
}

impl TypeName for Homonyms {}

impl Homonyms {
    fn meta(self) -> u64 {
        self.meta
    }

    fn into_payload(self) -> u64 {
        self.payload
    }

    fn into_fragment(self) -> u64 {
        self.fragment
    }

    fn into_received(self) -> u64 {
        self.received
    }

    fn assert_is_visible(self, through: [u64; 8]) {
        assert_eq!(through, [1, 2, 3, 4, 1, 2, 3, 4]);
    }
}

macro_rules! each_name {
    ($of:expr) => {
        [
            $of.meta,
            $of.payload,
            $of.fragment,
            $of.received,
            $of.meta(),
            $of.into_payload(),
            $of.into_fragment(),
            $of.into_received(),
        ]
    };
}

#[test]
fn a_guard_hides_no_field_and_no_method_of_its_value() {
    let link = Link::builder().depth(8).of::<Homonyms>().build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for _ in 0..2 {
        tx.publish(&Homonyms { meta: 1, payload: 2, fragment: 3, received: 4 }, 7, 0, 0).unwrap();
    }
    let fragment = rx.poll().unwrap().unwrap();
    fragment.assert_is_visible(each_name!(fragment));
    assert_eq!((TypedFragment::meta(&fragment).sig, TypedFragment::into_fragment(fragment).meta.seq), (7, 1));
    let received = rx.recv().unwrap();
    received.assert_is_visible(each_name!(received));
    assert_eq!(TypedReceived::meta(&received).sig, 7);
    let received = TypedReceived::into_received(received);
    assert_eq!((received.meta.seq, received.payload.len()), (2, 32));
    assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held); // it still holds the fragment
    drop(received);
    assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty);
}

#[test]
fn values_arrive_whole_by_each_call_and_each_kind_of_reader() {
    for kind in KINDS {
        let link = on_heap();
        let (mut tx, mut rx) = (link.producer().unwrap(), kind(&link));
        for turn in 0..few(144) {
            if turn % 3 == 0 {
                (0..EMPTY_POLLS).for_each(|_| assert!(rx.poll().unwrap().is_none()));
            }
            let n = put(&mut tx, turn);
            match turn / 9 % 8 {
                0 => {
                    let quote = rx.poll().unwrap().unwrap();
                    let meta = TypedFragment::meta(&quote);
                    assert_eq!((meta.seq, meta.size), (n, 32));
                    assert!(matches!(turn % 9, 3 | 5) || (meta.sig, meta.ctl, meta.ts) == (1, 2, 3));
                    quote.assert_is(n);
                }
                1 => rx.wait().unwrap().unwrap().assert_is(n),
                2 => rx.wait_timeout(common::PATIENCE).unwrap().unwrap().assert_is(n),
                4 => rx.recv().unwrap().assert_is(n),
                5 => {
                    let quote = rx.try_recv().unwrap();
                    assert_eq!(TypedReceived::meta(&quote).seq, n);
                    assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held);
                    quote.assert_is(n);
                }
                6 => rx.recv_timeout(common::PATIENCE).unwrap().assert_is(n),
                3 => rx.poll_if(|_| true).unwrap().unwrap().assert_is(n),
                _ => {
                    let more = [put(&mut tx, turn + 1), put(&mut tx, turn + 2)];
                    let batch = rx.poll_batch(8).unwrap();
                    assert_eq!((batch.len(), batch.is_empty()), (3, false));
                    for (quote, n) in batch.iter().zip([n, more[0], more[1]]) {
                        quote.unwrap().assert_is(n);
                    }
                }
            }
        }
        let n = put(&mut tx, 0);
        drop(tx);
        let mut seen = Vec::new();
        rx.for_each(|meta, quote| seen.push((meta.seq, *quote))).unwrap();
        assert_eq!(seen, [(n, Quote::of(n))]);
        assert!(rx.is_closed());
    }
}

#[test]
fn values_that_fit_no_slot_arrive_whole() {
    let link = Link::builder().depth(8).of::<Book>().build().unwrap();
    assert_eq!(link.link().geometry().mtu, size_of::<Book>());
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut observer = link.observer().unwrap();
    for number in 0..few(50) {
        let mut loan = tx.loan().unwrap();
        assert!(loan.as_mut().is_none(), "an observer may be reading it");
        loan.write_at(offset_of!(Book, number), &number);
        for level in 0..100 {
            loan.write_at(offset_of!(Book, levels) + level * 16, &[number, level as u64]);
        }
        loan.commit(0, 0, 0).unwrap();
        for rx in [&mut rx, &mut observer] {
            let book = rx.poll().unwrap().unwrap();
            assert_eq!(book.number, number);
            assert!((0..100).all(|level| book.levels[level] == [number, level as u64]));
        }
    }
}

/// A place that is lent itself, and its bytes are those that are published.
#[test]
fn a_loan_lends_the_value_itself_only_without_observers() {
    let link = Link::builder().depth(8).observers(false).of::<Quote>().build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for n in 1..=20 {
        let mut loan = tx.loan().unwrap();
        let place = loan.as_mut().unwrap();
        *place = Quote::of(n - 1);
        loan.write_at(0, &n);
        loan.as_mut().unwrap().clone_from(&Quote::of(n));
        let lent = std::ptr::from_ref(loan.as_mut().unwrap()).addr();
        loan.commit(0, 0, 0).unwrap();
        let quote = rx.poll().unwrap().unwrap();
        quote.assert_is(n);
        assert_eq!(std::ptr::from_ref(&*quote).addr(), lent, "it is read where it was written");
    }
    let watched = on_heap();
    assert!(watched.producer().unwrap().loan().unwrap().as_mut().is_none());
}

#[test]
#[should_panic(expected = "outside of a loan of 32 bytes")]
fn a_field_that_ends_outside_of_the_value_panics() {
    let mut tx = on_heap().producer().unwrap();
    tx.loan().unwrap().write_at(offset_of!(Quote, sum), &[0_u64; 2]);
}

#[test]
fn a_payload_of_another_size_is_an_error_and_reading_continues() {
    for kind in KINDS {
        for wait in [0, EMPTY_POLLS] {
            let link = Link::builder().depth(8).mtu(100).consumers(2).of().build().unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), kind(&link));
            for size in [0, 31, 33, 100] {
                (0..wait).for_each(|_| assert!(rx.poll().unwrap().is_none()));
                let seq = tx.producer().publish(&vec![7; size], 0, 0, 0).unwrap().seq;
                let n = tx.publish(&Quote::of(seq + 1), 0, 0, 0).unwrap().seq;
                let expected = TangoError::WrongSize { seq, size, expected: 32 };
                assert_eq!(rx.poll().unwrap_err(), expected);
                assert!(expected.to_string().contains(&format!("fragment {seq} has {size} bytes")));
                rx.poll().unwrap().unwrap().assert_is(n);
            }
            // In the middle of a batch.
            let seq = tx.publish(&Quote::of(0), 0, 0, 0).unwrap().seq;
            tx.producer().publish(b"raw", 0, 0, 0).unwrap();
            tx.publish(&Quote::of(0), 0, 0, 0).unwrap();
            let batch = rx.poll_batch(8).unwrap();
            let found: Vec<_> = batch.iter().map(|quote| quote.map(|quote| *quote)).collect();
            let wrong = TangoError::WrongSize { seq: seq + 1, size: 3, expected: 32 };
            assert_eq!(found, [Ok(Quote::of(0)), Err(wrong), Ok(Quote::of(0))]);
            drop(batch);
            // By calls that wait, and as bytes.
            tx.producer().publish(b"raw", 0, 0, 0).unwrap();
            assert!(matches!(rx.wait(), Err(TangoError::WrongSize { .. })));
            let seq = tx.producer().publish(b"raw", 0, 0, 0).unwrap().seq;
            let wrong = RecvError::WrongSize { seq, size: 3, expected: 32 };
            assert_eq!(rx.try_recv().unwrap_err(), wrong);
            assert_eq!(wrong.to_string(), TangoError::WrongSize { seq, size: 3, expected: 32 }.to_string());
            assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty, "it is not held");
            tx.producer().publish(b"raw", 0, 0, 0).unwrap();
            assert_eq!(rx.consumer_mut().poll().unwrap().unwrap().payload.as_slice(), b"raw");
        }
    }
}

/// Its credit returns: a ring full of them does not stop the producer.
#[test]
fn a_fragment_of_another_size_holds_no_credit_after_its_error() {
    let link = Link::builder().depth(2).of::<Quote>().build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for _ in 0..10 {
        tx.producer().publish(b"raw", 0, 0, 0).unwrap();
        assert!(rx.poll().is_err());
        assert!(tx.producer().is_drained());
    }
}

#[test]
fn a_producer_of_a_larger_type_than_the_mtu_gets_an_error() {
    let link = Link::builder().depth(8).mtu(16).build().unwrap();
    let mut tx = TypedProducer::<Quote>::new(link.producer().unwrap());
    let error = TangoError::TooLarge { size: 32, max: 16 };
    assert_eq!(tx.publish(&Quote::of(0), 0, 0, 0), Err(error));
    assert_eq!(tx.send(&Quote::of(0)), Err(error));
    assert_eq!(tx.loan().unwrap_err(), error);
}

mod others {
    use super::*;

    /// The same name, size and alignment: the same type, wherever it is declared.
    pub(super) mod same {
        pub(crate) struct Quote(#[allow(dead_code)] pub(crate) super::super::Quote);
        impl rust_tango::TypeName for Quote {}
    }

    macro_rules! named_quote {
        ($name:ident, $content:ty) => {
            pub(super) struct $name(#[allow(dead_code)] $content);
            impl TypeName for $name {
                fn type_name() -> Cow<'static, str> {
                    "Quote".into()
                }
            }
        };
    }
    named_quote!(Larger, [super::Quote; 2]);
    named_quote!(LessAligned, [u64; 4]);

    pub(super) struct Trade(#[allow(dead_code)] super::Quote);
    impl TypeName for Trade {}
}

/// Whether the link is refused as one of this type, by an error that says so.
fn assert_refused<T: TypeName>(link: &Link, found: &str) {
    let error = link.of::<T>().unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Incompatible);
    let expected = format!("{found} instead of payload type {}", PayloadType::of::<T>());
    assert!(error.to_string().contains(&expected), "{error}\n{expected}");
}

#[test]
fn a_link_is_opened_only_as_one_of_its_type() {
    let link = on_heap();
    let link = link.link();
    link.of::<Quote>().unwrap();
    link.of::<others::same::Quote>().unwrap();
    let found = "payload type Quote (32 bytes, alignment 32)";
    assert_refused::<others::Trade>(link, found);
    assert_refused::<others::Larger>(link, found);
    assert_refused::<others::LessAligned>(link, found);
    assert_refused::<u64>(link, found);
    assert_refused::<Book>(link, found);
    assert_refused::<Quote>(&Link::builder().mtu(32).build().unwrap(), "no payload type");
    // What another language states is the same.
    let stated = PayloadType::new("exchange.Book", size_of::<Book>(), 8);
    Link::builder().payload_type(stated).build().unwrap().of::<Book>().unwrap();
}

#[test]
fn numbers_and_arrays_have_names() {
    fn name<T: TypeName>() -> String {
        T::type_name().into_owned()
    }
    let names = [name::<u8>(), name::<i128>(), name::<f32>(), name::<[[u64; 2]; 3]>(), name::<[Book; 2]>()];
    assert_eq!(names, ["u8", "i128", "f32", "[[u64; 2]; 3]", "[exchange.Book; 2]"]);
}

#[test]
fn on_borrowed_storage() {
    let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 32>::new());
    let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
    let tx = TypedProducer::new(Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl));
    let mut rx = TypedConsumer::<Quote>::new(Consumer::with_flow_control(&mcache, &dcache, &fctl, 1));
    let mut observer = TypedConsumer::<Quote>::new(Consumer::new(&mcache, &dcache, 1));
    for n in 0..few(30) {
        tx.send(&Quote::of(n)).unwrap();
        rx.poll().unwrap().unwrap().assert_is(n);
        observer.poll().unwrap().unwrap().assert_is(n);
    }
}

/// Each value that a reader accepts is whole, also where the producer laps it, and fills places in pieces.
#[test]
fn threads_read_whole_values_while_they_are_written() {
    in_time(|| {
        let count = few(20_000);
        let link = on_heap();
        let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let mut observer = link.observer().unwrap();
        let reader = std::thread::spawn(move || {
            let mut next = 1;
            while let Some(quote) = rx.wait().unwrap() {
                quote.assert_is(next);
                next += 1;
            }
            next - 1
        });
        let watcher = std::thread::spawn(move || {
            let mut last = 0;
            loop {
                match observer.wait() {
                    Ok(Some(quote)) => {
                        let seq = TypedFragment::meta(&quote).seq;
                        quote.assert_is(seq);
                        assert!(seq > last);
                        last = seq;
                    }
                    Ok(None) => break,
                    Err(TangoError::Overrun { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for n in 1..=count {
            let quote = Quote::of(n);
            if n % 2 == 0 {
                tx.send(&quote).unwrap();
                continue;
            }
            while matches!(tx.loan(), Err(TangoError::NoCredits)) {
                std::thread::yield_now();
            }
            let mut loan = tx.loan().unwrap();
            for (at, word) in quote.as_bytes().chunks(8).enumerate() {
                loan.write_at(at * 8, word);
            }
            loan.commit(0, 0, 0).unwrap();
        }
        drop(tx);
        assert_eq!(reader.join().unwrap(), count);
        watcher.join().unwrap();
    });
}

#[cfg(all(feature = "async", target_os = "linux", not(miri)))]
#[test]
fn async_readers_get_values() {
    let link = on_heap();
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut rx = rx.into_consumer().into_async().unwrap();
    tx.send(&Quote::of(7)).unwrap();
    common::executor::block_on(async {
        rx.recv().await.unwrap().unwrap().into_typed::<Quote>().unwrap().assert_is(7);
    });
}

/// How many values a process publishes. The ring has 8 slots.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
const STREAM: u64 = 5_000;

/// The roles of the child processes.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn child() {
    let Some((role, folder)) = common::process::role() else { return };
    let link = Link::open_in(folder, "quotes").unwrap();
    match role.as_str() {
        "reads" => {
            let mut rx = link.of::<Quote>().unwrap().consumer_from(Start::At(1)).unwrap();
            for n in 1..=STREAM {
                if n % 1000 == 0 {
                    let expected = TangoError::WrongSize { seq: n, size: 3, expected: 32 };
                    assert_eq!(rx.wait().unwrap_err(), expected);
                } else {
                    rx.wait().unwrap().unwrap().assert_is(n);
                }
            }
            assert!(rx.wait().unwrap().is_none());
        }
        "observes" => {
            let mut rx = link.of::<Quote>().unwrap().observer().unwrap();
            loop {
                match rx.wait() {
                    Ok(Some(quote)) => quote.assert_is(TypedFragment::meta(&quote).seq),
                    Ok(None) => return,
                    Err(TangoError::Overrun { .. } | TangoError::WrongSize { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        "expects another type" => {
            let path = link.path().unwrap().display();
            let found = format!("link {path} has payload type Quote (32 bytes, alignment 32)");
            assert_refused::<others::Trade>(&link, &found);
            assert_refused::<others::Larger>(&link, &found);
        }
        role => panic!("{role}"),
    }
}

#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn processes_share_a_link_of_values() {
    use common::process::{Child, TestFolder};

    let folder = TestFolder::new();
    let builder = || Link::builder().depth(8).consumers(1).dir(folder.path()).of::<Quote>();
    let link = builder().create("quotes").unwrap();
    let tx = link.producer().unwrap();
    Child::start("expects another type", &folder).succeeds();
    let readers = ["reads", "observes"].map(|role| Child::start(role, &folder));
    assert!(tx.producer().wait_for_consumers(1, Some(common::PATIENCE)));
    for n in 1..=STREAM {
        if n % 1000 == 0 {
            tx.producer().send(b"raw").unwrap();
        } else {
            tx.send(&Quote::of(n)).unwrap();
        }
    }
    drop((tx, link));
    readers.into_iter().for_each(Child::succeeds);
    // A later process continues it, as one of the same type only.
    let error =
        Link::builder().depth(8).dir(folder.path()).of::<others::Trade>().create_or_take_over("quotes");
    let error = error.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Incompatible);
    assert!(error.to_string().contains("payload type Quote (32 bytes, alignment 32) instead of"), "{error}");
    let tx = builder().create_or_take_over("quotes").unwrap().producer().unwrap();
    assert_eq!(tx.producer().next_seq(), STREAM + 1);
}
