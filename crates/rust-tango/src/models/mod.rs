//! The protocol under a model checker.
//!
//! [loom](https://docs.rs/loom) runs a small program again and again. It interleaves the threads in every
//! way that can matter, and lets each load return every value that the C11 memory model allows, old values
//! included. These programs use the library's real types. Under `cfg(loom)`, `sync` provides other atomics,
//! cells and fences, `words` copies with its portable loop, and `payload` tracks what it hands out.
//! Everything else is the shipped code, with smaller sizes and counts, with one exception: models choose
//! whether fragments are mirrored into the hot slot.
//!
//! `.ci/models` runs all models. `.ci/models --mutations` shows that they notice mistakes.
//!
//! # What is modelled
//!
//! | file | what must not happen |
//! |---|---|
//! | `fragments` | A fragment has words of another one, when a reliable consumer reads it in order or an observer accepts it. In slots and in granules, around the wrap of the numbers. |
//! | `hot_slot` | A reader that polls a hot slot gets another fragment, a mixture, or nothing: after a batch, a loan, a takeover, on a fresh link, while the producer stops mirroring or begins to. |
//! | `credits` | Something is overwritten that a reliable consumer still needs: one consumer, two, one that joins, leaves or dies, or that takes a slot over on the same thread or another. A loss by eviction is not reported. A consumer that stops while it joins holds the producer back. |
//! | `batches` | The same with several fragments at once, with fragments that are skipped by their tag, and with payloads that are written in place. |
//! | `gaps` | Of numbers that were left out, a reader gets a fragment, or it loses others with them. An observer takes a placeholder that was overwritten for a corrupt fragment. |
//! | `endings` | A closed, stopped or dead link ends before its last fragment. A producer that has seen that its link is stopped publishes. The next producer does not begin exactly after its predecessor, or is reported with another number. |
//! | `takeovers` | The next producer overwrites what a consumer still needs, whether the consumer was there before or joins meanwhile. An observer accepts a fragment that was being overwritten. |
//! | `parking` | A sleeping thread is not woken: by a fragment, a batch, a loan, a credit, leaving, the end, the next owner of a slot; also if it sleeps in the place of several consumers. A sleeping thread relies on the barrier of a previous owner. |
//! | `awaiting` | A thread that sleeps in the place of a producer is not woken by a credit; also if another consumer holds the producer back by then. |
//! | `direct` | A sleeping thread is not woken where the producer wakes tasks itself: a waiter joins or leaves meanwhile, the lock is taken, a thread sleeps besides. |
//! | `words` | A thread that reads a heartbeat, a published number, the stop of a link, a count, or the progress of a slot does not see what was stored before it. |
//! | `storage` | The same on `MCache`, `DCache`, `Fseq`, `Fctl`. A producer without flow control lives together with a consumer that reads in place. |
//!
//! *Payload in place is plain memory.* Each word of payload has a loom `UnsafeCell` beside it. Each store
//! of payload writes the cell, and a [`Payload`](crate::Payload) borrows it for as long as it lives. The
//! bytes of a payload are read by an unsynchronised load. So a credit that is returned too early, a floor
//! that is too high, or a joiner that settles too early is a race. Loom reports a race even in an execution
//! in which no value is wrong. Copies by observers are relaxed loads, which may race. They are checked by
//! their content: each word of payload and metadata contains the number of its fragment.
//!
//! *No model is empty.* Each states the least number of executions that it has, and what must have happened
//! in at least one of them ([`must_see`](memory::Model::must_see)). Both are checked.
//!
//! # Bounds
//!
//! Rings have two lines, or four. Payloads have two words (which take two cache lines in models), one, or
//! none. There are one to four fragments at a time, and two or three threads.
//!
//! A model is `exhaustive`, or it explores every execution with at most a given number of preemptions. A
//! preemption is a switch away from a thread that could continue. (Waiting in a loop is no preemption.)
//! Each model says which it is.
//!
//! # Mutations
//!
//! A mutation removes one thing that a proof relies on. There are two kinds:
//!
//! - *Orderings* have a name in the source: `ordering("line.publish", Release)`. A run of the models with
//!   `TANGO_MUTATION=line.publish` uses `Relaxed` there, and a fence disappears.
//! - *Steps* are removed by a patch, `mutations/NAME.patch`. `.ci/models` applies each to a copy of the
//!   source.
//!
//! `mutations.txt` says for each mutation which model fails, or why none can. `.ci/models --mutations`
//! checks these statements. It also checks that no mutation is missing, and that a model fails because of a
//! wrong result and not because of an endless loop. `.ci/models` alone checks that all patches apply. To
//! renew a patch after a change of the source, make the change that it describes and write the output of
//! `git diff -U2` into the file.
//!
//! # What is not modelled
//!
//! - *Loads of values that are stored later* (load buffering). Loom lets no load return a value that is not
//!   stored yet. In `mutations.txt`, the mutations that only such a load could show say so.
//! - *SeqCst beyond fences.* Loom treats SeqCst accesses as acquiring and releasing ones. There are none
//!   here. Of two SeqCst fences, loom treats the second to run as synchronised with the first. C11 promises
//!   that only together with an access on each side. Loom also does not switch threads between an access
//!   and the fence after it. So `sync/model.rs` gives all such fences a common access. Because of it, loom
//!   tries the fences in all orders, and switches threads before them.
//! - *Every interleaving, in the strict sense.* Loom swaps an access with the last conflicting one before
//!   it. If a thread loads a word and then stores it, its own load hides the earlier load of another thread
//!   from loom, although the store conflicts with that load. So owners read their own words by
//!   [`Own::own`](crate::sync::Own). To loom that is no access, but it checks that no other thread writes
//!   the word.
//! - *The kernel's barrier* (`membarrier`). In `parking`, all threads execute their own fences. The model
//!   `waiters_learn_of_a_new_barrier` checks that a waiter calls the barrier if the notifier relies on it.
//!   What the barrier does is not modelled. In all other models, no thread executes these fences, as in
//!   processes that rely on the barrier, because fences would hide what the other orderings are for.
//! - *The thread that waits for async ends*, except how it sleeps for several readers (`parking`) and for a producer
//!   (`awaiting`), and how a producer answers readers (`direct`). The rest of it uses locks of the standard library, which loom does not see. `tests/awaiting.rs`,
//!   `tests/awaiting_between_threads.rs`, `tests/awaiting_credits.rs`, `tests/producers_wake_tasks.rs` and `tests/async_readers_share_a_thread.rs` test it.
//! - *Patience*, which is measured by a clock. In models about eviction, the producer has none.
//! - *Sleeps that end after a slice.* In models they do not end by themselves, so nothing can rely on it.
//! - *Words of shared memory that a process overwrites against the protocol*, processes that die between
//!   two stores, and the copies in assembly. There are other tests for these.
//!
//! # How to write a model
//!
//! Make the [`Memory`](memory::Memory), the producer and the consumers, and at most three threads with few
//! operations. The memory "touches" all words that two threads use: see `sync/model.rs`. In loops that
//! wait, call `loom::thread::yield_now`. Then take the number of executions that the model prints as its
//! minimum.
#![allow(unsafe_code)]

mod awaiting;
mod batches;
mod credits;
mod endings;
mod fragments;
mod gaps;
// Without hints, no reader polls the hot slot.
mod direct;
#[cfg(not(no_hints))]
mod hot_slot;
mod memory;
mod parking;
mod storage;
mod takeovers;
mod words;
