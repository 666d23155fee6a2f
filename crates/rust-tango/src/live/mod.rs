//! [`AsyncConsumer`]: a consumer whose fragments are awaited, under any executor.
//!
//! A producer in another process can wake a thread that sleeps on its eventcount. It can do nothing else for
//! a reader: it cannot call a [`Waker`], or write to a descriptor, of the reader's process. So one thread of the
//! process sleeps in the place of all its async readers, the *watcher* (`watcher.rs`):
//!
//! ```text
//!   task                                     watcher thread                          producer
//!   poll: nothing there                      sleeps on the eventcounts of
//!   announce the sleep, poll again           all producers
//!   Pending                                  :                                       publish n
//!                                            awake, n is in the ring  <------------  notify
//!   woken, or descriptor readable  <-------  answer; sleep again
//!   poll: n is there, read it in place
//! ```
//!
//! Invariants:
//!
//! - *No wakeup is lost.* A request says what the reader has polled for in vain. The reader announces its sleep
//!   and polls once more, and the watcher sleeps for it, by the rules of
//!   [`shared_sleep`](crate::waiting::shared_sleep). A request stays pending until it is answered, or replaced
//!   by a later one of the same reader.
//! - *The descriptor is readable unless a request is pending that asks for it.* So a program that has polled
//!   until there was nothing can wait for the descriptor, whatever happened before.
//! - *Each word of a consumer's slot has one writer.* The task notifies the producer of credits, and so
//!   writes `count`. `asleep` is written by the task and by the watcher, only under the watcher's lock. While an
//!   `AsyncConsumer` exists, no blocking call of its consumer is possible.
//! - *The watcher never reads a fragment. It accesses what belongs to a consumer, its slot, only under the lock
//!   and while a request of that consumer is pending.* To drop a consumer removes its request under the lock.
//! - *The watcher has a share of the memory of each link* for whose readers it waits. So no reader waits for
//!   the watcher when it is dropped. A watcher that sleeps gives its share back when it is awake again; the
//!   last reader of the link wakes it.
//! - *No user code runs under a lock*: no waker is called, cloned or dropped.
//!
//! Reading order: this file, `awaited` (what a reader waits for), `watched` (a link and its readers), `watcher` (the
//! thread), `watchers` (which watcher a reader gets), `consumer` (what users have). `alarm` has nothing to do with
//! fragments: it wakes tasks that wait for a time.

mod alarm;

mod awaited;

mod watched;
mod watcher;
mod watchers;

mod consumer;

pub(crate) use alarm::Alarm;
pub use consumer::AsyncConsumer;
