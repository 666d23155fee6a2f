//! Code that was written for the published crate compiles and does the same as there. The borrowed API, call
//! by call.
#![cfg(feature = "std")]

use std::fmt::{Debug, Display};

use rust_tango::{
    ChannelBuilder, Cnc, CncState, Consumer, ConsumerIter, DCache, Fctl, Fragment, FragmentMetadata, Fseq,
    MCache, Metrics, MetricsSnapshot, OwnedFragment, Producer, TangoError, Tcache,
};

#[test]
fn the_example_works_as_written() {
    let mcache = MCache::<64>::new();
    let dcache = DCache::<64, 256>::new();
    let fseq = Fseq::new(1);
    let fctl = Fctl::new(64);
    let metrics = Metrics::new();
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1).with_metrics(&metrics);
    producer.publish(b"hello", 0, 0, 0).unwrap();
    let mut seen = false;
    if let Ok(Some(fragment)) = consumer.poll() {
        assert_eq!(fragment.payload.as_slice(), b"hello");
        assert_eq!(fragment.payload.read(), b"hello".to_vec());
        assert_eq!(fragment.payload.with_reader(|bytes| bytes.first().copied()), Some(b'h'));
        assert_eq!((fragment.payload.len(), fragment.payload.is_empty()), (5, false));
        seen = true;
    }
    assert!(seen);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.published, snapshot.consumed), (1, 1));
    assert_eq!((snapshot.overruns, snapshot.backpressure_events), (0, 0));
    assert_eq!(snapshot.lag(), 0);
    assert_eq!((dcache.capacity(), dcache.chunk_size()), (64, 256));
    assert_eq!(fctl.available(), 64);
}

#[test]
fn the_builder_returns_its_tuple() {
    let (mcache, dcache, fseq, fctl, metrics) =
        ChannelBuilder::<64, 64, 256>::new().with_flow_control().with_metrics().build();
    let (fctl, metrics): (Fctl, Metrics) = (fctl.unwrap(), metrics.unwrap());
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    producer.publish(&[7; 256], 1, 2, 3).unwrap();
    let fragment = consumer.poll().unwrap().unwrap();
    assert_eq!(fragment.payload.as_slice(), [7; 256]);
    assert_eq!((fragment.meta.seq, fragment.meta.sig), (1, 1));
    assert_eq!((fragment.meta.ctl, fragment.meta.ts, fragment.meta.size), (2, 3, 256));

    let (_, _, fseq, fctl, metrics) = ChannelBuilder::<4, 4, 8>::new().initial_seq(77).build();
    assert!(fctl.is_none() && metrics.is_none());
    assert_eq!(fseq.current(), 77);
}

#[test]
fn without_flow_control_the_producer_laps() {
    let (mcache, dcache, fseq) = (MCache::<4>::new(), DCache::<4, 200>::new(), Fseq::new(1));
    let mut scratch = [0_u64; 4 + 200 / 8];
    let producer = Producer::new(&mcache, &dcache, &fseq);
    let mut consumer = Consumer::new(&mcache, &dcache, 1);
    let mut frugal = Consumer::observing(&mcache, &dcache, &mut scratch, 1);
    assert!(!consumer.is_reliable() && !frugal.is_reliable());
    for n in 1..=6_u8 {
        producer.publish(&[n; 200], 0, 0, 0).unwrap();
    }
    assert_eq!((producer.next_seq(), fseq.current()), (7, 7));
    for reader in [&mut consumer, &mut frugal] {
        assert_eq!(reader.poll().unwrap_err(), TangoError::Overrun { lost: 2, next: 3 });
        for n in 3..=6_u8 {
            assert_eq!(reader.next_seq(), n.into());
            assert_eq!(reader.poll().unwrap().unwrap().payload.as_slice(), [n; 200]);
        }
        assert!(reader.poll().unwrap().is_none());
    }
}

#[test]
fn blocking_batches_waiting_and_iteration() {
    let (mcache, dcache, fseq, fctl, _) = ChannelBuilder::<8, 8, 64>::new().with_flow_control().build();
    let fctl = fctl.unwrap();
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);

    let payloads: Vec<Vec<u8>> = (1..=10).map(|n| vec![n; n as usize]).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    assert_eq!(producer.publish_batch(&slices, 5, 6), 8, "then the ring is full");
    assert_eq!((producer.publish(b"x", 0, 0, 0), producer.held_by()), (Err(TangoError::NoCredits), Some(0)));
    let batch = consumer.poll_batch(5).unwrap();
    assert_eq!((batch.len(), batch.is_empty()), (5, false));
    for (fragment, n) in batch.iter().zip(1_u8..) {
        assert_eq!(fragment.payload.as_slice(), vec![n; n.into()]);
        assert_eq!((fragment.meta.sig, fragment.meta.ctl, fragment.meta.ts), (5, 6, 0));
    }
    assert_eq!((&batch).into_iter().count(), 5);
    let owned: Vec<OwnedFragment> = batch.into_iter().collect();
    assert_eq!(owned[4].payload, [5; 5]);
    assert_eq!(consumer.next_seq(), 6);

    producer.publish_blocking(b"blocking", 0, 0, 9).unwrap();
    assert_eq!(consumer.wait().unwrap().unwrap().payload.as_slice(), [6; 6]);
    mcache.stop();
    assert!(!mcache.is_running());
    let rest: Result<Vec<OwnedFragment>, TangoError> = consumer.into_iter().collect();
    let rest = rest.unwrap();
    assert_eq!(rest.iter().map(|fragment| fragment.meta.seq).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!((rest[2].payload.as_slice(), rest[2].meta.ts), (b"blocking".as_slice(), 9));
}

#[test]
fn stop_ends_a_waiting_reader() {
    let (mcache, dcache, fseq, ..) = ChannelBuilder::<8, 8, 64>::new().build();
    assert!(mcache.is_running());
    let _producer = Producer::new(&mcache, &dcache, &fseq);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| Consumer::new(&mcache, &dcache, 1).wait().unwrap().is_none());
        mcache.stop();
        assert!(reader.join().unwrap());
    });
}

#[test]
fn storage_can_be_static_and_shared_by_threads() {
    static MCACHE: MCache<16> = MCache::new();
    static DCACHE: DCache<16, 128> = DCache::new();
    static FSEQ: Fseq = Fseq::new(1);
    static FCTL: Fctl = Fctl::new(16);
    static METRICS: Metrics = Metrics::new();
    let producer = Producer::with_flow_control(&MCACHE, &DCACHE, &FSEQ, &FCTL).with_metrics(&METRICS);
    let mut consumer = Consumer::with_flow_control(&MCACHE, &DCACHE, &FCTL, 1).with_metrics(&METRICS);
    let reader = std::thread::spawn(move || {
        let mut next = 0_u64;
        while let Some(fragment) = consumer.wait().unwrap() {
            assert_eq!(fragment.payload.as_slice()[..8], next.to_le_bytes());
            next += 1;
        }
        next
    });
    let writer = std::thread::spawn(move || {
        for n in 0..1000_u64 {
            let mut payload = [0; 120];
            payload[..8].copy_from_slice(&n.to_le_bytes());
            producer.publish_blocking(&payload, n, 0, 0).unwrap();
        }
    });
    writer.join().unwrap();
    assert_eq!(reader.join().unwrap(), 1000);
    assert_eq!(METRICS.snapshot().consumed, 1000);
}

#[test]
#[cfg_attr(miri, ignore = "it is about the size of a real stack")]
fn large_rings_do_not_pass_through_the_stack() {
    const DEPTH: usize = 1 << 14; // 2 MiB of lines, 4 MiB of payloads
    let small = std::thread::Builder::new().stack_size(64 * 1024);
    let thread = small.spawn(|| {
        let (mcache, dcache, fseq) = (MCache::<DEPTH>::boxed(), DCache::<DEPTH, 256>::boxed(), Fseq::new(1));
        let producer = Producer::new(&mcache, &dcache, &fseq);
        let mut consumer = Consumer::new(&mcache, &dcache, 1);
        for n in 0..DEPTH {
            producer.publish(&[n as u8; 256], 0, 0, 0).unwrap();
        }
        for n in 0..DEPTH {
            assert_eq!(consumer.poll().unwrap().unwrap().payload.as_slice(), [n as u8; 256]);
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn everything_can_be_made_in_a_const() {
    const _: (MCache<2>, DCache<2, 0>, Fseq, Fctl, Metrics, Cnc, Tcache<4>) = (
        MCache::new(),
        DCache::new(),
        Fseq::new(u64::MAX),
        Fctl::new(0),
        Metrics::new(),
        Cnc::new(),
        Tcache::new(),
    );
    let cnc = Cnc::new();
    assert_eq!(cnc.state(), CncState::Boot);
    cnc.set_state(CncState::Run);
    cnc.beat(5);
    assert_eq!((cnc.state(), cnc.heartbeat()), (CncState::Run, 5));
    let seen = Tcache::<4>::new();
    assert!(seen.check_and_insert(9) && !seen.check_and_insert(9));
}

/// Errors without numbers are matched by their names alone.
#[test]
fn errors_are_matched_as_there() {
    let (mcache, dcache, fseq, fctl) =
        (MCache::<4>::new(), DCache::<4, 64>::new(), Fseq::new(1), Fctl::new(2));
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    let (mut published, mut refused, mut consumed) = (0, 0, 0);
    for round in 0..10 {
        match producer.publish(b"tick", round, 0, 0) {
            Ok(meta) => published = meta.seq,
            Err(TangoError::NoCredits) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        if round % 2 == 0 {
            continue;
        }
        match consumer.poll() {
            Ok(Some(_)) => consumed += 1,
            Ok(None) => {}
            Err(TangoError::Overrun { .. }) => panic!("the producer waits for this consumer"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((published, refused, consumed), (6, 4, 5));
    assert!(matches!(producer.publish(b"", 0, 0, 0), Ok(_) | Err(TangoError::NoCredits)));
}

/// What a producer may still publish, and what the consumer has not read, add up.
#[test]
fn credits_are_neither_lost_nor_made() {
    let (mcache, dcache, fseq, fctl) =
        (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1), Fctl::new(5));
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    for step in 0..200_u64 {
        if step % 7 < 4 {
            let _ = producer.publish(b"x", step, 0, 0);
        } else if let Some(fragment) = consumer.poll().unwrap() {
            drop(fragment);
        }
        let in_flight = producer.next_seq() - consumer.next_seq();
        assert_eq!(fctl.available() + in_flight, 5, "step {step}");
    }
}

#[test]
fn ends_move_into_scoped_threads_or_are_made_there() {
    let (mcache, dcache, fseq, fctl) =
        (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1), Fctl::new(8));
    let consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut consumer = consumer;
            let mut tags = Vec::new();
            while tags.len() < 20 {
                match consumer.poll() {
                    Ok(Some(fragment)) => tags.push(fragment.meta.sig),
                    Ok(None) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            tags
        });
        scope.spawn(|| {
            let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
            for n in 0..20 {
                producer.publish_blocking(b"tick", n, 0, n as u32).unwrap();
            }
        });
        assert!(reader.join().unwrap().into_iter().eq(0..20));
    });
}

#[test]
fn iteration_ends_when_the_ring_is_stopped() {
    let (mcache, dcache, fseq, ..) = ChannelBuilder::<8, 8, 64>::default().build();
    let producer = Producer::new(&mcache, &dcache, &fseq);
    let consumer = Consumer::new(&mcache, &dcache, 1);
    producer.publish(b"a", 1, 0, 0).unwrap();
    producer.publish(b"b", 2, 0, 0).unwrap();
    mcache.stop();
    let mut seen = 0;
    let fragments: ConsumerIter<'_> = consumer.into_iter();
    for fragment in fragments {
        let fragment = fragment.unwrap();
        seen += fragment.meta.sig;
        assert_eq!(fragment.payload.len(), 1);
    }
    assert_eq!(seen, 3);
}

#[test]
fn the_types_have_the_same_traits() {
    fn has<T: Default + Debug>() {}
    has::<MCache<4>>();
    has::<DCache<4, 8>>();
    has::<Metrics>();
    has::<Cnc>();
    has::<Tcache<4>>();
    has::<ChannelBuilder<4, 4, 8>>();
    fn is_plain<T: Copy + Eq + Debug>() {}
    is_plain::<FragmentMetadata>();
    is_plain::<MetricsSnapshot>();
    is_plain::<CncState>();
    is_plain::<TangoError>();
    fn is_shown<T: Display>() {}
    is_shown::<FragmentMetadata>();
    is_shown::<MetricsSnapshot>();
    is_shown::<CncState>();
    fn is_error<T: std::error::Error>() {}
    is_error::<TangoError>();
    fn prints<T: Debug>() {}
    prints::<Fseq>();
    prints::<Fctl>();
    prints::<Producer<'_>>();
    prints::<Consumer<'_>>();
    prints::<ConsumerIter<'_>>();
    prints::<Fragment<'_>>();
    fn is_shared<T: Send + Sync>() {}
    is_shared::<(MCache<4>, DCache<4, 8>, Fseq, Fctl, Metrics, Cnc)>();
    fn is_sent<T: Send>() {}
    is_sent::<(Producer<'_>, Consumer<'_>)>();
}

#[test]
fn metadata_has_the_same_fields_and_size() {
    let FragmentMetadata { seq, sig, chunk, size, ctl, reserved, ts } = FragmentMetadata::default();
    assert_eq!((seq, sig, chunk, size, ctl, reserved, ts), (0, 0, 0, 0, 0, 0, 0));
    let meta = FragmentMetadata { seq: 1, sig: 2, chunk: 3, size: 4, ctl: 5, reserved: 6, ts: 7 };
    assert_eq!(size_of_val(&meta), 32);
    let snapshot = MetricsSnapshot::default();
    assert_eq!((snapshot.published, snapshot.consumed, snapshot.lag()), (0, 0, 0));
    let seen = Tcache::<4>::new();
    assert!(seen.is_empty() && seen.check_and_insert(1));
    assert_eq!(seen.len(), 1);
    let cnc = Cnc::new();
    cnc.set_state(CncState::Halt);
    assert_eq!(format!("{} {} {}", CncState::Boot, CncState::Run, cnc.state()), "Boot Run Halt");
}
