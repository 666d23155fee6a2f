//! The memory of a link for models, with the real producer and consumers on it. [`Model`] runs a model.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use crate::consumer::payload::{Fragment, Scratch};
use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::cpu::words::WORD;
use crate::credits::seat::Seat;
use crate::credits::slot::{ConsumerSlot, SlotReport};
use crate::credits::watched::Slots;
use crate::error::TangoError;
use crate::memory::cnc::CncState;
use crate::memory::head::Head;
use crate::memory::hints::Hints;
use crate::memory::parts::Parts;
use crate::producer::{Begin, Claim, Producer, ProducerClaim};
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::META_WORDS;
use crate::ring::region::{GRANULE, Granules};
use crate::ring::slots::Ring;
use crate::sync::{AtomicU64, Relaxed, begin_execution, mutation};
use crate::waiting::eventcount::Barrier;

/// The shape of a model's link.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) depth: usize,
    /// Granules of the region. 0: payloads lie in their slots.
    pub(super) granules: usize,
    /// The largest payload, in bytes. Only [`PAYLOAD`] bytes of each granule may be used.
    pub(super) mtu: usize,
    /// Slots for reliable consumers.
    pub(super) slots: usize,
    /// The first sequence number.
    pub(super) first: u64,
}

impl Default for Shape {
    fn default() -> Self {
        // The numbers wrap within the first fragments.
        Self { depth: 2, granules: 0, mtu: PAYLOAD, slots: 0, first: u64::MAX }
    }
}

/// Size of a payload, in bytes: two words, so that a mixture is possible.
pub(super) const PAYLOAD: usize = 2 * WORD;

/// A link whose words are those of the model checker.
pub(super) struct Memory {
    shape: Shape,
    head: Head,
    hot_slot: HotSlot,
    stop: AtomicU64,
    ring: Vec<AtomicU64>,
    region: Vec<AtomicU64>,
    slots: Vec<ConsumerSlot>,
    /// 1 + the slot whose owner has died without leaving. 0: no consumer is dead. This stands for what the
    /// kernel says. Every thread sees the newest value, and the value orders nothing.
    dead_slot: AtomicU64,
    /// Not zero: the producer has died. It stands for what the kernel says, too.
    dead_producer: AtomicU64,
}

impl Memory {
    pub(super) fn new(shape: Shape) -> Arc<Self> {
        let slot = if shape.granules == 0 { META_WORDS + 4 } else { META_WORDS };
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let memory = Self {
            shape,
            head: Head::new(),
            hot_slot: HotSlot::new(),
            stop: AtomicU64::new(0),
            ring: words(shape.depth * slot),
            region: words(shape.granules * GRANULE / WORD),
            slots: (0..shape.slots).map(|_| ConsumerSlot::new()).collect(),
            dead_slot: AtomicU64::new(0),
            dead_producer: AtomicU64::new(0),
        };
        memory.dead_slot.touch();
        memory.dead_producer.touch();
        memory.head.touch();
        memory.hot_slot.touch();
        memory.stop.touch();
        memory.slots.iter().for_each(ConsumerSlot::touch);
        // Only the words that payloads use: each word costs the model checker time.
        let used = META_WORDS + if shape.granules == 0 { PAYLOAD / WORD } else { 0 };
        memory.ring.chunks(slot).for_each(|slot| slot[..used].iter().for_each(AtomicU64::touch));
        for granule in memory.region.chunks(GRANULE / WORD) {
            granule[..PAYLOAD / WORD].iter().for_each(AtomicU64::touch);
        }
        Arc::new(memory)
    }

    pub(super) fn parts(self: &Arc<Self>) -> Parts<'static> {
        // SAFETY: the memory of an `Arc` does not move. Everything that is built on this reference keeps an
        // `Arc` in its claim, which it drops last.
        let this: &'static Self = unsafe { &*Arc::as_ptr(self) };
        Parts {
            ring: Ring::new(&this.ring, this.ring.len() / this.shape.depth * WORD),
            granules: Granules::new(&this.region),
            head: &this.head,
            hot_slot: &this.hot_slot,
            stop: &this.stop,
            mtu: this.shape.mtu,
            observers: true,
            hints: Hints::of_this_processor(),
        }
    }

    /// Whether producers use the hot slot from now on. They do not, unless a model says so.
    pub(super) fn uses_hot_slot(&self, is_used: bool) {
        self.hot_slot.is_used_from_now_on(is_used);
    }

    /// The producer is suspended while it mirrors fragment `n`, which is in the ring.
    pub(super) fn stops_while_mirroring(&self, n: u64) {
        self.hot_slot.is_left_behind(n, &payload(n));
    }

    /// The producer is killed while it mirrors fragment `n`, which is in the ring.
    pub(super) fn dies_while_mirroring(&self, n: u64, producer: Producer<'_>) {
        self.stops_while_mirroring(n);
        self.panics(producer);
    }

    fn slots(self: &Arc<Self>) -> impl Iterator<Item = &'static ConsumerSlot> {
        // SAFETY: as in `parts`.
        let this: &'static Self = unsafe { &*Arc::as_ptr(self) };
        this.slots.iter()
    }

    /// The producer. The caller has made sure that there is no other.
    pub(super) fn producer(self: &Arc<Self>) -> Producer<'static> {
        let claim = Claim::Owned(Box::new(KeepsMemory(self.clone())));
        let slots = Slots::watching(self.slots());
        let begin = Begin { credits: self.shape.depth as u64, ample: false, first: self.shape.first, claim };
        Producer::attach(self.parts(), slots, begin)
    }

    /// The reliable consumer of a slot. The caller has made sure that there is no other.
    pub(super) fn consumer(self: &Arc<Self>, slot: usize, start: Start) -> Consumer<'static> {
        let mode = Mode::Reliable(self.seat(slot));
        Consumer::attach(self.parts(), mode, start, Attachment::Owned(Box::new(KeepsMemory(self.clone()))))
    }

    /// The evictable consumer of a slot. The caller has made sure that there is no other.
    pub(super) fn evictable(self: &Arc<Self>, slot: usize, start: Start) -> Consumer<'static> {
        let mode = Mode::Evictable(self.seat(slot), Scratch::boxed(PAYLOAD));
        Consumer::attach(self.parts(), mode, start, Attachment::Owned(Box::new(KeepsMemory(self.clone()))))
    }

    /// A slot as its owner uses it. The caller keeps the memory for longer.
    pub(super) fn seat(self: &Arc<Self>, slot: usize) -> Seat<'static> {
        let slot = self.slots().nth(slot).expect("the shape has fewer slots");
        Seat::new(slot, &self.parts().head.eventcount)
    }

    pub(super) fn observer(self: &Arc<Self>, start: Start) -> Consumer<'static> {
        let mode = Mode::Observing(Scratch::boxed(PAYLOAD));
        Consumer::attach(self.parts(), mode, start, Attachment::Owned(Box::new(KeepsMemory(self.clone()))))
    }

    /// The producer dies in a panic. It publishes nothing more, and its state word says that it died.
    pub(super) fn panics(&self, producer: Producer<'_>) {
        core::mem::forget(producer);
        self.head.lifecycle.cnc.set_state(CncState::Fail);
    }

    /// The producer is killed. Only the kernel says so.
    pub(super) fn is_killed(&self, producer: Producer<'_>) {
        core::mem::forget(producer);
        self.has_no_producer();
    }

    /// The kernel says that there is no producer.
    pub(super) fn has_no_producer(&self) {
        self.dead_producer.store(1, Relaxed);
    }

    /// Another producer attaches. The kernel says that there is a producer before its first step.
    pub(super) fn next_producer(self: &Arc<Self>) -> Producer<'static> {
        self.producer_lives();
        self.producer()
    }

    /// A thread has the right to be the producer again.
    pub(super) fn producer_lives(&self) {
        self.dead_producer.fetch_and(0, Relaxed);
    }

    /// How many consumers have been evicted.
    pub(super) fn evictions(&self) -> u64 {
        self.head.lifecycle.evicted.load(Relaxed)
    }

    /// What the slot says of its owner.
    pub(super) fn report(&self, slot: usize) -> SlotReport {
        self.slots[slot].report()
    }

    /// A consumer begins to join at `start`, and stops before it has finished.
    pub(super) fn begin_to_join(&self, slot: usize, start: u64) {
        self.slots[slot].claim(start, false, Barrier::Kernel);
    }

    /// The consumer of `slot` dies without leaving. There is proof of it.
    pub(super) fn dies(&self, consumer: Consumer<'_>, slot: usize) {
        self.dead_slot.store(slot as u64 + 1, Relaxed);
        core::mem::forget(consumer);
    }

    /// The slot of the dead consumer has a living owner.
    pub(super) fn slot_is_owned_again(&self) {
        self.dead_slot.fetch_and(0, Relaxed);
    }

    /// The consumer of `slot` dies while it sleeps, without leaving. There is no proof of it.
    pub(super) fn dies_asleep(&self, consumer: Consumer<'_>, slot: usize) {
        self.slots[slot].dies_asleep();
        core::mem::forget(consumer);
    }
}

/// Keeps the memory, and says which owners are dead.
struct KeepsMemory(Arc<Memory>);

impl ProducerClaim for KeepsMemory {
    fn consumer_lives(&self, slot: usize) -> bool {
        self.0.dead_slot.fetch_or(0, Relaxed) != slot as u64 + 1
    }
}

impl ConsumerClaim for KeepsMemory {
    fn producer_lives(&self) -> bool {
        self.0.dead_producer.fetch_or(0, Relaxed) == 0
    }
}

/// The payload of fragment `n`: each word is `n`.
pub(super) fn payload(n: u64) -> [u8; PAYLOAD] {
    let mut bytes = [0; PAYLOAD];
    bytes.chunks_exact_mut(WORD).for_each(|word| word.copy_from_slice(&n.to_ne_bytes()));
    bytes
}

/// Publishes the next fragment. Each word of it contains its number. False: there is no credit.
pub(super) fn publish(producer: &Producer<'_>) -> bool {
    let n = producer.next_seq();
    match producer.publish(&payload(n), n, n as u16, n as u32) {
        Ok(meta) => {
            assert_eq!(meta.seq, n);
            true
        }
        Err(TangoError::NoCredits) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Publishes `count` fragments, and waits for the consumers where it has to.
pub(super) fn publish_all(producer: &Producer<'_>, count: usize) {
    for _ in 0..count {
        while !publish(producer) {
            loom::thread::yield_now();
        }
    }
}

/// Checks that all of a fragment belongs to the number that it has. Returns the number.
pub(super) fn whole(fragment: &Fragment<'_>) -> u64 {
    whole_of(fragment, PAYLOAD)
}

/// The same for a fragment whose payload has only the first `size` bytes.
pub(super) fn whole_of(fragment: &Fragment<'_>, size: usize) -> u64 {
    let n = fragment.meta.seq;
    assert_eq!(fragment.meta.sig, n, "metadata of another fragment");
    assert_eq!((fragment.meta.ctl, fragment.meta.ts), (n as u16, n as u32), "metadata of another fragment");
    assert_eq!(fragment.payload.as_slice(), &payload(n)[..size], "payload of another fragment");
    n
}

/// Waits for the next fragment and reads it. It must be `n`.
pub(super) fn read(consumer: &mut Consumer<'_>, n: u64) {
    loop {
        if let Some(fragment) = consumer.poll().expect("nothing is lost") {
            assert_eq!(whole(&fragment), n);
            return;
        }
        loom::thread::yield_now();
    }
}

/// [`read`] by a consumer whose producer may die and be replaced meanwhile.
pub(super) fn read_across_producers(consumer: &mut Consumer<'_>, n: u64) {
    loop {
        match consumer.poll() {
            Ok(Some(fragment)) => {
                assert_eq!(whole(&fragment), n);
                return;
            }
            Ok(None) | Err(TangoError::ProducerGone | TangoError::ProducerReplaced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        loom::thread::yield_now();
    }
}

/// What happened in at least one execution of a model.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeSet<String>>>);

impl Seen {
    pub(super) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().insert(what.into());
    }
}

/// How far a model is explored, and what ensures that it is not empty.
pub(super) struct Model {
    /// The least number of executions. Fewer: the model has lost some.
    pub(super) least: usize,
    /// The most preemptions in an execution. `None`: any number.
    pub(super) preemptions: Option<usize>,
    /// What must have happened in at least one execution.
    pub(super) must_see: &'static [&'static str],
}

impl Model {
    /// Explores every execution.
    pub(super) fn exhaustive(least: usize) -> Self {
        Self { least, preemptions: None, must_see: &[] }
    }

    /// Explores every execution with at most this many preemptions.
    pub(super) fn bounded(preemptions: usize, least: usize) -> Self {
        Self { least, preemptions: Some(preemptions), must_see: &[] }
    }

    pub(super) fn must_see(self, must_see: &'static [&'static str]) -> Self {
        Self { must_see, ..self }
    }

    /// Explores the model, and prints how many executions it had.
    pub(super) fn check(self, model: impl Fn(&Seen) + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = self.preemptions;
        builder.max_branches = 10_000;
        let (count, seen) = (Arc::new(Mutex::new(0_usize)), Seen::default());
        let (counted, noted) = (count.clone(), seen.clone());
        builder.check(move || {
            *counted.lock().unwrap() += 1;
            begin_execution();
            model(&noted);
        });
        let count = *count.lock().unwrap();
        let bound =
            self.preemptions.map_or(String::from("all"), |most| std::format!("at most {most} preemptions"));
        let name = std::thread::current().name().map(String::from).unwrap_or_default();
        let seen = seen.0.lock().unwrap();
        std::println!("explored {count:>8} executions, {bound}: {name} {seen:?}");
        // A mutated protocol may have more or fewer executions.
        if mutation().is_none() {
            assert!(count >= self.least, "{count} executions; there were {} once", self.least);
            for what in self.must_see {
                assert!(seen.contains(*what), "never happened: {what}");
            }
        }
    }
}

/// A model that has lost executions fails. (Not if the protocol is mutated: then the numbers are
/// different.)
#[test]
#[should_panic(expected = "executions; there were")]
fn a_model_that_has_become_smaller_fails() {
    Model::exhaustive(usize::MAX).check(|_| ());
    assert!(mutation().is_none(), "mutated, so not counted: executions; there were");
}

/// A model in which a required event no longer happens fails.
#[test]
#[should_panic(expected = "never happened")]
fn a_model_in_which_nothing_happens_fails() {
    Model::exhaustive(1).must_see(&["something"]).check(|seen| seen.note("something else"));
    assert!(mutation().is_none(), "mutated, so not checked: never happened");
}
