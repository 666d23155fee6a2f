//! The workloads of the published crate's own benchmarks, so that its users can compare: set-up included,
//! threads too, as it does. Unlike there, threads are pinned, messages are checked, and peers carry values
//! instead of a new `Vec` for each message.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Instant;

use super::{Back, Contest, There, Unit, Way, name};
use crate::method::{Contestant, Count, Load, Plan, Sample, Setting, Span};
use crate::peers::{Channel, PublishedUncontrolled, Visitor, visit_threads};

pub(super) fn its_own() -> Vec<Contest> {
    vec![
        contest::<There, 64, 16_384>(
            "published-64",
            "The published crate's own: 10 000 messages of 64 bytes, set-up included",
            Unit::MillionPerSecond,
            10_000,
        ),
        contest::<Back, 8, 1024>(
            "published-round-trip",
            "The published crate's own: 100 round trips of 8 bytes, set-up included",
            Unit::RoundTrip,
            100,
        ),
        contest::<There, 1024, 2048>(
            "published-1024",
            "The published crate's own: 2 048 messages of 1 024 bytes, set-up included",
            Unit::MillionPerSecond,
            2_048,
        ),
    ]
}

fn contest<W: Way<N, D>, const N: usize, const D: usize>(
    key: &str,
    title: &str,
    unit: Unit,
    messages: u64,
) -> Contest {
    let mut rows = Rows { way: PhantomData::<W>, messages, rows: Vec::new() };
    visit_threads::<N, D>(&mut rows);
    Visitor::<N, D>::visit::<PublishedUncontrolled>(&mut rows);
    Contest {
        key: key.into(),
        workload: "published",
        title: title.into(),
        unit,
        at: N as f64,
        rows: rows.rows,
    }
}

struct Rows<W> {
    way: PhantomData<W>,
    messages: u64,
    rows: Vec<Contestant>,
}

impl<W: Way<N, D>, const N: usize, const D: usize> Visitor<N, D> for Rows<W> {
    fn visit<C: Channel<N, D>>(&mut self) {
        let messages = self.messages;
        self.rows.push(Contestant {
            name: name(C::ABOUT, Setting::Threads, false),
            setting: Setting::Threads,
            role: C::ABOUT.role,
            note: None,
            load: Load::default(),
            count: Count::Fitting,
            lap: 0,
            run: Rc::new(move |plan| from_scratch(plan, messages, W::threads::<C>)),
        });
    }
}

/// As often as gives about as many messages as the plan wants, each time from scratch.
fn from_scratch(plan: &Plan, messages: u64, all: impl Fn(&Plan) -> Sample) -> Sample {
    let once = Plan { warm: 0, count: messages, ..*plan };
    let times = plan.count.div_ceil(messages);
    let start = Instant::now();
    let wrong = (0..times).map(|_| all(&once).wrong).sum();
    let nanos = start.elapsed().as_nanos() as f64;
    // Threads that are being started are not on their cores yet.
    Sample::window(times * messages, Span { nanos, on_core: 1.0 }, wrong)
}
