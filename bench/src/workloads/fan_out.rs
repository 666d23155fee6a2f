//! One producer and 1, 2, 4 or 8 readers, each of which gets every message, or observes what it can. The figure is
//! the producer's messages, not the sum over the readers. Peers that pass each message to one reader only have no
//! row, except `rtrb` with a ring for each reader, which is what its users do.

use super::spec::{OneWay, Rows, TableSpec, Unit, row_name};
use super::throughput::produce_unread;
use crate::channel::{DEPTH, FanOut, Lossy, Peer, ProcessChannel, Role};
use crate::cores::Cores;
use crate::exchange;
#[cfg(feature = "peers")]
use crate::peers::{Disruptor, Iceoryx2, Ringfire, RingfireLossy, RtrbForEach};
use crate::peers::{Tango, TangoObserver};
use crate::plan::{Load, Setting};
use crate::process;
use crate::rounds::{Child, Run};

const READERS: [usize; 4] = [1, 2, 4, 8];
/// The row of a producer without observers.
const NONE_ATTACHED: &str = "tango, none attached";

type FanOutRows = Rows<OneWay, 64, DEPTH>;

pub(super) fn all() -> Vec<TableSpec> {
    READERS.map(reliable).into_iter().chain(READERS.map(observing)).collect()
}

fn reliable(readers: usize) -> TableSpec {
    let mut rows = rows_for(readers);
    rows = threads::<Tango>(rows);
    #[cfg(feature = "peers")]
    {
        rows = threads::<Disruptor>(rows);
        rows = threads::<RtrbForEach>(rows);
    }
    rows = processes::<Tango>(rows);
    #[cfg(feature = "peers")]
    {
        rows = processes::<Ringfire>(rows);
        rows = processes::<Iceoryx2>(rows);
    }
    table("fan-out", "reliable reader", readers, rows)
}

fn observing(readers: usize) -> TableSpec {
    let none_reads = format!("tango, {readers} attached, none reads");
    let mut rows = rows_for(readers).bare(&none_reads, produce_unread::<64, DEPTH>);
    rows = rows.extra(NONE_ATTACHED, produce_unread::<64, DEPTH>);
    rows.rows[1].load.readers = 0;
    let on_heap: Run = |plan| exchange::observed::<TangoObserver, 64, DEPTH>(None, plan);
    rows = with::<TangoObserver>(rows, Setting::Threads, on_heap, None);
    #[cfg(feature = "peers")]
    {
        let in_shared_memory: Run = |plan| {
            let there = process::channel_folder("there");
            exchange::observed::<RingfireLossy, 64, DEPTH>(Some(there.path()), plan)
        };
        rows = with::<RingfireLossy>(rows, Setting::Threads, in_shared_memory, None);
    }
    rows = observers::<TangoObserver>(rows);
    #[cfg(feature = "peers")]
    {
        rows = observers::<RingfireLossy>(rows);
    }
    table("fan-out-observers", "observer", readers, rows)
}

fn rows_for(readers: usize) -> FanOutRows {
    Rows { load: Load { readers, ..Load::default() }, ..Rows::new() }
}

fn threads<C: FanOut<64, DEPTH>>(rows: FanOutRows) -> FanOutRows {
    with::<C>(rows, Setting::Threads, exchange::fan_out::<C, 64, DEPTH>, None)
}

fn processes<C: ProcessChannel<64, DEPTH>>(rows: FanOutRows) -> FanOutRows {
    let child: Child = Some(process::read::<C, 64, DEPTH>);
    with::<C>(rows, Setting::Processes, process::one_way::<C, 64, DEPTH>, child)
}

fn observers<C: Lossy<64, DEPTH>>(rows: FanOutRows) -> FanOutRows {
    let child: Child = Some(process::read_lossy::<C, 64, DEPTH>);
    with::<C>(rows, Setting::Processes, process::observed::<C, 64, DEPTH>, child)
}

fn with<P: Peer>(rows: FanOutRows, setting: Setting, run: Run, child: Child) -> FanOutRows {
    let name = row_name(&P::ABOUT.title(), setting, false).replace("2 processes", "processes");
    rows.with(&name, setting, P::ABOUT.role, (run, child))
}

/// With more threads than cores, readers yield, and a note says so.
fn table(workload: &'static str, reader: &str, readers: usize, mut rows: FanOutRows) -> TableSpec {
    if Cores::choose(&[]).is_ok_and(|cores| cores.of_readers(readers).1) {
        let alone = |name: &str, role| role == Role::Bare || name == NONE_ATTACHED;
        for row in rows.rows.iter_mut().filter(|row| !alone(&row.name, row.role)) {
            row.note = Some("more threads than cores".to_owned());
        }
    }
    let title = format!("Fan-out to {readers} {reader}{}, 64 bytes", if readers == 1 { "" } else { "s" });
    let key = format!("{workload}-{readers}");
    TableSpec::new(workload, key, title, Unit::MillionPerSecond, readers as f64, rows.rows)
}
