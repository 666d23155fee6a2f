//! What readers do to a link and to its model.

use std::collections::VecDeque;
use std::time::Duration;

use rust_tango::{Fragment, LinkErrorKind, Start, TangoError};

use super::{META, Model, Reader, Record, Seen};

impl Model {
    pub(super) fn join(&mut self, which: usize, amount: usize) {
        if self.readers.len() >= 6 {
            return;
        }
        let next = self.next();
        let shown = self.oldest.max(next.saturating_sub(self.shape.depth as u64));
        let (start, at) = match amount % 4 {
            0 => (Start::Next, next),
            1 => (Start::Oldest, shown),
            _ => {
                let at = next.saturating_sub(amount as u64 / 4 % 20) + amount as u64 / 80 % 4;
                (Start::At(self.seq(at)), at)
            }
        };
        let (holds, lends) = [(true, true), (true, true), (true, false), (false, false)][which % 4];
        let joined = match (holds, lends) {
            (true, true) => self.link.consumer_from(start),
            (true, false) => self.link.evictable_consumer(start),
            _ => self.link.observer_from(start),
        };
        let free = self.readers.iter().filter(|reader| reader.holds).count() < self.shape.consumers;
        if holds && !free {
            assert_eq!(joined.unwrap_err().kind(), LinkErrorKind::Taken);
            return;
        }
        // A consumer starts at or after the producer's floor, and reports what it missed by that.
        let joined_at = if holds { at.max(self.floor) } else { at };
        let missed = if matches!(start, Start::At(_)) { joined_at - at } else { 0 };
        let rx = joined.unwrap();
        self.readers.push(Reader {
            rx,
            holds,
            lends,
            at: joined_at,
            released: joined_at,
            missed,
            overruns: 0,
            overrun_at: (0, 0),
        });
    }

    /// How many numbers from this one on were left out, as far as one lap.
    fn run_from(&self, number: u64) -> u64 {
        let records = self.published.iter().skip(number as usize).take(self.shape.depth);
        records.take_while(|record| record.is_left_out).count() as u64
    }

    /// What a read must return: `Err` for a loss, otherwise whether there is a fragment.
    pub(super) fn expect(&self, at: usize) -> Result<bool, ()> {
        let reader = &self.readers[at];
        let is_gone = reader.at < self.oldest && reader.at < self.next();
        if reader.missed > 0 || is_gone || self.run_from(reader.at) > 0 {
            return Err(());
        }
        Ok(reader.at < self.next())
    }

    /// Checks the report of a loss, and moves the reader to where the report says.
    fn lost(&mut self, at: usize, error: TangoError, seen: &mut Seen) {
        let (start, next, oldest) = (self.shape.start, self.next(), self.oldest);
        let run = self.run_from(self.readers[at].at);
        let reader = &mut self.readers[at];
        let TangoError::Overrun { lost, next: continues_at } = error else { panic!("{error:?}") };
        let continues_at = continues_at.wrapping_sub(start);
        if reader.missed > 0 {
            assert_eq!(
                (lost, continues_at),
                (reader.missed, reader.at),
                "fragments that were lost before it joined"
            );
            reader.missed = 0;
            seen.overruns += 1;
            return;
        }
        if run > 0 && reader.at >= oldest {
            assert_eq!((lost, continues_at), (run, reader.at + run), "numbers that were left out");
            reader.at = continues_at;
            reader.released = continues_at;
            reader.overruns = 0;
            seen.gaps += 1;
            return;
        }
        seen.overruns += 1;
        assert!(!reader.holds, "a consumer that the producer waits for has lost {lost}");
        assert_eq!(reader.at + lost, continues_at);
        assert!(lost > 0 && continues_at <= next, "continues at {continues_at}, which is after {next}");
        assert!(continues_at >= oldest, "continues at {continues_at}, but {oldest} is the oldest intact one");
        reader.at = continues_at;
        let now = (next, oldest);
        reader.overruns =
            if std::mem::replace(&mut reader.overrun_at, now) == now { reader.overruns + 1 } else { 1 };
        assert!(reader.overruns <= 4, "overrun again and again although nobody publishes");
    }

    fn compare_fragment(&self, fragment: &Fragment<'_>, number: u64) {
        compare_fragment(&self.published, self.shape.start, fragment, number);
    }

    /// Reads a fragment. With `forget`, leaks its payload, which delays the credit.
    pub(super) fn poll(&mut self, at: usize, seen: &mut Seen, forget: bool) {
        let expected = self.expect(at);
        let (published, start) = (&self.published, self.shape.start);
        let reader = &mut self.readers[at];
        let found = reader.rx.poll().map(|found| {
            found.is_some_and(|fragment| {
                assert_eq!(expected, Ok(true), "fragment {} was not expected", fragment.meta.seq);
                compare_fragment(published, start, &fragment, reader.at);
                if forget {
                    std::mem::forget(fragment);
                }
                true
            })
        });
        match found {
            Ok(true) => {
                reader.at += 1;
                if !(forget && reader.lends) {
                    reader.released = reader.at;
                }
                reader.overruns = 0;
                seen.read += 1;
            }
            Ok(false) => {
                assert_eq!(expected, Ok(false));
                reader.released = reader.at;
            }
            Err(error) => {
                assert_eq!(expected, Err(()), "{error}");
                self.lost(at, error, seen);
            }
        }
    }

    /// Holds a fragment while others are published. Its content must not change.
    pub(super) fn hold(&mut self, at: usize, amount: usize, seen: &mut Seen) {
        if self.expect(at) != Ok(true) {
            return;
        }
        let mut reader = self.readers.swap_remove(at);
        let number = reader.at;
        let fragment = reader.rx.poll().unwrap().unwrap();
        self.compare_fragment(&fragment, number);
        // In the model, a stand-in without this fragment's release takes its place meanwhile.
        let stand_in = reader.holds.then(|| if reader.lends { reader.released } else { number + 1 });
        let held = self.with_demand(stand_in, |model| {
            for more in 0..amount % 5 {
                model.publish(amount + more * 41, seen);
            }
        });
        self.compare_fragment(&fragment, number);
        drop(fragment);
        let _ = held;
        reader.at += 1;
        reader.released = reader.at;
        reader.overruns = 0;
        seen.read += 1;
        self.readers.push(reader);
    }

    /// Runs `work` while a consumer that is not in the list has released only what is before `demand`.
    fn with_demand(&mut self, demand: Option<u64>, work: impl FnOnce(&mut Self)) -> Option<u64> {
        let Some(demand) = demand else {
            work(self);
            return None;
        };
        // Any reader will do here, because it reads nothing.
        let rx = self.link.observer().unwrap();
        let stand_in = Reader {
            rx,
            holds: true,
            lends: true,
            at: demand,
            released: demand,
            missed: 0,
            overruns: 0,
            overrun_at: (0, 0),
        };
        self.readers.push(stand_in);
        work(self);
        self.readers.pop();
        Some(demand)
    }

    pub(super) fn poll_batch(&mut self, at: usize, max: usize, seen: &mut Seen) {
        let expected = if max == 0 { Ok(false) } else { self.expect(at) };
        let (published, shape) = (&self.published, self.shape);
        let reader = &mut self.readers[at];
        let records = published.iter().skip(reader.at as usize).take(max.min(shape.depth));
        let there = records.take_while(|record| !record.is_left_out).count() as u64;
        // A batch of copies ends where its buffer ends, which holds a kilobyte of words at least.
        let room = reader.lends || there * (META + shape.mtu + 7) as u64 <= 8 * 1024;
        let found = reader.rx.poll_batch(max).map(|batch| {
            let len = batch.len() as u64;
            assert_eq!(expected, Ok(len > 0));
            assert!(len == there || (!room && len < there) || max == 0, "{len} of {there} fragments");
            assert_eq!(batch.iter().count() as u64, len);
            for (fragment, number) in batch.iter().zip(reader.at..) {
                compare_fragment(published, shape.start, &fragment, number);
            }
            len
        });
        match found {
            Ok(len) => {
                reader.at += len;
                if max > 0 {
                    reader.released = reader.at;
                }
                reader.overruns = if len > 0 { 0 } else { reader.overruns };
                seen.read += len;
            }
            Err(error) => {
                assert_eq!(expected, Err(()), "{error}");
                self.lost(at, error, seen);
            }
        }
    }

    /// Reads the next fragment whose `sig` modulo 5 is `rest`.
    pub(super) fn poll_if(&mut self, at: usize, rest: u64, seen: &mut Seen) {
        let expected = self.expect(at);
        let (published, shape) = (&self.published, self.shape);
        let reader = &mut self.readers[at];
        let all = published.iter().enumerate().skip(reader.at as usize).take(shape.depth);
        let ends_at_a_run = all.clone().find(|(_, record)| record.is_left_out);
        let there = all.take_while(|(_, record)| !record.is_left_out);
        let wanted =
            there.clone().find(|(_, record)| record.sig % 5 == rest).map(|(number, _)| number as u64);
        let found = reader.rx.poll_if(|sig| sig % 5 == rest).map(|found| {
            let seq = found.as_ref().map(|fragment| fragment.meta.seq);
            assert_eq!(seq, wanted.map(|number| shape.start.wrapping_add(number)));
            if let (Some(fragment), Some(number)) = (found, wanted) {
                compare_fragment(published, shape.start, &fragment, number);
            }
        });
        if let Err(error) = found {
            if expected.is_ok() {
                // It has skipped what is before the numbers that were left out.
                assert_eq!(wanted, None, "{error}");
                let (run, _) = ends_at_a_run.unwrap_or_else(|| panic!("{error}"));
                reader.at = run as u64;
            }
            return self.lost(at, error, seen);
        }
        assert!(expected.is_ok() && (wanted.is_some() || ends_at_a_run.is_none()));
        seen.read += u64::from(wanted.is_some());
        reader.at = wanted.map_or(reader.at + there.count() as u64, |number| number + 1);
        reader.released = reader.at;
        reader.overruns = 0;
    }

    pub(super) fn wait(&mut self, at: usize, seen: &mut Seen) {
        if self.expect(at) == Ok(false) {
            // Without a fragment, it returns when the time is up, or at once if the link has ended.
            let reader = &mut self.readers[at];
            assert!(reader.rx.wait_timeout(Duration::ZERO).unwrap().is_none());
            reader.released = reader.at;
        } else {
            self.poll(at, seen, false);
        }
    }

    /// Every reader reads to the end, whatever happened before.
    pub(super) fn read_the_rest(&mut self, seen: &mut Seen) {
        for at in 0..self.readers.len() {
            let mut left: VecDeque<_> = (0..self.next() + 8).collect();
            while self.readers[at].at < self.next() || self.readers[at].missed > 0 {
                assert!(left.pop_front().is_some(), "reader {at} does not reach the end");
                self.poll(at, seen, false);
            }
        }
        self.compare();
    }
}

fn compare_fragment(published: &[Record], start: u64, fragment: &Fragment<'_>, number: u64) {
    let record = &published[number as usize];
    let meta = &fragment.meta;
    assert_eq!(meta.seq, start.wrapping_add(number));
    assert_eq!((meta.sig, meta.ctl, meta.ts), (record.sig, record.ctl, record.ts), "fragment {number}");
    let bytes = fragment.payload.as_slice();
    assert_eq!((meta.size as usize, bytes.len()), (record.len, record.len), "fragment {number}");
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(*byte, record.byte(number, at), "byte {at} of fragment {number}");
    }
}
