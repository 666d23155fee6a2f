//! [`Cnc`]: command and control, a state and a heartbeat that one writer shows to any readers.
//!
//! ```text
//!  byte  0         8            16          64
//!        | state   | heartbeat  |  unused   |       two AtomicU64, alone on their cache line
//!          Boot -> Run -> Halt
//!             \      \----> Fail                    the usual way; nothing enforces it
//! ```
//!
//! The writer is the party that the word is about (or, for a command word, the party that gives the
//! commands); everybody else only reads. Both words are 0 in a fresh `Cnc`, so zeroed memory is one.
//!
//! Invariants:
//! - Each word has one writer at a time. A second one would be no undefined behaviour, but the last
//!   store would win.
//! - A reader that sees a value also sees everything that the writer did before it stored that value.
//! - The two words are independent: a reader may see the newer heartbeat with the older state, or the
//!   other way round.
//! - Readers only load, so they may have the memory mapped read-only.

use core::fmt;

use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence};

/// How many words of memory a command-and-control word takes.
pub(crate) const WORDS: usize = 2;

/// What the writer of a [`Cnc`] says about itself (or tells others to do).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum CncState {
    /// Not started yet; what a fresh [`Cnc`] says.
    Boot = 0,
    /// Started, and working.
    Run = 1,
    /// Asked to stop, or stopped, in good order.
    Halt = 2,
    /// Given up. Also what a reader makes of a value that is no state.
    Fail = 3,
}

impl CncState {
    const fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Boot,
            1 => Self::Run,
            2 => Self::Halt,
            _ => Self::Fail,
        }
    }
}

impl fmt::Display for CncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Boot => "Boot",
            Self::Run => "Run",
            Self::Halt => "Halt",
            Self::Fail => "Fail",
        })
    }
}

/// A state and a heartbeat, written by one party and read by any others, without locks.
///
/// ```
/// use rust_tango::{Cnc, CncState};
///
/// static WORKER: Cnc = Cnc::new();
///
/// let worker = std::thread::spawn(|| {
///     WORKER.set_state(CncState::Run);
///     WORKER.beat(1_000); // any clock that the readers know
///     WORKER.set_state(CncState::Halt);
/// });
/// worker.join().unwrap();
/// assert_eq!(WORKER.state(), CncState::Halt);
/// assert_eq!(WORKER.heartbeat(), 1_000);
/// ```
#[repr(C, align(64))]
pub struct Cnc {
    /// The state (0 to 3), then the heartbeat (anything): both written by the owner only.
    words: [AtomicU64; WORDS],
}

impl Cnc {
    /// A fresh one: [`CncState::Boot`], and a heartbeat of 0.
    pub const fn new() -> Self {
        Self { words: [AtomicU64::new(CncState::Boot as u64), AtomicU64::new(0)] }
    }

    /// The state that the writer stored last, as far as this thread can see.
    ///
    /// The writer may change it at any time, also before the caller looks at the result.
    #[inline]
    pub fn state(&self) -> CncState {
        self.view().state()
    }

    /// Stores a new state. For the one writer only: of two writers, the last one wins.
    #[inline]
    pub fn set_state(&self, state: CncState) {
        self.view().set_state(state);
    }

    /// The time of the last [`beat`](Self::beat) that this thread can see; 0 if there was none.
    ///
    /// An old heartbeat is a hint for people. It does not prove that the writer is dead.
    #[inline]
    pub fn heartbeat(&self) -> u64 {
        self.view().heartbeat()
    }

    /// Stores `now` as the heartbeat. For the one writer only.
    ///
    /// The clock and its unit are up to the writer and its readers. Nothing checks that `now` grows.
    #[inline]
    pub fn beat(&self, now: u64) {
        self.view().beat(now);
    }

    /// The same words, as a view.
    #[inline]
    fn view(&self) -> CncView<'_> {
        CncView::new(&self.words)
    }
}

impl Default for Cnc {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cnc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cnc").field("state", &self.state()).field("heartbeat", &self.heartbeat()).finish()
    }
}

/// A command-and-control word in memory that somebody else owns, such as a mapped file.
///
/// Storing through a view of memory that is mapped read-only is a fault: only the writer, who has it
/// mapped writable, may call [`set_state`](Self::set_state) and [`beat`](Self::beat).
#[derive(Clone, Copy)]
pub(crate) struct CncView<'a> {
    state: &'a AtomicU64,
    heartbeat: &'a AtomicU64,
}

impl<'a> CncView<'a> {
    /// The view of the first [`WORDS`] of `words`.
    ///
    /// # Panics
    ///
    /// If `words` is shorter than that.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { state: &words[0], heartbeat: &words[1] }
    }

    #[inline]
    pub(crate) fn state(self) -> CncState {
        let word = self.state.load(Relaxed);
        // pairs with the Release store in CncView::set_state. A fence and not an Acquire load, because
        // the memory may be mapped read-only.
        fence(Acquire);
        CncState::from_word(word)
    }

    #[inline]
    pub(crate) fn set_state(self, state: CncState) {
        // pairs with the Acquire fence in CncView::state
        self.state.store(state as u64, Release);
    }

    #[inline]
    pub(crate) fn heartbeat(self) -> u64 {
        let now = self.heartbeat.load(Relaxed);
        // pairs with the Release store in CncView::beat. A fence for the same reason as in state().
        fence(Acquire);
        now
    }

    #[inline]
    pub(crate) fn beat(self, now: u64) {
        // pairs with the Acquire fence in CncView::heartbeat
        self.heartbeat.store(now, Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const ALL: [(CncState, u64, &str); 4] = [
        (CncState::Boot, 0, "Boot"),
        (CncState::Run, 1, "Run"),
        (CncState::Halt, 2, "Halt"),
        (CncState::Fail, 3, "Fail"),
    ];

    #[test]
    fn zeroed_words_are_a_fresh_one() {
        let zeroed = [AtomicU64::new(0), AtomicU64::new(0)];
        for view in [Cnc::new().view(), CncView::new(&zeroed)] {
            assert_eq!((view.state(), view.heartbeat()), (CncState::Boot, 0));
        }
    }

    #[test]
    fn each_state_has_its_word_and_its_name() {
        let cnc = Cnc::new();
        for (state, word, name) in ALL {
            cnc.beat(100 + word);
            cnc.set_state(state);
            assert_eq!(cnc.state(), state);
            assert_eq!(cnc.words[0].load(Relaxed), word);
            assert_eq!(cnc.words[1].load(Relaxed), 100 + word);
            assert_eq!(cnc.heartbeat(), 100 + word);
            assert_eq!(state.to_string(), name);
        }
    }

    #[test]
    fn a_value_that_is_no_state_reads_as_fail() {
        for word in [4, 256, 1 << 32, 1 << 63, u64::MAX] {
            let words = [AtomicU64::new(word), AtomicU64::new(9)];
            assert_eq!(CncView::new(&words).state(), CncState::Fail, "{word}");
            assert_eq!(CncView::new(&words).heartbeat(), 9);
        }
    }

    #[test]
    fn it_has_a_cache_line_to_itself() {
        assert_eq!((size_of::<Cnc>(), align_of::<Cnc>()), (64, 64));
        assert_eq!(size_of::<[AtomicU64; WORDS]>(), 16);
    }

    #[test]
    fn a_reader_sees_what_was_done_before_the_state() {
        let (cnc, data) = (Cnc::new(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                data.store(42, Relaxed);
                cnc.set_state(CncState::Run);
            });
            while cnc.state() != CncState::Run {
                std::thread::yield_now();
            }
            assert_eq!(data.load(Relaxed), 42);
        });
    }
}
