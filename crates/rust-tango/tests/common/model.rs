//! A simple model of a link: the list of published fragments, and the position of each reader in it. [`run`]
//! applies the same operations to a link on the heap and to the model, on one thread, and compares everything
//! visible.
//!
//! The model implements the promises, with numbers that do not wrap:
//!
//! - Fragment `n` is refused if and only if it needs a line or granules of a fragment that some consumer has
//!   not released, or if all credits are in use.
//! - A consumer gets every fragment from its start, in order, byte by byte.
//! - Every reader learns of each run of numbers that were left out, once.
//! - An observer gets every intact fragment, and learns how many others it has missed.
//!
//! The property tests and the fuzz target `operations` use it. `model/readers.rs` has what readers do.

#[path = "model/readers.rs"]
mod readers;

use rust_tango::{Consumer, Link, LinkErrorKind, Producer, TangoError};

const GRANULE: usize = 64;
const META: usize = 32;

/// The sizes of a link, derived from arbitrary small numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    depth: usize,
    mtu: usize,
    slot: usize,
    /// Bytes of the region beyond one payload of the MTU; `None`: the builder's default size.
    region: Option<usize>,
    consumers: usize,
    credits: u64,
    start: u64,
}

impl Shape {
    /// Turns arbitrary numbers into sizes that the builder accepts.
    pub(crate) fn from_numbers(numbers: [u8; 6], start: u64) -> Self {
        let [depth, mtu, slot, region, consumers, credits] = numbers;
        let depth = 2 << (depth % 4);
        let mtu = [0, 8, 96, 97, 200, 500][mtu as usize % 6];
        Self {
            depth,
            mtu,
            slot: 128 << (slot % 2),
            region: (region % 8 != 7).then_some((region as usize % 8) * 3 * GRANULE),
            consumers: consumers as usize % 4,
            credits: 1 + u64::from(credits) % depth as u64,
            // Near the wrap more often than not.
            start: if start % 4 == 0 { start } else { 0_u64.wrapping_sub(start % 40) },
        }
    }

    fn in_slot(&self) -> usize {
        self.mtu.min(self.slot - META)
    }

    fn link(&self) -> Link {
        let Self { depth, mtu, slot, region, consumers, credits, start } = *self;
        let builder = Link::builder().depth(depth).mtu(mtu).slot(slot).consumers(consumers);
        let builder = match region {
            Some(more) => builder.region(mtu.next_multiple_of(GRANULE) + more),
            None => builder,
        };
        builder.credits(credits).start(start).build().unwrap()
    }
}

/// Which operation, on which reader, and an amount whose meaning depends on the operation.
pub(crate) type Operation = (u8, u8, u16);

/// A published fragment, or a number that was left out.
#[derive(Debug, Clone, Copy)]
struct Record {
    len: usize,
    sig: u64,
    ctl: u16,
    ts: u32,
    /// Virtual position of its first granule, if it has any.
    position: Option<u64>,
    /// It is none: the producer has left the number out.
    is_left_out: bool,
}

impl Record {
    fn byte(&self, number: u64, at: usize) -> u8 {
        (number as usize).wrapping_mul(31).wrapping_add(at.wrapping_mul(7)) as u8
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        (0..self.len).map(|at| self.byte(number, at)).collect()
    }
}

struct Reader {
    rx: Consumer<'static>,
    /// The producer waits for it.
    holds: bool,
    /// It reads in place.
    lends: bool,
    /// The next fragment that it reads, counted from the start of the link.
    at: u64,
    /// It has released everything before this.
    released: u64,
    /// Fragments lost before it joined and not reported yet.
    missed: u64,
    /// Consecutive overruns while nothing was published.
    overruns: u32,
    /// `next` and `oldest` of the model at the last overrun.
    overrun_at: (u64, u64),
}

struct Model {
    shape: Shape,
    /// In granules.
    region: u64,
    link: Link,
    tx: Option<Producer<'static>>,
    readers: Vec<Reader>,
    published: Vec<Record>,
    /// Everything before this is overwritten.
    oldest: u64,
    /// Everything before this was released when the producer last checked its consumers.
    floor: u64,
    /// Virtual position of the next payload.
    head: u64,
    /// The last producer has ended and no new one has come.
    closed: bool,
    stopped: bool,
}

/// What a run has met, so that a test can check that the runs were not vacuous.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Fragments that were published.
    pub(crate) published: u64,
    /// Publishing calls refused for lack of credits.
    pub(crate) refused: u64,
    /// Fragments that were read and compared.
    pub(crate) read: u64,
    /// Overruns that readers reported.
    pub(crate) overruns: u64,
    /// Runs of numbers that were left out, as readers reported them.
    pub(crate) gaps: u64,
}

/// Applies all operations to a link and to its model.
///
/// # Panics
/// If the link and the model differ.
pub(crate) fn run(shape: Shape, operations: impl IntoIterator<Item = Operation>) -> Seen {
    let link = shape.link();
    let mut model = Model {
        region: link.geometry().region as u64 / GRANULE as u64,
        tx: Some(link.producer().unwrap()),
        link,
        shape,
        readers: Vec::new(),
        published: Vec::new(),
        oldest: 0,
        floor: 0,
        head: 0,
        closed: false,
        stopped: false,
    };
    let mut seen = Seen::default();
    for (what, which, amount) in operations {
        model.step(what, which.into(), amount.into(), &mut seen);
        model.compare();
    }
    model.read_the_rest(&mut seen);
    seen
}

impl Model {
    fn next(&self) -> u64 {
        self.published.len() as u64
    }

    fn seq(&self, number: u64) -> u64 {
        self.shape.start.wrapping_add(number)
    }

    fn step(&mut self, what: u8, which: usize, amount: usize, seen: &mut Seen) {
        let reader = which.checked_rem(self.readers.len());
        match what % 20 {
            0..=5 => self.publish(amount, seen),
            6 => self.loan(amount, Some(amount / 7), seen),
            7 => self.loan(amount, None, seen),
            8 => self.publish_batch(amount, seen),
            9 => self.join(which, amount),
            10 | 11 => self.with(reader, |model, at| model.poll(at, seen, false)),
            12 => self.with(reader, |model, at| model.poll(at, seen, true)),
            13 => self.with(reader, |model, at| model.hold(at, amount, seen)),
            14 | 15 => self.with(reader, |model, at| model.poll_batch(at, amount % 24, seen)),
            16 => self.with(reader, |model, at| model.poll_if(at, amount as u64 % 5, seen)),
            17 => self.with(reader, |model, at| drop(model.readers.swap_remove(at))),
            18 => self.change_producer(),
            _ if amount % 16 == 0 => {
                self.link.stop().unwrap();
                self.stopped = true;
            }
            _ if amount % 2 == 1 => self.leave_out(amount / 2),
            _ => self.with(reader, |model, at| model.wait(at, seen)),
        }
    }

    fn with(&mut self, reader: Option<usize>, act: impl FnOnce(&mut Self, usize)) {
        if let Some(at) = reader {
            act(self, at);
        }
    }

    /// Where a payload of `len` bytes goes, and the newest fragment that it overwrites.
    fn placement(&self, len: usize) -> (Option<u64>, Option<u64>) {
        if len <= self.shape.in_slot() {
            return (None, None);
        }
        let granules = len.div_ceil(GRANULE) as u64;
        let left = self.region - self.head % self.region;
        let start = if granules <= left { self.head } else { self.head + left };
        let living = self.oldest.max((self.next() + 1).saturating_sub(self.shape.depth as u64))..self.next();
        let is_overwritten = |number: &u64| {
            let position = self.published[*number as usize].position;
            position.is_some_and(|position| start + granules - position > self.region)
        };
        (Some(start), living.rev().find(is_overwritten))
    }

    /// Whether the next fragment, which overwrites `victim`, has credits. Checks the consumers only if
    /// necessary.
    fn has_credit(&mut self, victim: Option<u64>) -> bool {
        let next = self.next();
        let allowed =
            |floor: u64| next < floor + self.shape.credits && victim.is_none_or(|victim| victim < floor);
        if !allowed(self.floor) {
            let demands = self.readers.iter().filter(|reader| reader.holds).map(|reader| reader.released);
            self.floor = demands.fold(next, u64::min).max(self.floor);
        }
        allowed(self.floor)
    }

    /// The next fragment has claimed its line and granules: what lay there is overwritten.
    fn make_room(&mut self, victim: Option<u64>) {
        let by_line = (self.next() + 1).saturating_sub(self.shape.depth as u64);
        self.oldest = self.oldest.max(by_line);
        if let Some(victim) = victim {
            self.oldest = self.oldest.max(victim + 1);
        }
    }

    fn record(&self, len: usize, position: Option<u64>) -> Record {
        let number = self.next();
        Record { len, sig: number * 3, ctl: number as u16, ts: !number as u32, position, is_left_out: false }
    }

    fn take(&mut self, record: Record, granules: usize) {
        if let Some(position) = record.position {
            self.head = position + granules as u64;
        }
        self.published.push(record);
    }

    fn publish(&mut self, amount: usize, seen: &mut Seen) {
        let len = amount % (self.shape.mtu + 3);
        let (position, victim) = if len <= self.shape.mtu { self.placement(len) } else { (None, None) };
        let record = self.record(len, position);
        let number = self.next();
        let Some(tx) = &self.tx else { return };
        assert_eq!(tx.next_seq(), self.seq(number));
        let bytes = record.bytes(number);
        let done = tx.publish(&bytes, record.sig, record.ctl, record.ts);
        if self.stopped {
            assert_eq!(done, Err(TangoError::Closed));
        } else if len > self.shape.mtu {
            assert_eq!(done, Err(TangoError::TooLarge { size: len, max: self.shape.mtu }));
        } else if self.has_credit(victim) {
            let meta = done.unwrap();
            assert_eq!((meta.seq, meta.size as usize), (self.seq(number), len));
            self.make_room(victim);
            self.take(record, len.div_ceil(GRANULE));
            seen.published += 1;
        } else {
            assert!(matches!(done, Err(TangoError::NoCredits)), "{done:?}: there were no credits");
            seen.refused += 1;
        }
    }

    /// Loans a payload, fills it, and then commits a part of it or nothing.
    fn loan(&mut self, amount: usize, truncate: Option<usize>, seen: &mut Seen) {
        let len = amount % (self.shape.mtu + 1);
        let (position, victim) = self.placement(len);
        let number = self.next();
        let kept = truncate.map_or(len, |kept| kept.min(len));
        let record = self.record(kept, position);
        let Some(mut tx) = self.tx.take() else { return };
        let lent = tx.loan(len).map(|mut loan| {
            let bytes = record.bytes(number);
            let (first, second) = bytes.split_at(kept / 3);
            loan.write_at(first.len(), second);
            loan.write_at(0, first);
            loan.truncate(kept);
            if truncate.is_some() {
                assert_eq!(loan.commit(record.sig, record.ctl, record.ts).unwrap().size as usize, kept);
            }
        });
        self.tx = Some(tx);
        if self.stopped {
            assert_eq!(lent, Err(TangoError::Closed));
            return;
        }
        if !self.has_credit(victim) {
            assert!(matches!(lent, Err(TangoError::NoCredits)));
            seen.refused += 1;
            return;
        }
        lent.unwrap();
        self.make_room(victim);
        if truncate.is_some() {
            self.take(record, len.div_ceil(GRANULE));
            seen.published += 1;
        }
    }

    fn publish_batch(&mut self, amount: usize, seen: &mut Seen) {
        let Some(tx) = self.tx.take() else { return };
        let lens: Vec<usize> = (0..amount % 12).map(|at| (amount + at * 61) % (self.shape.mtu + 1)).collect();
        let first = self.next();
        let sig = 7_u64;
        let all: Vec<Vec<u8>> = lens
            .iter()
            .zip(first..)
            .map(|(len, number)| Record { len: *len, ..self.record(0, None) }.bytes(number))
            .collect();
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let count = tx.publish_batch_at(&all, sig, 9, 11);
        self.tx = Some(tx);
        if self.stopped {
            assert_eq!(count, 0);
            return;
        }
        for (at, len) in lens.into_iter().enumerate() {
            let (position, victim) = self.placement(len);
            if !self.has_credit(victim) {
                assert_eq!(count, at, "a batch ends where the credits end");
                seen.refused += 1;
                return;
            }
            self.make_room(victim);
            self.take(
                Record { len, sig, ctl: 9, ts: 11, position, is_left_out: false },
                len.div_ceil(GRANULE),
            );
            seen.published += 1;
        }
        assert_eq!(count, amount % 12);
    }

    /// Leaves out numbers, as many as have credits.
    fn leave_out(&mut self, amount: usize) {
        let Some(tx) = self.tx.take() else { return };
        let wanted = amount as u64 % 12;
        let count = tx.skip(wanted);
        self.tx = Some(tx);
        let mut expected = 0;
        while !self.stopped && expected < wanted && self.has_credit(None) {
            self.make_room(None);
            self.take(Record { is_left_out: true, ..self.record(0, None) }, 0);
            expected += 1;
        }
        assert_eq!(count, expected, "as many as there are credits");
    }

    /// Drops the producer, or makes a new one, which continues at the end of the ring.
    fn change_producer(&mut self) {
        if self.tx.take().is_some() {
            self.closed = true;
            return;
        }
        self.tx = Some(self.link.producer().unwrap());
        assert_eq!(self.link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
        self.closed = false;
        self.floor = self.oldest;
        // The new producer derives the payload position from the intact payloads and their real lengths.
        let living = self.published.iter().skip(self.oldest as usize);
        let mut placed =
            living.filter(|record| record.len > 0).filter_map(|record| Some((record, record.position?)));
        self.head =
            placed.next_back().map_or(0, |(record, position)| position + record.len.div_ceil(GRANULE) as u64);
    }

    /// Compares everything that can be observed without a change.
    fn compare(&self) {
        let status = self.link.status();
        assert_eq!((status.start, status.next), (self.shape.start, self.seq(self.next())));
        assert_eq!((status.stopped, status.closed), (self.stopped, self.closed));
        let mut lags: Vec<u64> = status.consumers.iter().map(|consumer| consumer.lag).collect();
        let holders = || self.readers.iter().filter(|reader| reader.holds);
        let mut expected: Vec<u64> =
            holders().map(|reader| self.next().saturating_sub(reader.released)).collect();
        lags.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lags, expected);
        if let Some(tx) = &self.tx {
            assert_eq!(tx.consumers(), expected.len());
            assert_eq!(tx.is_drained(), holders().all(|reader| reader.released >= self.next()));
        }
        for (at, reader) in self.readers.iter().enumerate() {
            assert_eq!(reader.rx.next_seq(), self.seq(reader.at));
            let is_over = (self.stopped || self.closed) && self.expect(at) == Ok(false);
            assert_eq!(reader.rx.is_closed(), is_over, "reader at {} of {}", reader.at, self.next());
        }
    }
}
