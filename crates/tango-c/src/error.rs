//! The last error of each thread, and where panics end.
#![allow(unsafe_code)] // names that the linker sees

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rust_tango::{LinkError, TangoError};

use crate::status::*;

/// The last error of a thread. Its text is made when it is asked for, because a program may poll for credits.
enum Last {
    None,
    Code(tango_status),
    Protocol(TangoError),
    Text { text: String, errno: c_int },
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last::None) };
    /// What `tango_last_error` has returned.
    static SHOWN: RefCell<CString> = RefCell::new(CString::default());
}

/// A thread that ends has no last error any more.
fn set(last: Last) {
    let _ = LAST.try_with(|kept| kept.replace(last));
}

/// An error that its code says all about.
#[cold]
pub(crate) fn fail(code: tango_status) -> tango_status {
    set(Last::Code(code));
    code
}

/// An error of an argument or a handle. The text says what would be right.
#[cold]
pub(crate) fn wrong(code: tango_status, text: impl Into<String>) -> tango_status {
    set(Last::Text { text: text.into(), errno: 0 });
    code
}

#[cold]
pub(crate) fn protocol(error: TangoError) -> tango_status {
    set(Last::Protocol(error));
    tango_status::of(error)
}

#[cold]
pub(crate) fn link(error: &LinkError) -> tango_status {
    let errno = error.io_error().and_then(std::io::Error::raw_os_error).unwrap_or(0);
    set(Last::Text { text: error.reason(), errno });
    tango_status::of_link(error)
}

/// Runs what a function does. A panic becomes a code.
#[inline(always)]
pub(crate) fn guard(body: impl FnOnce() -> Result<(), tango_status>) -> tango_status {
    // What a panic leaves behind is used again only by the library's own types, which expect it.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        fault::strike();
        body()
    }));
    match caught {
        Ok(Ok(())) => TANGO_OK,
        Ok(Err(code)) => code,
        Err(panic) => panicked(&*panic),
    }
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> tango_status {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    wrong(TANGO_PANIC, format!("a fault of the library: {text}"))
}

/// What the last call of this thread that failed says of it, for people: it names what was wrong, and what would be right.
///
/// "" if there was none. Never NULL. The text is valid until this thread calls this function again, or ends. A call that
/// succeeds, or returns TANGO_EMPTY, leaves it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn tango_last_error() -> *const c_char {
    let text = catch_unwind(|| {
        let text = LAST.try_with(|last| match &*last.borrow() {
            Last::None => CString::default(),
            Last::Code(code) => code.text().to_owned(),
            Last::Protocol(error) => with_no_zeros(error.to_string()),
            Last::Text { text, .. } => with_no_zeros(text.clone()),
        });
        SHOWN.try_with(|shown| {
            *shown.borrow_mut() = text.unwrap_or_default();
            shown.borrow().as_ptr()
        })
    });
    // A thread that ends has no text any more.
    text.ok().and_then(Result::ok).unwrap_or(c"".as_ptr())
}

fn with_no_zeros(text: String) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}

/// The error number of the system (errno) behind the last error of this thread, if it is TANGO_SYSTEM; otherwise 0.
#[unsafe(no_mangle)]
pub extern "C" fn tango_last_errno() -> c_int {
    let errno = LAST.try_with(|last| match &*last.borrow() {
        Last::Text { errno, .. } => *errno,
        _ => 0,
    });
    errno.unwrap_or(0)
}

/// The numbers of the last error of this thread: how many fragments were lost, and where reading continues.
pub(crate) fn loss() -> Option<(u64, u64)> {
    let numbers = LAST.try_with(|last| match &*last.borrow() {
        Last::Protocol(TangoError::Overrun { lost, next } | TangoError::Evicted { lost, next }) => {
            Some((*lost, *next))
        }
        Last::Protocol(TangoError::Corrupt { seq }) => Some((1, seq.wrapping_add(1))),
        Last::Protocol(TangoError::ProducerReplaced { first }) => Some((0, *first)),
        _ => None,
    });
    numbers.ok().flatten()
}

/// A panic in each body that [`guard`] runs, for tests.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static IS_DUE: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn strike() {
        assert!(!IS_DUE.get(), "a fault for a test");
    }

    /// Runs a call in which each guarded body panics.
    pub(crate) fn in_each_body<T>(call: impl FnOnce() -> T) -> T {
        IS_DUE.set(true);
        let result = call();
        IS_DUE.set(false);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[allow(unsafe_code)]
    fn last() -> String {
        // SAFETY: a text of this library, valid until the next call of the function.
        unsafe { CStr::from_ptr(tango_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_a_code_and_a_text() {
        assert_eq!(guard(|| panic!("number {}", 7)), TANGO_PANIC);
        assert_eq!(last(), "a fault of the library: number 7");
        assert_eq!(guard(|| std::panic::resume_unwind(Box::new(7))), TANGO_PANIC);
        assert_eq!(guard(|| Ok(())), TANGO_OK);
        assert_eq!(last(), "a fault of the library: no text", "a success leaves it as it is");
    }

    #[test]
    fn the_last_error_has_its_numbers_and_is_of_this_thread() {
        assert_eq!(protocol(TangoError::Overrun { lost: 5, next: 9 }), TANGO_OVERRUN);
        assert_eq!(std::thread::spawn(last).join().unwrap(), "");
        assert_eq!(last(), "overrun: 5 fragments lost, reading continues with fragment 9");
        assert_eq!(loss(), Some((5, 9)));
        assert_eq!(protocol(TangoError::Corrupt { seq: 3 }), TANGO_CORRUPT);
        assert_eq!(loss(), Some((1, 4)));
        assert_eq!(protocol(TangoError::ProducerReplaced { first: 7 }), TANGO_PRODUCER_REPLACED);
        assert_eq!(loss(), Some((0, 7)));
        assert_eq!(fail(TANGO_TIMEOUT), TANGO_TIMEOUT);
        assert_eq!((loss(), last().as_str()), (None, "the time was up"));
        assert_eq!(wrong(TANGO_INVALID, "a zero\0 inside"), TANGO_INVALID);
        assert_eq!((last().as_str(), tango_last_errno()), ("a zero\\0 inside", 0));
    }
}
