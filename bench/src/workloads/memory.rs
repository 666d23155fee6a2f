//! Memory that a channel takes once messages have been all the way round: pages of a process that has
//! done nothing else, so what is reserved and never touched does not count.

use std::path::Path;
use std::rc::Rc;

use super::{Contest, Unit, name};
use crate::message::{Source, is_right};
use crate::method::{Contestant, Count, Load, Sample, Setting, Span};
use crate::peers::{
    About, Channel, DEPTH, Peer, ProcessChannel, ProcessVisitor, Receiver, Role, Sender, Visitor,
};
use crate::peers::{visit_processes, visit_threads};
use crate::process::{self, Folder};

pub(super) fn all(folder: &Rc<Folder>) -> Vec<Contest> {
    vec![of_size::<64>(folder), of_size::<1024>(folder)]
}

fn of_size<const N: usize>(folder: &Rc<Folder>) -> Contest {
    let mut rows = Rows::<N> { folder: Rc::clone(folder), rows: Vec::new() };
    visit_threads::<N, DEPTH>(&mut rows);
    visit_processes::<N, DEPTH>(&mut rows);
    Contest {
        key: format!("memory-{N}"),
        workload: "memory",
        title: format!("Memory of a channel, {}, ring of {DEPTH}", super::bytes(N)),
        unit: Unit::Kibibytes,
        at: N as f64,
        rows: rows.rows,
    }
}

struct Rows<const N: usize> {
    folder: Rc<Folder>,
    rows: Vec<Contestant>,
}

impl<const N: usize> Rows<N> {
    fn add<P: Peer>(&mut self, setting: Setting) {
        let about: About = P::ABOUT;
        let folder = Rc::clone(&self.folder);
        self.rows.push(Contestant {
            name: name(about, setting, false),
            setting,
            // What the kernel holds is not seen, so it is not comparable.
            role: if about.sized { about.role } else { Role::Extra },
            note: (!about.sized).then(|| "the kernel's memory is not seen".to_owned()),
            load: Load::default(),
            count: Count::Fixed(1),
            lap: 0,
            run: Rc::new(move |plan| {
                let room = folder.room("there");
                process::memory::<P>(N, setting == Setting::Processes, &room, plan)
            }),
        });
    }
}

impl<const N: usize> Visitor<N, DEPTH> for Rows<N> {
    fn visit<C: Channel<N, DEPTH>>(&mut self) {
        self.add::<C>(Setting::Threads);
    }
}

impl<const N: usize> ProcessVisitor<N, DEPTH> for Rows<N> {
    fn visit<C: ProcessChannel<N, DEPTH>>(&mut self) {
        self.add::<C>(Setting::Processes);
    }
}

/// In the child: the memory of the channel between threads that has this title.
pub(crate) fn of_threads<const N: usize, const D: usize>(title: &str) -> Sample {
    struct Find<'a>(&'a str, Option<Sample>);
    impl<const N: usize, const D: usize> Visitor<N, D> for Find<'_> {
        fn visit<C: Channel<N, D>>(&mut self) {
            if C::ABOUT.title() == self.0 {
                let mut growth = Growth::default();
                one_more::<C, N, D>(&mut growth);
                self.1 = Some(growth.of_one());
            }
        }
    }
    let mut find = Find(title, None);
    visit_threads::<N, D>(&mut find);
    find.1.unwrap_or_else(|| panic!("no peer is called {title}"))
}

/// One more channel, and the others while it lives.
fn one_more<C: Channel<N, D>, const N: usize, const D: usize>(growth: &mut Growth) {
    let mut storage = C::storage();
    let (mut tx, mut rx) = C::split(&mut storage);
    growth.goes_on(lap::<N>(&mut tx, &mut rx, D));
    if growth.resident.len() < CHANNELS {
        one_more::<C, N, D>(growth);
    }
}

/// In the child: the memory of a channel in shared memory, with both sides in this process.
pub(crate) fn of_processes<C: ProcessChannel<N, D>, const N: usize, const D: usize>(room: &Path) -> Sample {
    let mut growth = Growth::default();
    let mut alive = Vec::new();
    while growth.resident.len() < CHANNELS {
        let folder = room.join(alive.len().to_string());
        std::fs::create_dir(&folder).expect("the folder is ours");
        let pending = C::create(&folder, 1);
        let mut rx = C::attach(&folder);
        let mut tx = C::connect(pending);
        growth.goes_on(lap::<N>(&mut tx, &mut rx, D));
        alive.push((tx, rx));
    }
    growth.of_one()
}

/// Channels that are made one after the other, and live until the last has been measured: memory that one
/// gives back would be taken by the next.
const CHANNELS: usize = 5;

/// How the memory of this process grows with the number of channels in it.
#[derive(Default)]
struct Growth {
    /// Bytes once each of them has been gone round.
    resident: Vec<f64>,
    wrong: u64,
}

impl Growth {
    fn goes_on(&mut self, wrong: u64) {
        self.resident.push(resident());
        self.wrong += wrong;
    }

    /// What each took but the first two: the first brings in the code, the stack, and the allocator's own, and
    /// the first look at the memory brings in code of its own.
    fn of_one(&self) -> Sample {
        let bytes = (self.resident[CHANNELS - 1] - self.resident[1]) / (CHANNELS - 2) as f64;
        let span = Span { nanos: 1.0, on_core: 1.0 };
        Sample { figure: bytes.max(0.0), ..Sample::window(1, span, self.wrong) }
    }
}

/// Goes a little more than round the ring, one message at a time.
fn lap<const N: usize>(tx: &mut impl Sender<N>, rx: &mut impl Receiver<N>, depth: usize) -> u64 {
    let mut source = Source::new();
    let mut wrong = 0;
    for number in 0..(depth + depth / 8) as u64 {
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
    }
    wrong
}

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux says it");
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .expect("it is among them");
    kibibytes * 1024.0
}
