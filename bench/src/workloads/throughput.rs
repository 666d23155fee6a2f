//! How many messages get through: by size; with work to do for the producer, so that the consumer keeps
//! up; and with a consumer that is slow, so that the ring stays full.

use std::rc::Rc;

use super::{Contest, Rows, SHALLOW, There, Unit, bytes, steps};
use crate::method::Load;
use crate::peers::{DEPTH, Lossy, Peer, TangoLoan, TangoMade, TangoObserver, unread};
use crate::process::{self, Folder};
use crate::{exchange, raw};

/// Nanoseconds of a producer's work between two messages, little and more.
const WORK: [f64; 2] = [7.0, 45.0];
/// The row of the best that copying can do.
pub(crate) const COPY: &str = "raw: a copy into a ring, the other core reads";
/// Nanoseconds of a slow consumer's work for each message.
const CHORE: f64 = 150.0;

pub(super) fn by_size(folder: &Rc<Folder>) -> Vec<Contest> {
    vec![
        of_size::<8, DEPTH>(folder),
        of_size::<64, DEPTH>(folder),
        of_size::<256, DEPTH>(folder),
        of_size::<1024, DEPTH>(folder),
        of_size::<4096, DEPTH>(folder),
        of_size::<65_536, SHALLOW>(folder),
    ]
}

fn of_size<const N: usize, const D: usize>(folder: &Rc<Folder>) -> Contest {
    let rows = Rows::<There, N, D> { batches: true, ..Rows::new(folder) };
    let rows = rows
        .limit("raw: tango's producer, nobody reads", |plan| unread::<N, D>(plan, 0))
        .extra("raw: a copy into a ring, nobody reads", |plan| raw::copy::<N>(plan, D))
        .extra(COPY, |plan| raw::copy_across::<N>(plan, D))
        .everyone();
    Contest {
        key: format!("throughput-{N}"),
        workload: "throughput",
        title: format!("Throughput, {}, ring of {D}", bytes(N)),
        unit: if N < 1024 { Unit::MillionPerSecond } else { Unit::GibibytesPerSecond(N) },
        at: N as f64,
        rows: with_observers::<N, D>(with_loan::<N, D>(rows), folder).rows,
    }
}

/// Where copying is what takes the time: messages that are made in place, and the same made elsewhere. The
/// other rows take theirs from a few that are prepared.
fn with_loan<const N: usize, const D: usize>(rows: Rows<There, N, D>) -> Rows<There, N, D> {
    if const { N < 1024 } {
        return rows;
    }
    rows.extra(&<TangoLoan as Peer>::ABOUT.title(), exchange::one_way::<TangoLoan, N, D>)
        .extra(&<TangoMade as Peer>::ABOUT.title(), exchange::one_way::<TangoMade, N, D>)
}

/// One observer, between threads and between processes.
fn with_observers<const N: usize, const D: usize>(
    rows: Rows<There, N, D>,
    folder: &Rc<Folder>,
) -> Rows<There, N, D> {
    let title = <TangoObserver as Peer>::ABOUT.title();
    let folder = Rc::clone(folder);
    rows.extra(&title, |plan| {
        let source = <TangoObserver as Lossy<N, D>>::make(None);
        exchange::observed::<TangoObserver, N, D>(source, plan, 1)
    })
    .extra(&format!("{title}, 2 processes"), move |plan| {
        process::observed::<TangoObserver, N, D>(&folder, plan, 1)
    })
}

pub(super) fn working(folder: &Rc<Folder>) -> Vec<Contest> {
    let contest = |key: &str, nanos: f64| {
        let rows = Rows::<There, 64, DEPTH> { batches: true, ..Rows::new(folder) };
        let load = Load { work: steps(nanos), ..Load::default() };
        let rows = Rows { load, ..rows };
        Contest {
            key: format!("working-{key}"),
            workload: "working",
            title: format!("Throughput, 64 bytes, {nanos} ns of work before each message"),
            unit: Unit::MillionPerSecond,
            at: nanos,
            rows: rows.limit("raw: the work alone", raw::work_alone::<64>).everyone().rows,
        }
    };
    vec![contest("little", WORK[0]), contest("more", WORK[1])]
}

pub(super) fn slow_consumer(folder: &Rc<Folder>) -> Contest {
    let load = Load { chore: steps(CHORE), ..Load::default() };
    let rows = Rows::<There, 64, DEPTH> { load, batches: true, ..Rows::new(folder) };
    Contest {
        key: "slow-consumer".into(),
        workload: "slow-consumer",
        title: format!("Throughput, 64 bytes, {CHORE} ns of work after each message: the ring stays full"),
        unit: Unit::MillionPerSecond,
        at: CHORE,
        rows: rows.limit("raw: the consumer's work alone", raw::chore_alone::<64>).everyone().rows,
    }
}
