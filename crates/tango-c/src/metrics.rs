//! What the ends of a link have counted in the link itself.
#![allow(unsafe_code)] // names that the linker sees

use crate::error::guard;
use crate::link::{link, tango_link};
use crate::memory;
use crate::status::*;

/// Counts of both ends of a link. A link keeps them in words that its ends write anyway, so each process that has the link
/// open can read them, also those of other processes. Observers write nothing, so they are not counted.
///
/// The words are read one after the other, while the ends change them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_metrics {
    /// How many fragments were published, by all producers of the link, with the numbers that they left out. It lags behind
    /// by up to a batch while one is published.
    pub published: u64,
    /// How many fragments the consumers have finished with: the sum over those that have a slot now.
    pub consumed: u64,
    /// How many fragments they lost, with the numbers that were left out: the sum over those that have a slot now.
    pub lost: u64,
    /// How many fragments, with the numbers that were left out, the slowest of them has not finished with.
    pub lag: u64,
    /// How many fragments had to wait for credits. One that waits counts once, however often it is tried.
    pub backpressure_events: u64,
    /// How many consumers were evicted.
    pub evicted: u64,
    /// How many consumers died and no longer hold the producer back.
    pub reaped: u64,
    /// How many producers have attached so far.
    pub producers: u64,
    /// How many of them took over from one that died.
    pub takeovers: u64,
    /// How many consumers have a slot: see tango_link_consumer_metrics().
    pub consumers: u64,
}

/// Counts of one consumer, reliable or evictable, since it took its slot. A consumer that leaves takes them with it. A batch
/// counts when it is released.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_consumer_metrics {
    /// Its slot, from 0.
    pub slot: u64,
    /// How many fragments it has finished with.
    pub consumed: u64,
    /// How many fragments, with the numbers that were left out, it has not finished with.
    pub lag: u64,
    /// How many times it lost fragments, or came to numbers that were left out.
    pub overruns: u64,
    /// How many fragments it lost, with the numbers that were left out.
    pub lost: u64,
}

/// Counts of both ends of a link. A few loads for each slot, and no system call; tango_link_report() also tells which ends
/// live. size: sizeof(tango_metrics).
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_metrics(
    link: tango_link,
    metrics: *mut tango_metrics,
    size: usize,
) -> tango_status {
    guard(|| {
        let of = self::link(link)?.metrics();
        let value = tango_metrics {
            published: of.published,
            consumed: of.consumed(),
            lost: of.lost(),
            lag: of.lag(),
            backpressure_events: of.backpressure_events,
            evicted: of.evicted,
            reaped: of.reaped,
            producers: of.producers,
            takeovers: of.takeovers,
            consumers: of.consumers.len() as u64,
        };
        memory::put_sized(metrics, size, value, "metrics")
    })
}

/// Counts of the consumers of a link: of the first `room` of them, in the order of their slots. count: how many there are,
/// which may be more.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_consumer_metrics(
    link: tango_link,
    metrics: *mut tango_consumer_metrics,
    room: usize,
    count: *mut usize,
) -> tango_status {
    guard(|| {
        let (to, count) = (memory::room(metrics, room, "metrics")?, memory::place(count, "count")?);
        let consumers = self::link(link)?.metrics().consumers;
        for (at, of) in consumers.iter().enumerate() {
            let value = tango_consumer_metrics {
                slot: of.slot as u64,
                consumed: of.consumed,
                lag: of.lag,
                overruns: of.overruns,
                lost: of.lost,
            };
            to.put(at, value);
        }
        count.put(consumers.len());
        Ok(())
    })
}
