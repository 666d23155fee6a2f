//! The primitives under the model checker, with the interface of the real ones.
//!
//! Loom's atomics exist only inside a model, and a `const fn` cannot create them. All constructors of this
//! crate are `const fn`. So an atomic here holds only its initial value until its first use, and a loom
//! atomic from then on. Loom treats the first use as the moment of creation. A word that two threads use must
//! therefore be used once ("touched") before the second thread starts. If a touch is forgotten, loom reports
//! a race.
//!
//! A reader in place reads payload as plain memory. Each atomic therefore has a shadow, a loom `UnsafeCell`:
//! stores of payload write the shadow, and a payload in place ([`Lent`]) borrows it.
#![allow(unsafe_code)]

use core::cell::{OnceCell, RefCell};
use core::fmt;
use std::boxed::Box;
use std::rc::Rc;
use std::sync::OnceLock;
use std::vec::Vec;

use super::own::Own;
use core::sync::atomic::Ordering;
use loom::cell::{ConstPtr, UnsafeCell};

macro_rules! atomic {
    ($name:ident, $value:ident) => {
        pub(crate) struct $name {
            initial: $value,
            word: OnceCell<loom::sync::atomic::$name>,
            /// Stands for the word when it is read as plain memory.
            shadow: OnceCell<UnsafeCell<()>>,
        }

        // SAFETY: all threads of a model are coroutines on one thread of the system. None is suspended inside
        // `OnceCell::get_or_init`, because loom does not switch threads while it creates an object.
        unsafe impl Sync for $name {}
        // SAFETY: as above.
        unsafe impl Send for $name {}

        #[allow(dead_code)] // both widths have all methods, and each uses only some
        impl $name {
            pub(crate) const fn new(initial: $value) -> Self {
                Self { initial, word: OnceCell::new(), shadow: OnceCell::new() }
            }

            #[track_caller]
            fn word(&self) -> &loom::sync::atomic::$name {
                self.word.get_or_init(|| loom::sync::atomic::$name::new(self.initial))
            }

            /// Creates the word and its shadow for the model checker.
            pub(crate) fn touch(&self) {
                self.word();
                self.shadow();
            }

            fn shadow(&self) -> &UnsafeCell<()> {
                self.shadow.get_or_init(|| UnsafeCell::new(()))
            }

            /// Records that payload is stored into the word. At this moment no slice may cover it.
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

        impl Own for $name {
            type Value = $value;

            /// To loom this is a check and not an access. Of all accesses before a given access, loom tries
            /// to swap only the last. An ordinary load by the owner would be that last one, and loom would
            /// overlook how an earlier access conflicts with the owner's next store.
            #[track_caller]
            fn own(&self) -> $value {
                // SAFETY: loom checks that no other thread stores the word without an ordering to this load.
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

/// A payload in place. Borrows its words as plain memory until it is dropped.
pub(crate) struct Lent {
    bytes: Box<[u8]>,
    /// Held for their drop.
    _words: Vec<ConstPtr<()>>,
}

impl Lent {
    #[track_caller]
    pub(crate) fn new(words: &[AtomicU64]) -> Self {
        let guards = words.iter().map(|word| word.shadow().get()).collect();
        // SAFETY: the load must not race with a store. Loom checks that, and panics if it does.
        let bytes = words.iter().flat_map(|word| unsafe { word.word().unsync_load() }.to_ne_bytes());
        Self { bytes: bytes.collect(), _words: guards }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

std::thread_local! {
    /// An atomic that the SeqCst fences of all threads of a model access: see `fence`.
    static FENCES: RefCell<Option<Rc<loom::sync::atomic::AtomicU64>>> = const { RefCell::new(None) };
}

/// Must be called at the start of each execution of a model.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) fn begin_execution() {
    FENCES.with(|fences| fences.replace(Some(Rc::new(loom::sync::atomic::AtomicU64::new(0)))));
}

/// A fence. No fence if the ordering is `Relaxed`, which is how a mutation removes it.
///
/// Loom switches threads at accesses, not at fences. It also treats all SeqCst fences that ran before a
/// SeqCst fence as synchronised with it. So all of them access one common atomic here. That makes loom try
/// the fences in all orders, and switch threads between an access and the fence after it.
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

/// A spinning thread waits for other threads, so this lets them run.
pub(crate) fn spin_loop() {
    loom::thread::yield_now();
}

/// The name of the step that this run removes, from `TANGO_MUTATION`. `None` if the variable is not set or is
/// empty: then every model must pass.
pub(crate) fn mutation() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let name = NAME.get_or_init(|| std::env::var("TANGO_MUTATION").ok());
    name.as_deref().filter(|name| !name.is_empty())
}

/// See [`sync`](super). `Relaxed` if this run removes `name`; a fence then disappears.
pub(crate) fn ordering(name: &str, ordering: Ordering) -> Ordering {
    if mutation() == Some(name) { Ordering::Relaxed } else { ordering }
}

/// A model of the kernel calls that parking needs. `waiting::kernel` re-exports it.
pub(crate) mod kernel {
    use crate::sync::model::{AtomicU32, Ordering};
    use core::cell::{Cell, RefCell};
    use core::time::Duration;
    use loom::sync::{Condvar, Mutex};
    use std::rc::Rc;
    use std::vec::Vec;

    /// A futex: a lock under which words are compared, and the sleepers of each word.
    struct Futex {
        lock: Mutex<()>,
        sleepers: RefCell<Vec<(usize, Rc<Condvar>)>>,
        /// Whether [`register`] succeeds: producers and consumers that attach from now on rely on the
        /// barrier.
        can_register: Cell<bool>,
        /// Whether [`barrier`] was called.
        barrier_called: Cell<bool>,
    }

    std::thread_local! {
        /// The kernel of the model that runs on this thread of the system.
        static FUTEX: RefCell<Option<Rc<Futex>>> = const { RefCell::new(None) };
    }

    fn futex() -> Option<Rc<Futex>> {
        FUTEX.with(|futex| futex.borrow().clone())
    }

    /// A model that parks calls this first and keeps the result until its end.
    ///
    /// In models without it, producers and consumers rely on the kernel's barrier, so they have no fences of
    /// their own, and nobody can sleep.
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
            can_register: Cell::new(false),
            barrier_called: Cell::new(false),
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

    /// Sleeps until it is woken, without a timeout. A lost wakeup is therefore a deadlock, which loom
    /// reports.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, _longest: Duration) {
        let Some(futex) = futex() else { return };
        if futex.barrier_called.get() {
            // Only the barrier guarantees that this sleeper is woken, and the barrier is not modelled.
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
        futex().is_none_or(|futex| futex.can_register.get())
    }

    /// Records the call. The barrier itself is not modelled: see `models`.
    pub(crate) fn barrier() -> bool {
        let futex = futex();
        futex.inspect(|futex| futex.barrier_called.set(true)).is_some()
    }

    /// Producers and consumers that attach from now on rely on the barrier that a sleeper calls.
    #[cfg(test)]
    pub(crate) fn rely_on_barrier() {
        futex().inspect(|futex| futex.can_register.set(true));
    }

    #[cfg(test)]
    pub(crate) fn barrier_was_asked_for() -> bool {
        futex().is_some_and(|futex| futex.barrier_called.get())
    }
}
