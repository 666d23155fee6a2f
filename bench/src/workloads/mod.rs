//! What is measured: the tables, and their rows. The rows of a table are the peers, ours, and the limits of the
//! hardware.

use std::io;
use std::rc::Rc;

mod fan_out;
mod latency;
mod published;
mod setup;
mod spec;
mod throughput;

pub(crate) use self::spec::{TableSpec, Unit};
pub(crate) use self::throughput::COPY;

use crate::process::RunFolder;

/// All tables, in the order of the report.
pub(crate) fn all() -> io::Result<Vec<TableSpec>> {
    let folder = Rc::new(RunFolder::new()?);
    let mut tables = throughput::by_size(&folder);
    tables.extend(throughput::working(&folder));
    tables.push(throughput::slow_consumer(&folder));
    tables.extend(latency::round_trips(&folder));
    tables.extend(latency::round_trips_on_schedule(&folder));
    tables.extend(latency::one_way(&folder));
    tables.extend(latency::bursts(&folder));
    tables.push(latency::parked(&folder));
    tables.extend(fan_out::all(&folder));
    tables.push(throughput::deep(&folder));
    tables.extend(published::all(&folder));
    tables.extend(setup::attach(&folder));
    tables.extend(setup::memory(&folder));
    Ok(tables)
}

/// The names for `--workload`.
pub(crate) fn names(tables: &[TableSpec]) -> Vec<&'static str> {
    let mut names: Vec<_> = tables.iter().map(|table| table.workload).collect();
    names.dedup();
    names
}
