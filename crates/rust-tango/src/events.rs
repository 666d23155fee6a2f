//! Events for a subscriber of the crate `tracing`: what seldom happens to a link and its ends. Feature `tracing`; without it,
//! [`emit`] is no code, and does not evaluate its arguments.
//!
//! This file has all events: target, level, fields and text of each stand here, and in a table at [the crate's root](crate).
//! Other files say only when. Two rules hold for them:
//!
//! - Nothing is emitted on the path of a fragment: only where an end attaches, leaves, waits, or has lost something.
//! - A subscriber is foreign code. It may publish with the producer that has emitted the event, and read with the
//!   consumer, if they lie where it finds them, in a thread-local variable for example. It may make and drop links. So an
//!   event is emitted without a lock, and where the end is as between two calls: see `Producer::await_credit` and
//!   `consumer/told.rs`.

/// Calls a function of [`emitted`], if there is the feature `tracing`.
macro_rules! emit {
    ($event:ident($($argument:expr),* $(,)?)) => {
        #[cfg(feature = "tracing")]
        $crate::events::emitted::$event($($argument),*);
    };
}
pub(crate) use emit;

/// The same on a thread of this library, which has to go on: a panic of the subscriber is forgotten, as that of a waker is.
#[cfg(all(feature = "shm", target_os = "linux"))]
macro_rules! emit_guarded {
    ($event:ident($($argument:expr),* $(,)?)) => {
        #[cfg(feature = "tracing")]
        {
            let emit = || $crate::events::emitted::$event($($argument),*);
            if let Err(cause) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(emit)) {
                // Its drop may panic, too.
                core::mem::forget(cause);
            }
        }
    };
}
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) use emit_guarded;

#[cfg(feature = "tracing")]
pub(crate) mod emitted {
    #[cfg(all(feature = "shm", target_os = "linux"))]
    use tracing::debug;
    use tracing::{info, warn};

    use crate::sync::Cell;

    /// The name of a link. `None`: it lies on the heap, or in storage of the borrowed API.
    pub(crate) type Name<'a> = Option<&'a str>;

    const LINK: &str = "rust_tango::link";
    const PRODUCER: &str = "rust_tango::producer";
    const CONSUMER: &str = "rust_tango::consumer";
    #[cfg(all(feature = "shm", target_os = "linux"))]
    const THREAD: &str = "rust_tango::thread";

    pub(crate) fn link_created(link: Name<'_>, depth: usize, mtu: usize, consumers: usize) {
        info!(target: LINK, link, depth, mtu, consumers, "link created");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn link_taken_over(link: &str) {
        info!(target: LINK, link, "link taken over");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn link_opened(link: &str) {
        debug!(target: LINK, link, "link opened");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn link_removed(link: &str) {
        info!(target: LINK, link, "link removed");
    }

    pub(crate) fn link_stopped(link: Name<'_>) {
        info!(target: LINK, link, "link stopped");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn link_lost_its_name(link: &str) {
        warn!(target: LINK, link, "link lost its name");
    }

    /// `next`: the number of its first fragment. `took_over`: from one that died.
    pub(crate) fn producer_attached(link: Name<'_>, next: u64, took_over: bool) {
        info!(target: PRODUCER, link, next, took_over, "producer attached");
    }

    /// `panicked`: its thread unwinds, so readers find it dead. Otherwise they find the link closed.
    pub(crate) fn producer_detached(link: Name<'_>, next: u64, panicked: bool) {
        info!(target: PRODUCER, link, next, panicked, "producer detached");
    }

    pub(crate) fn consumer_evicted(link: Name<'_>, slot: usize) {
        warn!(target: PRODUCER, link, slot, "consumer evicted");
    }

    pub(crate) fn consumer_reaped(link: Name<'_>, slot: usize) {
        warn!(target: PRODUCER, link, slot, "dead consumer reaped");
    }

    /// Numbers of slots, of which a link has up to 256.
    #[derive(Debug, Default)]
    pub(crate) struct SlotSet(Cell<[u64; 4]>);

    impl SlotSet {
        pub(crate) fn add(&self, slot: usize) {
            let mut words = self.0.get();
            if let Some(word) = words.get_mut(slot / 64) {
                *word |= 1 << (slot % 64);
            }
            self.0.set(words);
        }

        /// Empties the set first: `each` may add to it.
        pub(crate) fn take_each(&self, each: impl Fn(usize)) {
            for (at, mut word) in self.0.take().into_iter().enumerate() {
                while word != 0 {
                    each(at * 64 + word.trailing_zeros() as usize);
                    word &= word - 1;
                }
            }
        }
    }

    /// A reader, as its events name it.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Who<'a> {
        pub(crate) link: Name<'a>,
        /// `None`: it has none, or it is in storage of the borrowed API.
        pub(crate) slot: Option<usize>,
        /// `reliable`, `evictable` or `observer`.
        pub(crate) kind: &'static str,
    }

    pub(crate) fn consumer_attached(Who { link, slot, kind }: Who<'_>, next: u64) {
        info!(target: CONSUMER, link, slot, kind, next, "consumer attached");
    }

    /// `lost`: fragments, in `losses` times, since it attached.
    pub(crate) fn consumer_detached(Who { link, slot, kind }: Who<'_>, next: u64, lost: u64, losses: u64) {
        info!(target: CONSUMER, link, slot, kind, next, lost, losses, "consumer detached");
    }

    /// `lost`: fragments, in `losses` times, since the last such event of this reader.
    pub(crate) fn fragments_lost(
        Who { link, slot, kind }: Who<'_>,
        cause: &str,
        lost: u64,
        losses: u64,
        next: u64,
    ) {
        warn!(target: CONSUMER, link, slot, kind, cause, lost, losses, next, "fragments lost");
    }

    pub(crate) fn producer_gone(Who { link, slot, kind }: Who<'_>, next: u64) {
        warn!(target: CONSUMER, link, slot, kind, next, "producer gone");
    }

    pub(crate) fn producer_replaced(Who { link, slot, kind }: Who<'_>, first: u64) {
        warn!(target: CONSUMER, link, slot, kind, first, "producer replaced");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn thread_started(thread: &str) {
        debug!(target: THREAD, thread, "thread started");
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn thread_ended(thread: &str) {
        debug!(target: THREAD, thread, "thread ended");
    }
}
