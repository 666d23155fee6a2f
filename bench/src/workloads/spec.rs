//! A table to be measured ([`TableSpec`]), and what makes its rows ([`Rows`]).

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::channel::{About, Channel, Peer, ProcessChannel, ProcessVisitor, Role, Visitor};
use crate::exchange;
use crate::peers::{visit_processes, visit_threads};
use crate::plan::{Load, RowId, Setting};
use crate::process;
use crate::rounds::{Child, Count, RowSpec, Run};

/// The unit of a table. The templates of the report have its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Million messages a second: more is better.
    MillionPerSecond,
    /// Gibibytes of payload a second, where the position of the table is the size of a message: more is better.
    GibibytesPerSecond,
    /// Nanoseconds a round trip: less is better.
    RoundTrip,
    /// Percentiles of nanoseconds: less is better.
    Latency,
    /// Microseconds a call: less is better.
    Microseconds,
    /// Kibibytes: less is better.
    Kibibytes,
}

impl Unit {
    /// As it stands behind a figure.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::MillionPerSecond => "M/s",
            Self::GibibytesPerSecond => "GiB/s",
            Self::RoundTrip | Self::Latency => "ns",
            Self::Microseconds => "µs",
            Self::Kibibytes => "KiB",
        }
    }
}

/// One table to be measured.
pub(crate) struct TableSpec {
    /// The name for `--workload`, which several tables share.
    pub(crate) workload: &'static str,
    /// The name for `--only`.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// The position of the table in a plot: bytes, readers, messages a second.
    pub(crate) at: f64,
    pub(crate) rows: Vec<RowSpec>,
}

impl TableSpec {
    pub(crate) fn new(
        workload: &'static str,
        key: impl Into<String>,
        title: impl Into<String>,
        unit: Unit,
        at: f64,
        rows: Vec<RowSpec>,
    ) -> Self {
        Self { workload, key: key.into(), title: title.into(), unit, at, rows }
    }

    /// Converts a figure, which is in nanoseconds or bytes, to the unit of the table.
    pub(crate) fn in_unit(&self, figure: f64) -> f64 {
        match self.unit {
            Unit::MillionPerSecond => 1e3 / figure,
            Unit::GibibytesPerSecond => self.at / figure * 1e9 / f64::from(1 << 30),
            Unit::RoundTrip | Unit::Latency => figure,
            Unit::Microseconds => figure / 1e3,
            Unit::Kibibytes => figure / 1024.0,
        }
    }

    /// Keeps the rows whose names contain one of `peers`, and bare rows. Returns `None` if only those are left.
    pub(crate) fn with_peers(mut self, peers: &[String]) -> Option<Self> {
        if peers.is_empty() {
            return Some(self);
        }
        let wanted = |row: &RowSpec| peers.iter().any(|peer| row.name.contains(peer.as_str()));
        if !self.rows.iter().any(wanted) {
            return None;
        }
        self.rows.retain(|row| wanted(row) || row.role == Role::Bare);
        Some(self)
    }
}

/// What a workload does with each channel, and what a child does meanwhile.
pub(super) trait Way<const N: usize, const D: usize>: 'static {
    fn threads<C: Channel<N, D>>() -> (Run, Child);

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child);
}

/// Messages one way.
pub(super) struct OneWay;
/// Messages there and back.
pub(super) struct RoundTrip;

impl<const N: usize, const D: usize> Way<N, D> for OneWay {
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        (exchange::one_way::<C, N, D>, None)
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        (process::one_way::<C, N, D>, Some(process::read::<C, N, D>))
    }
}

impl<const N: usize, const D: usize> Way<N, D> for RoundTrip {
    fn threads<C: Channel<N, D>>() -> (Run, Child) {
        (exchange::round_trip::<C, N, D>, None)
    }

    fn processes<C: ProcessChannel<N, D>>() -> (Run, Child) {
        (process::round_trip::<C, N, D>, Some(process::answer_all::<C, N, D>))
    }
}

/// Makes a row of each peer.
pub(super) struct Rows<W, const N: usize, const D: usize> {
    pub(super) load: Load,
    pub(super) count: Count,
    /// Messages that go round the ring once.
    pub(super) lap: u64,
    /// Whether batch calls have rows of their own.
    pub(super) batches: bool,
    pub(super) rows: Vec<RowSpec>,
    pub(super) way: PhantomData<W>,
}

impl<W: Way<N, D>, const N: usize, const D: usize> Rows<W, N, D> {
    pub(super) fn new() -> Self {
        let (load, count, lap) = (Load::default(), Count::Fitting, D as u64);
        Self { load, count, lap, batches: false, rows: Vec::new(), way: PhantomData }
    }

    /// Rows for something that is done `times`, without messages through the ring.
    pub(super) fn fixed(times: u64) -> Self {
        Self { count: Count::Fixed(times), lap: 0, ..Self::new() }
    }

    /// Rows on a schedule: bursts of this many messages, so many nanoseconds apart.
    pub(super) fn scheduled(burst: u64, every: u64) -> Self {
        Self { count: Count::Due, load: Load { every, burst, ..Load::default() }, ..Self::new() }
    }

    pub(super) fn all_threads(mut self) -> Self {
        visit_threads::<N, D>(&mut self);
        self
    }

    pub(super) fn all_processes(mut self) -> Self {
        visit_processes::<N, D>(&mut self);
        self
    }

    /// All peers between threads, and all between processes.
    pub(super) fn all(self) -> Self {
        self.all_threads().all_processes()
    }

    pub(super) fn thread<C: Channel<N, D>>(mut self) -> Self {
        Visitor::visit::<C>(&mut self);
        self
    }

    pub(super) fn process<C: ProcessChannel<N, D>>(mut self) -> Self {
        ProcessVisitor::visit::<C>(&mut self);
        self
    }

    /// A row of a peer between threads that is measured in a way of its own.
    pub(super) fn way<P: Peer>(mut self, run: Run) -> Self {
        self.add(P::ABOUT, Setting::Threads, (run, None));
        self
    }

    pub(super) fn bare(self, name: &str, run: Run) -> Self {
        self.with(name, Setting::Threads, Role::Bare, (run, None))
    }

    /// A row that is compared with nothing.
    pub(super) fn extra(self, name: &str, run: Run) -> Self {
        self.with(name, Setting::Threads, Role::Extra, (run, None))
    }

    /// Adds a row that is not one of the peers everywhere.
    pub(super) fn with(mut self, name: &str, setting: Setting, role: Role, way: (Run, Child)) -> Self {
        self.push(name.to_owned(), setting, About { role, ..About::unversioned("") }, way);
        self
    }

    /// Adds the row of a peer, and perhaps a second one with its batch calls.
    fn add(&mut self, about: About, setting: Setting, way: (Run, Child)) {
        self.push(row_name(&about.title(), setting, false), setting, about, way);
        if let Some(calls) = about.batch.filter(|_| self.batches) {
            let row = self.push(row_name(&about.title(), setting, true), setting, about, way);
            row.load.batch = true;
            row.note = Some(calls.to_owned());
        }
    }

    fn push(
        &mut self,
        name: String,
        setting: Setting,
        about: About,
        (run, child): (Run, Child),
    ) -> &mut RowSpec {
        let About { role, sized, .. } = about;
        let (load, count, lap, id) = (self.load, self.count, self.lap, RowId::default());
        self.rows.push(RowSpec { name, setting, role, sized, note: None, load, count, lap, child, run, id });
        self.rows.last_mut().expect("it was just pushed")
    }
}

impl<W: Way<N, D>, const N: usize, const D: usize> Visitor<N, D> for Rows<W, N, D> {
    fn visit<C: Channel<N, D>>(&mut self) {
        self.add(C::ABOUT, Setting::Threads, W::threads::<C>());
    }
}

impl<W: Way<N, D>, const N: usize, const D: usize> ProcessVisitor<N, D> for Rows<W, N, D> {
    fn visit<C: ProcessChannel<N, D>>(&mut self) {
        self.add(C::ABOUT, Setting::Processes, W::processes::<C>());
    }
}

/// The name of the row of the peer with this title.
pub(super) fn row_name(title: &str, setting: Setting, batch: bool) -> String {
    let batches = if batch { ", batches" } else { "" };
    let processes = if setting == Setting::Processes { ", 2 processes" } else { "" };
    format!("{title}{batches}{processes}")
}

/// A size in words: `64 bytes`, `4 KiB`.
pub(super) fn bytes(size: usize) -> String {
    if size < 1024 { format!("{size} bytes") } else { format!("{} KiB", size / 1024) }
}

/// The rate of one message `every` so many nanoseconds, in words: `10 thousand a second`.
pub(super) fn rate(every: u64) -> String {
    match 1e9 / every as f64 {
        rate if rate >= 1e6 => format!("{} million a second", rate / 1e6),
        rate => format!("{:.0} thousand a second", rate / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::DEPTH;

    #[test]
    fn rates_and_sizes_in_words() {
        assert_eq!(rate(100_000), "10 thousand a second");
        assert_eq!(rate(200), "5 million a second");
        assert_eq!(bytes(64), "64 bytes");
        assert_eq!(bytes(4096), "4 KiB");
    }

    #[test]
    fn peers_are_chosen_by_name_and_bare_rows_stay() {
        let table = || {
            let run: Run = |_| unreachable!("nothing is measured");
            let rows = Rows::<OneWay, 8, DEPTH>::new().bare("bare", run).all().rows;
            TableSpec::new("x", "x", "", Unit::RoundTrip, 0.0, rows)
        };
        let all = table().rows.len();
        assert_eq!(table().with_peers(&[]).map(|table| table.rows.len()), Some(all));
        let some = table().with_peers(&["rtrb".to_owned()]).expect("it is there");
        assert_eq!(some.rows.len(), 2);
        assert!(table().with_peers(&["elsewhere".to_owned()]).is_none());
    }
}
