//! Consumers: beginning, settings, questions, end.
//!
//! An entry is accessed field by field. What was lent (a payload, a batch) borrows from the reader, and is dropped before the
//! reader is used by a mutable reference, and before the entry goes.
#![allow(unsafe_code)] // names that the linker sees, and entries

use std::ptr::NonNull;

use rust_tango::{AsyncConsumer, Batch, Consumer, LinkError, Pace, Payload, Start};

use crate::error::{self, guard};
use crate::link::{link, tango_link};
use crate::memory::{self, duration};
use crate::producer::wait;
use crate::status::*;
use crate::table::Table;

/// A reader of a link: reliable, evictable, or an observer. One thread uses it at a time; it may pass to another thread. Make
/// one with {0}, which is never open.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tango_consumer {
    /// Of use to the library only.
    pub handle: u64,
}

/// Where a reader begins.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum tango_start {
    /// With the next fragment that is published.
    TANGO_START_NEXT = 0,
    /// With the oldest fragment that is still there.
    TANGO_START_OLDEST = 1,
    /// With the fragment of the sequence number that is given.
    TANGO_START_AT = 2,
}

pub(crate) enum Reader {
    Plain(Consumer<'static>),
    /// It has a descriptor. The handle is `SPECIAL`.
    Awaited(AsyncConsumer),
    /// After a failure in the middle of a change.
    Gone,
}

/// What the handle of a consumer stands for.
pub(crate) struct ConsumerEntry {
    /// The payload of the fragment that is held.
    pub(crate) held: Option<Payload<'static>>,
    /// The sequence number of that fragment, or of the last one.
    pub(crate) held_seq: u64,
    /// The batch that is held. While it is there, the handle is `SPECIAL`.
    pub(crate) batch: Option<Batch<'static>>,
    pub(crate) reader: Reader,
}

pub(crate) static CONSUMERS: Table<ConsumerEntry> = Table::new(2, "consumer");

// SAFETY: `Consumer`, `AsyncConsumer` and `Payload` are `Send`. A batch has references to the reader's atomics and to its
// copies, which the thread that uses the handle has alone, as it has the reader: one thread at a time.
unsafe impl Send for ConsumerEntry {}

/// Ends what the entry has lent.
pub(crate) fn release(entry: NonNull<ConsumerEntry>) {
    // SAFETY: the table keeps the entry until this thread closes it. These fields only: what is in them borrows from
    // `reader`.
    let (held, batch) = unsafe { (&mut (*entry.as_ptr()).held, &mut (*entry.as_ptr()).batch) };
    *held = None;
    *batch = None;
}

/// The reader of an entry, which has lent nothing.
///
/// # Safety
/// The entry has lent nothing, and the caller makes no second reference to the reader.
pub(crate) unsafe fn reader<'c>(entry: NonNull<ConsumerEntry>) -> &'c mut Reader {
    // SAFETY: the table keeps the entry until this thread closes it. This field only. The rest is the caller's promise.
    unsafe { &mut (*entry.as_ptr()).reader }
}

#[cold]
pub(crate) fn gone() -> tango_status {
    error::wrong(TANGO_PANIC, "an earlier call has failed inside the library: close this handle")
}

fn start(start: u32, seq: u64) -> Result<Start, tango_status> {
    match start {
        0 => Ok(Start::Next),
        1 => Ok(Start::Oldest),
        2 => Ok(Start::At(seq)),
        _ => Err(error::wrong(
            TANGO_INVALID,
            format!("start is {start}, and must be TANGO_START_NEXT, TANGO_START_OLDEST or TANGO_START_AT"),
        )),
    }
}

fn open(
    of: tango_link,
    begin: u32,
    seq: u64,
    to: *mut tango_consumer,
    join: impl FnOnce(&rust_tango::Link, Start) -> Result<Consumer<'static>, LinkError>,
) -> tango_status {
    guard(|| {
        let to = memory::place(to, "consumer")?;
        to.put(tango_consumer { handle: 0 });
        let consumer = join(&link(of)?, start(begin, seq)?).map_err(|error| error::link(&error))?;
        let reader = Reader::Plain(consumer);
        let handle = CONSUMERS.open(ConsumerEntry { held: None, held_seq: 0, batch: None, reader })?;
        to.put(tango_consumer { handle });
        Ok(())
    })
}

/// Joins as a reliable consumer: it reads every fragment, in place, and the producer waits for it.
///
/// start: a tango_start. seq: with TANGO_START_AT, the number of the first fragment to read.
///
/// Errors: TANGO_TAKEN if no slot is free; TANGO_UNTRUSTED if another user could write to the files; TANGO_BAD_HANDLE,
/// TANGO_INVALID, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_open(
    link: tango_link,
    start: u32,
    seq: u64,
    consumer: *mut tango_consumer,
) -> tango_status {
    open(link, start, seq, consumer, |link, start| link.consumer_from(start))
}

/// Joins as an evictable consumer: it reads by copy, and the producer waits for it as long as its patience
/// (tango_producer_set_patience()). As tango_consumer_open().
#[unsafe(no_mangle)]
pub extern "C" fn tango_evictable_open(
    link: tango_link,
    start: u32,
    seq: u64,
    consumer: *mut tango_consumer,
) -> tango_status {
    open(link, start, seq, consumer, |link, start| link.evictable_consumer(start))
}

/// Joins as an observer: it reads what it can, by copy. The producer does not know of it. It needs no slot, and only the
/// permission to read the files. As tango_consumer_open().
#[unsafe(no_mangle)]
pub extern "C" fn tango_observer_open(
    link: tango_link,
    start: u32,
    seq: u64,
    consumer: *mut tango_consumer,
) -> tango_status {
    open(link, start, seq, consumer, |link, start| link.observer_from(start))
}

/// Closes a reader. A fragment or batch that it holds is released: its bytes are not valid any more.
///
/// Errors: TANGO_BAD_HANDLE if it was closed already, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_close(consumer: tango_consumer) -> tango_status {
    guard(|| CONSUMERS.close(consumer.handle, release))
}

/// Changes a reader that has lent nothing, or ends what it has lent.
pub(crate) fn change(
    of: tango_consumer,
    change: impl FnOnce(Reader) -> Result<Reader, tango_status>,
) -> Result<(), tango_status> {
    let busy = CONSUMERS.enter(of.handle)?;
    release(busy.entry);
    // SAFETY: it has just been released, and this call makes no other reference.
    let reader = unsafe { reader(busy.entry) };
    *reader = change(std::mem::replace(reader, Reader::Gone))?;
    CONSUMERS.set_special(of.handle, !matches!(reader, Reader::Plain(_)));
    Ok(())
}

#[cold]
pub(crate) fn has_descriptor() -> tango_status {
    error::wrong(TANGO_INVALID, "this reader has a descriptor: wait for that, and read with tango_poll()")
}

fn change_plain(
    of: tango_consumer,
    set: impl FnOnce(Consumer<'static>) -> Consumer<'static>,
) -> Result<(), tango_status> {
    let mut result = Ok(());
    change(of, |reader| {
        Ok(match reader {
            Reader::Plain(consumer) => Reader::Plain(set(consumer)),
            other => {
                result = Err(has_descriptor());
                other
            }
        })
    })?;
    result
}

/// Sets how calls of this reader wait: as tango_producer_set_wait(). What the reader holds is released.
///
/// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_set_wait(consumer: tango_consumer, wait: u32, spin_ns: u64) -> tango_status {
    guard(|| {
        let wait = self::wait(wait, spin_ns)?;
        change_plain(consumer, |consumer| consumer.with_wait(wait))
    })
}

/// 1: in a stream of fast fragments, tango_poll() now and then waits for 10 microseconds at most until the producer is some
/// way ahead, which makes the stream faster. 0, the default: a fragment that is there is returned at once. What the reader
/// holds is released.
///
/// Errors: TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_set_throughput(
    consumer: tango_consumer,
    for_throughput: u8,
) -> tango_status {
    let pace = if for_throughput == 0 { Pace::Latency } else { Pace::Throughput };
    guard(|| change_plain(consumer, |consumer| consumer.with_pace(pace)))
}

/// The reader, for a question. What it has lent goes on.
fn ask<T: Copy>(
    of: tango_consumer,
    to: *mut T,
    what: &str,
    of_plain: impl FnOnce(&Consumer<'_>) -> T,
    of_awaited: impl FnOnce(&AsyncConsumer) -> T,
) -> tango_status {
    guard(|| {
        let (entry, to) = (CONSUMERS.find_any(of.handle)?, memory::place(to, what)?);
        // SAFETY: the table keeps the entry until this thread closes it. A shared reference: what was lent borrows from the
        // reader by shared references, too, or reads words that are never written through one.
        to.put(match unsafe { &(*entry.as_ptr()).reader } {
            Reader::Plain(consumer) => of_plain(consumer),
            Reader::Awaited(consumer) => of_awaited(consumer),
            Reader::Gone => return Err(gone()),
        });
        Ok(())
    })
}

/// The sequence number of the next fragment to read.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_next_seq(consumer: tango_consumer, next: *mut u64) -> tango_status {
    ask(consumer, next, "next", |of| of.next_seq(), |of| of.next_seq())
}

/// 1 if the link is closed and everything was read; otherwise 0.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_is_closed(consumer: tango_consumer, is_closed: *mut u8) -> tango_status {
    ask(consumer, is_closed, "is_closed", |of| of.is_closed().into(), |of| of.is_closed().into())
}

/// After TANGO_PRODUCER_GONE, waits until the link has a producer again. timeout_ns: negative for no limit. What the reader
/// holds is released.
///
/// Errors: TANGO_TIMEOUT: none came in time, or none can come, because the link was closed or lost its name;
/// TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_wait_for_producer(
    consumer: tango_consumer,
    timeout_ns: i64,
) -> tango_status {
    guard(|| {
        let busy = CONSUMERS.enter(consumer.handle)?;
        release(busy.entry);
        // SAFETY: it has just been released, and this call makes no other reference.
        match unsafe { reader(busy.entry) } {
            Reader::Plain(consumer) => match consumer.wait_for_producer(duration(timeout_ns)) {
                true => Ok(()),
                false => Err(error::fail(TANGO_TIMEOUT)),
            },
            Reader::Awaited(_) => Err(has_descriptor()),
            Reader::Gone => Err(gone()),
        }
    })
}
