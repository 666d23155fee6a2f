//! Calls that would break the protocol, or make no sense, are refused with an error that says what is wrong.
//! Valid users are not disturbed.
#![cfg(feature = "std")]

mod common;

use std::panic::catch_unwind;

use common::{assert_is, publish};
use rust_tango::{
    Consumer, DCache, Fctl, Fseq, Link, LinkBuilder, LinkErrorKind, MCache, Metrics, Producer, TangoError,
};

struct Storage {
    mcache: MCache<4>,
    dcache: DCache<4, 64>,
    fseq: Fseq,
    fctl: Fctl,
}

fn storage() -> Storage {
    Storage { mcache: MCache::new(), dcache: DCache::new(), fseq: Fseq::new(1), fctl: Fctl::new(4) }
}

impl Storage {
    fn producer(&self) -> Result<Producer<'_>, TangoError> {
        Producer::try_new(&self.mcache, &self.dcache, &self.fseq)
    }

    fn flow_controlled_producer(&self) -> Result<Producer<'_>, TangoError> {
        Producer::try_with_flow_control(&self.mcache, &self.dcache, &self.fseq, &self.fctl)
    }

    fn consumer(&self) -> Result<Consumer<'_>, TangoError> {
        Consumer::try_with_flow_control(&self.mcache, &self.dcache, &self.fctl, 1)
    }

    /// Asserts that everything works as on new storage.
    #[track_caller]
    fn assert_usable(&self) {
        let tx = self.flow_controlled_producer().unwrap();
        let mut rx = self.consumer().unwrap();
        publish(&tx, 64).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), 1, 64);
    }
}

#[test]
fn a_second_producer_is_refused() {
    let one = storage();
    let tx = one.producer().unwrap();
    assert_eq!(one.producer().unwrap_err(), TangoError::ProducerTaken);
    assert_eq!(one.flow_controlled_producer().unwrap_err(), TangoError::ProducerTaken);
    drop(tx);
    let _tx = one.producer().unwrap();

    let link = Link::builder().build().unwrap();
    let tx = link.producer().unwrap();
    let refused = link.clone().producer().unwrap_err();
    assert_eq!((refused.kind(), refused.protocol()), (LinkErrorKind::Taken, Some(TangoError::ProducerTaken)));
    drop(tx);
    link.producer().unwrap();
}

#[test]
fn only_one_of_many_threads_becomes_the_producer() {
    for _ in 0..50 {
        let (one, link) = (storage(), Link::builder().depth(4).build().unwrap());
        let gate = std::sync::Barrier::new(4);
        let count = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        gate.wait();
                        let tries = (one.producer(), link.producer());
                        gate.wait();
                        (u32::from(tries.0.is_ok()), u32::from(tries.1.is_ok()))
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        });
        assert_eq!(count, (1, 1));
    }
}

#[test]
fn a_second_consumer_of_one_flow_control_is_refused() {
    let one = storage();
    let rx = one.consumer().unwrap();
    assert_eq!(one.consumer().unwrap_err(), TangoError::ConsumerTaken);
    let _observer = Consumer::new(&one.mcache, &one.dcache, 1);
    drop(rx);
    one.assert_usable();
}

/// Such a producer would overwrite payloads that a zero-copy reader holds.
#[test]
fn a_producer_without_flow_control_is_refused_beside_a_reliable_consumer() {
    let one = storage();
    let tx = one.producer().unwrap();
    assert_eq!(one.consumer().unwrap_err(), TangoError::FlowControlMismatch);
    drop(tx);
    let rx = one.consumer().unwrap();
    assert_eq!(one.producer().unwrap_err(), TangoError::FlowControlMismatch);
    let tx = one.flow_controlled_producer().unwrap();
    drop(tx);
    assert_eq!(one.producer().unwrap_err(), TangoError::FlowControlMismatch, "the consumer is still there");
    drop(rx);
    one.producer().unwrap();
}

#[test]
fn parts_that_belong_to_other_storage_are_refused() {
    let (one, two) = (storage(), storage());
    drop(one.flow_controlled_producer().unwrap());
    let refused = Err(TangoError::BoundElsewhere);
    let producer = |mcache, dcache, fseq, fctl| {
        Producer::try_with_flow_control(mcache, dcache, fseq, fctl).map(|_: Producer<'_>| ())
    };
    assert_eq!(producer(&one.mcache, &two.dcache, &one.fseq, &one.fctl), refused);
    assert_eq!(producer(&one.mcache, &one.dcache, &one.fseq, &two.fctl), refused);
    let consumer = Consumer::try_with_flow_control(&one.mcache, &one.dcache, &two.fctl, 1);
    assert_eq!(consumer.map(drop), refused);
    assert_eq!(Consumer::try_new(&one.mcache, &two.dcache, 1).map(drop), refused);
    one.assert_usable();
    drop(two.flow_controlled_producer().unwrap());
    assert_eq!(producer(&one.mcache, &one.dcache, &two.fseq, &one.fctl), refused);
    assert_eq!(producer(&two.mcache, &one.dcache, &two.fseq, &two.fctl), refused);
}

/// Parts recognise each other by an identity, not by their address.
#[test]
fn parts_that_have_moved_stay_together() {
    let one = storage();
    {
        let tx = one.flow_controlled_producer().unwrap();
        publish(&tx, 64).unwrap();
    }
    let moved = Box::new(one);
    let tx = moved.flow_controlled_producer().unwrap();
    assert_eq!(tx.next_seq(), 2);
    let mut rx = moved.consumer().unwrap();
    assert_is(&rx.poll().unwrap().unwrap(), 1, 64);
}

/// New storage that was tried with the wrong parts can still be used with the right ones.
#[test]
fn a_refusal_does_not_bind_the_payload_region() {
    let (used, fresh) = (storage(), storage());
    drop(used.flow_controlled_producer().unwrap());
    let refused = Producer::try_new(&fresh.mcache, &used.dcache, &fresh.fseq).unwrap_err();
    assert_eq!(refused, TangoError::BoundElsewhere);
    fresh.assert_usable();
    used.assert_usable();
}

#[test]
fn a_refusal_does_not_bind_the_flow_control() {
    let (used, fresh) = (storage(), storage());
    drop(used.flow_controlled_producer().unwrap());
    let refused = Consumer::try_with_flow_control(&fresh.mcache, &fresh.dcache, &used.fctl, 1).unwrap_err();
    assert_eq!(refused, TangoError::BoundElsewhere);
    fresh.assert_usable();
    used.assert_usable();
}

#[test]
fn a_refused_second_producer_does_not_bind_its_parts() {
    let (used, fresh) = (storage(), storage());
    let tx = used.producer().unwrap();
    // Refused because there is a producer already, not because of the new parts.
    let refused = Producer::try_new(&used.mcache, &used.dcache, &fresh.fseq).unwrap_err();
    assert_eq!(refused, TangoError::ProducerTaken);
    drop(tx);
    fresh.assert_usable();
}

#[test]
fn parts_that_are_too_small_are_refused() {
    let (mcache, small, fseq) = (MCache::<4>::new(), DCache::<3, 64>::new(), Fseq::new(1));
    let refused = TangoError::TooFewChunks { chunks: 3, depth: 4 };
    assert_eq!(Producer::try_new(&mcache, &small, &fseq).unwrap_err(), refused);
    assert_eq!(Consumer::try_new(&mcache, &small, 1).unwrap_err(), refused);
    assert!(refused.to_string().contains('3') && refused.to_string().contains('4'));

    let one = storage();
    let mut scratch = [0; 12];
    let observing = |scratch: &mut [u64]| {
        Consumer::try_observing(&one.mcache, &one.dcache, scratch, 1).map(|_: Consumer<'_>| ())
    };
    assert_eq!(observing(&mut scratch[..11]), Err(TangoError::ScratchTooSmall { words: 11, need: 12 }));
    assert_eq!(observing(&mut []), Err(TangoError::ScratchTooSmall { words: 0, need: 12 }));
    assert_eq!(observing(&mut scratch), Ok(()));
    one.assert_usable();
}

#[test]
fn payloads_over_the_mtu_are_refused() {
    for mtu in [0, 1, 63, 64, 95, 96, 97, 300] {
        let link = Link::builder().depth(4).mtu(mtu).build().unwrap();
        let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        assert_eq!(tx.mtu(), mtu);
        let long = vec![1; 1000];
        for size in [mtu + 1, 1000] {
            let refused = TangoError::TooLarge { size, max: mtu };
            assert_eq!(tx.publish(&long[..size], 0, 0, 0), Err(refused));
            assert_eq!(tx.publish_blocking(&long[..size], 0, 0, 0), Err(refused));
            assert_eq!(tx.send(&long[..size]), Err(refused));
            assert_eq!(tx.loan(size).unwrap_err(), refused);
            let message = refused.to_string();
            assert!(message.contains(&size.to_string()) && message.contains(&mtu.to_string()), "{message}");
        }
        assert_eq!(tx.publish_batch(&[&long[..mtu], &long, &long[..mtu]], 0, 0), 1);
        assert_eq!(tx.next_seq(), 2, "nothing else may be published");
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), &long[..mtu], "nothing may be cut");
        assert!(rx.poll().unwrap().is_none());
    }
    let one = storage();
    let tx = one.producer().unwrap();
    assert_eq!(tx.publish(&[0; 65], 0, 0, 0), Err(TangoError::TooLarge { size: 65, max: 64 }));
}

#[test]
fn sizes_out_of_range_are_named() {
    let new = Link::builder;
    let wrong: [(LinkBuilder, &str); 16] = [
        (new().depth(0), "depth of 0"),
        (new().depth(1), "depth of 1"),
        (new().depth(1000), "depth of 1000"),
        (new().depth(usize::MAX), &usize::MAX.to_string()),
        (new().depth(1 << 29), "536870912"),
        (new().mtu(usize::MAX), &usize::MAX.to_string()),
        (new().mtu((1 << 31) + 1), "2147483649"),
        (new().slot(0), "slot of 0"),
        (new().slot(32), "slot of 32"),
        (new().slot(200), "slot of 200"),
        (new().slot(1 << 21), "2097152"),
        (new().consumers(257), "257"),
        (new().credits(0), "0 credits"),
        (new().depth(8).credits(9), "9 credits"),
        (new().mtu(1000).region(960), "960"),
        (new().mtu(1000).region(usize::MAX), &usize::MAX.to_string()),
    ];
    for (builder, value) in wrong {
        let settings = format!("{builder:?}");
        let error = builder.build().expect_err(&settings);
        assert_eq!(error.kind(), LinkErrorKind::Invalid, "{settings}");
        assert!(error.to_string().contains(value), "{error} does not name {value}");
    }
}

#[test]
fn sizes_at_the_limits_are_accepted() {
    // Miri would take too long for the largest region.
    const LARGEST: usize = if cfg!(miri) { 1 << 12 } else { 1 << 20 };
    let new = || Link::builder().depth(2).mtu(8);
    for builder in [
        new(),
        new().mtu(0),
        new().consumers(0),
        new().consumers(256),
        new().credits(1),
        new().slot(LARGEST).mtu(LARGEST - 32),
        new().mtu(1000).region(1000),
        new().region(0),
    ] {
        let link = builder.build().unwrap();
        let tx = link.producer().unwrap();
        publish(&tx, link.geometry().mtu).unwrap();
    }
    let geometry = new().mtu(1000).region(1000).build().unwrap().geometry();
    assert_eq!((geometry.region, geometry.credits, geometry.slot), (1024, 2, 128));
    assert_eq!((geometry.consumers, geometry.observers, geometry.start), (1, true, 1));
}

#[test]
fn an_observer_is_refused_on_a_link_without_observers() {
    let link = Link::builder().observers(false).build().unwrap();
    let refused = link.observer().unwrap_err();
    assert_eq!(refused.kind(), LinkErrorKind::Invalid);
    assert!(refused.to_string().contains("without observers"));
    link.consumer().unwrap();
}

/// The constructors without `try` panic with the same message.
#[test]
fn panics_say_what_to_do() {
    fn message(misuse: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = catch_unwind(misuse).unwrap_err();
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into()))
            .unwrap()
    }
    let second = message(|| {
        let one = storage();
        let _tx = one.producer().unwrap();
        let _ = Producer::new(&one.mcache, &one.dcache, &one.fseq);
    });
    assert!(second.contains("drop it first"), "{second}");
    let mismatch = message(|| {
        let one = storage();
        let _tx = one.producer().unwrap();
        let _ = Consumer::with_flow_control(&one.mcache, &one.dcache, &one.fctl, 1);
    });
    assert!(mismatch.contains("Producer::with_flow_control"), "{mismatch}");
    let metrics = message(|| {
        let (one, two, metrics) = (storage(), storage(), Metrics::new());
        let _first = one.producer().unwrap().with_metrics(&metrics);
        let _second = two.producer().unwrap().with_metrics(&metrics);
    });
    assert!(metrics.contains("another producer"), "{metrics}");
}
