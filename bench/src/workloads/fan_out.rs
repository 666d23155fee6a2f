//! One producer and 1, 2, 4 or 8 readers, each of which gets every message, or observes what it can.
//! The figure is the producer's messages, not the sum over the readers. Peers that hand each message to
//! one reader only have no row, but for `rtrb` with a ring for each reader, which is what its users do.

use std::rc::Rc;

use super::{Contest, Unit, name};
use crate::exchange;
use crate::method::{Contestant, Cores, Count, Load, Plan, Sample, Setting, SharedCore};
use crate::peers::{
    About, DEPTH, Disruptor, FanOut, Iceoryx2, Lossy, Peer, ProcessChannel, Ringfire, RingfireLossy, Role,
    RtrbForEach, Tango, TangoObserver, unread,
};
use crate::process::{self, Folder};

const READERS: [usize; 4] = [1, 2, 4, 8];
/// What is noted about rows whose threads take turns.
pub(crate) const CROWDED: &str = "more threads than cores";
/// The row of a producer that nobody observes.
pub(crate) const NONE_ATTACHED: &str = "tango, none attached";

pub(super) fn all(folder: &Rc<Folder>) -> Vec<Contest> {
    let reliable = READERS.map(|readers| reliable(folder, readers));
    let observing = READERS.map(|readers| observing(folder, readers));
    reliable.into_iter().chain(observing).collect()
}

fn reliable(folder: &Rc<Folder>, readers: usize) -> Contest {
    let mut rows = Rows { folder: Rc::clone(folder), readers, rows: Vec::new() };
    rows.threads::<Tango>();
    rows.threads::<Disruptor>();
    rows.threads::<RtrbForEach>();
    rows.processes::<Tango>();
    rows.processes::<Ringfire>();
    rows.processes::<Iceoryx2>();
    Contest {
        key: format!("fan-out-{readers}"),
        workload: "fan-out",
        title: format!("Fan-out to {readers} reliable reader{}, 64 bytes", plural(readers)),
        unit: Unit::MillionPerSecond,
        at: readers as f64,
        rows: rows.rows,
    }
}

fn observing(folder: &Rc<Folder>, readers: usize) -> Contest {
    let mut rows = Rows { folder: Rc::clone(folder), readers, rows: Vec::new() };
    let name = format!("tango, {readers} attached, none reads");
    rows.add(name, Setting::Threads, Role::Limit, move |plan| unread::<64, DEPTH>(plan, readers));
    rows.add(NONE_ATTACHED.to_owned(), Setting::Threads, Role::Extra, |plan| unread::<64, DEPTH>(plan, 0));
    rows.lossy_threads::<TangoObserver>(Place::Heap);
    rows.lossy_threads::<RingfireLossy>(Place::Shared);
    rows.lossy_processes::<TangoObserver>();
    rows.lossy_processes::<RingfireLossy>();
    Contest {
        key: format!("fan-out-observers-{readers}"),
        workload: "fan-out-observers",
        title: format!("Fan-out to {readers} observer{}, 64 bytes", plural(readers)),
        unit: Unit::MillionPerSecond,
        at: readers as f64,
        rows: rows.rows,
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

struct Rows {
    folder: Rc<Folder>,
    readers: usize,
    rows: Vec<Contestant>,
}

enum Place {
    Heap,
    Shared,
}

impl Rows {
    fn threads<C: FanOut<64, DEPTH>>(&mut self) {
        let readers = self.readers;
        self.of(C::ABOUT, Setting::Threads, move |plan| exchange::fan_out::<C, 64, DEPTH>(plan, readers));
    }

    fn processes<C: ProcessChannel<64, DEPTH>>(&mut self) {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.of(C::ABOUT, Setting::Processes, move |plan| {
            process::one_way::<C, 64, DEPTH>(&folder, plan, readers)
        });
    }

    fn lossy_threads<C: Lossy<64, DEPTH>>(&mut self, place: Place) {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.of(<C as Peer>::ABOUT, Setting::Threads, move |plan| {
            let room = matches!(place, Place::Shared).then(|| folder.room("there"));
            let source = C::make(room.as_ref().map(process::Room::path));
            exchange::observed::<C, 64, DEPTH>(source, plan, readers)
        });
    }

    fn lossy_processes<C: Lossy<64, DEPTH>>(&mut self) {
        let (readers, folder) = (self.readers, Rc::clone(&self.folder));
        self.of(<C as Peer>::ABOUT, Setting::Processes, move |plan| {
            process::observed::<C, 64, DEPTH>(&folder, plan, readers)
        });
    }

    fn of(&mut self, about: About, setting: Setting, run: impl Fn(&Plan) -> Sample + 'static) {
        let mut name = name(about, setting, false);
        if setting == Setting::Processes {
            name = name.replace("2 processes", "processes");
        }
        self.add(name, setting, about.role, run);
    }

    fn add(&mut self, name: String, setting: Setting, role: Role, run: impl Fn(&Plan) -> Sample + 'static) {
        let readers = self.readers;
        let shares = move |cores: Cores| cores.of_readers(readers).1;
        let crowded = Cores::choose(None).is_ok_and(shares) && role != Role::Limit && name != NONE_ATTACHED;
        self.rows.push(Contestant {
            name,
            setting,
            role,
            note: crowded.then(|| CROWDED.to_owned()),
            load: Load::default(),
            count: Count::Fitting,
            lap: DEPTH as u64,
            run: Rc::new(move |plan| {
                let _yielding = SharedCore::assume(shares(plan.cores));
                run(plan)
            }),
        });
    }
}
