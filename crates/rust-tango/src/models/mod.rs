//! The protocol under a model checker.
//!
//! [loom](https://docs.rs/loom) runs a small program again and again: with its threads interleaved in every
//! way that can matter, and with every value that a load may return by the C11 memory model, old ones
//! included. These programs use the types that everybody uses. Under `cfg(loom)`, `sync.rs` gives them other
//! atomics, cells and fences, `words` copies by its portable loop, and `payload` borrows what it hands out.
//! The rest is the code that is shipped, with smaller sizes and counts, except that models choose themselves where the
//! newest fragment is shown.
//!
//! `.ci/models` runs all of it; `.ci/models --mutations` shows that it has teeth.
//!
//! # What is modelled
//!
//! | file | what may not happen |
//! |---|---|
//! | `fragments` | a fragment with words of another one, in order to a reliable consumer or accepted by an observer, in slots and in granules, around the wrap of the numbers |
//! | `hot_slot` | that who waits where the newest fragment is shown gets another one, a mixture, or nothing: behind a batch, a loan, a takeover, on a fresh link |
//! | `credits` | that something is overwritten that a reliable consumer has not finished with: one, two, one that joins, leaves, dies, or takes over a slot on the same thread or another; that a loss by eviction is not told; that one who stops in the middle of joining holds the producer back |
//! | `batches` | the same with several fragments at once, with fragments that are passed over by their tag, and with payloads that are written in place |
//! | `endings` | that a closed, stopped or dead link ends before its last fragment; that a next producer does not begin exactly behind the one before, or is announced with another number |
//! | `takeovers` | that a next producer overwrites what a consumer has not finished with: one that was there before, or one that joins meanwhile; that an observer takes what was being overwritten for whole |
//! | `parking` | a sleeper that is not woken: by a fragment, a batch, a loan, a credit, leaving, the end, the next owner of a slot; a sleeper that is left to the rule of an owner that is gone |
//! | `words` | that a thread that reads a heartbeat, a published number, the stop of a link, a count, or the progress of a slot does not see what was stored before it |
//! | `storage` | the same on `MCache`, `DCache`, `Fseq`, `Fctl`; a producer that waits for nobody together with a consumer that reads in place |
//!
//! *Payload in place is plain memory.* Each word of payload has a loom `UnsafeCell` beside it, which each store of
//! payload writes, and which a [`Payload`](crate::Payload) borrows for as long as it lives; its bytes are read
//! by an unsynchronised load. A credit that goes back too early, a floor that is too high, or a joiner that
//! settles too far back is a race, which loom reports even in an execution in which no value is wrong.
//! Copies by observers are relaxed loads, which may race, and are checked by their content: each word of
//! payload and metadata says the number of its fragment.
//!
//! *No model is empty.* Each states the least number of executions that it has, and what must have happened in at
//! least one of them ([`must_see`](memory::Model::must_see)). Both are checked.
//!
//! # Bounds
//!
//! Rings of two lines, or four; payloads of two words (in two cache lines, as it were), one, or none; one to four
//! fragments at a time; two or three threads. A model is `exhaustive`, or explores every execution with at most so
//! many preemptions: a thread that is interrupted though it could go on. (Waiting in a loop is no preemption.) Each says which.
//!
//! # Mutations
//!
//! A mutation removes one thing that a proof relies on. There are two kinds:
//!
//! - *Orderings* have a name in the source: `ordering("line.publish", Release)`. A run of the models with
//!   `TANGO_MUTATION=line.publish` uses `Relaxed` there; a fence disappears.
//! - *Steps* are removed by a patch, `mutations/NAME.patch`. `.ci/models` applies each to a copy of the source.
//!
//! `mutations.txt` says for each mutation which model fails, or why none can. `.ci/models --mutations` checks
//! what it says, that no mutation is missing, and that a model fails by a wrong result and not by an endless
//! loop. `.ci/models` alone checks that all patches apply. To renew a patch after a change of the source, make
//! the change that it describes and write `git diff -U2` into the file.
//!
//! # What is not modelled
//!
//! - *Loads of values that are stored later* (load buffering). Loom lets no load return what is not stored yet.
//!   The two mutations that only this could notice say so.
//! - *SeqCst beyond fences.* Loom takes SeqCst accesses for acquiring and releasing ones; there are none here. Of
//!   two SeqCst fences, it takes the one that ran second as synchronised with the first, which is more than C11
//!   promises (that needs an access on each side). Loom also does not switch threads between an access and the
//!   fence behind it. So `sync/model.rs` gives all such fences an access in common, by which loom tries them in
//!   all orders, and switches in front of them.
//! - *Every interleaving, in the strict sense.* Loom swaps an access with the last one before it that conflicts. A
//!   thread's own load hides from it the load of another thread before, with which the store that follows
//!   conflicts. So owners read their own words by [`Own::own`](crate::sync::Own), which is no access to loom but
//!   a check that nobody else writes them.
//! - *The kernel's barrier* (`membarrier`). In `parking` all parties fence by themselves. That a sleeper asks for the
//!   barrier where somebody relies on it is checked by `waiters_learn_of_a_new_barrier`; what it does is not
//!   modelled. In all other models nobody fences, as in processes that rely on the barrier, because fences hide
//!   what the other orderings are for.
//! - *The watcher of an async reader*, which sleeps and looks as a consumer does, and is otherwise made of the
//!   standard library's locks, which loom does not see. `tests/awaiting.rs` is about it.
//! - *Patience*, which goes by the clock: where models evict, the producer has none.
//! - *Sleeps that end by themselves* after a slice: in models they do not, so that nothing relies on it.
//! - *Bytes of shared memory that somebody else writes*, processes that die between two stores, and the copies in
//!   inline assembly. Tests of their own are for these.
//!
//! # Writing one
//!
//! Make the [`Memory`](memory::Memory) (it "touches" all words that two threads use: see `sync/model.rs`), the halves,
//! and at most three threads; few operations. In loops that wait, call `loom::thread::yield_now`. Then take
//! the number of executions that it prints for its minimum.
#![allow(unsafe_code)]

mod batches;
mod credits;
mod endings;
mod fragments;
mod hot_slot;
mod memory;
mod parking;
mod storage;
mod takeovers;
mod words;
