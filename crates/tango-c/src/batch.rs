//! Reading several fragments under one credit.
#![allow(unsafe_code)] // names that the linker sees, and entries

use std::mem::transmute;

use rust_tango::Batch;

use crate::consumer::{CONSUMERS, Reader, gone, has_descriptor, reader, release, tango_consumer};
use crate::error::{self, guard};
use crate::memory;
use crate::read::tango_fragment;
use crate::status::*;

/// Up to `room` fragments that are there now, in order. Never blocks. What the reader held before is released first. All of
/// them count as read.
///
/// They are valid until tango_batch_release(), which releases all of them together, or until the reader reads again, is set
/// up anew, or is closed. An observer or an evictable consumer has room for copies of 8 KiB, or of one fragment.
///
/// count: how many there are; 0 after an error.
///
/// Errors: as tango_poll(). An error of a later fragment ends the batch, and the next call returns it.
#[unsafe(no_mangle)]
pub extern "C" fn tango_poll_batch(
    consumer: tango_consumer,
    fragments: *mut tango_fragment,
    room: usize,
    count: *mut usize,
) -> tango_status {
    guard(|| {
        let (to, count) = (memory::room(fragments, room, "fragments")?, memory::place(count, "count")?);
        count.put(0);
        if room == 0 {
            return Err(error::wrong(
                TANGO_INVALID,
                "room is 0: a batch needs room for one fragment at least",
            ));
        }
        let entry = CONSUMERS.find_any(consumer.handle)?;
        release(entry);
        // SAFETY: it has just been released, and this call makes no other reference.
        let reader = match unsafe { reader(entry) } {
            Reader::Plain(reader) => reader,
            Reader::Awaited(_) => return Err(has_descriptor()),
            Reader::Gone => return Err(gone()),
        };
        CONSUMERS.set_special(consumer.handle, false);
        let is_closed = reader.is_closed();
        let batch = reader.poll_batch(room).map_err(error::protocol)?;
        if batch.is_empty() {
            return Err(if is_closed { error::fail(TANGO_CLOSED) } else { TANGO_EMPTY });
        }
        let mut filled = 0;
        for fragment in &batch {
            to.put(filled, tango_fragment::of(&fragment));
            filled += 1;
        }
        count.put(filled);
        // SAFETY: the two types differ in a lifetime only. The batch borrows from the reader of this entry, which stays where
        // it is, in a box. It is dropped before the reader is used by a mutable reference (`release`), and before the entry is
        // dropped (`tango_consumer_close`).
        let batch = unsafe { transmute::<Batch<'_>, Batch<'static>>(batch) };
        // SAFETY: the table keeps the entry until this thread closes it. This field only.
        unsafe { (*entry.as_ptr()).batch = Some(batch) }
        CONSUMERS.set_special(consumer.handle, true);
        Ok(())
    })
}

/// Releases the batch that the reader holds, so that the producer may overwrite its fragments. Their bytes are not valid any
/// more.
///
/// Errors: TANGO_NOT_HELD if the reader holds no batch; TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_batch_release(consumer: tango_consumer) -> tango_status {
    guard(|| {
        let entry = CONSUMERS.find_any(consumer.handle)?;
        // SAFETY: the table keeps the entry until this thread closes it. This field only.
        if unsafe { &mut (*entry.as_ptr()).batch }.take().is_none() {
            return Err(error::wrong(TANGO_NOT_HELD, "this reader holds no batch: it was released already"));
        }
        CONSUMERS.set_special(consumer.handle, false);
        Ok(())
    })
}
