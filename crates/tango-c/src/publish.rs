//! Publishing a fragment, several, or a long message.
#![allow(unsafe_code)] // names that the linker sees

use std::ffi::c_void;

use rust_tango::{Producer, TangoError};

use crate::error::{self, guard};
use crate::memory::{self, duration};
use crate::producer::{PRODUCERS, producer, tango_producer, unlent};
use crate::status::*;

/// Bytes of the caller: one payload of a batch.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_bytes {
    /// May be NULL if len is 0.
    pub data: *const c_void,
    /// How many there are.
    pub len: usize,
}

/// The producer of a handle, if it has lent nothing.
#[inline(always)]
fn free_producer<'c>(of: tango_producer) -> Result<&'c Producer<'static>, tango_status> {
    match PRODUCERS.find(of.handle) {
        Some(entry) => producer(entry),
        None => free_producer_slow(of),
    }
}

#[cold]
#[inline(never)]
fn free_producer_slow<'c>(of: tango_producer) -> Result<&'c Producer<'static>, tango_status> {
    unlent(PRODUCERS.find_any(of.handle)?)
}

/// Publishes a fragment: a copy of len bytes. Never blocks. Wakes consumers that sleep.
///
/// sig, ctl and ts travel with the payload unchanged. sig is a tag of yours. ctl: 0 for a message of one fragment. ts is a
/// timestamp of yours. Pass 0 for what the readers do not use. data may be NULL if len is 0.
///
/// Errors, with nothing published: TANGO_NO_CREDITS: try again later, or use tango_send(). TANGO_CLOSED: the link was
/// stopped. TANGO_TOO_LARGE, TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
#[unsafe(no_mangle)]
pub extern "C" fn tango_publish(
    producer: tango_producer,
    data: *const c_void,
    len: usize,
    sig: u64,
    ctl: u16,
    ts: u32,
) -> tango_status {
    guard(|| {
        let producer = free_producer(producer)?;
        match producer.publish(memory::bytes(data, len)?, sig, ctl, ts) {
            Ok(_) => Ok(()),
            Err(error) => Err(error::protocol(error)),
        }
    })
}

/// tango_publish() that waits for credits for timeout_ns nanoseconds at most, or a little longer; negative: without a limit.
///
/// It waits forever without a limit if this thread is the one that should read. tango_link_stop() ends it from another
/// thread.
///
/// Errors: TANGO_NO_CREDITS: there was none in time. Otherwise as tango_publish().
#[unsafe(no_mangle)]
pub extern "C" fn tango_send(
    producer: tango_producer,
    data: *const c_void,
    len: usize,
    sig: u64,
    ctl: u16,
    ts: u32,
    timeout_ns: i64,
) -> tango_status {
    guard(|| {
        let bytes = memory::bytes(data, len)?;
        match free_producer(producer)?.publish(bytes, sig, ctl, ts) {
            Ok(_) => return Ok(()),
            Err(TangoError::NoCredits) => {}
            Err(error) => return Err(error::protocol(error)),
        }
        let busy = PRODUCERS.enter(producer.handle)?;
        let producer = self::producer(busy.entry)?;
        let sent = match duration(timeout_ns) {
            Some(timeout) => producer.publish_timeout(bytes, sig, ctl, ts, timeout),
            None => producer.publish_blocking(bytes, sig, ctl, ts),
        };
        sent.map(drop).map_err(error::protocol)
    })
}

/// How many payloads are handed on in one call of the library.
const CHUNK: usize = 64;

/// Publishes payloads in order, until all are published or one fails. Never blocks. Consumers that sleep are woken once for
/// every 64. All fragments get this sig, ctl and ts.
///
/// published: how many were; may be NULL.
///
/// Errors: the one of the first payload that was not published, as tango_publish(). Those before it were published.
#[unsafe(no_mangle)]
pub extern "C" fn tango_publish_batch(
    producer: tango_producer,
    payloads: *const tango_bytes,
    count: usize,
    sig: u64,
    ctl: u16,
    ts: u32,
    published: *mut usize,
) -> tango_status {
    guard(|| {
        memory::put_if(published, 0);
        let producer = free_producer(producer)?;
        let payloads = memory::several(payloads, count, "payloads")?;
        let mut done = 0;
        while done < payloads.len() {
            let chunk = &payloads[done..payloads.len().min(done + CHUNK)];
            let mut slices: [&[u8]; CHUNK] = [&[]; CHUNK];
            for (slice, of) in slices.iter_mut().zip(chunk) {
                *slice = memory::bytes(of.data, of.len)?;
            }
            let sent = producer.publish_batch_at(&slices[..chunk.len()], sig, ctl, ts);
            done += sent;
            memory::put_if(published, done);
            if sent < chunk.len() {
                // Says why. It succeeds if a consumer has returned credits meanwhile.
                producer.publish(slices[sent], sig, ctl, ts).map_err(error::protocol)?;
                done += 1;
                memory::put_if(published, done);
            }
        }
        Ok(())
    })
}

/// Leaves out the next count sequence numbers, for a link that has to carry the numbers of another source. Waits for credits
/// for timeout_ns nanoseconds at most, or a little longer; negative: without a limit. Every reader that comes to such numbers,
/// a reliable consumer as well, gets TANGO_OVERRUN. A number that is left out takes a credit until the consumers have come to it.
///
/// skipped: how many were left out; may be NULL.
///
/// Errors: TANGO_NO_CREDITS: there were not enough in time. TANGO_CLOSED: the link was stopped. In both cases, some may have
/// been left out. TANGO_BAD_HANDLE, TANGO_BUSY, TANGO_LOANED.
#[unsafe(no_mangle)]
pub extern "C" fn tango_skip(
    producer: tango_producer,
    count: u64,
    timeout_ns: i64,
    skipped: *mut u64,
) -> tango_status {
    guard(|| {
        memory::put_if(skipped, 0);
        let busy = PRODUCERS.enter(producer.handle)?;
        let producer = self::producer(busy.entry)?;
        let first = producer.next_seq();
        let done = match duration(timeout_ns) {
            Some(timeout) => producer.skip_timeout(count, timeout),
            None => producer.skip_blocking(count).map(|()| count),
        };
        memory::put_if(skipped, producer.next_seq().wrapping_sub(first));
        match done {
            Ok(done) if done == count => Ok(()),
            Ok(_) => Err(error::protocol(TangoError::NoCredits)),
            Err(error) => Err(error::protocol(error)),
        }
    })
}

/// Sends a message of any length, in as many fragments as it takes. Waits for credits without a limit. Readers put it
/// together by ctl: bit 0 says that a fragment continues a message, bit 1 that more fragments follow.
///
/// fragments: how many there were; may be NULL.
///
/// Errors: TANGO_CLOSED: the link was stopped; part of the message may have been published. Otherwise as tango_publish().
#[unsafe(no_mangle)]
pub extern "C" fn tango_send_message(
    producer: tango_producer,
    data: *const c_void,
    len: usize,
    sig: u64,
    fragments: *mut u64,
) -> tango_status {
    guard(|| {
        let bytes = memory::bytes(data, len)?;
        let busy = PRODUCERS.enter(producer.handle)?;
        let sent = unlent(busy.entry)?.send_message(bytes, sig).map_err(error::protocol)?;
        memory::put_if(fragments, sent);
        Ok(())
    })
}
