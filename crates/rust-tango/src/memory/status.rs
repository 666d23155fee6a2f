//! [`LinkStatus`]: what a link looks like from outside.

use alloc::vec::Vec;

use crate::credits::slot::ConsumerSlot;
use crate::memory::cnc::CncState;
use crate::memory::parts::Parts;
use crate::ring::seq;
use crate::sync::Relaxed;

/// What a link looks like at one moment, read while it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatus {
    /// A producer lives.
    pub producer: bool,
    /// The last producer has ended, and none has come since.
    pub closed: bool,
    /// The last [`Producer::beat`](crate::Producer::beat); 0 if there was none.
    pub heartbeat: u64,
    /// Somebody has stopped the link.
    pub stopped: bool,
    /// The first sequence number.
    pub start: u64,
    /// The number that is published next.
    pub next: u64,
    /// The oldest fragment that can still be read. Those that are overwritten next are given up some time ahead.
    pub oldest: u64,
    /// How many fragments had to wait for credits.
    pub backpressure: u64,
    /// The slot of the consumer for which the producer waits, or did when it last tried to publish.
    pub held_by: Option<usize>,
    /// How many consumers died attached and hold the producer back no more.
    pub reaped: u64,
    /// How many consumers have been evicted.
    pub evicted: u64,
    /// How many producers came after one that had died.
    pub takeovers: u64,
    /// The reliable consumers that are attached, or died attached.
    pub consumers: Vec<ConsumerStatus>,
}

/// What a reliable consumer looks like at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// Its slot.
    pub slot: usize,
    /// It is evictable.
    pub evictable: bool,
    /// It sleeps ([`Wait::Park`](crate::Wait::Park)).
    pub asleep: bool,
    /// It lives. (A dead one holds the producer back only until that finds the proof.)
    pub alive: bool,
    /// The first fragment that it has not finished with.
    pub next: u64,
    /// Fragments published and not finished with.
    pub lag: u64,
    /// Fragments finished with.
    pub consumed: u64,
    /// Times that it missed fragments.
    pub overruns: u64,
    /// Fragments that it missed.
    pub lost: u64,
}

impl LinkStatus {
    /// The status of a link from its words; `consumers` are all slots, and whether their owners live.
    pub(crate) fn of<'s>(
        parts: &Parts<'_>,
        producer: bool,
        consumers: impl Iterator<Item = (&'s ConsumerSlot, bool)>,
    ) -> Self {
        let (oldest, next) = parts.extent();
        let consumers = consumers.enumerate().filter_map(|(slot, (words, alive))| {
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
            start: parts.head.lifecycle.start.load(Relaxed),
            next,
            oldest,
            backpressure: parts.head.credit.stalls.load(Relaxed),
            held_by: (parts.head.credit.held_by.load(Relaxed) as usize).checked_sub(1),
            reaped: parts.head.lifecycle.reaped.load(Relaxed),
            evicted: parts.head.lifecycle.evicted.load(Relaxed),
            takeovers: parts.head.lifecycle.takeovers.load(Relaxed),
            consumers: consumers.collect(),
        }
    }
}
