//! [`Cnc`] (command and control): a state and a heartbeat, with one writer and any number of readers.
//!
//! ```text
//!  byte  0         8            16          64
//!        | state   | heartbeat  |  unused   |       two AtomicU64, alone on their cache line
//!
//!          Boot -> Run -> Halt                      the usual order; nothing enforces it
//!              \      \-> Fail
//! ```
//!
//! The writer is the thread that the state is about. If the state is used as a command, the writer is the
//! thread that gives the commands. All others only read. Zeroed memory is a fresh `Cnc`.
//!
//! Invariants:
//! - Each word has one writer at a time. A second writer would not be undefined behaviour, but the last store
//!   would win.
//! - A reader that sees a value also sees everything that the writer did before it stored the value.
//! - The two words are independent: a reader may see a newer heartbeat with an older state, or the reverse.
//! - Readers only load, so they may have the memory mapped read-only.

use core::fmt;

use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, ordering};

/// The state in a [`Cnc`]: what its writer reports about itself, or commands others to do.
///
/// [`Cnc`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum CncState {
    /// Not started yet. The state of a fresh [`Cnc`].
    Boot = 0,
    /// Running.
    Run = 1,
    /// Stopped, or asked to stop, in good order.
    Halt = 2,
    /// Failed. Readers also see this state if the word holds no valid state.
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

/// A state and a heartbeat. One thread writes them, any others read them, without locks.
///
/// # Examples
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
    /// The state (0 to 3), then the heartbeat (any value). Only the owner writes them.
    words: [AtomicU64; 2],
}

impl Cnc {
    /// A fresh `Cnc`: [`CncState::Boot`], and a heartbeat of 0.
    pub const fn new() -> Self {
        Self { words: [AtomicU64::new(CncState::Boot as u64), AtomicU64::new(0)] }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.words.iter().for_each(AtomicU64::touch);
    }

    /// The last state that the writer stored, as far as this thread can see.
    ///
    /// The writer may change it at any time, even before the caller uses the result. Whatever the writer did
    /// before it stored this state is visible to the caller.
    #[inline]
    pub fn state(&self) -> CncState {
        let word = self.words[0].load(Relaxed);
        // Pairs with the Release store in `set_state`. A fence and not an Acquire load, because the memory
        // may be mapped read-only, and on some targets an Acquire load needs write access.
        fence(ordering("cnc.state", Acquire));
        CncState::from_word(word)
    }

    /// Whether the state is as in zeroed memory. Orders nothing.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.words[0].load(Relaxed) == CncState::Boot as u64
    }

    /// Stores a new state. Only for the one writer: if two threads store, the last store wins.
    #[inline]
    pub fn set_state(&self, state: CncState) {
        // Pairs with the Acquire fence in `state`.
        self.words[0].store(state as u64, ordering("cnc.set_state", Release));
    }

    /// The time of the last [`beat`](Self::beat), as far as this thread can see. 0 if there was none.
    ///
    /// An old heartbeat is only a hint for people. It does not prove that the writer is dead.
    #[inline]
    pub fn heartbeat(&self) -> u64 {
        let now = self.words[1].load(Relaxed);
        // Pairs with the Release store in `beat`. A fence for the same reason as in `state`.
        fence(ordering("cnc.heartbeat", Acquire));
        now
    }

    /// Stores `now` as the heartbeat. Only for the one writer.
    ///
    /// The writer and its readers agree on a clock and a unit. Nothing checks that `now` grows.
    #[inline]
    pub fn beat(&self, now: u64) {
        // Pairs with the Acquire fence in `heartbeat`.
        self.words[1].store(now, ordering("cnc.beat", Release));
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
        let zeroed = Cnc { words: [AtomicU64::new(0), AtomicU64::new(0)] };
        for cnc in [Cnc::new(), zeroed] {
            assert_eq!((cnc.state(), cnc.heartbeat()), (CncState::Boot, 0));
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
            let cnc = Cnc { words: [AtomicU64::new(word), AtomicU64::new(9)] };
            assert_eq!((cnc.state(), cnc.heartbeat()), (CncState::Fail, 9), "{word}");
        }
    }

    #[test]
    fn it_has_a_cache_line_to_itself() {
        assert_eq!((size_of::<Cnc>(), align_of::<Cnc>()), (64, 64));
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
