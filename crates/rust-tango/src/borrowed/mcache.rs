//! [`MCache`]: the ring, on storage of the caller.
#![allow(unsafe_code)]

use super::identity::{Identity, PartIdentity};
use crate::cpu::words::WORD;
use crate::error::TangoError;
use crate::events::emit;
use crate::memory::head::Head;
use crate::memory::occupants::Occupants;
use crate::ring::hot_slot::HotSlot;
#[cfg(all(loom, test))]
use crate::ring::line::META_WORDS;
use crate::ring::slots::{ROOMY, Ring};
use crate::sync::{Acquire, AtomicU64, Padded, Release, ordering};

const SLOT_WORDS: usize = ROOMY / WORD;

#[repr(C, align(128))]
struct Slot([AtomicU64; SLOT_WORDS]);

/// The ring of a channel, on storage of the caller: the metadata of `DEPTH` fragments, and small payloads.
///
/// `DEPTH` is a power of two, at least 2. Each fragment takes a slot of 128 bytes, which has room for a
/// payload of up to 96 bytes. The ring takes about 1 KiB more.
///
/// The producer writes it, and readers read it. `new` is `const` and stores only zeros, so a `static` ring
/// takes no space in the binary. By value, it passes through the stack: a large ring belongs in a `static`
/// or on the heap (`boxed`).
///
/// # Examples
///
/// ```
/// use rust_tango::MCache;
///
/// static RING: MCache<4096> = MCache::new();
/// assert!(RING.is_running());
/// ```
///
/// See [`Producer::new`](crate::Producer::new) for a producer and a consumer on it.
#[repr(C)]
pub struct MCache<const DEPTH: usize> {
    slots: [Slot; DEPTH],
    head: Head,
    hot_slot: Padded<HotSlot>,
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
    const CHECKED: () =
        assert!(DEPTH >= 2 && DEPTH.is_power_of_two(), "DEPTH must be a power of two, at least 2");

    /// An empty ring. See [`MCache`] for an example.
    ///
    /// Does not compile if `DEPTH` is not a power of two, or less than 2.
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            slots: [const { Slot([const { AtomicU64::new(0) }; SLOT_WORDS]) }; DEPTH],
            head: Head::new(),
            hot_slot: Padded::new(HotSlot::new()),
            stop: Padded::new(AtomicU64::new(0)),
            occupants: Occupants::new(),
            own: Identity::new(),
            dcache: Identity::new(),
            fctl: Identity::new(),
        }
    }

    /// An empty ring on the heap. It does not pass through the stack.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::MCache;
    /// let ring = MCache::<65536>::boxed();
    /// assert!(ring.is_running());
    /// ```
    #[cfg(feature = "alloc")]
    pub fn boxed() -> alloc::boxed::Box<Self> {
        let () = Self::CHECKED;
        #[cfg(loom)]
        return alloc::boxed::Box::new(Self::new());
        // SAFETY: every field is made of atomic integers and padding. Zero is valid for them, and is what
        // `new` stores.
        #[cfg(not(loom))]
        unsafe {
            boxed_zeroed()
        }
    }

    /// Ends the channel for good.
    ///
    /// From now on, each call of the producer that publishes returns [`TangoError::Closed`] and publishes
    /// nothing; so do calls that wait for a credit. Readers drain what was published, and then find the
    /// channel closed. Any thread may call this, any number of times. A thread that sleeps in a call
    /// (`Wait::Park`) notices within 50 ms.
    ///
    /// A publish that runs at the same time may still succeed. A reader that has not found the channel closed
    /// by then gets its fragment; any other gets it if it reads once more.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, DCache, MCache};
    ///
    /// let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
    /// let mut observer = Consumer::new(&mcache, &dcache, 1);
    /// mcache.stop();
    /// assert!(observer.poll()?.is_none() && observer.is_closed());
    /// # Ok::<(), rust_tango::TangoError>(())
    /// ```
    pub fn stop(&self) {
        // Pairs with the acquire fence in `Parts::ending`.
        self.stop.store(1, ordering("mcache.stop", Release));
        emit!(link_stopped(None));
    }

    /// Whether [`MCache::stop`] has not been called yet. See [`MCache`] for an example.
    ///
    /// Another thread may call it before the caller reads the answer.
    pub fn is_running(&self) -> bool {
        // Pairs with the Release store in `stop`.
        self.stop.load(ordering("mcache.is_running", Acquire)) == 0
    }

    /// Makes the words exist for the model checker; of each slot, as many as metadata and `payload` words
    /// take.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self, payload: usize) {
        self.head.touch();
        self.hot_slot.touch();
        self.stop.touch();
        self.occupants.touch();
        self.slots.iter().for_each(|slot| slot.0[..META_WORDS + payload].iter().for_each(AtomicU64::touch));
    }

    pub(crate) fn ring(&self) -> Ring<'_> {
        // SAFETY: `slots` is the first field of a `repr(C)` struct, and consists of DEPTH times SLOT_WORDS
        // atomics without padding (the size of a slot is its alignment). The slice borrows `self`.
        let words: &[AtomicU64] =
            unsafe { core::slice::from_raw_parts(self.slots.as_ptr().cast(), DEPTH * SLOT_WORDS) };
        Ring::new(words, ROOMY)
    }

    pub(crate) fn hot_slot(&self) -> &HotSlot {
        &self.hot_slot
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn stop_word(&self) -> &AtomicU64 {
        &self.stop
    }

    /// Binds this ring and the parts that are used with it to each other, if `enter` admits the producer or
    /// consumer.
    ///
    /// After an error, no part has changed. One exception: if two threads bind one part to different rings
    /// at the same moment, the second may leave its ring bound to a part that it cannot use.
    ///
    /// An `Fseq` is bound to the ring, but the ring is not bound to it: a later producer may bring another
    /// one.
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
///
/// All-zero bytes are a valid `T`.
#[cfg(all(feature = "alloc", not(loom)))]
pub(crate) unsafe fn boxed_zeroed<T>() -> alloc::boxed::Box<T> {
    let layout = core::alloc::Layout::new::<T>();
    if layout.size() == 0 {
        // SAFETY: a box of a type without size owns no memory and may have any aligned address. The caller
        // promises that the value is valid.
        return unsafe { alloc::boxed::Box::from_raw(core::ptr::NonNull::dangling().as_ptr()) };
    }
    // SAFETY: the layout is that of `T`, and not empty. A null result is passed to `handle_alloc_error`.
    // Zero bytes are a valid `T` by the caller's promise, and the box owns the only pointer.
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
