//! What is measured, one file for each kind of workload. Each makes [`Contest`]s: tables whose rows are
//! the peers, ours, and the limits of the hardware.

use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::exchange;
use crate::message::steps_of_work;
use crate::method::{Contestant, Count, Load, Plan, Sample, Setting};
use crate::peers::{About, Channel, ProcessChannel, ProcessVisitor, Role, Visitor};
use crate::peers::{visit_processes, visit_threads};
use crate::process::{self, Folder};

mod attach;
mod deep;
pub(crate) mod fan_out;
pub(crate) mod latency;
pub(crate) mod memory;
mod parked;
mod published;
pub(crate) mod throughput;

/// Depth for messages of 64 KiB, so that a ring is not larger than with the others.
pub(crate) const SHALLOW: usize = 64;
/// Depth of a ring that no cache holds: 64 MiB of small messages.
pub(crate) const DEEP: usize = 1 << 20;

/// What a table counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Million messages a second: more is better.
    MillionPerSecond,
    /// Gibibytes of payload a second, of messages of that many bytes: more is better.
    GibibytesPerSecond(usize),
    /// Nanoseconds a round trip: less is better.
    RoundTrip,
    /// Percentiles of nanoseconds: less is better.
    Latency,
    /// Microseconds a call: less is better.
    Microseconds,
    /// Kibibytes: less is better.
    Kibibytes,
}

/// One table: contestants that take turns.
pub(crate) struct Contest {
    /// What `--only` knows it by.
    pub(crate) key: String,
    /// What `--workload` knows it and its like by.
    pub(crate) workload: &'static str,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// Where it stands among its like in a plot: bytes, readers, messages a second.
    pub(crate) at: f64,
    pub(crate) rows: Vec<Contestant>,
}

impl Contest {
    /// Whether a row is called something with `peer` in it. Limits stay where one is left to compare.
    pub(crate) fn with_peers(mut self, peers: &[String]) -> Option<Self> {
        if peers.is_empty() {
            return Some(self);
        }
        let wanted = |row: &Contestant| peers.iter().any(|peer| row.name.contains(peer.as_str()));
        if !self.rows.iter().any(wanted) {
            return None;
        }
        self.rows.retain(|row| wanted(row) || row.role == Role::Limit);
        Some(self)
    }
}

/// Everything that is measured, in the order of the report.
pub(crate) fn all() -> io::Result<Vec<Contest>> {
    let folder = Rc::new(Folder::new()?);
    let mut contests = Vec::new();
    contests.extend(throughput::by_size(&folder));
    contests.extend(throughput::working(&folder));
    contests.push(throughput::slow_consumer(&folder));
    contests.extend(latency::round_trips(&folder));
    contests.extend(latency::round_trips_on_time(&folder));
    contests.extend(latency::one_way(&folder));
    contests.extend(latency::bursts(&folder));
    contests.push(parked::wake_up(&folder));
    contests.extend(fan_out::all(&folder));
    contests.push(deep::deep(&folder));
    contests.extend(published::its_own());
    contests.extend(attach::all(&folder));
    contests.extend(memory::all(&folder));
    Ok(contests)
}

/// The workloads, for who wants to choose.
pub(crate) fn names(contests: &[Contest]) -> Vec<&'static str> {
    let mut names: Vec<_> = contests.iter().map(|contest| contest.workload).collect();
    names.dedup();
    names
}

/// Steps of work that take about so many nanoseconds.
fn steps(nanos: f64) -> u32 {
    steps_of_work(nanos)
}

/// What the messages of a row do.
trait Way<const N: usize, const D: usize>: 'static {
    fn threads<C: Channel<N, D>>(plan: &Plan) -> Sample;

    fn processes<C: ProcessChannel<N, D>>(folder: &Folder, plan: &Plan) -> Sample;
}

/// One way, as fast as they go.
struct There;
/// One way, each when it is due.
struct ThereOnTime;
/// There and back, one after the other.
struct Back;
/// There and back, each when it is due.
struct BackOnTime;

impl<const N: usize, const D: usize> Way<N, D> for There {
    fn threads<C: Channel<N, D>>(plan: &Plan) -> Sample {
        exchange::one_way::<C, N, D>(plan)
    }

    fn processes<C: ProcessChannel<N, D>>(folder: &Folder, plan: &Plan) -> Sample {
        process::one_way::<C, N, D>(folder, plan, 1)
    }
}

impl<const N: usize, const D: usize> Way<N, D> for ThereOnTime {
    fn threads<C: Channel<N, D>>(plan: &Plan) -> Sample {
        exchange::one_way_on_time::<C, N, D>(plan)
    }

    fn processes<C: ProcessChannel<N, D>>(folder: &Folder, plan: &Plan) -> Sample {
        process::one_way_on_time::<C, N, D>(folder, plan)
    }
}

impl<const N: usize, const D: usize> Way<N, D> for Back {
    fn threads<C: Channel<N, D>>(plan: &Plan) -> Sample {
        exchange::round_trip::<C, N, D>(plan)
    }

    fn processes<C: ProcessChannel<N, D>>(folder: &Folder, plan: &Plan) -> Sample {
        process::round_trip::<C, N, D>(folder, plan)
    }
}

impl<const N: usize, const D: usize> Way<N, D> for BackOnTime {
    fn threads<C: Channel<N, D>>(plan: &Plan) -> Sample {
        exchange::round_trip_on_time::<C, N, D>(plan)
    }

    fn processes<C: ProcessChannel<N, D>>(folder: &Folder, plan: &Plan) -> Sample {
        process::round_trip_on_time::<C, N, D>(folder, plan)
    }
}

/// Makes a row of each peer.
struct Rows<W, const N: usize, const D: usize> {
    folder: Rc<Folder>,
    load: Load,
    count: Count,
    /// Batch calls get rows of their own.
    batches: bool,
    /// Peers whose depth is the kernel's choice have rows.
    unsized_too: bool,
    rows: Vec<Contestant>,
    way: PhantomData<W>,
}

impl<W: Way<N, D>, const N: usize, const D: usize> Rows<W, N, D> {
    fn new(folder: &Rc<Folder>) -> Self {
        Self {
            folder: Rc::clone(folder),
            load: Load::default(),
            count: Count::Fitting,
            batches: false,
            unsized_too: true,
            rows: Vec::new(),
            way: PhantomData,
        }
    }

    /// On a schedule: bursts of that many messages, so many nanoseconds apart.
    fn due(self, burst: u64, every: u64) -> Self {
        Self { count: Count::Due, load: Load { every, burst, ..self.load }, ..self }
    }

    /// All peers between threads, and all between processes.
    fn everyone(mut self) -> Self {
        visit_threads::<N, D>(&mut self);
        visit_processes::<N, D>(&mut self);
        self
    }

    fn thread<C: Channel<N, D>>(mut self) -> Self {
        Visitor::visit::<C>(&mut self);
        self
    }

    fn process<C: ProcessChannel<N, D>>(mut self) -> Self {
        ProcessVisitor::visit::<C>(&mut self);
        self
    }

    fn limit(self, name: &str, run: impl Fn(&Plan) -> Sample + 'static) -> Self {
        self.raw(name, Role::Limit, run)
    }

    /// A row that is compared with nothing.
    fn extra(self, name: &str, run: impl Fn(&Plan) -> Sample + 'static) -> Self {
        self.raw(name, Role::Extra, run)
    }

    fn raw(mut self, name: &str, role: Role, run: impl Fn(&Plan) -> Sample + 'static) -> Self {
        let row = self.row(name.to_owned(), Setting::Threads, role, Rc::new(run));
        self.rows.push(row);
        self
    }

    fn row(
        &self,
        name: String,
        setting: Setting,
        role: Role,
        run: Rc<dyn Fn(&Plan) -> Sample>,
    ) -> Contestant {
        Contestant { name, setting, role, note: None, load: self.load, count: self.count, lap: D as u64, run }
    }

    fn add(&mut self, about: About, setting: Setting, run: Rc<dyn Fn(&Plan) -> Sample>) {
        if !about.sized && !self.unsized_too {
            return;
        }
        let row = self.row(name(about, setting, false), setting, about.role, Rc::clone(&run));
        self.rows.push(row);
        if let Some(calls) = about.batch.filter(|_| self.batches) {
            let row = self.row(name(about, setting, true), setting, about.role, run);
            let load = Load { batch: true, ..row.load };
            self.rows.push(Contestant { note: Some(calls.to_owned()), load, ..row });
        }
    }
}

/// The name of a row.
fn name(about: About, setting: Setting, batch: bool) -> String {
    row_name(&about.title(), setting, batch)
}

/// The name of a row of the peer with this title.
pub(crate) fn row_name(title: &str, setting: Setting, batch: bool) -> String {
    let mut name = title.to_owned();
    if batch {
        name += ", batches";
    }
    if setting == Setting::Processes {
        name += ", 2 processes";
    }
    name
}

impl<W: Way<N, D>, const N: usize, const D: usize> Visitor<N, D> for Rows<W, N, D> {
    fn visit<C: Channel<N, D>>(&mut self) {
        self.add(C::ABOUT, Setting::Threads, Rc::new(W::threads::<C>));
    }
}

impl<W: Way<N, D>, const N: usize, const D: usize> ProcessVisitor<N, D> for Rows<W, N, D> {
    fn visit<C: ProcessChannel<N, D>>(&mut self) {
        let folder = Rc::clone(&self.folder);
        self.add(C::ABOUT, Setting::Processes, Rc::new(move |plan| W::processes::<C>(&folder, plan)));
    }
}

/// A size in words: `64 bytes`, `4 KiB`.
fn bytes(size: usize) -> String {
    if size < 1024 { format!("{size} bytes") } else { format!("{} KiB", size / 1024) }
}

/// A rate in words: `10 000 a second`, `1 million a second`.
fn rate(every: u64, burst: u64) -> String {
    let rate = burst as f64 * 1e9 / every as f64;
    if rate >= 1e6 {
        format!("{} million a second", rate / 1e6)
    } else {
        format!("{:.0} thousand a second", rate / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{DEPTH, Peer};

    #[test]
    fn rates_and_sizes_in_words() {
        assert_eq!(rate(100_000, 1), "10 thousand a second");
        assert_eq!(rate(200, 1), "5 million a second");
        assert_eq!(bytes(64), "64 bytes");
        assert_eq!(bytes(4096), "4 KiB");
    }

    #[test]
    fn peers_are_chosen_by_name_and_limits_stay() {
        let contest = || Contest {
            key: "x".into(),
            workload: "x",
            title: String::new(),
            unit: Unit::RoundTrip,
            at: 0.0,
            rows: {
                let folder = Rc::new(Folder::new().expect("a private folder"));
                let raw = |_: &Plan| -> Sample { unreachable!("nothing is measured") };
                Rows::<There, 8, DEPTH>::new(&folder).limit("raw", raw).everyone().rows
            },
        };
        let all = contest().rows.len();
        assert_eq!(contest().with_peers(&[]).map(|contest| contest.rows.len()), Some(all));
        let some = contest().with_peers(&["rtrb".to_owned()]).expect("it is there");
        assert_eq!(some.rows.len(), 2);
        assert!(contest().with_peers(&["elsewhere".to_owned()]).is_none());
    }

    #[test]
    fn titles_are_unique_so_that_a_child_finds_its_peer() {
        struct Titles(Vec<String>);
        impl ProcessVisitor<8, DEPTH> for Titles {
            fn visit<C: ProcessChannel<8, DEPTH>>(&mut self) {
                self.0.push(<C as Peer>::ABOUT.title());
            }
        }
        let mut titles = Titles(Vec::new());
        visit_processes(&mut titles);
        let count = titles.0.len();
        titles.0.sort();
        titles.0.dedup();
        assert_eq!(titles.0.len(), count);
    }
}
