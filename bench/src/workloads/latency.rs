//! How long a message takes: there and back without a pause, and under several loads, where each is due at
//! a time that does not wait for the one before (so that a stall counts for all that it delays).

use std::rc::Rc;

use super::{Back, BackOnTime, Contest, Rows, ThereOnTime, Unit, bytes, rate, steps};
use crate::method::Load;
use crate::peers::DEPTH;
use crate::process::Folder;
use crate::raw;

/// The row of an atomic word that travels as a channel's do: each in a slot of its own.
pub(crate) const SLOTS: &str = "raw: an atomic word each way, in a new slot each time";
/// The row of one that both sides read through a mapping that is read-only.
const READ_ONLY: &str = "raw: an atomic word each way, mapped read-only";
/// Nanoseconds that either side hesitates before it sends, at most: two intervals between the looks of who waits.
const HESITATION: f64 = 54.0;
/// Nanoseconds between calls.
const CALLS: [u64; 3] = [100_000, 10_000, 2_000];
/// Nanoseconds between messages.
const MESSAGES: [u64; 4] = [100_000, 10_000, 1_000, 200];
/// Messages of a burst, and nanoseconds between the beginnings of two.
const BURSTS: [(u64, u64); 2] = [(16, 20_000), (256, 200_000)];

pub(super) fn round_trips(folder: &Rc<Folder>) -> Vec<Contest> {
    vec![round_trip::<8>(folder), round_trip::<64>(folder)]
}

fn round_trip<const N: usize>(folder: &Rc<Folder>) -> Contest {
    let load = Load { hesitation: steps(HESITATION), ..Load::default() };
    let rows = Rows::<Back, N, DEPTH> { load, ..Rows::new(folder) }
        .limit("raw: an atomic word each way", |plan| raw::round_trip(plan, 1))
        .extra(SLOTS, |plan| raw::round_trip(plan, DEPTH))
        .extra(READ_ONLY, raw::round_trip_read_only)
        .everyone();
    Contest {
        key: format!("round-trip-{N}"),
        workload: "round-trip",
        title: format!("Round trip, {}, one after the other", bytes(N)),
        unit: Unit::RoundTrip,
        at: N as f64,
        rows: rows.rows,
    }
}

pub(super) fn round_trips_on_time(folder: &Rc<Folder>) -> Vec<Contest> {
    let contest = |every| Contest {
        key: format!("round-trip-every-{every}"),
        workload: "round-trip-load",
        title: format!("Round trip, 64 bytes, {}", rate(every, 1)),
        unit: Unit::Latency,
        at: 1e9 / every as f64,
        rows: Rows::<BackOnTime, 64, DEPTH>::new(folder).due(1, every).everyone().rows,
    };
    CALLS.map(contest).into()
}

pub(super) fn one_way(folder: &Rc<Folder>) -> Vec<Contest> {
    let contest = |every| on_time(folder, "one-way", format!("one-way-every-{every}"), 1, every);
    MESSAGES.map(contest).into()
}

pub(super) fn bursts(folder: &Rc<Folder>) -> Vec<Contest> {
    let contest = |(burst, every)| on_time(folder, "bursts", format!("bursts-{burst}"), burst, every);
    BURSTS.map(contest).into()
}

fn on_time(folder: &Rc<Folder>, workload: &'static str, key: String, burst: u64, every: u64) -> Contest {
    let title = if burst == 1 {
        format!("One way, 64 bytes, {}", rate(every, 1))
    } else {
        format!("One way, 64 bytes, bursts of {burst} every {} µs", every / 1000)
    };
    Contest {
        key,
        workload,
        title,
        unit: Unit::Latency,
        at: burst as f64 * 1e9 / every as f64,
        rows: Rows::<ThereOnTime, 64, DEPTH>::new(folder)
            .due(burst, every)
            .limit("raw: an atomic word", raw::word_on_time)
            .everyone()
            .rows,
    }
}
