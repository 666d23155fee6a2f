//! What it costs to make a channel, and to join one that is there.

use std::rc::Rc;
use std::time::Instant;

use super::{Contest, Unit, name};
use crate::method::{Contestant, Count, Load, Plan, Sample, Setting, Span};
use crate::peers::{
    Channel, DEPTH, Lossy, ProcessChannel, ProcessVisitor, RingfireLossy, TangoObserver, Visitor,
};
use crate::peers::{visit_processes, visit_threads};
use crate::process::Folder;

/// How often it is done for a sample.
const TIMES: u64 = 16;

pub(super) fn all(folder: &Rc<Folder>) -> Vec<Contest> {
    let rows = |what| Rows { folder: Rc::clone(folder), what, rows: Vec::new() };
    let contest = |key: &str, title: &str, what| {
        let mut rows = rows(what);
        if what == What::Make {
            visit_threads::<64, DEPTH>(&mut rows);
        }
        visit_processes::<64, DEPTH>(&mut rows);
        if what == What::Join {
            rows.observer::<TangoObserver>();
            rows.observer::<RingfireLossy>();
        }
        Contest {
            key: key.into(),
            workload: "attach",
            title: title.into(),
            unit: Unit::Microseconds,
            at: 0.0,
            rows: rows.rows,
        }
    };
    vec![
        contest("attach-make", "Making a channel, 64 bytes, ring of 1024", What::Make),
        contest("attach-join", "Joining a channel in shared memory as a reader", What::Join),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Make,
    Join,
}

struct Rows {
    folder: Rc<Folder>,
    what: What,
    rows: Vec<Contestant>,
}

impl Rows {
    fn add(
        &mut self,
        name: String,
        setting: Setting,
        role: crate::peers::Role,
        once: impl Fn() -> f64 + 'static,
    ) {
        self.rows.push(Contestant {
            name,
            setting,
            role,
            note: None,
            load: Load::default(),
            count: Count::Fixed(TIMES),
            lap: 0,
            run: Rc::new(move |plan: &Plan| -> Sample {
                let nanos = (0..plan.count).map(|_| once()).sum();
                // The kernel may let it wait, for example for a lock.
                Sample::window(plan.count, Span { nanos, on_core: 1.0 }, 0)
            }),
        });
    }
}

impl Rows {
    /// Joining as a reader that the maker does not know of.
    fn observer<C: Lossy<64, DEPTH>>(&mut self) {
        let folder = Rc::clone(&self.folder);
        let name = name(C::ABOUT, Setting::Processes, false);
        self.add(name, Setting::Processes, C::ABOUT.role, move || {
            let room = folder.room("there");
            let source = C::make(Some(room.path()));
            let start = Instant::now();
            let rx = C::attach(room.path());
            let nanos = start.elapsed().as_nanos() as f64;
            drop((rx, source));
            nanos
        });
    }
}

impl Visitor<64, DEPTH> for Rows {
    fn visit<C: Channel<64, DEPTH>>(&mut self) {
        self.add(name(C::ABOUT, Setting::Threads, false), Setting::Threads, C::ABOUT.role, || {
            let start = Instant::now();
            let mut storage = C::storage();
            let halves = C::split(&mut storage);
            let nanos = start.elapsed().as_nanos() as f64;
            drop(halves);
            nanos
        });
    }
}

impl ProcessVisitor<64, DEPTH> for Rows {
    fn visit<C: ProcessChannel<64, DEPTH>>(&mut self) {
        let (folder, what) = (Rc::clone(&self.folder), self.what);
        let name = name(C::ABOUT, Setting::Processes, false);
        self.add(name, Setting::Processes, C::ABOUT.role, move || {
            let room = folder.room("there");
            let start = Instant::now();
            let pending = C::create(room.path(), 1);
            let made = start.elapsed();
            let rx = C::attach(room.path());
            let joined = start.elapsed() - made;
            drop((rx, C::connect(pending)));
            if what == What::Make { made.as_nanos() as f64 } else { joined.as_nanos() as f64 }
        });
    }
}
