//! Producers: beginning, settings, questions, end.
#![allow(unsafe_code)] // names that the linker sees, and entries

use std::ptr::NonNull;
use std::time::Duration;

use rust_tango::{Loan, Producer, Wait};

use crate::error::{self, guard};
use crate::link::{link, tango_link};
use crate::memory::{self, duration};
use crate::status::*;
use crate::table::Table;

/// The one producer of a link. One thread uses it at a time; it may pass to another thread. Make one with {0}, which is
/// never open.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tango_producer {
    /// Of use to the library only.
    pub handle: u64,
}

/// How calls wait.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum tango_wait {
    /// Spin. The lowest latency. The thread needs a core of its own.
    TANGO_WAIT_SPIN = 0,
    /// Spin for about a microsecond, then yield the core between polls.
    TANGO_WAIT_YIELD = 1,
    /// Poll for some time, then sleep in the kernel until there is something to do. The default, with 20 microseconds.
    TANGO_WAIT_PARK = 2,
}

/// What the handle of a producer stands for.
pub(crate) struct ProducerEntry {
    /// Borrows from `producer`. While it is there, the handle is `SPECIAL`.
    pub(crate) loan: Option<Loan<'static>>,
    /// `None` only after a panic in the middle of a setting.
    pub(crate) producer: Option<Producer<'static>>,
}

pub(crate) static PRODUCERS: Table<ProducerEntry> = Table::new(1, "producer");

// SAFETY: `Producer` is `Send`. A loan is a reference to it and to atomics, which the thread that uses the handle has alone,
// as it has the producer: one thread at a time.
unsafe impl Send for ProducerEntry {}

/// The producer of an entry, for as long as the caller's call lasts.
///
/// A reference to the producer and not to the entry: a loan borrows from the producer, too.
#[inline(always)]
pub(crate) fn producer<'c>(entry: NonNull<ProducerEntry>) -> Result<&'c Producer<'static>, tango_status> {
    // SAFETY: the table keeps the entry until the thread that calls closes it, which is after this call. The field is
    // written by `set` only, in a call of its own. A loan that lives borrows the producer, too, and shares it: everything
    // that changes in a producer lies in cells, and `Loan` keeps a shared reference only.
    match unsafe { &(*entry.as_ptr()).producer } {
        Some(producer) => Ok(producer),
        None => Err(gone()),
    }
}

#[cold]
fn gone() -> tango_status {
    error::wrong(TANGO_PANIC, "an earlier call has failed inside the library: close this handle")
}

/// For calls that have no fast path: the producer, if it has lent nothing.
pub(crate) fn unlent(entry: NonNull<ProducerEntry>) -> Result<&'static Producer<'static>, tango_status> {
    if has_loan(entry) { Err(loaned()) } else { producer(entry) }
}

pub(crate) fn has_loan(entry: NonNull<ProducerEntry>) -> bool {
    // SAFETY: as in `producer`. `loan` is written by calls of this thread only.
    unsafe { (*entry.as_ptr()).loan.is_some() }
}

#[cold]
pub(crate) fn loaned() -> tango_status {
    error::wrong(
        TANGO_LOANED,
        "this producer has lent memory: call tango_loan_commit() or tango_loan_abandon() first",
    )
}

pub(crate) fn wait(wait: u32, spin_ns: u64) -> Result<Wait, tango_status> {
    match wait {
        0 => Ok(Wait::Spin),
        1 => Ok(Wait::Yield),
        2 => Ok(Wait::ParkAfter(Duration::from_nanos(spin_ns))),
        _ => Err(error::wrong(
            TANGO_INVALID,
            format!("wait is {wait}, and must be TANGO_WAIT_SPIN, TANGO_WAIT_YIELD or TANGO_WAIT_PARK"),
        )),
    }
}

/// Becomes the producer of a link. Only one can be open at a time, in all processes.
///
/// Errors: TANGO_TAKEN if the link has a producer, TANGO_BAD_HANDLE, TANGO_INVALID, TANGO_CLOSED, TANGO_UNTRUSTED,
/// TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_open(link: tango_link, producer: *mut tango_producer) -> tango_status {
    guard(|| {
        let to = memory::place(producer, "producer")?;
        to.put(tango_producer { handle: 0 });
        let producer = self::link(link)?.producer().map_err(|error| error::link(&error))?;
        let handle = PRODUCERS.open(ProducerEntry { loan: None, producer: Some(producer) })?;
        to.put(tango_producer { handle });
        Ok(())
    })
}

/// Closes a producer, and so the link: readers read what is there and then get TANGO_CLOSED. Another producer can open it
/// again. A loan that is held is abandoned.
///
/// Errors: TANGO_BAD_HANDLE if it was closed already, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_close(producer: tango_producer) -> tango_status {
    guard(|| {
        PRODUCERS.close(producer.handle, |entry| {
            // SAFETY: `close` has taken the entry out of the table, for this call alone. The loan ends before the producer
            // that it borrows from.
            unsafe { (*entry.as_ptr()).loan = None }
        })
    })
}

/// Sets how calls of this producer wait. wait: a tango_wait. spin_ns: with TANGO_WAIT_PARK, how long it polls before it
/// sleeps, in nanoseconds.
///
/// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_set_wait(producer: tango_producer, wait: u32, spin_ns: u64) -> tango_status {
    guard(|| {
        let wait = self::wait(wait, spin_ns)?;
        set(producer, |producer| producer.with_wait(wait))
    })
}

/// Sets how long this producer waits for an evictable consumer before it goes on without it, in nanoseconds.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_set_patience(producer: tango_producer, patience_ns: u64) -> tango_status {
    guard(|| set(producer, |producer| producer.with_patience(Duration::from_nanos(patience_ns))))
}

fn set(
    of: tango_producer,
    change: impl FnOnce(Producer<'static>) -> Producer<'static>,
) -> Result<(), tango_status> {
    let busy = PRODUCERS.enter(of.handle)?;
    unlent(busy.entry)?;
    // SAFETY: as in `producer`. Nothing borrows from the producer: there is no loan, and no other call is under way.
    let producer = unsafe { &mut (*busy.entry.as_ptr()).producer };
    *producer = producer.take().map(change);
    Ok(())
}

/// The sequence number of the next fragment.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_next_seq(producer: tango_producer, next: *mut u64) -> tango_status {
    ask(producer, next, "next", |producer| producer.next_seq())
}

/// The largest payload of one fragment, in bytes.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_mtu(producer: tango_producer, mtu: *mut usize) -> tango_status {
    ask(producer, mtu, "mtu", |producer| producer.mtu())
}

/// How many consumers are attached and live, evictable ones included. Observers do not count.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_consumers(producer: tango_producer, consumers: *mut usize) -> tango_status {
    ask(producer, consumers, "consumers", |producer| producer.consumers())
}

/// The slot of the consumer that holds the producer back. UINT64_MAX: none.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_held_by(producer: tango_producer, slot: *mut u64) -> tango_status {
    ask(producer, slot, "slot", |producer| producer.held_by().map_or(u64::MAX, |slot| slot as u64))
}

/// 1 if the link was stopped, so that nothing can be published any more; otherwise 0.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_is_stopped(producer: tango_producer, is_stopped: *mut u8) -> tango_status {
    ask(producer, is_stopped, "is_stopped", |producer| producer.is_stopped().into())
}

fn ask<T: Copy>(
    of: tango_producer,
    to: *mut T,
    what: &str,
    question: impl FnOnce(&Producer<'_>) -> T,
) -> tango_status {
    guard(|| {
        let (entry, to) = (PRODUCERS.find_any(of.handle)?, memory::place(to, what)?);
        to.put(question(producer(entry)?));
        Ok(())
    })
}

/// Tells supervisors that this producer is well: `now` is in its own unit, and appears in tango_report.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_beat(producer: tango_producer, now: u64) -> tango_status {
    guard(|| {
        self::producer(PRODUCERS.find_any(producer.handle)?)?.beat(now);
        Ok(())
    })
}

/// Waits until at least `consumers` consumers are attached, reliable or evictable. timeout_ns: negative for no limit.
///
/// Errors: TANGO_TIMEOUT, TANGO_CLOSED if the link was stopped, TANGO_INVALID if the link has fewer slots; TANGO_BAD_HANDLE,
/// TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_wait_for_consumers(
    producer: tango_producer,
    consumers: usize,
    timeout_ns: i64,
) -> tango_status {
    wait_until(producer, timeout_ns, |producer, timeout| {
        let has_come = producer.wait_for_consumers(consumers, timeout);
        if !has_come && timeout.is_none() && !producer.is_stopped() {
            let text =
                format!("the link has fewer than {consumers} slots for consumers, so they can never come");
            return Err(error::wrong(TANGO_INVALID, text));
        }
        Ok(has_come)
    })
}

/// Waits until all consumers have read everything. timeout_ns: negative for no limit.
///
/// Errors: TANGO_TIMEOUT, TANGO_CLOSED if the link was stopped, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_producer_wait_until_drained(
    producer: tango_producer,
    timeout_ns: i64,
) -> tango_status {
    wait_until(producer, timeout_ns, |producer, timeout| Ok(producer.wait_until_drained(timeout)))
}

fn wait_until(
    of: tango_producer,
    timeout_ns: i64,
    wait: impl FnOnce(&Producer<'_>, Option<Duration>) -> Result<bool, tango_status>,
) -> tango_status {
    guard(|| {
        let busy = PRODUCERS.enter(of.handle)?;
        let producer = producer(busy.entry)?;
        if wait(producer, duration(timeout_ns))? {
            return Ok(());
        }
        Err(error::fail(if producer.is_stopped() { TANGO_CLOSED } else { TANGO_TIMEOUT }))
    })
}
