//! Reading one fragment.
#![allow(unsafe_code)] // names that the linker sees, and entries

use std::mem::transmute;
use std::ptr::NonNull;

use rust_tango::{Consumer, Fragment, Payload, TangoError};

use crate::consumer::{
    CONSUMERS, ConsumerEntry, Reader, gone, has_descriptor, reader, release, tango_consumer,
};
use crate::error::{self, guard};
use crate::memory::{self, Place, duration};
use crate::status::*;

/// A fragment that a reader holds.
///
/// The bytes are in the ring, or are a validated copy. They begin at a multiple of 32 bytes. They are valid, and do not
/// change, until the reader releases the fragment (tango_fragment_release()), reads again, is set up anew, or is closed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_fragment {
    /// The payload. Not NULL, also if it is empty.
    pub data: *const u8,
    /// Its length in bytes.
    pub len: usize,
    /// The sequence number.
    pub seq: u64,
    /// The tag of the producer.
    pub sig: u64,
    /// The timestamp of the producer.
    pub ts: u32,
    /// 0: a message of one fragment. Bit 0: it continues a message. Bit 1: more fragments follow.
    pub ctl: u16,
    /// 0.
    pub reserved: u16,
}

impl tango_fragment {
    #[inline(always)]
    pub(crate) fn of(fragment: &Fragment<'_>) -> Self {
        let (meta, payload) = (&fragment.meta, fragment.payload.as_slice());
        let (data, len) = (payload.as_ptr(), payload.len());
        Self { data, len, seq: meta.seq, sig: meta.sig, ts: meta.ts, ctl: meta.ctl, reserved: 0 }
    }
}

/// Hands a fragment out, and keeps its payload until it is released.
#[inline(always)]
fn lend(entry: NonNull<ConsumerEntry>, fragment: Fragment<'_>, to: &Place<'_, tango_fragment>) {
    to.put(tango_fragment::of(&fragment));
    let seq = fragment.meta.seq;
    // SAFETY: the two types differ in a lifetime only. What the payload borrows from is the reader of this entry, which stays
    // where it is, in a box. The payload is dropped before the reader is used by a mutable reference (`release`), and before
    // the entry is dropped (`tango_consumer_close`).
    let payload = unsafe { transmute::<Payload<'_>, Payload<'static>>(fragment.payload) };
    // SAFETY: the table keeps the entry until this thread closes it. These fields only. `held` is `None`, so nothing is
    // dropped here.
    unsafe {
        (&raw mut (*entry.as_ptr()).held).write(Some(payload));
        (*entry.as_ptr()).held_seq = seq;
    }
}

#[inline(always)]
fn hand_out(
    entry: NonNull<ConsumerEntry>,
    read: Result<Option<Fragment<'_>>, TangoError>,
    to: &Place<'_, tango_fragment>,
    nothing: impl FnOnce() -> tango_status,
) -> Result<(), tango_status> {
    match read {
        Ok(Some(fragment)) => {
            lend(entry, fragment, to);
            Ok(())
        }
        Ok(None) => Err(nothing()),
        Err(error) => Err(error::protocol(error)),
    }
}

/// The next fragment, if it is there. Never blocks. What the reader held before is released first.
///
/// Errors: TANGO_EMPTY: nothing is there now. TANGO_CLOSED: nothing is there, and the link is closed. TANGO_OVERRUN,
/// TANGO_EVICTED, TANGO_CORRUPT, TANGO_PRODUCER_REPLACED: call again to go on. TANGO_PRODUCER_GONE, TANGO_INVALID,
/// TANGO_BAD_HANDLE, TANGO_BUSY. After an error, *fragment is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn tango_poll(consumer: tango_consumer, fragment: *mut tango_fragment) -> tango_status {
    guard(|| {
        let to = memory::place(fragment, "fragment")?;
        let Some(entry) = CONSUMERS.find(consumer.handle) else { return poll_special(consumer, &to) };
        // SAFETY: the table keeps the entry until this thread closes it. This field only: what is in it borrows from
        // `reader`. A handle that is not special has no batch.
        unsafe { (*entry.as_ptr()).held = None };
        // SAFETY: it has just been released, and this call makes no other reference.
        let Reader::Plain(consumer) = (unsafe { reader(entry) }) else { return Err(gone()) };
        let consumer: *mut Consumer<'static> = consumer;
        // SAFETY: the pointer was made of the reference above, which is not used any more.
        let read = unsafe { (*consumer).poll() };
        hand_out(entry, read, &to, || {
            // SAFETY: as above. There is no fragment, so nothing borrows from the reader.
            empty_or_closed(unsafe { (*consumer).is_closed() })
        })
    })
}

#[inline(always)]
fn empty_or_closed(is_closed: bool) -> tango_status {
    if is_closed { error::fail(TANGO_CLOSED) } else { TANGO_EMPTY }
}

/// [`tango_poll`] for a reader that holds a batch, or has a descriptor.
#[cold]
#[inline(never)]
fn poll_special(of: tango_consumer, to: &Place<'_, tango_fragment>) -> Result<(), tango_status> {
    let entry = CONSUMERS.find_any(of.handle)?;
    release(entry);
    // SAFETY: it has just been released, and this call makes no other reference.
    let (read, is_closed) = match unsafe { reader(entry) } {
        Reader::Gone => return Err(gone()),
        Reader::Plain(consumer) => {
            CONSUMERS.set_special(of.handle, false);
            let is_closed = consumer.is_closed();
            (consumer.poll(), is_closed)
        }
        Reader::Awaited(consumer) => {
            let is_closed = consumer.is_closed();
            (consumer.poll(), is_closed)
        }
    };
    hand_out(entry, read, to, || empty_or_closed(is_closed))
}

/// The next fragment. Waits until there is one, for timeout_ns nanoseconds at most, or a little longer; negative: without a
/// limit. What the reader held before is released first.
///
/// It waits forever without a limit if this thread is the one that should publish. tango_link_stop() ends it from another
/// thread.
///
/// Errors: TANGO_TIMEOUT: nothing came in time. TANGO_CLOSED: the link is closed, and everything was read. TANGO_INVALID if
/// the reader has a descriptor. Otherwise as tango_poll().
#[unsafe(no_mangle)]
pub extern "C" fn tango_recv(
    consumer: tango_consumer,
    timeout_ns: i64,
    fragment: *mut tango_fragment,
) -> tango_status {
    guard(|| {
        let to = memory::place(fragment, "fragment")?;
        let busy = CONSUMERS.enter(consumer.handle)?;
        let entry = busy.entry;
        release(entry);
        // SAFETY: it has just been released, and this call makes no other reference.
        let reader = match unsafe { self::reader(entry) } {
            Reader::Plain(reader) => reader,
            Reader::Awaited(_) => return Err(has_descriptor()),
            Reader::Gone => return Err(gone()),
        };
        CONSUMERS.set_special(consumer.handle, false);
        let reader: *mut Consumer<'static> = reader;
        // SAFETY: the pointer was made of the reference above, which is not used any more.
        let read = unsafe {
            match duration(timeout_ns) {
                Some(timeout) => (*reader).wait_timeout(timeout),
                None => (*reader).wait(),
            }
        };
        hand_out(entry, read, &to, || {
            // SAFETY: as above. There is no fragment, so nothing borrows from the reader.
            let is_closed = unsafe { (*reader).is_closed() };
            error::fail(if is_closed || timeout_ns < 0 { TANGO_CLOSED } else { TANGO_TIMEOUT })
        })
    })
}

/// Releases the fragment that the reader holds, so that the producer may overwrite it. *fragment then has no bytes: data is
/// NULL, len 0.
///
/// Errors: TANGO_NOT_HELD if the reader holds no fragment, or another one: for example, if it was released already.
/// TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_fragment_release(
    consumer: tango_consumer,
    fragment: *mut tango_fragment,
) -> tango_status {
    guard(|| {
        let of = memory::place(fragment, "fragment")?;
        let entry = match CONSUMERS.find(consumer.handle) {
            Some(entry) => entry,
            None => CONSUMERS.find_any(consumer.handle)?,
        };
        // SAFETY: the table keeps the entry until this thread closes it. These fields only.
        let (held, seq) = unsafe { (&mut (*entry.as_ptr()).held, (*entry.as_ptr()).held_seq) };
        let given = of.get();
        if held.is_none() || given.seq != seq || given.data.is_null() {
            return Err(not_held(given.seq));
        }
        *held = None;
        of.put(tango_fragment { data: std::ptr::null(), len: 0, ..given });
        Ok(())
    })
}

#[cold]
fn not_held(seq: u64) -> tango_status {
    error::wrong(
        TANGO_NOT_HELD,
        format!(
            "this reader does not hold fragment {seq}: it was released, or is of another reader or of a batch"
        ),
    )
}

/// The numbers of the last error of this thread, if a reading call returned TANGO_OVERRUN, TANGO_EVICTED, TANGO_CORRUPT or
/// TANGO_PRODUCER_REPLACED. TANGO_EMPTY if the last error was another one.
///
/// lost: how many fragments were lost or skipped. next: the sequence number at which reading continues; after
/// TANGO_PRODUCER_REPLACED, the first fragment of the new producer. Both may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn tango_last_loss(lost: *mut u64, next: *mut u64) -> tango_status {
    guard(|| {
        let numbers = error::loss().ok_or(TANGO_EMPTY)?;
        memory::put_if(lost, numbers.0);
        memory::put_if(next, numbers.1);
        Ok(())
    })
}
