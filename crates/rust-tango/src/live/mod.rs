//! [`AsyncConsumer`] and [`AsyncProducer`]: ends of a link whose fragments and credits are awaited, under any executor.
//!
//! A producer in another process can wake a thread that sleeps on its eventcount. It can do nothing else for
//! a reader: it cannot call a [`Waker`], or write to a descriptor, of the reader's process. So one thread of the
//! process sleeps in the place of all its async ends, the *watcher* (`watcher.rs`):
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
//! A producer of the same process need not wake the watcher. It does the same for the readers that wait for it, under the
//! watcher's lock if that is free: see [`direct`](crate::waiting::direct).
//!
//! A producer without credits waits in the same way for the consumer that holds it back. That consumer notifies of
//! credits. Another consumer may hold the producer back at the next poll, so each request says which one does.
//!
//! Invariants:
//!
//! - *No wakeup is lost.* A request says what the reader has polled for in vain. The reader announces its sleep
//!   and polls once more, and the watcher sleeps for it, by the rules of
//!   [`shared_sleep`](crate::waiting::shared_sleep). A request stays pending until it is answered, or replaced
//!   by a later one of the same reader.
//! - *The descriptor is readable unless a request is pending that asks for it.* So a program that has polled
//!   until there was nothing can wait for the descriptor, whatever happened before.
//! - *Each word of an eventcount has one writer.* The task notifies of credits or fragments, and so writes `count`.
//!   `asleep` is written by the task, by the watcher and by a producer of this process, only under the watcher's lock.
//!   While an async end exists, no blocking call of it is possible.
//! - *The watcher never reads a fragment. What belongs to an end, its own words, other threads access only under the
//!   lock and while that end is registered.* To drop an end removes it and its request under the lock.
//! - *The watcher never refreshes credits.* It looks at the slot of the consumer that holds the producer back. The
//!   producer reaps and evicts consumers itself, when the watcher has woken its task for that.
//! - *The watcher has a share of the memory of each link* for whose ends it waits. So no end waits for
//!   the watcher when it is dropped. A watcher that sleeps gives its share back when it is awake again; the
//!   last of the ends wakes it.
//! - *No user code runs under a lock*: no waker is called, cloned or dropped.
//!
//! Reading order: this file, `awaited` (what an end waits for), `watched` (a link and its waiting ends), `watcher` (the
//! thread), `watchers` (which watcher an end gets), `consumer` and `producer` (what users have). `alarm` has nothing to do with
//! fragments: it wakes tasks that wait for a time.

mod alarm;

mod awaited;

mod watched;
mod watcher;
mod watchers;

mod consumer;

mod producer;

pub(crate) use alarm::Alarm;
pub use consumer::AsyncConsumer;
pub use producer::AsyncProducer;
