//! How a thread waits: it spins, yields, sleeps in the kernel, and is woken.
//!
//! This layer knows nothing of fragments. It promises that no wakeup is lost, without a system call or a
//! fence for each notification. Its sleeps are bounded: they end after a slice even if nobody wakes the
//! sleeper.
//!
//! Reading order: `kernel` (futex and membarrier), `eventcount` (sleeping and waking, with the proof),
//! `shared_sleep` (one thread that sleeps for several waiters), `direct` (a notifier that answers in the place of that
//! thread), `wait` (when to spin, yield or sleep).

pub(crate) mod kernel;

#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
pub(crate) mod direct;
pub(crate) mod eventcount;
#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
pub(crate) mod shared_sleep;
pub(crate) mod wait;
