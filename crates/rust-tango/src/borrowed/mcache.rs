//! [`MCache`]: the ring of metadata lines on storage of the caller.
#![allow(unsafe_code)]

use crate::borrowed::identity::{Identity, PartIdentity};
use crate::cpu::words::WORD;
use crate::error::TangoError;
use crate::memory::head::Head;
use crate::memory::occupants::Occupants;
#[cfg(all(loom, test))]
use crate::ring::line::META_WORDS;
use crate::ring::slots::{Ring, SLOT};
use crate::sync::{Acquire, AtomicU64, Padded, Release, ordering};

const SLOT_WORDS: usize = SLOT / WORD;

#[repr(C, align(128))]
struct Slot([AtomicU64; SLOT_WORDS]);

/// Ring of `DEPTH` metadata lines (a power of two, at least 2), each with room for a payload of up to
/// 96 bytes. 128 bytes a line, and about 1 KiB beside them.
///
/// `new` is `const` and all zeros, so a `static` ring costs nothing in the binary. A large ring
/// belongs into a `static` or on the heap ([`MCache::boxed`]): by value it passes through the stack.
///
/// ```
/// use rust_tango::MCache;
/// static RING: MCache<4096> = MCache::new();
/// assert!(RING.is_running());
/// ```
#[repr(C)]
pub struct MCache<const DEPTH: usize> {
    slots: [Slot; DEPTH],
    head: Head,
    stop: Padded<AtomicU64>,
    occupants: Occupants,
    own: Identity,
    dcache: Identity,
    fctl: Identity,
}

impl<const DEPTH: usize> Default for MCache<DEPTH> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const DEPTH: usize> core::fmt::Debug for MCache<DEPTH> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MCache").field("depth", &DEPTH).field("running", &self.is_running()).finish()
    }
}

impl<const DEPTH: usize> MCache<DEPTH> {
    const CHECKED: () = assert!(DEPTH >= 2 && DEPTH.is_power_of_two(), "DEPTH is a power of two, at least 2");

    /// An empty ring.
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            slots: [const { Slot([const { AtomicU64::new(0) }; SLOT_WORDS]) }; DEPTH],
            head: Head::new(),
            stop: Padded::new(AtomicU64::new(0)),
            occupants: Occupants::new(),
            own: Identity::new(),
            dcache: Identity::new(),
            fctl: Identity::new(),
        }
    }

    /// An empty ring on the heap, built there: it does not pass through the stack.
    #[cfg(feature = "alloc")]
    pub fn boxed() -> alloc::boxed::Box<Self> {
        let () = Self::CHECKED;
        #[cfg(loom)]
        return alloc::boxed::Box::new(Self::new());
        // SAFETY: every field is made of atomic integers and filling bytes, for which zero is valid; zero is what `new`
        // stores.
        #[cfg(not(loom))]
        unsafe {
            boxed_zeroed()
        }
    }

    /// Ends the link: blocking calls of the producer give up, readers drain what is there and then
    /// learn that it is closed. Any thread may call it, any number of times. Who sleeps
    /// (`Wait::Park`) notices within 50 ms.
    pub fn stop(&self) {
        // Pairs with the acquire fence in `Parts::ending`.
        self.stop.store(1, ordering("mcache.stop", Release));
    }

    /// Whether nobody has called [`MCache::stop`].
    pub fn is_running(&self) -> bool {
        // Pairs with the Release store in `stop`.
        self.stop.load(ordering("mcache.is_running", Acquire)) == 0
    }

    /// Makes the words exist for the model checker; of each slot, as many as metadata and `payload` words take.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self, payload: usize) {
        self.head.touch();
        self.stop.touch();
        self.occupants.touch();
        self.slots.iter().for_each(|slot| slot.0[..META_WORDS + payload].iter().for_each(AtomicU64::touch));
    }

    pub(crate) fn ring(&self) -> Ring<'_> {
        // SAFETY: `slots` is the first field of a `repr(C)` struct and is DEPTH times SLOT_WORDS atomics
        // without padding (a slot's size is its alignment); the slice borrows `self`.
        let words: &[AtomicU64] =
            unsafe { core::slice::from_raw_parts(self.slots.as_ptr().cast(), DEPTH * SLOT_WORDS) };
        Ring::new(words, SLOT)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn stop_word(&self) -> &AtomicU64 {
        &self.stop
    }

    /// Binds this ring and the parts that are used with it to each other, after `enter` has found that
    /// there is room for who wants to. Refused, it leaves all of them as they were (unless two threads bind
    /// one part at the same moment: then the one that comes second loses the use of its ring).
    ///
    /// A sequence counter binds to the ring, but not the ring to it: a later producer may bring another.
    pub(crate) fn bind<'s, T>(
        &'s self,
        dcache: &PartIdentity,
        fctl: Option<&PartIdentity>,
        fseq: Option<&PartIdentity>,
        enter: impl FnOnce(&'s Occupants) -> Result<T, TangoError>,
    ) -> Result<T, TangoError> {
        let own = self.own.number();
        let pairs =
            || [Some((&self.dcache, dcache)), fctl.map(|fctl| (&self.fctl, fctl))].into_iter().flatten();
        let fits = pairs().all(|(place, part)| place.accepts(part.own.number()) && part.mcache.accepts(own))
            && fseq.is_none_or(|fseq| fseq.mcache.accepts(own));
        if !fits {
            return Err(TangoError::BoundElsewhere);
        }
        let entered = enter(&self.occupants)?;
        for (place, part) in pairs() {
            place.bind(part.own.number())?;
            part.mcache.bind(own)?;
        }
        if let Some(fseq) = fseq {
            fseq.mcache.bind(own)?;
        }
        Ok(entered)
    }
}

/// A `T` of zero bytes, on the heap, without passing through the stack.
///
/// # Safety
/// All-zero bytes are a valid `T`.
#[cfg(all(feature = "alloc", not(loom)))]
pub(crate) unsafe fn boxed_zeroed<T>() -> alloc::boxed::Box<T> {
    let layout = core::alloc::Layout::new::<T>();
    if layout.size() == 0 {
        // SAFETY: a box of a type without size owns no memory and points anywhere aligned; the caller
        // promises that such a value is valid.
        return unsafe { alloc::boxed::Box::from_raw(core::ptr::NonNull::dangling().as_ptr()) };
    }
    // SAFETY: the layout is that of `T` and not empty; a null result is turned into the allocator's own
    // error; zero bytes are a valid `T` by the caller's promise, and the box owns the only pointer.
    unsafe {
        let memory = alloc::alloc::alloc_zeroed(layout).cast::<T>();
        if memory.is_null() {
            alloc::alloc::handle_alloc_error(layout);
        }
        alloc::boxed::Box::from_raw(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Relaxed;

    #[test]
    fn lines_wrap_and_do_not_overlap() {
        let cache = MCache::<4>::new();
        let ring = cache.ring();
        assert_eq!((ring.depth(), ring.room()), (4, 96));
        for n in 0..4_u64 {
            ring.line(n).prepare(n);
            for word in ring.line(n).room {
                word.store(n, Relaxed);
            }
        }
        for n in 0..4_u64 {
            assert_eq!(ring.line(n + 8).meta[0].load(Relaxed), n.wrapping_sub(1));
            assert!(ring.line(n).room.iter().all(|word| word.load(Relaxed) == n));
        }
    }
}
