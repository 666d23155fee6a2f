//! How long a message takes: there and back without a pause; on a schedule, where a delay counts for every message
//! that it holds up; and to a reader that sleeps.

use super::spec::{OneWay, RoundTrip, Rows, TableSpec, Unit, bytes, rate};
use crate::bare;
use crate::channel::DEPTH;
use crate::message::steps_of_work;
#[cfg(feature = "peers")]
use crate::peers::{CrossbeamBlocking, FlumeBlocking, KanalBlocking, SyncChannelBlocking};
use crate::peers::{TangoWaiting, visit_parked_processes};
use crate::plan::Load;

/// The row of a word that goes there and back.
pub(crate) const WORD_EACH_WAY: &str = "bare: an atomic word each way";
/// The row of a word that goes one way.
pub(crate) const WORD: &str = "bare: an atomic word";
/// The row of a reader that sleeps on a bare futex.
pub(crate) const FUTEX: &str = "bare: a futex";

/// Most nanoseconds of random work of either side before it sends: two intervals between polls.
const JITTER: f64 = 54.0;
/// Nanoseconds between calls.
const CALLS: [u64; 3] = [100_000, 10_000, 2_000];
/// Nanoseconds between messages.
const MESSAGES: [u64; 4] = [100_000, 10_000, 1_000, 200];
/// Messages of a burst, and nanoseconds from the start of one burst to the next.
const BURSTS: [(u64, u64); 2] = [(16, 20_000), (256, 200_000)];
/// Nanoseconds between messages to a reader that sleeps: long enough for those that spin or yield first, and so short
/// that the reader has hardly gone to sleep.
const PARKED: [(&str, u64); 2] = [("parked", 500_000), ("parked-often", 50_000)];

pub(super) fn round_trips() -> Vec<TableSpec> {
    vec![round_trip::<8>(), round_trip::<64>()]
}

fn round_trip<const N: usize>() -> TableSpec {
    let load = Load { jitter: steps_of_work(JITTER), ..Load::default() };
    let rows = Rows::<RoundTrip, N, DEPTH> { load, ..Rows::new() }
        .bare(WORD_EACH_WAY, |plan| bare::round_trip(plan, 1))
        .extra("bare: an atomic word each way, in a new slot each time", |plan| bare::round_trip(plan, DEPTH))
        .extra("bare: an atomic word each way, mapped read-only", bare::round_trip_read_only)
        .all();
    let title = format!("Round trip, {}, one after the other", bytes(N));
    TableSpec::new("round-trip", format!("round-trip-{N}"), title, Unit::RoundTrip, N as f64, rows.rows)
}

pub(super) fn round_trips_on_schedule() -> Vec<TableSpec> {
    let table = |every| {
        let rows = Rows::<RoundTrip, 64, DEPTH>::scheduled(1, every).all().rows;
        let key = format!("round-trip-every-{every}");
        let title = format!("Round trip, 64 bytes, {}", rate(every));
        TableSpec::new("round-trip-load", key, title, Unit::Latency, 1e9 / every as f64, rows)
    };
    CALLS.map(table).into()
}

pub(super) fn one_way() -> Vec<TableSpec> {
    let table = |every| {
        let title = format!("One way, 64 bytes, {}", rate(every));
        on_schedule("one-way", format!("one-way-every-{every}"), title, (1, every))
    };
    MESSAGES.map(table).into()
}

pub(super) fn bursts() -> Vec<TableSpec> {
    let table = |(burst, every)| {
        let title = format!("One way, 64 bytes, bursts of {burst} every {} µs", every / 1000);
        on_schedule("bursts", format!("bursts-{burst}"), title, (burst, every))
    };
    BURSTS.map(table).into()
}

fn on_schedule(workload: &'static str, key: String, title: String, (burst, every): (u64, u64)) -> TableSpec {
    let rows = Rows::<OneWay, 64, DEPTH>::scheduled(burst, every).bare(WORD, bare::word_on_schedule).all();
    TableSpec::new(workload, key, title, Unit::Latency, burst as f64 * 1e9 / every as f64, rows.rows)
}

/// Readers that sleep until a message arrives. The note says how much of a core the reader used meanwhile.
pub(super) fn parked() -> Vec<TableSpec> {
    PARKED.map(|(key, every)| parked_every(key, every)).into()
}

fn parked_every(key: &str, every: u64) -> TableSpec {
    let mut rows = Rows::<OneWay, 64, DEPTH>::scheduled(1, every)
        .bare(FUTEX, bare::futex_on_schedule)
        .thread::<TangoWaiting>();
    #[cfg(feature = "peers")]
    {
        rows = rows
            .thread::<CrossbeamBlocking>()
            .thread::<KanalBlocking>()
            .thread::<FlumeBlocking>()
            .thread::<SyncChannelBlocking>();
    }
    visit_parked_processes(&mut rows);
    let title = format!("Waking a reader that waits, 64 bytes, one message every {} µs", every / 1000);
    TableSpec::new("parked", key, title, Unit::Latency, 1e9 / every as f64, rows.rows)
}
