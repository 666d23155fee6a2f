//! Memory of the caller: checked for null here, and accessed nowhere else.
//!
//! What cannot be checked is in the header: a pointer that is not NULL points to what its type says, for as long as the
//! function says.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::error;
use crate::status::*;

type Checked<T> = Result<T, tango_status>;

#[cold]
fn null(what: &str) -> tango_status {
    error::wrong(TANGO_INVALID, format!("{what} is NULL"))
}

/// Checks a place for a result.
#[inline(always)]
pub(crate) fn place<'c, T>(to: *mut T, what: &str) -> Checked<Place<'c, T>> {
    if to.is_null() { Err(null(what)) } else { Ok(Place { to, borrow: std::marker::PhantomData }) }
}

/// A place for a result, which may be uninitialised.
pub(crate) struct Place<'c, T> {
    to: *mut T,
    borrow: std::marker::PhantomData<&'c mut T>,
}

impl<T: Copy> Place<'_, T> {
    #[inline(always)]
    pub(crate) fn put(&self, value: T) {
        // SAFETY: it is not null, so it points to room for a `T` that the caller has lent for this call (the header). It
        // is aligned, as C's types are. Nothing is dropped: `T` is `Copy`.
        unsafe { self.to.write(value) }
    }

    /// What the caller has put there, which is initialised.
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        // SAFETY: as in `put`, and the caller has filled it in (the header). Each type that is read is valid whatever its
        // bytes are.
        unsafe { self.to.read() }
    }
}

/// Stores a result that the caller may not want.
pub(crate) fn put_if<T: Copy>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: as in `Place::put`.
        unsafe { to.write(value) }
    }
}

/// Bytes of the caller. NULL is right if there are none.
#[inline(always)]
pub(crate) fn bytes<'c>(data: *const c_void, len: usize) -> Checked<&'c [u8]> {
    if data.is_null() {
        return if len == 0 { Ok(&[]) } else { Err(null("data")) };
    }
    if len > isize::MAX as usize {
        return Err(too_long(len));
    }
    // SAFETY: not null, and no longer than an object can be. The caller has lent `len` initialised bytes for this call, and
    // writes to them by no other thread meanwhile (the header).
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

#[cold]
fn too_long(len: usize) -> tango_status {
    error::wrong(TANGO_INVALID, format!("a length of {len} is more than an object can have"))
}

/// Values of the caller, one after the other. NULL is right if there are none.
pub(crate) fn several<'c, T>(first: *const T, count: usize, what: &str) -> Checked<&'c [T]> {
    if first.is_null() {
        return if count == 0 { Ok(&[]) } else { Err(null(what)) };
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(too_long(count));
    }
    // SAFETY: as in `bytes`. All types that this is called with are valid whatever their bytes are.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// Room of the caller for several values.
pub(crate) fn room<'c, T: Copy>(first: *mut T, count: usize, what: &str) -> Checked<Room<'c, T>> {
    if first.is_null() && count != 0 {
        return Err(null(what));
    }
    Ok(Room { first, count, borrow: std::marker::PhantomData })
}

pub(crate) struct Room<'c, T> {
    first: *mut T,
    count: usize,
    borrow: std::marker::PhantomData<&'c mut T>,
}

impl<T: Copy> Room<'_, T> {
    /// Stores a value, if there is room for it.
    #[inline(always)]
    pub(crate) fn put(&self, at: usize, value: T) {
        if at < self.count {
            // SAFETY: the caller has lent room for `count` values, and this is one of them. As in `Place::put`.
            unsafe { self.first.add(at).write(value) }
        }
    }
}

/// A time of the caller. `None`: it is negative, so there is no limit.
pub(crate) fn duration(ns: i64) -> Option<Duration> {
    u64::try_from(ns).ok().map(Duration::from_nanos)
}

/// A text of the caller that must be there.
pub(crate) fn text<'c>(text: *const c_char, what: &str) -> Checked<&'c str> {
    let bytes = c_string(text).ok_or_else(|| null(what))?.to_bytes();
    std::str::from_utf8(bytes).map_err(|_| {
        error::wrong(TANGO_INVALID, format!("{what} is not UTF-8: {}", String::from_utf8_lossy(bytes)))
    })
}

/// A folder of the caller. `None`: NULL.
pub(crate) fn folder<'c>(path: *const c_char) -> Option<&'c Path> {
    c_string(path).map(|path| Path::new(OsStr::from_bytes(path.to_bytes())))
}

fn c_string<'c>(text: *const c_char) -> Option<&'c CStr> {
    // SAFETY: not null, so it points to bytes that end with a zero, which the caller has lent for this call (the header).
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// Copies bytes and a zero to the caller, as many as there is room for. The text ends with a zero if there is any room.
pub(crate) fn put_text(text: &[u8], buffer: *mut c_char, size: usize, len: *mut usize) -> Checked<()> {
    let room = room(buffer, size, "buffer")?;
    let shown = text.len().min(size.saturating_sub(1));
    for (at, byte) in text[..shown].iter().enumerate() {
        room.put(at, *byte as c_char);
    }
    room.put(shown, 0);
    put_if(len, text.len());
    Ok(())
}

/// A struct of the caller that begins with its own size, as the caller knows it. What the caller's lacks comes from
/// `default`.
///
/// # Safety
/// `T` is `repr(C)`, begins with a `usize`, and is valid whatever its bytes are.
pub(crate) unsafe fn sized<T: Copy>(from: *const T, default: T, what: &str) -> Checked<T> {
    if from.is_null() {
        return Ok(default);
    }
    let (from, known) = (from.cast::<u8>(), size_of::<T>());
    // SAFETY: not null, so it points to a struct that begins with its size (the header).
    let size = unsafe { from.cast::<usize>().read() };
    let wrong = |text: String| Err(error::wrong(TANGO_INVALID, text));
    if size < size_of::<usize>() || size > 4096 {
        return wrong(format!("{what}->size is {size}: fill it in with the function that sets the defaults"));
    }
    // SAFETY: the caller has lent `size` initialised bytes.
    let later = unsafe { std::slice::from_raw_parts(from, size) }.iter().skip(known);
    if later.copied().any(|byte| byte != 0) {
        return wrong(format!("{what} has settings that this version of the library does not know"));
    }
    let mut value = default;
    // SAFETY: both have as many bytes, and do not overlap: one is a local variable. Any bytes are a `T`.
    unsafe { std::ptr::copy_nonoverlapping(from, (&raw mut value).cast::<u8>(), size.min(known)) };
    Ok(value)
}

/// Stores a struct into one of the caller that has `size` bytes. What the caller's lacks is left out, and what it has more
/// is zero.
pub(crate) fn put_sized<T: Copy>(to: *mut T, size: usize, value: T, what: &str) -> Checked<()> {
    if to.is_null() {
        return Err(null(what));
    }
    if size > 4096 {
        return Err(error::wrong(TANGO_INVALID, format!("size is {size}: it is the sizeof of the struct")));
    }
    let copied = size.min(size_of::<T>());
    // SAFETY: the caller has lent room for `size` bytes, and `copied` is no more. It does not overlap with a local variable.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), to.cast::<u8>(), copied);
        to.cast::<u8>().add(copied).write_bytes(0, size - copied);
    }
    Ok(())
}
