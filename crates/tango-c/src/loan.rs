//! Loans: payloads that are written where they will lie.
#![allow(unsafe_code)] // names that the linker sees, and entries

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::NonNull;

use rust_tango::Loan;

use crate::error::{self, guard};
use crate::memory;
use crate::producer::{PRODUCERS, ProducerEntry, has_loan, loaned, tango_producer};
use crate::status::*;

/// Lends the place for a payload of len bytes. Never blocks. The producer has one loan at a time, and publishes nothing else
/// before it ends. Bytes that are not written keep the value that they had before in the ring.
///
/// Write with tango_loan_write(), or with tango_loan_data() on a link without observers. End it with tango_loan_commit() or
/// tango_loan_abandon().
///
/// Errors: TANGO_NO_CREDITS, TANGO_CLOSED, TANGO_TOO_LARGE, TANGO_LOANED, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan(producer: tango_producer, len: usize) -> tango_status {
    guard(|| {
        let entry = PRODUCERS.find_any(producer.handle)?;
        if has_loan(entry) {
            return Err(loaned());
        }
        // SAFETY: the table keeps the entry until this thread closes it. No loan borrows from the producer.
        let lender = unsafe { &mut (*entry.as_ptr()).producer };
        let lender = lender.as_mut().ok_or_else(|| error::fail(TANGO_PANIC))?;
        let loan = lender.loan(len).map_err(error::protocol)?;
        // SAFETY: the two types differ in a lifetime only. The loan is dropped or committed before anything else uses the
        // producer by a mutable reference, and before the entry is dropped: `has_loan`, and `tango_producer_close`. The
        // producer stays where it is: the entry is in a box.
        let loan = unsafe { transmute::<Loan<'_>, Loan<'static>>(loan) };
        // SAFETY: as above. This field only: the loan borrows from the other.
        unsafe { (*entry.as_ptr()).loan = Some(loan) }
        PRODUCERS.set_special(producer.handle, true);
        Ok(())
    })
}

/// Runs a call on the loan of a producer.
fn with_loan(
    of: tango_producer,
    call: impl FnOnce(&mut Loan<'static>) -> Result<(), tango_status>,
) -> tango_status {
    guard(|| {
        let entry = PRODUCERS.find_any(of.handle)?;
        // SAFETY: the table keeps the entry until this thread closes it. This field only.
        call(unsafe { &mut (*entry.as_ptr()).loan }.as_mut().ok_or_else(none)?)
    })
}

#[cold]
fn none() -> tango_status {
    error::wrong(TANGO_NOT_HELD, "this producer has lent no memory: call tango_loan() first")
}

/// Writes bytes into the loan, at `offset` bytes from its start.
///
/// Errors: TANGO_INVALID if they end outside of the loan, with nothing written; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan_write(
    producer: tango_producer,
    offset: usize,
    data: *const c_void,
    len: usize,
) -> tango_status {
    with_loan(producer, |loan| {
        let bytes = memory::bytes(data, len)?;
        if offset.checked_add(len).is_none_or(|end| end > loan.len()) {
            let whole = loan.len();
            let text = format!("{len} bytes at offset {offset} end outside of a loan of {whole} bytes");
            return Err(error::wrong(TANGO_INVALID, text));
        }
        loan.write_at(offset, bytes);
        Ok(())
    })
}

/// The bytes of the loan themselves, valid until the loan ends. Only on a link without observers (tango_options): otherwise
/// an observer may be reading them.
///
/// Errors: TANGO_INVALID if the link may have observers; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan_data(producer: tango_producer, data: *mut *mut u8) -> tango_status {
    with_loan(producer, |loan| {
        let to = memory::place(data, "data")?;
        to.put(std::ptr::null_mut());
        let Some(bytes) = loan.as_mut_slice() else {
            let text = "an observer may be reading these bytes: use tango_loan_write(), or make the link with options.observers = 0";
            return Err(error::wrong(TANGO_INVALID, text));
        };
        to.put(bytes.as_mut_ptr());
        Ok(())
    })
}

/// Shortens the payload to its first len bytes. No effect if it is not longer.
///
/// Errors: TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan_truncate(producer: tango_producer, len: usize) -> tango_status {
    with_loan(producer, |loan| {
        loan.truncate(len);
        Ok(())
    })
}

/// Publishes the payload. The loan ends in each case. sig, ctl and ts: as in tango_publish().
///
/// Errors, with nothing published: TANGO_CLOSED if the link was stopped; TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan_commit(producer: tango_producer, sig: u64, ctl: u16, ts: u32) -> tango_status {
    guard(|| {
        let loan = take(producer)?.ok_or_else(none)?;
        loan.commit(sig, ctl, ts).map(drop).map_err(error::protocol)
    })
}

/// Ends the loan without publishing. The next fragment uses its place.
///
/// Errors: TANGO_NOT_HELD, TANGO_BAD_HANDLE, TANGO_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn tango_loan_abandon(producer: tango_producer) -> tango_status {
    guard(|| take(producer)?.map(drop).ok_or_else(none))
}

fn take(of: tango_producer) -> Result<Option<Loan<'static>>, tango_status> {
    let entry: NonNull<ProducerEntry> = PRODUCERS.find_any(of.handle)?;
    // SAFETY: the table keeps the entry until this thread closes it. This field only.
    let loan = unsafe { &mut (*entry.as_ptr()).loan }.take();
    PRODUCERS.set_special(of.handle, false);
    Ok(loan)
}
