//! What the two sides of a measurement do, whatever the channel: one sends numbered messages, the other
//! checks them; or one calls and the other answers. Without a schedule they go as fast as they can; with
//! one, each message is due at a time that does not depend on how the others fared, and its latency counts
//! from then.

use std::hint::black_box;
use std::ops::Range;
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::message::{Batch, Hesitation, Source, batch_size, is_right, number_of, work};
use crate::method::{Plan, Sample, Span, Stopwatch, now, pause, pin, spawn};
use crate::peers::{Channel, FanOut, Lossy, Observed, Observer, Peer, Receiver, Sender, Waits};

/// From the end of the warm-up to the first message that is due.
const HEAD_START: u64 = 200_000;

/// Sends the messages of the plan as fast as they go, by the calls of `P` that its load says. The calling
/// thread moves to the producer's core.
pub(crate) fn produce<P: Peer, const N: usize>(tx: &mut impl Sender<N>, plan: &Plan) -> Span {
    pin(plan.cores.producer);
    let watch = Stopwatch::start();
    // In two steps, so that loops that are never used are not compiled either.
    #[allow(clippy::collapsible_if)]
    if const { P::ABOUT.batch.is_some() } {
        if plan.load.batch {
            send_batches(tx, &mut Batch::new(), 0..plan.total(), plan.load.work);
            return watch.stop();
        }
    }
    send(tx, &mut Source::new(), 0..plan.total(), plan.load.work);
    watch.stop()
}

/// The same with nobody reading: the window begins after the warm-up.
pub(crate) fn produce_alone<const N: usize>(tx: &mut impl Sender<N>, plan: &Plan) -> Sample {
    pin(plan.cores.producer);
    let mut source = Source::new();
    send(tx, &mut source, 0..plan.warm, plan.load.work);
    let watch = Stopwatch::start();
    send(tx, &mut source, plan.warm..plan.total(), plan.load.work);
    Sample::window(plan.count, watch.stop(), 0)
}

/// Sends each message when it is due. The one before the first carries the time of the first.
pub(crate) fn produce_on_time<const N: usize>(tx: &mut impl Sender<N>, plan: &Plan) -> Span {
    pin(plan.cores.producer);
    let watch = Stopwatch::start();
    let mut source = Source::new();
    send(tx, &mut source, 0..plan.warm, 0);
    let start = now() + HEAD_START;
    tx.send(source.message(start));
    for (number, due) in Schedule::new(plan, start) {
        wait_until(due);
        tx.send(source.message(number));
    }
    watch.stop()
}

/// Receives and checks the messages of the plan; the window is what follows the warm-up. The calling
/// thread moves to the consumer's core.
pub(crate) fn consume<P: Peer, const N: usize>(rx: &mut impl Receiver<N>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    #[allow(clippy::collapsible_if)]
    if const { P::ABOUT.batch.is_some() } {
        if plan.load.batch {
            let (wrong_before, ahead) = receive_batches(rx, 0..plan.warm, plan.load.chore);
            let watch = Stopwatch::start();
            let (wrong, _) = receive_batches(rx, plan.warm + ahead..plan.total(), plan.load.chore);
            return Sample::window(plan.count - ahead, watch.stop(), wrong_before + wrong);
        }
    }
    let mut wrong = receive(rx, 0..plan.warm, plan.load.chore);
    let watch = Stopwatch::start();
    wrong += receive(rx, plan.warm..plan.total(), plan.load.chore);
    Sample::window(plan.count, watch.stop(), wrong)
}

/// Receives and checks each message, and says how long after it was due that was.
pub(crate) fn consume_on_time<const N: usize>(rx: &mut impl Receiver<N>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    let mut latencies = vec![u32::MAX; plan.count as usize];
    let mut wrong = receive(rx, 0..plan.warm, 0);
    let Some(start) = rx.receive(number_of::<N>) else {
        panic!("the message with the starting time arrived wrong");
    };
    let watch = Stopwatch::start();
    for ((number, due), latency) in Schedule::new(plan, start).zip(&mut latencies) {
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
        *latency = since(due);
    }
    Sample::timed(&latencies, watch.stop(), wrong)
}

/// Calls and waits for the answer, for each message of the plan.
pub(crate) fn call<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    plan: &Plan,
) -> Sample {
    pin(plan.cores.producer);
    let mut wrong = there_and_back(tx, rx, 0..plan.warm, plan.load.hesitation);
    let watch = Stopwatch::start();
    wrong += there_and_back(tx, rx, plan.warm..plan.total(), plan.load.hesitation);
    Sample::window(plan.count, without_hesitation(watch.stop(), plan), wrong)
}

/// A window of round trips without the time in which both sides hesitated. (Of the shorter of two tries: the core may
/// do something else in one of them.)
pub(crate) fn without_hesitation(span: Span, plan: &Plan) -> Span {
    let most = plan.load.hesitation;
    if most == 0 {
        return span;
    }
    let hesitate = || {
        let mut hesitation = Hesitation::new(most);
        let watch = Stopwatch::start();
        for number in plan.warm..plan.total() {
            hesitation.before_call(number);
            hesitation.before_answer(number);
        }
        watch.stop().nanos
    };
    Span { nanos: span.nanos - hesitate().min(hesitate()), ..span }
}

/// Calls when it is due, and says how long after that the answer came.
pub(crate) fn call_on_time<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    plan: &Plan,
) -> Sample {
    pin(plan.cores.producer);
    let mut wrong = there_and_back(tx, rx, 0..plan.warm, 0);
    let mut latencies = vec![u32::MAX; plan.count as usize];
    let mut source = Source::new();
    let watch = Stopwatch::start();
    for ((number, due), latency) in Schedule::new(plan, now() + HEAD_START).zip(&mut latencies) {
        wait_until(due);
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
        *latency = since(due);
    }
    Sample::timed(&latencies, watch.stop(), wrong)
}

/// Answers each message of the plan with itself.
pub(crate) fn answer<const N: usize>(
    rx: &mut impl Receiver<N>,
    tx: &mut impl Sender<N>,
    plan: &Plan,
) -> Span {
    pin(plan.cores.consumer);
    let watch = Stopwatch::start();
    let mut source = Source::new();
    let reply = source.place();
    let mut hesitation = Hesitation::new(plan.load.hesitation);
    for number in 0..plan.total() {
        reply.0 = rx.receive(|bytes| *<&[u8; N]>::try_from(bytes).expect("an answer is as long as the call"));
        hesitation.before_answer(number);
        tx.send(reply);
    }
    watch.stop()
}

/// Reads what it can of a producer that does not know of it. The window is what follows the warm-up, in
/// positions; those that it missed count as lost. The calling thread moves to the consumer's core.
pub(crate) fn observe<const N: usize>(rx: &mut impl Observer<N>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    let mut seen = Seen::default();
    while seen.position < plan.warm {
        seen.look::<N>(rx);
    }
    let (begin, before) = (seen.position, seen.messages);
    let watch = Stopwatch::start();
    while seen.position < plan.total() {
        seen.look::<N>(rx);
    }
    let span = watch.stop();
    let (passed, messages) = (seen.position - begin, seen.messages - before);
    Sample { lost: passed - messages, ..Sample::window(messages, span, seen.wrong) }
}

/// What an observer has seen so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Number of the message that it looks for next.
    position: u64,
    messages: u64,
    wrong: u64,
}

impl Seen {
    #[inline(always)]
    fn look<const N: usize>(&mut self, rx: &mut impl Observer<N>) {
        let Self { position, messages, wrong } = self;
        let seen = rx.observe(|number, bytes| {
            *wrong += u64::from(!is_right::<N>(bytes, number) || number < *position);
            *messages += 1;
            *position = number + 1;
        });
        match seen {
            Observed::Message => {}
            Observed::Nothing => pause(),
            Observed::Lapped(next) => self.position = next,
        }
    }
}

/// Messages of `N` bytes from one thread to another, as fast as they go.
pub(crate) fn one_way<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let mut storage = C::storage();
    let (mut tx, mut rx) = Apart::both(C::split(&mut storage));
    let spins = C::ABOUT.waits == Waits::Spins;
    both(|| produce::<C, N>(&mut tx.0, plan), || consume::<C, N>(&mut rx.0, plan), spins)
}

/// Messages of `N` bytes from one thread to another, each when it is due.
pub(crate) fn one_way_on_time<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let mut storage = C::storage();
    let (mut tx, mut rx) = Apart::both(C::split(&mut storage));
    let spins = C::ABOUT.waits == Waits::Spins;
    both(|| produce_on_time(&mut tx.0, plan), || consume_on_time(&mut rx.0, plan), spins)
}

/// Messages of `N` bytes there and back, over two channels, one after the other.
pub(crate) fn round_trip<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut storage_there, mut storage_back) = (C::storage(), C::storage());
    let (mut tx, mut rx_there) = Apart::both(C::split(&mut storage_there));
    let (mut tx_back, mut rx) = Apart::both(C::split(&mut storage_back));
    let spins = C::ABOUT.waits == Waits::Spins;
    both(|| answer(&mut rx_there.0, &mut tx_back.0, plan), || call(&mut tx.0, &mut rx.0, plan), spins)
}

/// Messages of `N` bytes there and back, each when it is due.
pub(crate) fn round_trip_on_time<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut storage_there, mut storage_back) = (C::storage(), C::storage());
    let (mut tx, mut rx_there) = Apart::both(C::split(&mut storage_there));
    let (mut tx_back, mut rx) = Apart::both(C::split(&mut storage_back));
    let spins = C::ABOUT.waits == Waits::Spins;
    both(|| answer(&mut rx_there.0, &mut tx_back.0, plan), || call_on_time(&mut tx.0, &mut rx.0, plan), spins)
}

/// One half of a channel, in cache lines of its own: halves that keep notes in themselves and lie side by side on the
/// stack of who made them would take those from each other.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Apart<T> {
    fn both<U>((one, other): (T, U)) -> (Self, Apart<U>) {
        (Self(one), Apart(other))
    }
}

/// Two threads, of which the second measures.
fn both(
    other: impl FnOnce() -> Span + Send,
    measuring: impl FnOnce() -> Sample + Send,
    spins: bool,
) -> Sample {
    thread::scope(|scope| {
        let other = spawn(scope, other);
        let measuring = spawn(scope, measuring);
        let span = other.join().expect("a panic ends the process");
        let sample = measuring.join().expect("a panic ends the process");
        sample.with_other_side(span, spins)
    })
}

/// A thread for each reader, with a core of `cores`, and with the reader in a place of its own.
fn each_on_a_core<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    readers: Vec<R>,
    cores: impl IntoIterator<Item = usize>,
    read: impl Fn(&mut R, usize) -> Sample + Copy + Send + 'scope,
) -> Vec<ScopedJoinHandle<'scope, Sample>> {
    let start = |(mut reader, core): (Apart<R>, usize)| {
        spawn(scope, move || {
            // The place moves along, not only what is in it.
            let whole = &mut reader;
            read(&mut whole.0, core)
        })
    };
    readers.into_iter().map(Apart).zip(cores).map(start).collect()
}

/// One thread sends, and each of several others gets everything.
pub(crate) fn fan_out<C: FanOut<N, D>, const N: usize, const D: usize>(
    plan: &Plan,
    readers: usize,
) -> Sample {
    let (tx, receivers) = C::open(readers);
    let mut tx = Apart(tx);
    let (cores, shared) = plan.cores.of_readers(readers);
    thread::scope(|scope| {
        let producer = spawn(scope, || produce::<C, N>(&mut tx.0, plan));
        let consume = |rx: &mut _, core| consume::<C, N>(rx, &plan.with_consumer(core));
        let consumers = each_on_a_core(scope, receivers, cores, consume);
        let span = producer.join().expect("a panic ends the process");
        let samples = consumers.into_iter().map(|thread| thread.join().expect("a panic ends the process"));
        slowest(samples).with_other_side(span, !shared)
    })
}

/// One thread sends, and several others observe it.
pub(crate) fn observed<C: Lossy<N, D>, const N: usize, const D: usize>(
    source: C::Source,
    plan: &Plan,
    readers: usize,
) -> Sample {
    let observers: Vec<_> = (0..readers).map(|_| C::observe(&source)).collect();
    let (cores, shared) = plan.cores.of_readers(readers);
    let mut tx = Apart(C::connect(source));
    thread::scope(|scope| {
        let observe = |rx: &mut _, core| observe(rx, &plan.with_consumer(core));
        let consumers = each_on_a_core(scope, observers, cores, observe);
        let producer = spawn(scope, || produce::<C, N>(&mut tx.0, plan));
        let span = producer.join().expect("a panic ends the process");
        let samples = consumers.into_iter().map(|thread| thread.join().expect("a panic ends the process"));
        // What counts is how fast the producer is.
        let readers = slowest(samples).with_other_side(span, !shared);
        readers.by_the_producer(span, plan)
    })
}

/// The sample of the reader that took the longest, with what went wrong for any of them.
pub(crate) fn slowest(samples: impl Iterator<Item = Sample>) -> Sample {
    samples
        .reduce(|a, b| {
            let (wrong, lost) = (a.wrong + b.wrong, a.lost + b.lost);
            let messages = a.messages + b.messages;
            let on_core = a.on_core.min(b.on_core);
            let slowest = if a.figure >= b.figure { a } else { b };
            Sample { wrong, lost, messages, on_core, ..slowest }
        })
        .expect("there is a reader")
}

/// When each message of a plan is due.
struct Schedule {
    numbers: Range<u64>,
    due: u64,
    every: u64,
    burst: u64,
    /// Messages of the current burst that are still to come.
    left: u64,
}

impl Schedule {
    fn new(plan: &Plan, start: u64) -> Self {
        let burst = plan.load.burst.max(1);
        Self { numbers: 0..plan.count, due: start, every: plan.load.every, burst, left: burst }
    }
}

impl Iterator for Schedule {
    type Item = (u64, u64);

    #[inline(always)]
    fn next(&mut self) -> Option<(u64, u64)> {
        let number = self.numbers.next()?;
        if self.left == 0 {
            self.due += self.every;
            self.left = self.burst;
        }
        self.left -= 1;
        Some((number, self.due))
    }
}

#[inline(always)]
fn wait_until(due: u64) {
    while now() < due {
        pause();
    }
}

/// Nanoseconds since then.
#[inline(always)]
fn since(due: u64) -> u32 {
    u32::try_from(now().saturating_sub(due)).unwrap_or(u32::MAX)
}

// The loops are functions of their own so that warm-up and window run the same instructions.

#[inline(never)]
fn send<const N: usize>(tx: &mut impl Sender<N>, source: &mut Source<N>, numbers: Range<u64>, steps: u32) {
    let mut state = 1;
    for number in numbers {
        state = work(state, steps);
        tx.send(source.message(number));
    }
    black_box(state);
}

#[inline(never)]
fn send_batches<const N: usize>(
    tx: &mut impl Sender<N>,
    batch: &mut Batch<N>,
    numbers: Range<u64>,
    steps: u32,
) {
    let mut state = 1;
    let mut first = numbers.start;
    while first < numbers.end {
        let next = numbers.end.min(first + batch_size::<N>() as u64);
        for _ in first..next {
            state = work(state, steps);
        }
        tx.send_batch(batch.messages(first..next));
        first = next;
    }
    black_box(state);
}

#[inline(never)]
fn receive<const N: usize>(rx: &mut impl Receiver<N>, numbers: Range<u64>, steps: u32) -> u64 {
    let (mut wrong, mut state) = (0, 1);
    for number in numbers {
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
        state = work(state, steps);
    }
    black_box(state);
    wrong
}

/// How many were wrong, and how many more than the range have come: some peers give all they have.
#[inline(never)]
fn receive_batches<const N: usize>(rx: &mut impl Receiver<N>, numbers: Range<u64>, steps: u32) -> (u64, u64) {
    let (mut wrong, mut state) = (0, 1);
    let mut number = numbers.start;
    while number < numbers.end {
        let max = batch_size::<N>().min((numbers.end - number) as usize);
        let there = rx.try_receive_batch(max, |bytes| {
            wrong += u64::from(!is_right::<N>(bytes, number));
            number += 1;
            state = work(state, steps);
        });
        if there == 0 {
            pause();
        }
    }
    black_box(state);
    (wrong, number - numbers.end)
}

#[inline(never)]
fn there_and_back<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    numbers: Range<u64>,
    hesitation: u32,
) -> u64 {
    let mut source = Source::new();
    let mut hesitation = Hesitation::new(hesitation);
    let mut wrong = 0;
    for number in numbers {
        hesitation.before_call(number);
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::{Cores, Load};

    #[test]
    fn a_schedule_does_not_depend_on_anything_but_the_start() {
        let load = Load { every: 100, burst: 3, ..Load::default() };
        let plan = Plan { cores: Cores { producer: 0, consumer: 0 }, warm: 0, count: 7, load };
        let due: Vec<u64> = Schedule::new(&plan, 1_000).map(|(_, due)| due).collect();
        assert_eq!(due, [1_000, 1_000, 1_000, 1_100, 1_100, 1_100, 1_200]);
    }
}
