//! [`Head`]: the words that a producer keeps outside its ring and its hot slot.

use crate::memory::cnc::{Cnc, CncState};
use crate::sync::{AtomicU64, Padded};
use crate::waiting::eventcount::Eventcount;

/// The words of a link's producer outside the ring, except the hot slot. Only the producer writes them. Zeroed
/// memory is a link to which no producer has attached yet.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Head {
    /// Written mainly when a producer attaches or ends.
    pub(crate) lifecycle: Padded<Lifecycle>,
    /// Written when the producer sleeps, or wakes a consumer. On another line than `next`, because consumers
    /// read it with every fragment.
    pub(crate) eventcount: Padded<Eventcount>,
    /// Written when the credits are refreshed.
    pub(crate) credit: Padded<Credit>,
    /// Every fragment before this one is dead: see [`line`](crate::ring::line). Written now and then. On
    /// another line than `next`, because observers read it with every fragment.
    pub(crate) oldest: Padded<AtomicU64>,
    /// The number of the next fragment. Written with every fragment. A hint for readers: it may lag behind
    /// the ring by up to a batch.
    pub(crate) next: Padded<AtomicU64>,
}

/// The history of the producers of a link.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// - `Boot`: the lines are not prepared yet, so readers wait.
    /// - `Run`: the lines are prepared. A producer lives, or was killed, or has not attached yet
    ///   (`incarnation` is 0).
    /// - `Halt`: the last producer has ended in good order.
    /// - `Fail`: the last producer has ended in a panic.
    pub(crate) cnc: Cnc,
    /// The first sequence number of the link.
    pub(crate) start: AtomicU64,
    /// How many producers the link has had.
    pub(crate) incarnation: AtomicU64,
    /// How many of them took over from one that died.
    pub(crate) takeovers: AtomicU64,
    /// The first sequence number of the last of these.
    pub(crate) taken_over_at: AtomicU64,
    /// How many consumers have been evicted.
    pub(crate) evicted: AtomicU64,
    /// How many dead consumers have been reaped: they no longer hold the producer back.
    pub(crate) reaped: AtomicU64,
}

/// The producer's side of flow control.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Credit {
    /// The floor: no fragment from here on is overwritten. See [`floor`](crate::credits::floor).
    pub(crate) floor: AtomicU64,
    /// How many fragments had to wait for credits.
    pub(crate) stalls: AtomicU64,
    /// 1 + the slot of the consumer that the producer waits for. 0: it waits for none.
    pub(crate) held_by: AtomicU64,
    /// Not zero: there was exactly one reliable consumer when the credits were last refreshed. That consumer
    /// should write back or evict the lines that it has read. A hint.
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
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        let Self { lifecycle, credit, oldest, next, eventcount } = self;
        let Lifecycle { cnc, start, incarnation, takeovers, taken_over_at, evicted, reaped } = &**lifecycle;
        cnc.touch();
        eventcount.touch();
        let Credit { floor, stalls, held_by, single_consumer } = &**credit;
        for word in [start, incarnation, takeovers, taken_over_at, evicted, reaped] {
            word.touch();
        }
        for word in [floor, stalls, held_by, single_consumer, &**oldest, &**next] {
            word.touch();
        }
    }

    /// Whether the lines are prepared. If so, they are visible to the caller.
    pub(crate) fn is_bound(&self) -> bool {
        self.lifecycle.cnc.state() != CncState::Boot
    }
}
