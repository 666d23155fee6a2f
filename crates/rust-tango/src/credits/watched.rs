//! [`Slots`]: the consumer slots of a link, as the producer watches them.

use crate::credits::slot::ConsumerSlot;
use crate::sync::{AtomicU64, Cell, Relaxed};

/// A slot as the producer sees it.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(super) slot: &'a ConsumerSlot,
    /// The `state` word of an owner that is proven dead, or was evicted. The producer ignores the slot
    /// while its `state` has this value. 0: none.
    pub(super) ignored: Cell<u64>,
    /// The owner's sleep word when the producer last read it: see
    /// [`Eventcount::asleep`](crate::waiting::eventcount::Eventcount::asleep).
    pub(super) seen: Cell<u64>,
    /// The owner's hints at that time, as a word.
    pub(super) hints: Cell<u64>,
    /// The last refresh counted the owner.
    pub(super) is_counted: Cell<bool>,
    /// The owner's progress when the producer last read it.
    pub(super) progress: Cell<u64>,
    /// Whether the owner is near. `None`: it is not known yet.
    is_near: Cell<Option<bool>>,
}

/// The slots of a link.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    /// Apart from the rest, because most links have one consumer, and the producer reads its sleep word with
    /// every fragment.
    first: Option<Watched<'a>>,
    #[cfg(feature = "alloc")]
    rest: alloc::boxed::Box<[Watched<'a>]>,
    /// The slots of `rest` again, to add up their sleep words without a loop over each. The last group is filled up with
    /// the last slot.
    #[cfg(feature = "alloc")]
    groups: alloc::boxed::Box<[[&'a ConsumerSlot; GROUP]]>,
    /// The slot is that of an `Fctl`. It holds the producer back until its first consumer comes, so that no
    /// fragment is lost before that. (An empty slot of a `Link` holds nobody back.)
    pub(super) is_awaited: bool,
}

/// How many slots [`Slots::asleep`] adds up at a time. With the first slot, these are eight.
#[cfg(feature = "alloc")]
const GROUP: usize = 7;

impl<'a> Watched<'a> {
    fn new(slot: &'a ConsumerSlot) -> Self {
        let word = || Cell::new(0);
        Self {
            slot,
            ignored: word(),
            seen: word(),
            hints: word(),
            is_counted: Cell::new(false),
            progress: word(),
            is_near: Cell::new(None),
        }
    }

    /// The owner's hints when they were last read. 0 if the producer ignores the owner by now.
    pub(super) fn hints(&self) -> u64 {
        let ignored = self.ignored.get();
        let is_ignored = ignored != 0 && self.slot.demand().0 == ignored;
        if is_ignored { 0 } else { self.hints.get() }
    }

    /// Whether the owner is near. `measure` says it of the word of its progress, but only if that has changed since the producer
    /// last read it: otherwise the producer's core still has the word.
    pub(super) fn is_near(&self, measure: impl Fn(&AtomicU64) -> bool) -> Option<bool> {
        let word = self.slot.progress();
        let is_near = measure(word);
        let progress = word.load(Relaxed);
        if self.progress.replace(progress) != progress {
            self.is_near.set(Some(is_near));
        }
        self.is_near.get()
    }

    /// A refresh counts the owner, or does not.
    pub(super) fn count(&self, is_counted: bool) {
        self.is_counted.set(is_counted);
        if !is_counted {
            self.is_near.set(None);
        }
    }
}

impl<'a> Slots<'a> {
    /// The slot of an `Fctl`. `None`: there is no flow control.
    pub(crate) fn awaiting(slot: Option<&'a ConsumerSlot>) -> Self {
        Self {
            first: slot.map(Watched::new),
            #[cfg(feature = "alloc")]
            rest: alloc::boxed::Box::default(),
            #[cfg(feature = "alloc")]
            groups: alloc::boxed::Box::default(),
            is_awaited: true,
        }
    }

    /// The slots of a `Link`.
    #[cfg(feature = "alloc")]
    pub(crate) fn watching(slots: impl Iterator<Item = &'a ConsumerSlot>) -> Self {
        let mut slots = slots.map(Watched::new);
        let first = slots.next();
        let rest: alloc::boxed::Box<[Watched<'a>]> = slots.collect();
        let groups =
            rest.chunks(GROUP).map(|chunk| core::array::from_fn(|at| chunk[at.min(chunk.len() - 1)].slot));
        let groups = groups.collect();
        Self { first, rest, groups, is_awaited: false }
    }

    /// The sleep words of all slots, added up. They only rise, and no load returns an older value than the last one. So
    /// equal sums mean equal words. (The last slot of a group that is not full counts several times.)
    ///
    /// (A consumer that changes its words against the rules can hide the sleep of another one. That one then sleeps to
    /// the end of its time slice.)
    #[inline(always)]
    pub(super) fn asleep(&self) -> u64 {
        let Some(first) = &self.first else { return 0 };
        let sum = first.slot.asleep();
        #[cfg(feature = "alloc")]
        let sum = self
            .groups
            .iter()
            .fold(sum, |sum, group| group.iter().fold(sum, |sum, slot| sum.wrapping_add(slot.asleep())));
        sum
    }

    #[inline(always)]
    fn rest(&self) -> &[Watched<'a>] {
        #[cfg(feature = "alloc")]
        return &self.rest;
        #[cfg(not(feature = "alloc"))]
        &[]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched<'a>> {
        self.first.iter().chain(self.rest())
    }
}
