//! What the two sides do in one window: the loops that are timed, for both.
//!
//! A round trip is timed in two ways. For percentiles, the clock is read after each, and each sample includes such a reading,
//! which takes about as long as a cache line needs. For ratios, it is read after each [`GROUP`] of them.

use std::hint::spin_loop;
use std::thread;
use std::time::Duration;

use rust_tango::{Consumer, Producer};

use crate::failure::Failure;
use crate::measuring::cores::{Span, Stopwatch, now};
use crate::measuring::figures::Latencies;
use crate::measuring::payload::{fill, is_filled};
use crate::measuring::wire::{Other, Word, say};

/// Round trips that are timed together.
const GROUP: u64 = 16;
/// Messages that are sent between two readings of the clock, where as many as possible are sent.
const PUBLISHES_PER_READING: u64 = 64;
/// From the beginning of a schedule until its first message is due.
const HEAD_START: u64 = 200_000;
/// A side that paces itself and need not spin sleeps until this long before a message is due.
const AWAKE_BEFORE_DUE: Duration = Duration::from_micros(150);
/// The warm-up of a window is this part of it.
const WARM_UP: u32 = 8;

/// How long something is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Time(Duration),
    /// A number of messages, or of round trips.
    Count(u64),
}

impl Length {
    /// The `part`-th part of it.
    fn divided(self, part: u32) -> Self {
        match self {
            Self::Time(time) => Self::Time(time / part),
            Self::Count(count) => Self::Count(count.div_ceil(part.into())),
        }
    }

    /// How many messages are due in it at this rate.
    fn count_at(self, rate: u64) -> u64 {
        match self {
            Self::Time(time) => ((time.as_secs_f64() * rate as f64) as u64).max(1),
            Self::Count(count) => count,
        }
    }
}

/// Repeats `each` until `length` is over, at least once, and tells `took` the nanoseconds of each time.
#[inline]
fn repeat(
    length: Length,
    mut each: impl FnMut() -> Result<(), Failure>,
    mut took: impl FnMut(u64),
) -> Result<u64, Failure> {
    let begin = now();
    let (mut before, mut count) = (begin, 0);
    loop {
        each()?;
        count += 1;
        let after = now();
        took(after.saturating_sub(before));
        before = after;
        let is_over = match length {
            Length::Time(time) => u128::from(after.saturating_sub(begin)) >= time.as_nanos(),
            Length::Count(wanted) => count >= wanted,
        };
        if is_over {
            return Ok(count);
        }
    }
}

/// The round trips of one window.
pub(crate) struct Trips {
    /// Of each, with a reading of the clock.
    pub(crate) latencies: Latencies,
    /// Nanoseconds for one, timed in groups: the median of the groups.
    pub(crate) each: f64,
    /// How many there were, with the warm-up.
    pub(crate) count: u64,
    /// Those that came back with another content.
    pub(crate) wrong: u64,
    pub(crate) span: Span,
}

/// Times round trips: `trip` makes one, and returns whether its answer was correct.
pub(crate) fn time_trips(
    length: Length,
    mut trip: impl FnMut() -> Result<bool, Failure>,
) -> Result<Trips, Failure> {
    let (mut latencies, mut groups) = (Latencies::new()?, Latencies::new()?);
    let mut wrong = 0;
    let mut checked = || trip().map(|correct| wrong += u64::from(!correct));
    let mut count = repeat(length.divided(WARM_UP), &mut checked, |_| {})?;
    let watch = Stopwatch::start();
    // A half each, so that neither is much shorter than the warm-up.
    count += repeat(length.divided(2), &mut checked, |nanos| latencies.record(nanos))?;
    let group = || (0..GROUP).try_for_each(|_| checked());
    let half = length.divided(2);
    let half = if let Length::Count(count) = half { Length::Count(count.div_ceil(GROUP)) } else { half };
    count += GROUP * repeat(half, group, |nanos| groups.record(nanos))?;
    let each = groups.median() as f64 / GROUP as f64;
    Ok(Trips { latencies, each, count, wrong, span: watch.stop() })
}

/// The cost of reading the clock once, in nanoseconds: the median of many.
pub(crate) fn clock_nanos() -> Result<f64, Failure> {
    let mut groups = Latencies::new()?;
    let read = || {
        for _ in 0..GROUP {
            std::hint::black_box(now());
        }
        Ok(())
    };
    repeat(Length::Count(1000), read, |nanos| groups.record(nanos))?;
    // Each group ends with a reading that `repeat` makes.
    Ok(groups.median() as f64 / (GROUP + 1) as f64)
}

/// Sends a message over one link, and compares the answer on the other with it.
#[inline]
pub(crate) fn trip(
    (tx, rx): (&Producer<'_>, &mut Consumer<'_>),
    payload: &mut [u8],
    other: Other,
) -> Result<bool, Failure> {
    let number = tx.next_seq();
    fill(payload, number);
    tx.publish_blocking(payload, number, 0, 0).map_err(|error| other.failed(&error))?;
    match rx.wait() {
        Ok(Some(answer)) => {
            let meta = answer.meta;
            Ok(meta.ctl == 0 && meta.sig == number && answer.payload.as_slice() == payload)
        }
        Ok(None) => Err(other.ended()),
        Err(error) => Err(other.failed(&error)),
    }
}

/// Answers each message with itself, until something else comes, which should be [`Word::End`].
pub(crate) fn echo(tx: &Producer<'_>, rx: &mut Consumer<'_>, other: Other) -> Result<Span, Failure> {
    let watch = Stopwatch::start();
    loop {
        match rx.wait() {
            Ok(Some(message)) if message.meta.ctl == 0 => {
                let sent = tx.publish_blocking(message.payload.as_slice(), message.meta.sig, 0, 0);
                sent.map_err(|error| other.failed(&error))?;
            }
            Ok(Some(_)) => return Ok(watch.stop()),
            Ok(None) => return Err(other.ended()),
            Err(error) => return Err(other.failed(&error)),
        }
    }
}

/// What was sent in a window.
pub(crate) struct Sent {
    /// Messages without the warm-up.
    pub(crate) count: u64,
    pub(crate) span: Span,
}

/// Sends messages at a rate. The `sig` of each is the time when it was due, by [`now`]. If it leaves late, because this side was
/// delayed, its latency includes that.
pub(crate) fn send_at_rate(
    tx: &Producer<'_>,
    payload: &mut [u8],
    (length, rate, spins): (Length, u64, bool),
    other: Other,
) -> Result<Sent, Failure> {
    let count = length.count_at(rate);
    let warm = count / u64::from(WARM_UP);
    let interval = 1e9 / rate as f64;
    let watch = Stopwatch::start();
    let start = now() + HEAD_START;
    for number in 0..warm + count {
        let due = start + (number as f64 * interval) as u64;
        wait_until(due, spins);
        fill(payload, tx.next_seq());
        let word = if number < warm { Word::WarmUp } else { Word::Message };
        tx.publish_blocking(payload, due, word.ctl(), 0).map_err(|error| other.failed(&error))?;
    }
    Ok(Sent { count, span: watch.stop() })
}

#[inline]
fn wait_until(due: u64, spins: bool) {
    loop {
        let early = Duration::from_nanos(due.saturating_sub(now()));
        if early.is_zero() {
            return;
        }
        match early.checked_sub(AWAKE_BEFORE_DUE) {
            _ if spins => spin_loop(),
            Some(long) if !long.is_zero() => thread::sleep(long),
            _ => thread::yield_now(),
        }
    }
}

/// Sends as many messages as possible.
pub(crate) fn send_all(
    tx: &Producer<'_>,
    payload: &mut [u8],
    length: Length,
    other: Other,
) -> Result<Sent, Failure> {
    let mut send = |word: Word, count: u64| {
        for _ in 0..count {
            fill(payload, tx.next_seq());
            tx.publish_blocking(payload, 0, word.ctl(), 0).map_err(|error| other.failed(&error))?;
        }
        Ok(())
    };
    let watch = Stopwatch::start();
    match length {
        Length::Time(_) => {
            let count = PUBLISHES_PER_READING;
            repeat(length.divided(WARM_UP), || send(Word::WarmUp, count), |_| {})?;
            let times = repeat(length, || send(Word::Message, count), |_| {})?;
            Ok(Sent { count: times * count, span: watch.stop() })
        }
        Length::Count(count) => {
            send(Word::WarmUp, count / u64::from(WARM_UP))?;
            send(Word::Message, count)?;
            Ok(Sent { count, span: watch.stop() })
        }
    }
}

/// What has arrived in a window, without the warm-up.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) got: u64,
    /// With the warm-up.
    pub(crate) wrong: u64,
    pub(crate) span: Span,
}

/// Receives and checks messages until something else comes, which should be [`Word::End`]. With `TIMED`, records the time since
/// each was due.
pub(crate) fn receive<const TIMED: bool>(
    rx: &mut Consumer<'_>,
    size: usize,
    latencies: &mut Latencies,
    other: Other,
) -> Result<Received, Failure> {
    let mut received = Received::default();
    let mut expected = rx.next_seq();
    let mut watch = Stopwatch::start();
    loop {
        match rx.wait() {
            Ok(Some(message)) => {
                let meta = message.meta;
                let counts = meta.ctl == Word::Message.ctl();
                if counts {
                    if TIMED {
                        latencies.record(now().saturating_sub(meta.sig));
                    }
                    if received.got == 0 {
                        watch = Stopwatch::start();
                    }
                    received.got += 1;
                } else if meta.ctl != Word::WarmUp.ctl() {
                    received.span = watch.stop();
                    return Ok(received);
                }
                let is_correct = meta.seq == expected
                    && message.payload.len() == size
                    && is_filled(message.payload.as_slice(), meta.seq);
                received.wrong += u64::from(!is_correct);
                expected = meta.seq.wrapping_add(1);
            }
            Ok(None) => return Err(other.ended()),
            // What was lost is missing from `got`.
            Err(rust_tango::TangoError::Overrun { next, .. }) => expected = next,
            Err(error) => return Err(other.failed(&error)),
        }
    }
}

/// Tells the other side what has arrived.
pub(crate) fn report(
    tx: &Producer<'_>,
    received: &Received,
    latencies: &Latencies,
    other: Other,
) -> Result<(), Failure> {
    for (nanos, count) in latencies.counts() {
        // A window has no more messages than this of one latency.
        say(tx, Word::Latency, nanos, u32::try_from(count).unwrap_or(u32::MAX), other)?;
    }
    let on_core = (received.span.on_core * 1e6) as u64;
    say(tx, Word::Got, received.got, 0, other)?;
    say(tx, Word::Wrong, received.wrong, 0, other)?;
    say(tx, Word::Nanos, received.span.nanos, 0, other)?;
    say(tx, Word::OnCore, on_core, 0, other)?;
    say(tx, Word::Done, 0, 0, other)
}
