//! A descriptor for event loops.
#![allow(unsafe_code)] // names that the linker sees

use std::ffi::c_int;
use std::os::fd::AsRawFd;

use crate::consumer::{Reader, change, gone, tango_consumer};
use crate::error::{self, guard};
use crate::memory;
use crate::status::*;

/// Gives a reader a descriptor for epoll(7), poll(2) and the like. From then on, it waits for that instead of in
/// tango_recv(), which returns TANGO_INVALID, as batches do. What the reader holds is released.
///
/// The protocol: call tango_poll() until it returns TANGO_EMPTY. Then wait until the descriptor is readable, and start again.
/// Do not read from the descriptor or close it: the reader owns it. After TANGO_CLOSED, it stays readable.
///
/// A second call returns the same descriptor. The first one of a process starts a thread, which waits for all such readers
/// and ends with the last.
///
/// Errors: TANGO_SYSTEM if the system refuses a descriptor or a thread: the reader is of no use then, and can only be closed.
/// TANGO_INVALID, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_consumer_descriptor(
    consumer: tango_consumer,
    descriptor: *mut c_int,
) -> tango_status {
    guard(|| {
        let to = memory::place(descriptor, "descriptor")?;
        to.put(-1);
        change(consumer, |reader| {
            let awaited = match reader {
                Reader::Plain(consumer) => consumer.into_async().map_err(|error| error::link(&error))?,
                Reader::Awaited(awaited) => awaited,
                Reader::Gone => return Err(gone()),
            };
            to.put(awaited.as_raw_fd());
            Ok(Reader::Awaited(awaited))
        })
    })
}
