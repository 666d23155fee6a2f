//! One producer and 1, 2, 4 or 8 readers, each of which gets every message, or observes what it can. The figure is
//! the producer's messages, not the sum over the readers. Peers that pass each message to one reader only have no
//! row, except `rtrb` with a ring for each reader, which is what its users do.

use std::rc::Rc;

use tempfile::TempDir;

use super::spec::{OneWay, Rows, TableSpec, Unit, row_name};
use super::throughput::produce_unread;
use crate::channel::{About, DEPTH, FanOut, Lossy, ProcessChannel, Role};
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

pub(super) fn all(folder: &Rc<RunFolder>) -> Vec<TableSpec> {
    let reliable = READERS.map(|readers| reliable(folder, readers));
    let observing = READERS.map(|readers| observing(folder, readers));
    reliable.into_iter().chain(observing).collect()
}

fn reliable(folder: &Rc<RunFolder>, readers: usize) -> TableSpec {
    let rows = FanOutRows::new(folder, readers)
        .threads::<Tango>()
        .threads::<Disruptor>()
        .threads::<RtrbForEach>()
        .processes::<Tango>()
        .processes::<Ringfire>()
        .processes::<Iceoryx2>();
    rows.table("fan-out", "reliable reader")
}

fn observing(folder: &Rc<RunFolder>, readers: usize) -> TableSpec {
    let mut rows = FanOutRows::new(folder, readers);
    rows.rows = rows
        .rows
        .limit(&format!("tango, {readers} attached, none reads"), move |plan| {
            produce_unread::<64, DEPTH>(plan, readers)
        })
        .extra(NONE_ATTACHED, |plan| produce_unread::<64, DEPTH>(plan, 0));
    let rows = rows
        .lossy_threads::<TangoObserver>(Place::Heap)
        .lossy_threads::<RingfireLossy>(Place::SharedMemory)
        .lossy_processes::<TangoObserver>()
        .lossy_processes::<RingfireLossy>();
    rows.table("fan-out-observers", "observer")
}

enum Place {
    Heap,
    SharedMemory,
}

struct FanOutRows {
    folder: Rc<RunFolder>,
    readers: usize,
    rows: Rows<OneWay, 64, DEPTH>,
}

impl FanOutRows {
    fn new(folder: &Rc<RunFolder>, readers: usize) -> Self {
        Self { folder: Rc::clone(folder), readers, rows: Rows::new(folder) }
    }

    fn threads<C: FanOut<64, DEPTH>>(self) -> Self {
        let readers = self.readers;
        self.with(C::ABOUT, Setting::Threads, move |plan| exchange::fan_out::<C, 64, DEPTH>(plan, readers))
    }

    fn processes<C: ProcessChannel<64, DEPTH>>(self) -> Self {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.with(C::ABOUT, Setting::Processes, move |plan| {
            process::one_way::<C, 64, DEPTH>(&folder, plan, readers)
        })
    }

    fn lossy_threads<C: Lossy<64, DEPTH>>(self, place: Place) -> Self {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.with(C::ABOUT, Setting::Threads, move |plan| {
            let folder = matches!(place, Place::SharedMemory).then(|| folder.channel("there"));
            let source = C::make(folder.as_ref().map(TempDir::path));
            exchange::observed::<C, 64, DEPTH>(source, plan, readers)
        })
    }

    fn lossy_processes<C: Lossy<64, DEPTH>>(self) -> Self {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.with(C::ABOUT, Setting::Processes, move |plan| {
            process::observed::<C, 64, DEPTH>(&folder, plan, readers)
        })
    }

    fn with(self, about: About, setting: Setting, run: impl Fn(&Plan) -> Sample + 'static) -> Self {
        let name = row_name(&about.title(), setting, false).replace("2 processes", "processes");
        Self { rows: self.rows.with(&name, setting, about.role, run), ..self }
    }

    /// Readers yield if there are more threads than cores, and a note says so.
    fn table(self, workload: &'static str, reader: &str) -> TableSpec {
        let readers = self.readers;
        let shares = move |cores: Cores| cores.of_readers(readers).1;
        let crowded = Cores::choose(None).is_ok_and(shares);
        let yielding = |row: RowSpec| {
            let alone = row.role == Role::Limit || row.name == NONE_ATTACHED;
            let run = move |plan: &Plan| {
                let _yielding = SharedCore::assume(shares(plan.cores));
                (row.run)(plan)
            };
            RowSpec { note: (crowded && !alone).then(|| CROWDED.to_owned()), run: Rc::new(run), ..row }
        };
        let plural = if readers == 1 { "" } else { "s" };
        let (key, at) = (format!("{workload}-{readers}"), readers as f64);
        let title = format!("Fan-out to {readers} {reader}{plural}, 64 bytes");
        let rows = self.rows.rows.into_iter().map(yielding).collect();
        TableSpec::new(workload, key, title, Unit::MillionPerSecond, at, rows)
    }
}
