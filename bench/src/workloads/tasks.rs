//! Tasks that await messages: how long it takes to wake one, how many messages get through to one, and to a thousand.

use super::latency::FUTEX;
use super::spec::{OneWay, Rows, TableSpec, Unit};
use crate::bare;
use crate::channel::DEPTH;
#[cfg(feature = "peers")]
use crate::peers::AsyncChannel;
use crate::peers::{TangoTask, TokioMpsc};
use crate::plan::Load;
use crate::tasks;

/// The row of tokio's channel.
pub(crate) const TOKIO: &str = "tokio mpsc";
/// Nanoseconds between messages: long enough for the task's thread to sleep.
const EVERY: u64 = 200_000;
/// Tasks with a channel each.
const MANY: usize = 1000;
/// Messages that each of their channels holds.
const SMALL: usize = 64;

pub(super) fn all() -> Vec<TableSpec> {
    vec![woken(), one(), many()]
}

fn woken() -> TableSpec {
    let rows = Rows::<OneWay, 64, DEPTH>::scheduled(1, EVERY)
        .bare(FUTEX, bare::futex_on_schedule)
        .thread::<TangoTask>()
        .thread::<TokioMpsc>();
    #[cfg(feature = "peers")]
    let rows = rows.thread::<AsyncChannel>();
    let rows = rows.process::<TangoTask>().rows;
    let title = format!("Waking a task, 64 bytes, one message every {} µs", EVERY / 1000);
    TableSpec::new("task-wake", "task-wake", title, Unit::Latency, 1e9 / EVERY as f64, rows)
}

fn one() -> TableSpec {
    let rows = Rows::<OneWay, 64, DEPTH>::new()
        .way::<TangoTask>(tasks::one_way::<TangoTask, 64, DEPTH>)
        .way::<TokioMpsc>(tasks::one_way::<TokioMpsc, 64, DEPTH>);
    #[cfg(feature = "peers")]
    let rows = rows.way::<AsyncChannel>(tasks::one_way::<AsyncChannel, 64, DEPTH>);
    let title = format!("Throughput from a thread to a task, 64 bytes, ring of {DEPTH}");
    TableSpec::new("tasks", "tasks-1", title, Unit::MillionPerSecond, 1.0, rows.rows)
}

fn many() -> TableSpec {
    let load = Load { readers: MANY, ..Load::default() };
    let rows = Rows::<OneWay, 64, SMALL> { load, ..Rows::new() };
    let rows = rows
        .way::<TangoTask>(tasks::many::<TangoTask, 64, SMALL>)
        .way::<TokioMpsc>(tasks::many::<TokioMpsc, 64, SMALL>);
    #[cfg(feature = "peers")]
    let rows = rows.way::<AsyncChannel>(tasks::many::<AsyncChannel, 64, SMALL>);
    let title =
        format!("Throughput from a thread to {MANY} tasks in turn, 64 bytes, a ring of {SMALL} for each");
    TableSpec::new("tasks", format!("tasks-{MANY}"), title, Unit::MillionPerSecond, MANY as f64, rows.rows)
}
