//! How a producer makes room for fragments: it obtains credits, retires what is overwritten, and reads the hints of
//! consumers meanwhile. See [`publish`](super::publish).

use super::backpressure::Refused;
use super::publish::Producer;
use crate::error::TangoError;
use crate::ring::line;
use crate::ring::seq;
use crate::sync::Relaxed;
use crate::timing::hints::ConsumerHints;
use crate::timing::processor;

/// The producer reads the hints of consumers after so many fragments, when it retires lines next.
const HINTS_EVERY: u64 = 24;
/// How near the consumers are is measured once in so many refreshes in a row that bring nothing, until it is known.
const FAILURES_PER_MEASUREMENT: u32 = 16;
/// In a small ring, a batch is cut into pieces of at most one part of the ring in this many.
const BATCH_PART: u64 = 8;

/// The producer retires the ring in steps of one part in this many, or of a batch if that is more.
const RETIRE_PART: u64 = 32;
/// In a ring of 64 slots or more, it retires at least and at most so many fragments at a time.
const RETIRE_LEAST: u64 = 8;
const RETIRE_MOST: u64 = 32;

/// How many fragments more than needed are retired at once in a ring of `depth` slots.
pub(super) fn retire_ahead(depth: u64) -> u64 {
    let part = depth / RETIRE_PART;
    if depth < 8 * RETIRE_LEAST { part } else { part.clamp(RETIRE_LEAST, RETIRE_MOST) }
}

/// Making room for fragments.
impl Producer<'_> {
    /// Makes sure that fragment `n` has a credit, and that what it overwrites is retired: the previous
    /// fragment of its line, and every fragment up to `victim`. Does the same for `count` fragments from
    /// `n` on, as far as there are credits.
    #[inline(never)]
    pub(super) fn make_room(&self, n: u64, victim: Option<u64>, count: u64) -> Result<(), TangoError> {
        if !self.backpressure.credits().allow(n, victim) {
            self.await_credit(n, victim)?;
        }
        self.retire(n, victim, count);
        Ok(())
    }

    /// [`Self::make_room`] for a fragment that has a credit.
    #[inline(always)] // most callers have no victim
    pub(super) fn retire(&self, n: u64, victim: Option<u64>, count: u64) {
        let (depth, credits) = (self.parts.ring.depth(), self.backpressure.credits());
        // A batch that overwrites much of a small ring is cut into pieces, so that observers find
        // something.
        let most = (depth / BATCH_PART).max(1);
        let count = count.min(credits.limit().wrapping_sub(n)).min(most);
        let by_line = n.wrapping_sub(depth).wrapping_add(1);
        // Retire for the next few fragments at once, but nothing that a consumer may still need.
        let ahead = by_line.wrapping_add(self.retire_ahead.max(count - 1));
        let mut dead = seq::earlier(ahead, credits.floor());
        if let Some(victim) = victim {
            dead = seq::later(dead, victim.wrapping_add(1));
        }
        if seq::is_before(self.oldest.get(), dead) {
            self.oldest.set(dead);
            line::retire(&self.parts.head.oldest, dead);
        }
        self.set_limit();
        // Hints are read here, and not with each fragment. This is soon enough: see `MAX_ANNOUNCED` in `timing::place`.
        if n.wrapping_sub(self.hints_read_at.get()) >= HINTS_EVERY {
            self.hints_read_at.set(n);
            if credits.read_hints() {
                self.apply_hints();
            }
        }
    }

    /// Sets the limit: every fragment before it has a credit, and its line is free. It is never far, so that hints are
    /// read.
    pub(super) fn set_limit(&self) {
        let by_lines = self.oldest.get().wrapping_add(self.parts.ring.depth());
        let by_credits = self.backpressure.credits().limit();
        let by_hints = self.next.get().wrapping_add(RETIRE_MOST + 1);
        self.limit.set(seq::earlier(seq::earlier(by_credits, by_lines), by_hints));
    }

    #[cold]
    pub(super) fn await_credit(&self, n: u64, victim: Option<u64>) -> Result<(), TangoError> {
        self.measure_consumers(n);
        let obtained = self.backpressure.obtain(n, victim, &self.claim);
        self.set_limit();
        self.apply_hints();
        #[cfg(feature = "tracing")]
        {
            self.backpressure.emit_happened(&self.claim);
            if self.next.get() != n {
                // A subscriber has published with this producer, and `n` is taken. The caller has done nothing yet that
                // it would have to undo: it returns the error.
                return Err(TangoError::NoCredits);
            }
        }
        obtained.map_err(|Refused { is_new }| {
            if is_new {
                if let Some(metrics) = self.reports.as_ref().and_then(|reports| reports.metrics.as_ref()) {
                    metrics.event();
                }
            }
            TangoError::NoCredits
        })
    }

    /// Measures now and then, before fragment `n`, how near several consumers are: before the producer loads the words of
    /// their progress for another reason.
    fn measure_consumers(&self, n: u64) {
        let credits = self.backpressure.credits();
        if credits.counted() < 2 {
            self.lines_ahead.forget_measurement(n);
        } else if self.lines_ahead.is_measurement_due(n) && credits.failures() % FAILURES_PER_MEASUREMENT == 0
        {
            if let Some(are_near) = credits.are_near(processor::is_near) {
                self.lines_ahead.measured(n, are_near);
            }
        }
    }

    /// Reads the consumers' progress. Returns whether a payload of `size` bytes could be published now.
    #[cfg(feature = "std")]
    pub(super) fn has_credit(&self, size: usize) -> bool {
        let n = self.next.get();
        let (_, victim) = self.place(n, size);
        let allowed = self.backpressure.has_credit(n, victim);
        self.set_limit();
        self.apply_hints();
        allowed
    }

    /// Stops counting consumers that are proven dead.
    pub(crate) fn reap_dead(&self) {
        if self.backpressure.reap_dead(&self.claim) {
            self.apply_hints();
            #[cfg(feature = "tracing")]
            self.backpressure.emit_happened(&self.claim);
        }
    }

    /// Updates [`Self::is_plain`], after something has changed that it depends on.
    pub(super) fn update_plain(&self) {
        let is_plain = !self.hot_slot.mirrors()
            && !self.lines_ahead.touches()
            && self.reports.is_none()
            && !self.barrier.fences();
        self.is_plain.set(is_plain);
    }

    /// Acts on the hints of the consumers, after consumers or their hints have changed.
    pub(super) fn apply_hints(&self) {
        let credits = self.backpressure.credits();
        credits.read_hints();
        let hints = ConsumerHints::of(credits.hints(), credits.counted());
        self.lines_ahead.choose(&hints);
        self.hot_slot.choose(&hints);
        self.update_plain();
        let (word, is_single) = (&self.parts.head.credit.single_consumer, u64::from(hints.single_consumer));
        if word.load(Relaxed) != is_single {
            word.store(is_single, Relaxed);
        }
    }
}
