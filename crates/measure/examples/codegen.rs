//! One publish and one poll, alone and in a batch, for `.ci/codegen` to count their instructions. The script runs this
//! program under callgrind, which counts what happens inside of [`measured`] and nothing else, and compares the counts
//! with `.ci/codegen.counts`.
//!
//! ```text
//! codegen OPERATION    runs one operation many times
//! codegen              lists the operations, each with the function to count, and how often it is called
//! ```
//!
//! The counts must not depend on the machine. So everything runs in one thread, in a fixed order. The ring has fewer than
//! 256 slots: below that, nothing in a producer depends on the maker of the processor (see `timing::processor`). And
//! `.ci/codegen` builds this program without hints for all streams, so that no consumer keeps a distance or writes lines
//! back.

use std::hint::black_box;

use rust_tango::{Consumer, Link, Producer, Start};

/// How often an operation is run.
const OPERATIONS: usize = 64 * 100;
const DEPTH: usize = 64;
/// How many fragments are published before the readers read them.
const RUN: usize = 16;

/// The functions that are counted. They are not inlined into their callers, so that callgrind finds them by name. The
/// library is inlined into them, as into any program.
mod measured {
    use super::{Consumer, Producer};

    #[inline(never)]
    pub(super) fn publish(tx: &Producer<'_>, payload: &[u8]) -> bool {
        tx.publish(payload, 7, 0, 0).is_ok()
    }

    #[inline(never)]
    pub(super) fn batch_out(tx: &Producer<'_>, payloads: &[&[u8]]) -> bool {
        tx.publish_batch(payloads, 7, 0) == payloads.len()
    }

    /// Reads a batch, and the length of each payload.
    #[inline(never)]
    pub(super) fn batch_in(rx: &mut Consumer<'_>) -> Option<u64> {
        let batch = rx.poll_batch(super::RUN).ok()?;
        let seen = batch.iter().map(|fragment| fragment.meta.seq ^ fragment.payload.len() as u64);
        (batch.len() == super::RUN).then(|| seen.fold(0, |all, one| all ^ one))
    }

    /// Reads one fragment and the length of its payload, and drops it.
    #[inline(never)]
    pub(super) fn poll(rx: &mut Consumer<'_>) -> Option<u64> {
        match rx.poll() {
            Ok(Some(fragment)) => Some(fragment.meta.seq ^ fragment.payload.len() as u64),
            _ => None,
        }
    }
}

/// The two ends of a link.
struct Ends {
    tx: Producer<'static>,
    readers: Vec<Consumer<'static>>,
}

impl Ends {
    fn new(mtu: usize, slots: usize, consumers: usize, observers: usize) -> Self {
        let link =
            Link::builder().depth(DEPTH).mtu(mtu).consumers(slots).build().expect("a link on the heap");
        let mut readers: Vec<_> = (0..consumers).map(|_| link.consumer().expect("a free slot")).collect();
        readers.extend((0..observers).map(|_| link.observer().expect("an observer")));
        Self { tx: link.producer().expect("the only producer"), readers }
    }

    fn evictable(mtu: usize) -> Self {
        let link = Link::builder().depth(DEPTH).mtu(mtu).consumers(1).build().expect("a link on the heap");
        let readers = vec![link.evictable_consumer(Start::Next).expect("a free slot")];
        Self { tx: link.producer().expect("the only producer"), readers }
    }

    /// Publishes [`RUN`] fragments, lets every reader read them, and so on.
    fn run(mut self, size: usize) {
        let payload = vec![0x5a; size];
        for _ in 0..OPERATIONS / RUN {
            for _ in 0..RUN {
                assert!(measured::publish(black_box(&self.tx), black_box(&payload)));
            }
            for reader in &mut self.readers {
                for _ in 0..RUN {
                    let read = measured::poll(black_box(reader));
                    assert!(black_box(read).is_some());
                }
            }
        }
    }
}

/// The same, each run in one batch.
fn run_of_batches(size: usize) {
    let Ends { tx, mut readers } = Ends::new(size, 1, 1, 0);
    let payload = vec![0x5a; size];
    let payloads = [&payload[..]; RUN];
    for _ in 0..OPERATIONS / RUN {
        assert!(measured::batch_out(black_box(&tx), black_box(&payloads)));
        for reader in &mut readers {
            assert!(black_box(measured::batch_in(black_box(reader))).is_some());
        }
    }
}

/// One fragment at a time, each for a consumer that has polled for it several times, as in a round trip.
fn one_by_one(size: usize) {
    let Ends { tx, mut readers } = Ends::new(size, 1, 1, 0);
    let payload = vec![0x5a; size];
    for _ in 0..OPERATIONS {
        for reader in &mut readers {
            // After so many empty polls, a reader polls the hot slot instead of the ring. These are not counted.
            (0..16).for_each(|_| assert!(black_box(&mut *reader).poll().is_ok_and(|found| found.is_none())));
        }
        assert!(measured::publish(black_box(&tx), black_box(&payload)));
        for reader in &mut readers {
            assert!(black_box(measured::poll(black_box(reader))).is_some());
        }
    }
}

/// Its name, the function of [`measured`] to count, and how to run it.
type Operation = (&'static str, &'static str, fn());

const TABLE: &[Operation] = &[
    ("publish-64", "publish", || Ends::new(64, 1, 1, 0).run(64)),
    ("publish-64-observed-by-1", "publish", || Ends::new(64, 1, 1, 1).run(64)),
    ("publish-64-observed-by-8", "publish", || Ends::new(64, 1, 1, 8).run(64)),
    ("publish-64-8-slots", "publish", || Ends::new(64, 8, 1, 0).run(64)),
    ("publish-64-8-consumers", "publish", || Ends::new(64, 8, 8, 0).run(64)),
    ("publish-64-no-consumer", "publish", || Ends::new(64, 1, 0, 0).run(64)),
    ("publish-256-granules", "publish", || Ends::new(256, 1, 1, 0).run(256)),
    ("publish-8-awaited", "publish", || one_by_one(8)),
    ("publish-64-awaited", "publish", || one_by_one(64)),
    ("publish-64-in-a-batch", "batch_out", || run_of_batches(64)),
    ("poll-64", "poll", || Ends::new(64, 1, 1, 0).run(64)),
    ("poll-64-observer", "poll", || Ends::new(64, 1, 0, 1).run(64)),
    ("poll-64-evictable", "poll", || Ends::evictable(64).run(64)),
    ("poll-256-granules", "poll", || Ends::new(256, 1, 1, 0).run(256)),
    ("poll-8-awaited", "poll", || one_by_one(8)),
    ("poll-64-awaited", "poll", || one_by_one(64)),
    ("poll-64-in-a-batch", "batch_in", || run_of_batches(64)),
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        TABLE.iter().for_each(|(name, function, _)| println!("{name} {function} {OPERATIONS}"));
        return;
    };
    match TABLE.iter().find(|(known, ..)| *known == name) {
        Some((.., operation)) => operation(),
        None => {
            eprintln!("no operation {name}");
            std::process::exit(2);
        }
    }
}
