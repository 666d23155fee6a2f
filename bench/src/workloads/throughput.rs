//! How many messages get through: by size; with a producer that works, so that the consumer keeps up; with a
//! consumer that works, so that the ring stays full; and with a ring that does not fit into the caches.

use super::spec::{OneWay, Rows, TableSpec, Unit, bytes, row_name};
use crate::bare;
use crate::channel::{DEEP, DEPTH, Peer, Role, SHALLOW, Sender};
use crate::exchange;
use crate::message::steps_of_work;
use crate::peers::{TangoLoan, TangoMade, TangoObserver, TangoPaced, unread};
use crate::plan::{Load, Plan, Sample, Setting};
use crate::process;
use crate::rounds::{Child, Run};

/// Nanoseconds of a slow consumer's work for each message.
const CONSUMER_WORK: f64 = 150.0;
/// The row with what a channel does at least that copies each message once.
pub(crate) const COPY: &str = "bare: one copy, the other core reads";
/// The row with the time that the benchmark itself takes for a message.
pub(crate) const ITSELF: &str = "bare: the benchmark itself, both sides";
/// The row with the producer's work alone.
pub(crate) const WORK: &str = "bare: the work alone";

pub(super) fn by_size() -> Vec<TableSpec> {
    vec![
        of_size::<8, DEPTH>(),
        of_size::<64, DEPTH>(),
        of_size::<256, DEPTH>(),
        of_size::<1024, DEPTH>(),
        of_size::<4096, DEPTH>(),
        of_size::<65_536, SHALLOW>(),
    ]
}

fn of_size<const N: usize, const D: usize>() -> TableSpec {
    let unit = if N < 1024 { Unit::MillionPerSecond } else { Unit::GibibytesPerSecond };
    let mut rows = with_bare::<N, D>();
    // Other rows send a few prepared messages. Where copying dominates, these two make each message in place, and
    // elsewhere.
    if const { N >= 1024 } {
        rows = rows
            .extra(&TangoLoan::ABOUT.title(), exchange::one_way::<TangoLoan, N, D>)
            .extra(&TangoMade::ABOUT.title(), exchange::one_way::<TangoMade, N, D>);
    }
    if const { N <= 256 } {
        rows = rows.extra(&TangoPaced::ABOUT.title(), exchange::one_way::<TangoPaced, N, D>);
    }
    let observers = TangoObserver::ABOUT.title();
    let processes: (Run, Child) =
        (process::observed::<TangoObserver, N, D>, Some(process::read_lossy::<TangoObserver, N, D>));
    let rows = rows.extra(&observers, |plan| exchange::observed::<TangoObserver, N, D>(None, plan)).with(
        &row_name(&observers, Setting::Processes, false),
        Setting::Threads,
        Role::Extra,
        processes,
    );
    let title = format!("Throughput, {}, ring of {D}", bytes(N));
    TableSpec::new("throughput", format!("throughput-{N}"), title, unit, N as f64, rows.rows)
}

/// All peers, and what parts of a channel do alone.
fn with_bare<const N: usize, const D: usize>() -> Rows<OneWay, N, D> {
    Rows { batches: true, ..Rows::new() }
        .bare(COPY, |plan| bare::copy_across::<N>(plan, D))
        .extra("bare: one copy, nobody reads", |plan| bare::copy::<N>(plan, D))
        .extra(ITSELF, exchange::itself::<N>)
        .extra("tango's producer, nobody reads", produce_unread::<N, D>)
        .all()
}

/// Our producer alone, perhaps with observers attached that do not read.
pub(super) fn produce_unread<const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut tx, _attached) = unread::<N, D>(plan.load.readers);
    bare::alone::<N>(plan, |source, _, number| tx.send(source.message(number)))
}

pub(super) fn deep() -> Vec<TableSpec> {
    let mut rows = with_bare::<64, DEEP>().rows;
    // The kernel decides the depth of the others.
    rows.retain(|row| row.sized);
    let title = format!("Throughput, 64 bytes, ring of {DEEP}, which leaves the cache");
    vec![TableSpec::new("deep", "deep", title, Unit::MillionPerSecond, DEEP as f64, rows)]
}

pub(super) fn working() -> Vec<TableSpec> {
    let table = |key: &str, nanos: f64| {
        let load = Load { producer_work: steps_of_work(nanos), ..Load::default() };
        let rows = Rows::<OneWay, 64, DEPTH> { load, batches: true, ..Rows::new() };
        let rows = rows
            .bare(WORK, bare::producer_work_alone::<64>)
            .extra(COPY, |plan| bare::copy_across::<64>(plan, DEPTH))
            .all()
            .rows;
        let title = format!("Throughput, 64 bytes, {nanos} ns of work before each message");
        TableSpec::new("working", format!("working-{key}"), title, Unit::MillionPerSecond, nanos, rows)
    };
    vec![table("little", 7.0), table("more", 45.0)]
}

pub(super) fn slow_consumer() -> Vec<TableSpec> {
    let load = Load { consumer_work: steps_of_work(CONSUMER_WORK), ..Load::default() };
    let rows = Rows::<OneWay, 64, DEPTH> { load, batches: true, ..Rows::new() };
    let rows = rows.bare("bare: the consumer's work alone", bare::consumer_work_alone::<64>).all().rows;
    let title =
        format!("Throughput, 64 bytes, {CONSUMER_WORK} ns of work after each message: the ring stays full");
    let (key, unit) = ("slow-consumer", Unit::MillionPerSecond);
    vec![TableSpec::new(key, key, title, unit, CONSUMER_WORK, rows)]
}
