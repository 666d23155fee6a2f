//! One producer and 1, 2, 4 or 8 readers, each of which gets every message, or observes what it can. The figure is
//! the producer's messages, not the sum over the readers. Peers that pass each message to one reader only have no
//! row, except `rtrb` with a ring for each reader, which is what its users do.

use std::rc::Rc;

use super::spec::{OneWay, Rows, TableSpec, Unit, row_name};
use super::throughput::produce_unread;
use crate::channel::{DEPTH, FanOut, Lossy, Peer, ProcessChannel, Role};
use crate::cores::{Cores, SharedCore};
use crate::exchange;
use crate::peers::{Disruptor, Iceoryx2, Ringfire, RingfireLossy, RtrbForEach, Tango, TangoObserver};
use crate::plan::{Plan, Sample, Setting};
use crate::process::{self, RunFolder};
use crate::rounds::RowSpec;

const READERS: [usize; 4] = [1, 2, 4, 8];
/// The note on rows whose threads share cores.
const CROWDED: &str = "more threads than cores";
/// The row of a producer without observers.
const NONE_ATTACHED: &str = "tango, none attached";

type FanOutRows = Rows<OneWay, 64, DEPTH>;

pub(super) fn all(folder: &Rc<RunFolder>) -> Vec<TableSpec> {
    let reliable = READERS.map(|readers| reliable(folder, readers));
    let observing = READERS.map(|readers| observing(folder, readers));
    reliable.into_iter().chain(observing).collect()
}

fn reliable(folder: &Rc<RunFolder>, readers: usize) -> TableSpec {
    let mut rows = FanOutRows::new(folder);
    rows = threads::<Tango>(rows, readers);
    rows = threads::<Disruptor>(rows, readers);
    rows = threads::<RtrbForEach>(rows, readers);
    rows = processes::<Tango>(rows, folder, readers);
    rows = processes::<Ringfire>(rows, folder, readers);
    rows = processes::<Iceoryx2>(rows, folder, readers);
    table("fan-out", "reliable reader", readers, rows)
}

fn observing(folder: &Rc<RunFolder>, readers: usize) -> TableSpec {
    let none_reads = format!("tango, {readers} attached, none reads");
    let mut rows = FanOutRows::new(folder)
        .limit(&none_reads, move |plan| produce_unread::<64, DEPTH>(plan, readers))
        .extra(NONE_ATTACHED, |plan| produce_unread::<64, DEPTH>(plan, 0));
    rows = with::<TangoObserver>(rows, Setting::Threads, move |plan| {
        let source = <TangoObserver as Lossy<64, DEPTH>>::make(None);
        exchange::observed::<TangoObserver, 64, DEPTH>(source, plan, readers)
    });
    let shared = Rc::clone(folder);
    rows = with::<RingfireLossy>(rows, Setting::Threads, move |plan| {
        let there = shared.channel("there");
        let source = <RingfireLossy as Lossy<64, DEPTH>>::make(Some(there.path()));
        exchange::observed::<RingfireLossy, 64, DEPTH>(source, plan, readers)
    });
    rows = observers::<TangoObserver>(rows, folder, readers);
    rows = observers::<RingfireLossy>(rows, folder, readers);
    table("fan-out-observers", "observer", readers, rows)
}

fn threads<C: FanOut<64, DEPTH>>(rows: FanOutRows, readers: usize) -> FanOutRows {
    with::<C>(rows, Setting::Threads, move |plan| exchange::fan_out::<C, 64, DEPTH>(plan, readers))
}

fn processes<C>(rows: FanOutRows, folder: &Rc<RunFolder>, readers: usize) -> FanOutRows
where
    C: ProcessChannel<64, DEPTH>,
{
    let folder = Rc::clone(folder);
    let run = move |plan: &Plan| process::one_way::<C, 64, DEPTH>(&folder, plan, readers);
    with::<C>(rows, Setting::Processes, run)
}

fn observers<C: Lossy<64, DEPTH>>(rows: FanOutRows, folder: &Rc<RunFolder>, readers: usize) -> FanOutRows {
    let folder = Rc::clone(folder);
    let run = move |plan: &Plan| process::observed::<C, 64, DEPTH>(&folder, plan, readers);
    with::<C>(rows, Setting::Processes, run)
}

fn with<P: Peer>(rows: FanOutRows, setting: Setting, run: impl Fn(&Plan) -> Sample + 'static) -> FanOutRows {
    let name = row_name(&P::ABOUT.title(), setting, false).replace("2 processes", "processes");
    rows.with(&name, setting, P::ABOUT.role, run)
}

/// Readers yield if there are more threads than cores, and a note says so.
fn table(workload: &'static str, reader: &str, readers: usize, rows: FanOutRows) -> TableSpec {
    let shares = move |cores: Cores| cores.of_readers(readers).1;
    let crowded = Cores::choose(&[]).is_ok_and(shares);
    let yielding = |row: RowSpec| {
        let alone = row.role == Role::Limit || row.name == NONE_ATTACHED;
        let run = move |plan: &Plan| {
            let _yielding = SharedCore::assume(shares(plan.cores));
            (row.run)(plan)
        };
        RowSpec { note: (crowded && !alone).then(|| CROWDED.to_owned()), run: Rc::new(run), ..row }
    };
    let title = format!("Fan-out to {readers} {reader}{}, 64 bytes", if readers == 1 { "" } else { "s" });
    let rows = rows.rows.into_iter().map(yielding).collect();
    let key = format!("{workload}-{readers}");
    TableSpec::new(workload, key, title, Unit::MillionPerSecond, readers as f64, rows)
}
