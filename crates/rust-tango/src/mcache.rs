//! The ring of metadata lines, the words that its producer keeps beside it, and [`MCache`], which owns both.
//!
//! ```text
//!   Head   | Cnc start ... | bell | floor stalls ... | oldest | next | latest |   six pairs of cache lines
//!   Ring   | slot 0 | slot 1 | ...                  | slot depth - 1 |
//!   slot   | seq sig place control | room: slot size - 32 bytes     |   128, 256, ... bytes each
//! ```
//!
//! The producer writes all of it, and nobody else writes any of it. A slot is a multiple of 128 bytes
//! because the hardware fetches cache lines in pairs: a payload that fits rides in with its metadata
//! (`bench/`: workloads `throughput` and `working`).
#![allow(unsafe_code)]

use crate::bell::Bell;
use crate::cnc::{Cnc, CncState};
use crate::error::TangoError;
use crate::latest::Latest;
use crate::line::{Line, META_WORDS};
use crate::sync::{AcqRel, Acquire, AtomicU64, Padded, Relaxed, Release, StaticU64, ordering};
use crate::words::WORD;

/// Size of the smallest slot, in bytes, and its alignment.
pub(crate) const SLOT: usize = 128;
const SLOT_WORDS: usize = SLOT / WORD;

/// Words of a link's producer beside the ring. Zero is a link that no producer has bound yet.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Head {
    /// Written when a producer comes and goes.
    pub(crate) rare: Padded<Rare>,
    /// Written when the producer sleeps, or wakes somebody. Not beside `next`: consumers read it with every
    /// fragment.
    pub(crate) bell: Padded<Bell>,
    /// Written when the credits are refreshed.
    pub(crate) credit: Padded<Credit>,
    /// Everything before this is dead: see [`line`](crate::line). Written now and then; not beside `next`, because
    /// observers read it with every fragment.
    pub(crate) oldest: Padded<AtomicU64>,
    /// The number that is published next, written with every fragment. A hint for readers: it may lag behind the
    /// lines, by up to a batch.
    pub(crate) next: Padded<AtomicU64>,
    /// The newest fragment once more, for readers that wait. Written with every fragment.
    pub(crate) latest: Padded<Latest>,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Rare {
    /// Boot: nobody has prepared the lines yet, so readers wait. Run: they are prepared, and a producer lives, died without a
    /// word, or has not come yet (`incarnation` is 0). Halt: the last producer has ended. Fail: it has ended in a panic.
    pub(crate) cnc: Cnc,
    /// The first sequence number of the link.
    pub(crate) start: AtomicU64,
    /// How many producers the link has had.
    pub(crate) incarnation: AtomicU64,
    /// How many of them came after one that had died.
    pub(crate) takeovers: AtomicU64,
    /// The first sequence number of the last of those.
    pub(crate) taken_over_at: AtomicU64,
    /// How many consumers have been evicted.
    pub(crate) evicted: AtomicU64,
    /// How many dead consumers no longer hold the producer back.
    pub(crate) buried: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Credit {
    /// No fragment from here on is overwritten; see [`fctl`](crate::fctl).
    pub(crate) floor: AtomicU64,
    /// How many fragments had to wait for credits.
    pub(crate) stalls: AtomicU64,
    /// 1 + the slot of the consumer for which the producer waits; 0: for nobody.
    pub(crate) held_by: AtomicU64,
    /// Not zero: there was one reliable consumer when the credits were last refreshed, and it is to clean the lines
    /// that it has read. A hint.
    pub(crate) sole: AtomicU64,
}

impl Head {
    pub(crate) const fn new() -> Self {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        Self {
            rare: Padded::new(Rare {
                cnc: Cnc::new(),
                start: zero(),
                incarnation: zero(),
                takeovers: zero(),
                taken_over_at: zero(),
                evicted: zero(),
                buried: zero(),
            }),
            credit: Padded::new(Credit { floor: zero(), stalls: zero(), held_by: zero(), sole: zero() }),
            bell: Padded::new(Bell::new()),
            oldest: Padded::new(zero()),
            next: Padded::new(zero()),
            latest: Padded::new(Latest::new()),
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        let Self { rare, credit, oldest, next, bell, latest } = self;
        let Rare { cnc, start, incarnation, takeovers, taken_over_at, evicted, buried } = &**rare;
        cnc.touch();
        bell.touch();
        latest.touch();
        let Credit { floor, stalls, held_by, sole } = &**credit;
        for word in [start, incarnation, takeovers, taken_over_at, evicted, buried] {
            word.touch();
        }
        for word in [floor, stalls, held_by, sole, &**oldest, &**next] {
            word.touch();
        }
    }

    /// Whether the lines have been prepared. If so, they are visible to who asks.
    pub(crate) fn is_bound(&self) -> bool {
        self.rare.cnc.state() != CncState::Boot
    }
}

/// The lines of a link, as a view of memory that somebody else owns.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    /// `depth << shift` words. A pointer and not a slice, so that a line is found without a bounds check.
    words: core::ptr::NonNull<AtomicU64>,
    /// `depth - 1`; depth is a power of two.
    mask: u64,
    /// log2 of the words of a slot, at least 4.
    shift: u32,
    /// Words of a slot behind its metadata: `(1 << shift) - META_WORDS`.
    room: usize,
    memory: core::marker::PhantomData<&'a [AtomicU64]>,
}

// SAFETY: a `Ring` is a shared slice of atomics in another spelling, and `&[AtomicU64]` is `Send`.
unsafe impl Send for Ring<'_> {}
// SAFETY: as above; `&[AtomicU64]` is `Sync`.
unsafe impl Sync for Ring<'_> {}

impl<'a> Ring<'a> {
    /// A ring of slots of `slot` bytes over `words`.
    ///
    /// # Panics
    /// If `slot` is not a power of two of at least 128, or `words` is not a power of two of at least
    /// two such slots: callers have checked the geometry.
    pub(crate) fn new(words: &'a [AtomicU64], slot: usize) -> Self {
        // Models have slots without room, so that small payloads go to the region.
        assert!(slot.is_power_of_two() && (slot >= SLOT || cfg!(loom)));
        let per_slot = slot / WORD;
        let depth = words.len() / per_slot;
        assert!(depth >= 2 && depth.is_power_of_two() && depth * per_slot == words.len());
        Self {
            words: core::ptr::NonNull::from(words).cast(),
            mask: depth as u64 - 1,
            shift: per_slot.trailing_zeros(),
            room: per_slot - META_WORDS,
            memory: core::marker::PhantomData,
        }
    }

    #[inline]
    pub(crate) fn depth(&self) -> u64 {
        self.mask + 1
    }

    /// Bytes of all slots.
    pub(crate) fn bytes(&self) -> usize {
        (self.depth() as usize * WORD) << self.shift
    }

    /// Bytes of payload that fit a slot.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.room * WORD
    }

    /// The line of fragment `n`.
    #[inline]
    pub(crate) fn line(&self, n: u64) -> Line<'a> {
        let index = (n & self.mask) as usize;
        // SAFETY: `new` took `(mask + 1) << shift` words for 'a and `index <= mask`, so the slot's
        // `1 << shift` words (at least 16) are inside; the first four and the rest do not overlap.
        unsafe {
            let slot = self.words.add(index << self.shift);
            Line {
                meta: slot.cast().as_ref(),
                room: core::slice::from_raw_parts(slot.add(META_WORDS).as_ptr(), self.room),
            }
        }
    }
}

/// What may live on storage of the borrowed API, in one word that changes by one compare-exchange.
///
/// ```text
///   PRODUCER   a producer lives
///   HONOURS    ... and waits for the consumer of an Fctl
///   CONSUMER   a consumer with flow control lives, which hands out slices of the ring
/// ```
///
/// CONSUMER with PRODUCER and without HONOURS is refused: that producer would overwrite the slices.
#[derive(Debug)]
pub(crate) struct Occupants(AtomicU64);

const PRODUCER: u64 = 1;
const HONOURS: u64 = 2;
const CONSUMER: u64 = 4;

impl Occupants {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn enter_producer(&self, honours: bool) -> Result<(), TangoError> {
        self.change(|state| {
            if state & PRODUCER != 0 {
                Err(TangoError::ProducerTaken)
            } else if state & CONSUMER != 0 && !honours {
                Err(TangoError::FlowControlMismatch)
            } else {
                Ok(state | PRODUCER | if honours { HONOURS } else { 0 })
            }
        })
    }

    pub(crate) fn leave_producer(&self) {
        let _ = self.change(|state| Ok(state & !(PRODUCER | HONOURS)));
    }

    pub(crate) fn enter_consumer(&self) -> Result<(), TangoError> {
        self.change(|state| {
            if state & CONSUMER != 0 {
                Err(TangoError::ConsumerTaken)
            } else if state & (PRODUCER | HONOURS) == PRODUCER {
                Err(TangoError::FlowControlMismatch)
            } else {
                Ok(state | CONSUMER)
            }
        })
    }

    pub(crate) fn leave_consumer(&self) {
        let _ = self.change(|state| Ok(state & !CONSUMER));
    }

    fn change(&self, next: impl Fn(u64) -> Result<u64, TangoError>) -> Result<(), TangoError> {
        let mut state = self.0.load(Relaxed);
        loop {
            // AcqRel: who enters sees all that was done by who left, and the reverse.
            match self.0.compare_exchange_weak(
                state,
                next(state)?,
                ordering("mcache.occupants", AcqRel),
                Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }
}

/// The identity of a piece of storage, and the pieces it is bound to. By a number and not by address,
/// because storage can be moved while nobody borrows it. Zero: not given, not bound.
#[derive(Debug)]
pub(crate) struct Identity(AtomicU64);

impl Identity {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The number of this piece, given out at the first call.
    fn number(&self) -> u64 {
        static NEXT: StaticU64 = StaticU64::new(1);
        let fresh = NEXT.fetch_add(1, Relaxed);
        match self.0.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(given) => given,
        }
    }

    /// Whether this is bound to `partner`, or to nobody yet.
    fn accepts(&self, partner: u64) -> bool {
        [0, partner].contains(&self.0.load(Relaxed))
    }

    /// Notes `partner` as the one that this is bound to, for good.
    fn bind(&self, partner: u64) -> Result<(), TangoError> {
        match self.0.compare_exchange(0, partner, Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(bound) if bound == partner => Ok(()),
            Err(_) => Err(TangoError::BoundElsewhere),
        }
    }
}

/// The identity of a part that belongs to an [`MCache`], and which one.
#[derive(Debug)]
pub(crate) struct PartIdentity {
    own: Identity,
    mcache: Identity,
}

impl PartIdentity {
    pub(crate) const fn new() -> Self {
        Self { own: Identity::new(), mcache: Identity::new() }
    }
}

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
        self.occupants.0.touch();
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

    #[test]
    fn occupants_that_would_overwrite_a_slice_are_refused() {
        let seats = Occupants::new();
        seats.enter_consumer().unwrap();
        assert_eq!(seats.enter_consumer(), Err(TangoError::ConsumerTaken));
        assert_eq!(seats.enter_producer(false), Err(TangoError::FlowControlMismatch));
        seats.enter_producer(true).unwrap();
        assert_eq!(seats.enter_producer(true), Err(TangoError::ProducerTaken));
        seats.leave_consumer();
        seats.leave_producer();
        seats.enter_producer(false).unwrap();
        assert_eq!(seats.enter_consumer(), Err(TangoError::FlowControlMismatch));
    }
}
