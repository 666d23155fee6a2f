//! The workloads of the published crate's own benchmarks, for its users. As there, set-up and threads are included.
//! Unlike there, threads are pinned, messages are checked, and peers carry values instead of a new `Vec` for each
//! message.

use std::marker::PhantomData;
use std::time::Instant;

use super::spec::{OneWay, RoundTrip, Rows, TableSpec, Unit, Way};
use crate::channel::{Channel, ProcessChannel};
use crate::cores::Span;
use crate::peers::Published;
use crate::plan::{Plan, Sample};
use crate::rounds::{Child, Run};

pub(super) fn all() -> Vec<TableSpec> {
    vec![
        table::<OneWay, 10_000, 64, 16_384>(
            "published-64",
            "The published crate's own: 10 000 messages of 64 bytes, set-up included",
            Unit::MillionPerSecond,
        ),
        table::<RoundTrip, 100, 8, 1024>(
            "published-round-trip",
            "The published crate's own: 100 round trips of 8 bytes, set-up included",
            Unit::RoundTrip,
        ),
        table::<OneWay, 2048, 1024, 2048>(
            "published-1024",
            "The published crate's own: 2 048 messages of 1 024 bytes, set-up included",
            Unit::MillionPerSecond,
        ),
    ]
}

fn table<W: Way<N, D>, const MESSAGES: u64, const N: usize, const D: usize>(
    key: &str,
    title: &str,
    unit: Unit,
) -> TableSpec {
    let rows = Rows::<FromScratch<W, MESSAGES>, N, D> { lap: 0, ..Rows::new() };
    let rows = rows.all_threads().thread::<Published<false>>().rows;
    TableSpec::new("published", key, title, unit, N as f64, rows)
}

/// A new channel for each `MESSAGES`.
struct FromScratch<W, const MESSAGES: u64>(PhantomData<W>);

impl<W: Way<N, D>, const MESSAGES: u64, const N: usize, const D: usize> Way<N, D>
    for FromScratch<W, MESSAGES>
{
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        let from_scratch: Run = |plan| {
            let (run, _) = W::threads::<C>();
            let once = Plan { warm: 0, count: MESSAGES, ..*plan };
            let times = plan.count.div_ceil(MESSAGES);
            let start = Instant::now();
            let wrong = (0..times).map(|_| run(&once).wrong).sum();
            let nanos = start.elapsed().as_nanos() as f64;
            // Threads that are being started are not on their cores yet.
            Sample::window(times * MESSAGES, Span { nanos, on_core: 1.0 }, wrong)
        };
        (from_scratch, None)
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        unreachable!("the published crate works between threads only")
    }
}
