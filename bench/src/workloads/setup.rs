//! What a channel costs apart from its messages: making it, joining it, and its memory.

use std::time::Instant;

use super::spec::{Rows, TableSpec, Unit, Way, bytes, row_name};
use crate::bare;
use crate::channel::{Channel, DEPTH, Lossy, ProcessChannel, Role};
use crate::cores::Span;
#[cfg(feature = "peers")]
use crate::peers::RingfireLossy;
use crate::peers::TangoObserver;
use crate::plan::{Plan, Sample, Setting};
use crate::process;
use crate::rounds::{Child, Run};

/// The row with the time that memory of the size of our ring takes.
pub(crate) const TOUCH: &str = "bare: touching as much memory as our ring";
/// The same for a file in shared memory.
pub(crate) const TOUCH_SHARED: &str = "bare: touching as much shared memory as our ring";

/// Bytes of our ring: a message of 64 bytes has a slot of 128.
const RING: usize = 128 * DEPTH;
/// Calls in a sample.
const CALLS: u64 = 16;

struct Make;
struct Join;
struct Memory;

pub(super) fn attach() -> Vec<TableSpec> {
    let make = Rows::<Make, 64, DEPTH>::fixed(CALLS)
        .bare(TOUCH, |plan| calls(plan, || time(|| bare::touch(RING)).1))
        .extra(TOUCH_SHARED, |plan| {
            calls(plan, || {
                let there = process::channel_folder("there");
                time(|| bare::touch_shared(there.path(), RING)).1
            })
        })
        .all()
        .rows;
    let mut join = Rows::<Join, 64, DEPTH>::fixed(CALLS).all_processes();
    join = observer::<TangoObserver>(join);
    #[cfg(feature = "peers")]
    {
        join = observer::<RingfireLossy>(join);
    }
    let table = |key, title, rows| TableSpec::new("attach", key, title, Unit::Microseconds, 0.0, rows);
    vec![
        table("attach-make", "Making a channel, 64 bytes, ring of 1024", make),
        table("attach-join", "Joining a channel in shared memory as a reader", join.rows),
    ]
}

/// Adds a row for joining as a reader that the producer does not wait for.
fn observer<C: Lossy<64, DEPTH>>(rows: Rows<Join, 64, DEPTH>) -> Rows<Join, 64, DEPTH> {
    let name = row_name(&C::ABOUT.title(), Setting::Processes, false);
    let join: Run = |plan| {
        calls(plan, || {
            let there = process::channel_folder("there");
            let _source = C::make(Some(there.path()));
            time(|| C::attach(there.path())).1
        })
    };
    rows.with(&name, Setting::Processes, C::ABOUT.role, (join, None))
}

/// The sum of the nanoseconds that `call` returns. A call may wait in the kernel, so time off the core is not lost.
fn calls(plan: &Plan, call: impl Fn() -> f64) -> Sample {
    let nanos = (0..plan.count).map(|_| call()).sum();
    Sample::window(plan.count, Span { nanos, on_core: 1.0 }, 0)
}

fn time<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed().as_nanos() as f64)
}

impl<const N: usize, const D: usize> Way<N, D> for Make {
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        (|plan| calls(plan, make::<C, N, D>), None)
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        (|plan| calls(plan, || make_and_join::<C, N, D>().0), None)
    }
}

impl<const N: usize, const D: usize> Way<N, D> for Join {
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        unreachable!("a channel between threads is not joined")
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        (|plan| calls(plan, || make_and_join::<C, N, D>().1), None)
    }
}

/// Nanoseconds of making a channel between threads.
fn make<C: Channel<N, D>, const N: usize, const D: usize>() -> f64 {
    let start = Instant::now();
    let mut storage = C::storage();
    let _halves = C::split(&mut storage);
    start.elapsed().as_nanos() as f64
}

/// Nanoseconds of making a channel, and of joining it.
fn make_and_join<C: ProcessChannel<N, D>, const N: usize, const D: usize>() -> (f64, f64) {
    let there = process::channel_folder("there");
    let (mut tx, made) = time(|| C::create(there.path(), 1));
    let (_rx, joined) = time(|| C::attach(there.path()));
    C::connect(&mut tx);
    (made, joined)
}

pub(super) fn memory() -> Vec<TableSpec> {
    vec![memory_of_size::<64>(), memory_of_size::<1024>()]
}

fn memory_of_size<const N: usize>() -> TableSpec {
    let mut rows = Rows::<Memory, N, DEPTH>::fixed(1).all().rows;
    for row in rows.iter_mut().filter(|row| !row.sized) {
        row.role = Role::Extra;
        row.note = Some("the kernel's memory is not seen".to_owned());
    }
    let title = format!("Memory of a channel, {}, ring of {DEPTH}", bytes(N));
    TableSpec::new("memory", format!("memory-{N}"), title, Unit::Kibibytes, N as f64, rows)
}

impl<const N: usize, const D: usize> Way<N, D> for Memory {
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        (process::memory, Some(process::memory_of_threads::<C, N, D>))
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        (process::memory, Some(process::memory_of_processes::<C, N, D>))
    }
}
