//! [`Table`]: what handles stand for.
//!
//! ```text
//!   handle   | generation: 42 bits | kind: 2 | 0: 4 | index: 16 |
//!   word     | the same            |         | flags|           |      0: the slot is free
//!   slot     | word | entry: address, null if the slot is free |      never freed, and used again for another handle
//! ```
//!
//! A handle is open if the word of its slot, without flags, is the handle itself. Fast calls compare the whole word, so each
//! flag sends them to a slow path, and costs them nothing:
//!
//! - [`BUSY`]: a call that waits, changes or closes is under way.
//! - [`SPECIAL`]: the entry has lent something that fast calls do not know (a loan, a batch), or became something else.
//!
//! Who writes: the thread that uses the handle. One thread uses it at a time; this is what the header demands. What is
//! checked all the same: every call while another thread is inside one that is [`BUSY`]. What is not checked: two fast
//! calls at the same time, and a `BUSY` one that begins while a fast call runs.
//!
//! Index 0 is never used, so a handle of zeros is never open.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64};
use std::sync::{Mutex, PoisonError};

use crate::error;
use crate::status::*;

/// Miri interprets the initialisation of each slot.
const INDEX_BITS: u32 = if cfg!(miri) { 8 } else { 16 };
const SLOTS: usize = 1 << INDEX_BITS;
/// A call is under way during which no other thread may use the handle.
pub(crate) const BUSY: u64 = 1 << INDEX_BITS;
/// The entry has lent something, or is something that fast calls do not know.
pub(crate) const SPECIAL: u64 = 1 << (INDEX_BITS + 1);
const FLAGS: u64 = 0xf << INDEX_BITS;
const KIND_SHIFT: u32 = INDEX_BITS + 4;
const GENERATION_SHIFT: u32 = KIND_SHIFT + 2;

/// Alone in its cache line: a thread that sets flags does not delay one that uses another handle.
#[repr(align(64))]
struct Slot<T> {
    word: AtomicU64,
    entry: AtomicPtr<T>,
}

/// The entries of one kind of handle. It lies in a `static` whose pages the system provides as they are used.
pub(crate) struct Table<T> {
    slots: [Slot<T>; SLOTS],
    free: Mutex<Free>,
    kind: u64,
    /// What the entries are, for errors.
    name: &'static str,
    /// It has entries, and hands out no reference to one.
    entries: PhantomData<fn() -> T>,
}

struct Free {
    /// Slots that were used before, with the generation of the last handle.
    again: Vec<(usize, u64)>,
    /// The first index that was never used.
    fresh: usize,
}

impl<T: Send> Table<T> {
    /// `kind`: 1 to 3, another one for each table.
    pub(crate) const fn new(kind: u64, name: &'static str) -> Self {
        let free = Mutex::new(Free { again: Vec::new(), fresh: 1 });
        let slots =
            [const { Slot { word: AtomicU64::new(0), entry: AtomicPtr::new(std::ptr::null_mut()) } }; SLOTS];
        Self { slots, free, kind, name, entries: PhantomData }
    }

    #[inline(always)]
    fn slot(&self, handle: u64) -> &Slot<T> {
        &self.slots[handle as usize % SLOTS]
    }

    /// The entry of a handle that is open, with no flags. The thread that uses the handle may access it until it closes the
    /// handle.
    #[inline(always)]
    pub(crate) fn find(&self, handle: u64) -> Option<NonNull<T>> {
        let slot = self.slot(handle);
        // Pairs with the Release store in `open`.
        if slot.word.load(Acquire) != handle {
            return None;
        }
        // Null for a handle of zeros.
        NonNull::new(slot.entry.load(Relaxed))
    }

    /// [`Self::find`], whatever the flags are, except `BUSY`.
    ///
    /// # Errors
    /// `TANGO_BAD_HANDLE`, `TANGO_BUSY`.
    pub(crate) fn find_any(&self, handle: u64) -> Result<NonNull<T>, tango_status> {
        let slot = self.slot(handle);
        let word = slot.word.load(Acquire);
        if word & !FLAGS != handle {
            return Err(self.bad(handle));
        }
        if word & BUSY != 0 {
            return Err(self.busy());
        }
        NonNull::new(slot.entry.load(Relaxed)).ok_or_else(|| self.bad(handle))
    }

    /// [`Self::find_any`] for a call during which no other thread may use the handle.
    pub(crate) fn enter(&self, handle: u64) -> Result<Busy<'_, T>, tango_status> {
        self.find_any(handle)?;
        let slot = self.slot(handle);
        let word = slot.word.load(Relaxed);
        let is_same = word & !FLAGS == handle && word & BUSY == 0;
        if !is_same || slot.word.compare_exchange(word, word | BUSY, AcqRel, Relaxed).is_err() {
            return Err(self.busy());
        }
        let entry = NonNull::new(slot.entry.load(Relaxed)).ok_or_else(|| self.bad(handle))?;
        Ok(Busy { slot, entry })
    }

    /// Sets or clears [`SPECIAL`]. The handle is open, and this thread uses it.
    pub(crate) fn set_special(&self, handle: u64, is_special: bool) {
        let word = &self.slot(handle).word;
        let now = word.load(Relaxed);
        let then = if is_special { now | SPECIAL } else { now & !SPECIAL };
        if then != now {
            word.store(then, Release);
        }
    }

    /// Keeps an entry, and returns its handle.
    pub(crate) fn open(&self, entry: T) -> Result<u64, tango_status> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, generation) = match free.again.pop() {
            Some((index, last)) => (index, last + 1),
            None if free.fresh < SLOTS => {
                free.fresh += 1;
                (free.fresh - 1, 1)
            }
            None => {
                let text = format!("this process has {} open {}s already: close some", SLOTS - 1, self.name);
                return Err(error::wrong(TANGO_INVALID, text));
            }
        };
        let handle = generation << GENERATION_SHIFT | self.kind << KIND_SHIFT | index as u64;
        let slot = &self.slots[index];
        slot.entry.store(Box::into_raw(Box::new(entry)), Relaxed);
        // Pairs with the Acquire load in `find`.
        slot.word.store(handle, Release);
        Ok(handle)
    }

    /// Closes a handle. `before` ends what the entry has lent, and then the entry is dropped.
    pub(crate) fn close(&self, handle: u64, before: impl FnOnce(NonNull<T>)) -> Result<(), tango_status> {
        let Busy { slot, entry } = *std::mem::ManuallyDrop::new(self.enter(handle)?);
        // From here on, no call finds the entry.
        slot.entry.store(std::ptr::null_mut(), Relaxed);
        slot.word.store(0, Release);
        let generation = handle >> GENERATION_SHIFT;
        // A generation is never used twice.
        if generation + 1 < 1 << (64 - GENERATION_SHIFT) {
            let index = handle as usize % SLOTS;
            self.free.lock().unwrap_or_else(PoisonError::into_inner).again.push((index, generation));
        }
        before(entry);
        // SAFETY: it came from a box in `open`. This call has taken it out of the slot, alone: `enter` lets one thread pass.
        // The header demands that no fast call of another thread is under way.
        drop(unsafe { Box::from_raw(entry.as_ptr()) });
        Ok(())
    }

    /// What a call returns whose handle is not open, or is in use by another thread.
    #[cold]
    pub(crate) fn bad(&self, handle: u64) -> tango_status {
        let Self { name, .. } = self;
        let what = if handle == 0 { "zero".into() } else { format!("{handle:#x}") };
        error::wrong(
            TANGO_BAD_HANDLE,
            format!("{what} is not the handle of an open {name}: it was closed, or was never one"),
        )
    }

    #[cold]
    fn busy(&self) -> tango_status {
        let Self { name, .. } = self;
        error::wrong(
            TANGO_BUSY,
            format!(
                "another thread is inside a call with this {name}: a {name} is used by one thread at a time"
            ),
        )
    }
}

/// No other thread may use a handle as long as this lives.
pub(crate) struct Busy<'t, T> {
    slot: &'t Slot<T>,
    pub(crate) entry: NonNull<T>,
}

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        self.slot.word.fetch_and(!BUSY, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: Table<u64> = Table::new(3, "number");

    #[allow(unsafe_code)]
    fn read(handle: u64) -> Result<u64, tango_status> {
        // SAFETY: this thread uses the handle.
        TABLE.find_any(handle).map(|entry| unsafe { *entry.as_ptr() })
    }

    #[test]
    fn a_closed_handle_is_never_open_again() {
        let mut handles = Vec::new();
        for n in 0..if cfg!(miri) { 20 } else { 1000 } {
            let handle = TABLE.open(n).unwrap();
            assert_eq!(read(handle), Ok(n));
            assert!(!handles.contains(&handle));
            handles.push(handle);
            assert_eq!(TABLE.close(handle, |_| ()), Ok(()));
            assert_eq!(TABLE.close(handle, |_| ()), Err(TANGO_BAD_HANDLE));
        }
        for handle in handles.into_iter().chain([0, 1, u64::MAX, FLAGS, BUSY, SPECIAL, 1 << GENERATION_SHIFT])
        {
            assert!(TABLE.find(handle).is_none(), "{handle:#x}");
            assert_eq!(read(handle), Err(TANGO_BAD_HANDLE));
        }
    }

    #[test]
    fn a_handle_in_a_call_that_waits_is_refused_to_all_others() {
        let handle = TABLE.open(5).unwrap();
        let busy = TABLE.enter(handle).unwrap();
        assert!(TABLE.find(handle).is_none());
        assert_eq!(read(handle), Err(TANGO_BUSY));
        assert_eq!(TABLE.close(handle, |_| ()), Err(TANGO_BUSY));
        assert!(TABLE.enter(handle).is_err());
        drop(busy);
        TABLE.set_special(handle, true);
        assert!(TABLE.find(handle).is_none());
        assert_eq!(read(handle), Ok(5));
        TABLE.set_special(handle, false);
        assert!(TABLE.find(handle).is_some());
        TABLE.close(handle, |_| ()).unwrap();
    }

    #[test]
    fn handles_run_out_with_an_error() {
        static FEW: Table<u64> = Table::new(3, "number");
        let all: Vec<_> = (1..SLOTS as u64).map(|n| FEW.open(n).unwrap()).collect();
        assert_eq!(FEW.open(0), Err(TANGO_INVALID));
        FEW.close(all[7], |_| ()).unwrap();
        assert!(FEW.open(0).is_ok());
    }
}
