//! The codes that functions return.
#![allow(unsafe_code)] // names that the linker sees

use std::ffi::{CStr, c_char};

use rust_tango::{LinkError, LinkErrorKind, TangoError};

/// The version of this interface. It changes when a program that was compiled with an older header could no longer use
/// the library. Compare it with tango_abi_version().
pub const TANGO_ABI_VERSION: u32 = 1;

/// What a function returns. 0 is success. New codes may be added, so treat an unknown one as an error.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum tango_status {
    /// Success.
    TANGO_OK = 0,

    /// Reading: there is nothing now. Fragments may arrive at any moment. It is not kept as the last error.
    TANGO_EMPTY = 1,
    /// The time was up.
    TANGO_TIMEOUT = 2,
    /// Reading: the link is closed, and everything was read. A new producer can open it again, unless it was stopped.
    /// Publishing: the link was stopped. Nothing was published, and nothing can be any more.
    TANGO_CLOSED = 3,
    /// Publishing: a consumer still needs what would be overwritten. Nothing was published. Try again later.
    TANGO_NO_CREDITS = 4,

    /// Reading: the producer overwrote fragments that this reader had not read, which does not happen to a reliable
    /// consumer, or it left their numbers out, which any reader learns. Call again to continue after the gap;
    /// tango_last_loss() has the numbers.
    TANGO_OVERRUN = 5,
    /// Reading: the producer stopped waiting for this evictable consumer, and fragments were lost. As TANGO_OVERRUN.
    TANGO_EVICTED = 6,
    /// Reading: a fragment has impossible metadata. It was skipped. Call again to continue.
    TANGO_CORRUPT = 7,
    /// Reading: the producer died, and everything that it published was read. Each call returns this until another
    /// producer attaches.
    TANGO_PRODUCER_GONE = 8,
    /// Reading: a new producer has taken over from one that died. No published fragment is lost. Reported once. Call
    /// again to continue.
    TANGO_PRODUCER_REPLACED = 9,

    /// Publishing: the payload is longer than the MTU of the link. Nothing was published.
    TANGO_TOO_LARGE = 10,

    /// An argument is out of range or NULL, or the call is not possible on this link or in this state.
    TANGO_INVALID = 11,
    /// There is no link of that name.
    TANGO_NOT_FOUND = 12,
    /// A link of that name exists and is in use.
    TANGO_IN_USE = 13,
    /// The link already has a producer, or all slots for consumers are taken.
    TANGO_TAKEN = 14,
    /// The files of the link have another format, or the link has not the sizes or the type that were asked for.
    TANGO_INCOMPATIBLE = 15,
    /// A file of the link is missing.
    TANGO_DAMAGED = 16,
    /// Another user could write to the files of the link. An observer may join.
    TANGO_UNTRUSTED = 17,
    /// A system call failed: see tango_last_errno().
    TANGO_SYSTEM = 18,

    /// The handle is not open: it was closed, is zero, or is of another kind. Nothing was done.
    TANGO_BAD_HANDLE = 19,
    /// Another thread is inside a call that waits, with the same handle. Nothing was done.
    TANGO_BUSY = 20,
    /// There is nothing to release: no fragment, no batch or no loan is held, or it is not this one. Nothing was done.
    TANGO_NOT_HELD = 21,
    /// The producer has lent memory: commit or abandon the loan first. Nothing was done.
    TANGO_LOANED = 22,
    /// The library has a fault. The handle can only be closed now. Please report the text of tango_last_error().
    TANGO_PANIC = 23,
    /// An error that this version of the interface does not know.
    TANGO_UNKNOWN = 24,
}

pub(crate) use tango_status::*;

impl tango_status {
    const ALL: [(Self, &'static CStr); 25] = [
        (TANGO_OK, c"success"),
        (TANGO_EMPTY, c"there is no fragment now"),
        (TANGO_TIMEOUT, c"the time was up"),
        (TANGO_CLOSED, c"the link is closed"),
        (TANGO_NO_CREDITS, c"no credits: a consumer has not finished with the oldest fragments"),
        (TANGO_OVERRUN, c"overrun: fragments were lost"),
        (TANGO_EVICTED, c"evicted for keeping the producer waiting: fragments were lost"),
        (TANGO_CORRUPT, c"a fragment has corrupt metadata and was skipped"),
        (TANGO_PRODUCER_GONE, c"the producer died without closing the link"),
        (TANGO_PRODUCER_REPLACED, c"a new producer has taken the link over"),
        (TANGO_TOO_LARGE, c"the payload is over the MTU of the link"),
        (TANGO_INVALID, c"an argument is out of range, or the call is not possible here"),
        (TANGO_NOT_FOUND, c"there is no such link"),
        (TANGO_IN_USE, c"a link of that name is in use"),
        (TANGO_TAKEN, c"the link has a producer, or no free slot for a consumer"),
        (TANGO_INCOMPATIBLE, c"the link has another format, other sizes or another type"),
        (TANGO_DAMAGED, c"a file of the link is missing"),
        (TANGO_UNTRUSTED, c"another user could write to the files of the link"),
        (TANGO_SYSTEM, c"a system call failed"),
        (TANGO_BAD_HANDLE, c"the handle is not open"),
        (TANGO_BUSY, c"another thread waits with this handle"),
        (TANGO_NOT_HELD, c"there is nothing to release"),
        (TANGO_LOANED, c"the producer has lent memory"),
        (TANGO_PANIC, c"the library has a fault"),
        (TANGO_UNKNOWN, c"an unknown error"),
    ];

    pub(crate) fn text(self) -> &'static CStr {
        Self::text_of(self as i32)
    }

    fn text_of(code: i32) -> &'static CStr {
        let found = usize::try_from(code).ok().and_then(|at| Self::ALL.get(at));
        found.map_or(c"not a code of this library", |(_, text)| text)
    }

    pub(crate) fn of(error: TangoError) -> Self {
        match error {
            TangoError::NoCredits => TANGO_NO_CREDITS,
            TangoError::TooLarge { .. } => TANGO_TOO_LARGE,
            TangoError::Closed => TANGO_CLOSED,
            TangoError::Overrun { .. } => TANGO_OVERRUN,
            TangoError::Evicted { .. } => TANGO_EVICTED,
            TangoError::Corrupt { .. } => TANGO_CORRUPT,
            TangoError::ProducerGone => TANGO_PRODUCER_GONE,
            TangoError::ProducerReplaced { .. } => TANGO_PRODUCER_REPLACED,
            TangoError::ProducerTaken | TangoError::ConsumerTaken => TANGO_TAKEN,
            _ => TANGO_UNKNOWN,
        }
    }

    pub(crate) fn of_link(error: &LinkError) -> Self {
        match error.kind() {
            LinkErrorKind::Invalid => TANGO_INVALID,
            LinkErrorKind::NotFound => TANGO_NOT_FOUND,
            LinkErrorKind::InUse => TANGO_IN_USE,
            LinkErrorKind::Taken => TANGO_TAKEN,
            LinkErrorKind::Incompatible => TANGO_INCOMPATIBLE,
            LinkErrorKind::Damaged => TANGO_DAMAGED,
            LinkErrorKind::Untrusted => TANGO_UNTRUSTED,
            LinkErrorKind::System => TANGO_SYSTEM,
            LinkErrorKind::Protocol => error.protocol().map_or(TANGO_UNKNOWN, Self::of),
            _ => TANGO_UNKNOWN,
        }
    }
}

/// The version of the interface of the library that is loaded. A program that finds another value than
/// TANGO_ABI_VERSION must not call anything else.
#[unsafe(no_mangle)]
pub extern "C" fn tango_abi_version() -> u32 {
    TANGO_ABI_VERSION
}

/// The version of the library, for people: "0.2.0".
#[unsafe(no_mangle)]
pub extern "C" fn tango_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no zeros"),
        };
    VERSION.as_ptr()
}

/// What a code means, for people. Never NULL, never freed.
#[unsafe(no_mangle)]
pub extern "C" fn tango_strerror(code: i32) -> *const c_char {
    tango_status::text_of(code).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_text() {
        for (at, (code, text)) in tango_status::ALL.iter().enumerate() {
            assert_eq!(*code as usize, at);
            assert_eq!(code.text(), *text);
        }
        assert_eq!(tango_status::text_of(-1), tango_status::text_of(25));
    }
}
