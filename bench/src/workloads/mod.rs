//! What is measured: the tables, and their rows. The rows of a table are the peers, ours, and what the
//! hardware does without a channel.

mod spec;

mod throughput;

mod latency;

mod fan_out;

mod tasks;

#[cfg(feature = "peers")]
mod published;

mod setup;

mod operation;

pub(crate) use self::latency::{FUTEX, WORD, WORD_EACH_WAY};
pub(crate) use self::operation::{OPERATION, command};
pub(crate) use self::setup::{TOUCH, TOUCH_SHARED};
pub(crate) use self::spec::{TableSpec, Unit};
pub(crate) use self::tasks::TOKIO;
pub(crate) use self::throughput::{COPY, ITSELF, WORK};

use crate::plan::RowId;
use crate::process::Task;

/// Groups of tables, in the order of the report.
const GROUPS: &[fn() -> Vec<TableSpec>] = &[
    throughput::by_size,
    throughput::working,
    throughput::slow_consumer,
    latency::round_trips,
    latency::round_trips_on_schedule,
    latency::one_way,
    latency::bursts,
    latency::parked,
    tasks::all,
    fan_out::all,
    throughput::deep,
    #[cfg(feature = "peers")]
    published::all,
    setup::attach,
    setup::memory,
    operation::all,
];

/// All tables.
pub(crate) fn all() -> Vec<TableSpec> {
    let mut all = Vec::new();
    for (group, tables) in GROUPS.iter().enumerate() {
        for (number, mut table) in tables().into_iter().enumerate() {
            for (i, row) in table.rows.iter_mut().enumerate() {
                row.id = (group, number, i);
            }
            all.push(table);
        }
    }
    all
}

/// What the child of a row does.
pub(crate) fn child((group, table, row): RowId) -> fn(&Task) {
    GROUPS[group]()[table].rows[row].child.expect("this row has a child")
}

/// The names for `--workload`.
pub(crate) fn names(tables: &[TableSpec]) -> Vec<&'static str> {
    let mut names: Vec<_> = tables.iter().map(|table| table.workload).collect();
    names.dedup();
    names
}
