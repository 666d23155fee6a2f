//! The primitives as the model checker provides them, in the shape of the real ones.
//!
//! Loom's atomics exist inside of a model only and cannot be made by a `const fn`, which all constructors
//! of this crate are. So an atomic here is its initial value until it is first used, and loom's from then
//! on. Loom takes the first use for the moment of creation: a word that two threads use must have been
//! used ("touched") before the second thread begins, or loom reports a race. So a forgotten touch is loud.
//!
//! Payload is plain memory to who reads it in place. Each atomic therefore has a shadow, a loom `UnsafeCell`,
//! that the copies of payload write and a payload in place keeps borrowed: [`Lent`].
#![allow(unsafe_code)]

use core::cell::{OnceCell, RefCell};
use core::fmt;
use std::boxed::Box;
use std::rc::Rc;
use std::sync::OnceLock;
use std::vec::Vec;

use super::Ordering;
use loom::cell::{ConstPtr, UnsafeCell};

macro_rules! atomic {
    ($name:ident, $value:ident) => {
        pub(crate) struct $name {
            initial: $value,
            word: OnceCell<loom::sync::atomic::$name>,
            /// What the word is to who reads it as plain memory.
            shadow: OnceCell<UnsafeCell<()>>,
        }

        // SAFETY: all threads of a model are coroutines of one thread of the system, and none is suspended
        // inside of `OnceCell::get_or_init`: making a loom object is no point at which loom switches.
        unsafe impl Sync for $name {}
        // SAFETY: as above.
        unsafe impl Send for $name {}

        #[allow(dead_code)] // all of one shape, whichever of them is used of which width
        impl $name {
            pub(crate) const fn new(initial: $value) -> Self {
                Self { initial, word: OnceCell::new(), shadow: OnceCell::new() }
            }

            #[track_caller]
            fn word(&self) -> &loom::sync::atomic::$name {
                self.word.get_or_init(|| loom::sync::atomic::$name::new(self.initial))
            }

            /// Makes it exist for the model checker, payload and all.
            pub(crate) fn touch(&self) {
                self.word();
                self.shadow();
            }

            fn shadow(&self) -> &UnsafeCell<()> {
                self.shadow.get_or_init(|| UnsafeCell::new(()))
            }

            /// Notes that the word is written as payload: nobody may have a slice of it.
            #[track_caller]
            pub(crate) fn write_plain(&self) {
                self.shadow().with_mut(|_| ());
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.word().load(ordering)
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.word().store(value, ordering);
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                self.word().fetch_or(value, ordering)
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                self.word().fetch_and(value, ordering)
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.word().compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.word().compare_exchange_weak(current, new, success, failure)
            }
        }

        impl super::Own for $name {
            type Value = $value;

            /// No access to loom but a check. It would take a load for one that others could have raced with,
            /// and so overlook what the owner stores next: of all accesses before an access, loom tries to
            /// swap the last one only.
            #[track_caller]
            fn own(&self) -> $value {
                // SAFETY: loom checks that no other thread has stored or will store this without an order.
                unsafe { self.word().unsync_load() }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

atomic!(AtomicU64, u64);
atomic!(AtomicU32, u32);

/// A payload in place: its words are borrowed as plain memory until this is dropped.
pub(crate) struct Lent {
    bytes: Box<[u8]>,
    /// Held for their drop.
    _words: Vec<ConstPtr<()>>,
}

impl Lent {
    #[track_caller]
    pub(crate) fn new(words: &[AtomicU64]) -> Self {
        let guards = words.iter().map(|word| word.shadow().get()).collect();
        // SAFETY: "unsafe" is that it races with stores; loom checks that it does not, and panics.
        let bytes = words.iter().flat_map(|word| unsafe { word.word().unsync_load() }.to_ne_bytes());
        Self { bytes: bytes.collect(), _words: guards }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

std::thread_local! {
    /// What fences of all threads of a model have in common: see `fence`.
    static FENCES: RefCell<Option<Rc<loom::sync::atomic::AtomicU64>>> = const { RefCell::new(None) };
}

/// Each execution of a model begins with this.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) fn begin_execution() {
    FENCES.with(|fences| fences.replace(Some(Rc::new(loom::sync::atomic::AtomicU64::new(0)))));
}

/// A fence; none at all if the ordering is `Relaxed`, which a mutation makes of it.
///
/// Loom switches threads at accesses and not at fences, and takes all SeqCst fences that ran before one as
/// synchronised with it. An access that all of them have in common makes it try them in all orders, and with
/// what is between an access and the fence behind it.
#[track_caller]
pub(crate) fn fence(ordering: Ordering) {
    if ordering == Ordering::SeqCst {
        if let Some(fences) = FENCES.with(|fences| fences.borrow().clone()) {
            fences.fetch_add(1, Ordering::Relaxed);
        }
    }
    if ordering != Ordering::Relaxed {
        loom::sync::atomic::fence(ordering);
    }
}

/// A thread that spins waits for others: let them run.
pub(crate) fn spin_loop() {
    loom::thread::yield_now();
}

/// Changes nothing but the number of states.
pub(crate) fn pause(_spins: u64) {}

/// The name of the mutation that this run is about. An empty one is none: a run that takes nothing away is held
/// to all that it has to show.
pub(crate) fn mutation() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let name = NAME.get_or_init(|| std::env::var("TANGO_MUTATION").ok());
    name.as_deref().filter(|name| !name.is_empty())
}

/// Whether this run does without `name`.
fn mutated(name: &str) -> bool {
    mutation() == Some(name)
}

/// See [`sync`](super): `Relaxed`, hence no fence at all, if this run does without `name`.
pub(crate) fn ordering(name: &str, ordering: Ordering) -> Ordering {
    if mutated(name) { Ordering::Relaxed } else { ordering }
}

/// See [`sync`](super): false if this run does without `name`.
pub(crate) fn intact(name: &str) -> bool {
    !mutated(name)
}

/// What parking asks of the kernel, for models. (The crate's `kernel` hands it on.)
pub(crate) mod kernel {
    use super::{AtomicU32, Ordering};
    use core::cell::{Cell, RefCell};
    use core::time::Duration;
    use loom::sync::{Condvar, Mutex};
    use std::rc::Rc;
    use std::vec::Vec;

    /// A futex: a lock under which words are compared, and who sleeps on which word.
    struct Futex {
        lock: Mutex<()>,
        sleepers: RefCell<Vec<(usize, Rc<Condvar>)>>,
        /// Who comes now relies on the barrier.
        relied_on: Cell<bool>,
        /// Somebody has asked for the barrier.
        asked: Cell<bool>,
    }

    std::thread_local! {
        /// The kernel of the model that runs on this thread of the system.
        static FUTEX: RefCell<Option<Rc<Futex>>> = const { RefCell::new(None) };
    }

    fn futex() -> Option<Rc<Futex>> {
        FUTEX.with(|futex| futex.borrow().clone())
    }

    /// A model that parks begins with this, and keeps the result until its end. Without it, parties order
    /// their news by the kernel's barrier, hence without fences of their own, and nobody can sleep.
    #[must_use]
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn begin() -> impl Drop {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                FUTEX.with(|futex| futex.take());
            }
        }
        let futex = Rc::new(Futex {
            lock: Mutex::new(()),
            sleepers: RefCell::default(),
            relied_on: Cell::new(false),
            asked: Cell::new(false),
        });
        FUTEX.with(|place| place.replace(Some(futex)));
        End
    }

    impl Futex {
        fn sleepers(&self, word: &AtomicU32) -> Rc<Condvar> {
            let key = core::ptr::from_ref(word).addr();
            let mut all = self.sleepers.borrow_mut();
            if let Some((_, sleepers)) = all.iter().find(|(word, _)| *word == key) {
                return sleepers.clone();
            }
            all.push((key, Rc::new(Condvar::new())));
            all[all.len() - 1].1.clone()
        }
    }

    /// Sleeps without an end if nobody wakes it: a lost wakeup is a deadlock, which loom reports.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, _longest: Duration) {
        let Some(futex) = futex() else { return };
        if futex.asked.get() {
            // The barrier, which is not modelled, sees to it that this one is woken.
            return;
        }
        let sleepers = futex.sleepers(word);
        let lock = futex.lock.lock().unwrap();
        if word.load(Ordering::Relaxed) == expected {
            drop(sleepers.wait(lock));
        }
    }

    pub(crate) fn wake(word: &AtomicU32) {
        let Some(futex) = futex() else { return };
        let lock = futex.lock.lock();
        futex.sleepers(word).notify_all();
        drop(lock);
    }

    pub(crate) fn register() -> bool {
        futex().is_none_or(|futex| futex.relied_on.get())
    }

    /// Notes that it was asked for, which is all that there is of it: see `models`.
    pub(crate) fn barrier() -> bool {
        let futex = futex();
        futex.inspect(|futex| futex.asked.set(true)).is_some()
    }

    /// Who comes from now on orders its news by the barrier of who goes to sleep.
    #[cfg(test)]
    pub(crate) fn rely_on_barrier() {
        futex().inspect(|futex| futex.relied_on.set(true));
    }

    #[cfg(test)]
    pub(crate) fn barrier_was_asked_for() -> bool {
        futex().is_some_and(|futex| futex.asked.get())
    }
}
