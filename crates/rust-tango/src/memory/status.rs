//! [`LinkStatus`]: a report on a link for supervisors and people.

use alloc::vec::Vec;
use core::fmt;

use crate::credits::slot::ConsumerSlot;
use crate::memory::cnc::CncState;
use crate::memory::parts::{NAME_LOST, Parts};
use crate::ring::seq;
use crate::sync::Relaxed;

/// A report on a link, from [`Link::status`](crate::Link::status).
///
/// The words of the link are read one after the other, while its producer and consumers change them. So each
/// value was right at some moment of the call, but two values may not fit together.
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"one")?;
/// tx.send(b"two")?;
/// drop(rx.poll()?);
///
/// let status = link.status();
/// assert!(status.producer && !status.closed);
/// assert_eq!(status.next, 3); // numbers 1 and 2 are published
/// for consumer in &status.consumers {
///     println!("slot {} is {} fragments behind", consumer.slot, consumer.lag);
/// }
/// println!("{status}"); // the same and more, for people
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LinkStatus {
    /// Whether a producer is attached and lives.
    pub producer: bool,
    /// Whether the last producer has ended in good order, and no other has attached since.
    pub closed: bool,
    /// The value of the last [`Producer::beat`](crate::Producer::beat), in the producer's unit. 0 if there
    /// was none.
    pub heartbeat: u64,
    /// Whether the link has ended for good: it was stopped ([`Link::stop`](crate::Link::stop)), or its name was
    /// lost.
    pub stopped: bool,
    /// Whether the link was stopped because the process with its producer has found that its name leads to it
    /// no longer ([`Link::is_named`](crate::Link::is_named)). That takes about a second. Always false on the
    /// heap.
    pub name_lost: bool,
    /// The first sequence number.
    pub start: u64,
    /// The sequence number of the next fragment. It may lag behind the ring by up to a batch.
    pub next: u64,
    /// The oldest fragment that observers can still read. The producer gives up the fragments that it
    /// overwrites next some time ahead, so this may be later than `next - depth`.
    pub oldest: u64,
    /// How many fragments had to wait for credits, by all producers of the link.
    pub backpressure: u64,
    /// The slot of the consumer that the producer waits for, or waited for when it last tried to publish.
    pub held_by: Option<usize>,
    /// How many consumers died without detaching and have been reaped: they no longer hold the producer back.
    pub reaped: u64,
    /// How many consumers have been evicted.
    pub evicted: u64,
    /// How many producers have attached so far, this one included.
    pub producers: u64,
    /// How many producers took over from one that died.
    pub takeovers: u64,
    /// The reliable consumers that are attached, or died without detaching.
    pub consumers: Vec<ConsumerStatus>,
}

/// A report on one reliable consumer, in [`LinkStatus::consumers`]. Its values may not fit together, as in
/// [`LinkStatus`], which has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// The slot of the consumer, from 0.
    pub slot: usize,
    /// Whether it is evictable.
    pub evictable: bool,
    /// Whether it sleeps in the kernel ([`Wait::Park`](crate::Wait::Park)).
    pub asleep: bool,
    /// Whether it lives. A dead consumer holds the producer back only until the producer has proof that it is
    /// dead.
    pub alive: bool,
    /// The first fragment that it has not finished with.
    pub next: u64,
    /// How many fragments that were published, and numbers that were left out, it has not finished with.
    pub lag: u64,
    /// How many fragments it has finished with.
    pub consumed: u64,
    /// How many times it lost fragments, or came to numbers that were left out.
    pub overruns: u64,
    /// How many fragments it lost, with the numbers that the producer left out.
    pub lost: u64,
}

impl LinkStatus {
    /// Reads the status from the words of a link. `consumers` yields all slots; `lives` tells whether the owner
    /// of a slot lives, and is asked only for those in use.
    pub(crate) fn of<'s>(
        parts: &Parts<'_>,
        producer: bool,
        consumers: impl Iterator<Item = &'s ConsumerSlot>,
        lives: impl Fn(usize) -> bool,
    ) -> Self {
        let (oldest, next) = parts.extent();
        let consumers = consumers.enumerate().filter_map(|(slot, words)| {
            if !words.report().active {
                return None;
            }
            // Asked before the report is read: a consumer that leaves in between is left out, and not dead.
            let alive = lives(slot);
            let report = words.report();
            report.active.then(|| ConsumerStatus {
                slot,
                evictable: report.evictable,
                asleep: report.asleep,
                alive,
                next: report.next,
                lag: seq::distance(report.next, next).max(0) as u64,
                consumed: report.consumed,
                overruns: report.overruns,
                lost: report.lost,
            })
        });
        Self {
            producer,
            closed: parts.head.lifecycle.cnc.state() == CncState::Halt,
            heartbeat: parts.head.lifecycle.cnc.heartbeat(),
            stopped: parts.is_stopped(),
            name_lost: parts.stop.load(Relaxed) == NAME_LOST,
            start: parts.head.lifecycle.start.load(Relaxed),
            next,
            oldest,
            backpressure: parts.head.credit.stalls.load(Relaxed),
            held_by: (parts.head.credit.held_by.load(Relaxed) as usize).checked_sub(1),
            reaped: parts.head.lifecycle.reaped.load(Relaxed),
            evicted: parts.head.lifecycle.evicted.load(Relaxed),
            producers: parts.head.lifecycle.incarnation.load(Relaxed),
            takeovers: parts.head.lifecycle.takeovers.load(Relaxed),
            consumers: consumers.collect(),
        }
    }
}

/// A line for the producer, and one for each consumer, without a line break at the end. For people: the words may
/// change.
impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = match self {
            Self { name_lost: true, .. } => "the link has ended: its name was lost",
            Self { stopped: true, .. } => "the link has ended: it was stopped",
            Self { producer: true, .. } => "producer attached",
            Self { closed: true, .. } => "producer has ended",
            Self { producers: 0, .. } => "no producer yet",
            _ => "producer has died",
        };
        write!(f, "{ends}; next fragment {}, oldest {}", self.next, self.oldest)?;
        for (count, what) in [
            (self.backpressure, "fragments that had to wait for credits"),
            (self.evicted, "evictions"),
            (self.reaped, "consumers that died"),
            (self.takeovers, "producers that died"),
        ] {
            if count > 0 {
                write!(f, "; {what}: {count}")?;
            }
        }
        for consumer in &self.consumers {
            let holds = if self.held_by == Some(consumer.slot) { ", holds the producer back" } else { "" };
            write!(f, "\n{consumer}{holds}")?;
        }
        Ok(())
    }
}

/// One line. For people: the words may change.
impl fmt::Display for ConsumerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.evictable { "evictable consumer" } else { "consumer" };
        write!(f, "{kind} in slot {}: {} behind, {} consumed", self.slot, self.lag, self.consumed)?;
        if self.lost > 0 {
            write!(f, ", {} lost", self.lost)?;
        }
        match self {
            Self { alive: false, .. } => f.write_str(", dead"),
            Self { asleep: true, .. } => f.write_str(", asleep"),
            _ => Ok(()),
        }
    }
}
