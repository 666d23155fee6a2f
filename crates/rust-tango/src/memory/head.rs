//! The words that a producer keeps beside its ring.

use crate::memory::cnc::{Cnc, CncState};
use crate::ring::hot_slot::HotSlot;
use crate::sync::{AtomicU64, Padded};
use crate::waiting::eventcount::Eventcount;

/// Words of a link's producer beside the ring. Zero is a link that no producer has bound yet.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Head {
    /// Written when a producer comes and goes.
    pub(crate) lifecycle: Padded<Lifecycle>,
    /// Written when the producer sleeps, or wakes somebody. Not beside `next`: consumers read it with every
    /// fragment.
    pub(crate) eventcount: Padded<Eventcount>,
    /// Written when the credits are refreshed.
    pub(crate) credit: Padded<Credit>,
    /// Everything before this is dead: see [`line`](crate::ring::line). Written now and then; not beside `next`, because
    /// observers read it with every fragment.
    pub(crate) oldest: Padded<AtomicU64>,
    /// The number that is published next, written with every fragment. A hint for readers: it may lag behind the
    /// lines, by up to a batch.
    pub(crate) next: Padded<AtomicU64>,
    /// The newest fragment once more, for readers that wait. Written with every fragment.
    pub(crate) hot_slot: Padded<HotSlot>,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Lifecycle {
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
    pub(crate) reaped: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Credit {
    /// No fragment from here on is overwritten; see [`fctl`](crate::credits::floor).
    pub(crate) floor: AtomicU64,
    /// How many fragments had to wait for credits.
    pub(crate) stalls: AtomicU64,
    /// 1 + the slot of the consumer for which the producer waits; 0: for nobody.
    pub(crate) held_by: AtomicU64,
    /// Not zero: there was one reliable consumer when the credits were last refreshed, and it is to clean the lines
    /// that it has read. A hint.
    pub(crate) single_consumer: AtomicU64,
}

impl Head {
    pub(crate) const fn new() -> Self {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        Self {
            lifecycle: Padded::new(Lifecycle {
                cnc: Cnc::new(),
                start: zero(),
                incarnation: zero(),
                takeovers: zero(),
                taken_over_at: zero(),
                evicted: zero(),
                reaped: zero(),
            }),
            credit: Padded::new(Credit {
                floor: zero(),
                stalls: zero(),
                held_by: zero(),
                single_consumer: zero(),
            }),
            eventcount: Padded::new(Eventcount::new()),
            oldest: Padded::new(zero()),
            next: Padded::new(zero()),
            hot_slot: Padded::new(HotSlot::new()),
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        let Self { lifecycle, credit, oldest, next, eventcount, hot_slot } = self;
        let Lifecycle { cnc, start, incarnation, takeovers, taken_over_at, evicted, reaped } = &**lifecycle;
        cnc.touch();
        eventcount.touch();
        hot_slot.touch();
        let Credit { floor, stalls, held_by, single_consumer } = &**credit;
        for word in [start, incarnation, takeovers, taken_over_at, evicted, reaped] {
            word.touch();
        }
        for word in [floor, stalls, held_by, single_consumer, &**oldest, &**next] {
            word.touch();
        }
    }

    /// Whether the lines have been prepared. If so, they are visible to who asks.
    pub(crate) fn is_bound(&self) -> bool {
        self.lifecycle.cnc.state() != CncState::Boot
    }
}
