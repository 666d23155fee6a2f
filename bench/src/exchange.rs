//! What the two sides of a measurement do, whatever the channel: one sends numbered messages and the other checks
//! them, or one calls and the other answers. Without a schedule they go as fast as they can. With a schedule, each
//! message is due at a time that depends only on its number, and its latency counts from then.

use std::hint::black_box;
use std::iter::repeat_n;
use std::ops::Range;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};

use crate::channel::{Channel, DEPTH, FanOut, Lossy, Observed, Observer, Peer, Receiver, Sender};
use crate::cores::{SharedCore, Span, Stopwatch, now, pause, pin, spawn};
use crate::message::{Batch, Jitter, Message, Source, batch_size, is_correct, number_of, work};
use crate::plan::{Load, Plan, Sample};

/// Nanoseconds from the end of the warm-up to the first message that is due.
const HEAD_START: u64 = 200_000;

/// Whether there are measurements on a schedule with these messages. Others are not compiled.
pub(crate) const fn has_schedule<const N: usize, const D: usize>() -> bool {
    N == 64 && D == DEPTH
}

/// Sends the messages of the plan from the producer's core, as the load of the plan says.
pub(crate) fn produce<P: Peer, const N: usize, const D: usize>(tx: &mut impl Sender<N>, plan: &Plan) -> Span {
    pin(plan.cores.producer);
    let watch = Stopwatch::start();
    // A constant condition comes first, so that loops that are never used are not compiled.
    if const { has_schedule::<N, D>() } && plan.load.every > 0 {
        send_on_schedule(tx, plan);
        return watch.stop();
    }
    if const { P::ABOUT.batch.is_some() } && plan.load.batch {
        send_batches(tx, &mut Batch::new(), 0..plan.total(), plan.load.producer_work);
        return watch.stop();
    }
    send(tx, &mut Source::new(), 0..plan.total(), plan.load.producer_work);
    watch.stop()
}

/// Receives and checks the messages of the plan on the consumer's core. The window is what follows the warm-up.
pub(crate) fn consume<P: Peer, const N: usize, const D: usize>(
    rx: &mut impl Receiver<N>,
    plan: &Plan,
) -> Sample {
    pin(plan.cores.consumer);
    if const { has_schedule::<N, D>() } && plan.load.every > 0 {
        return receive_on_schedule(rx, plan);
    }
    let work = plan.load.consumer_work;
    if const { P::ABOUT.batch.is_some() } && plan.load.batch {
        let (wrong_before, ahead) = receive_batches(rx, 0..plan.warm, work);
        let watch = Stopwatch::start();
        let (wrong, _) = receive_batches(rx, plan.warm + ahead..plan.total(), work);
        return Sample::window(plan.count - ahead, watch.stop(), wrong_before + wrong);
    }
    let mut wrong = receive(rx, 0..plan.warm, work);
    let watch = Stopwatch::start();
    wrong += receive(rx, plan.warm..plan.total(), work);
    Sample::window(plan.count, watch.stop(), wrong)
}

/// Sends each message when it is due. The message before the first carries the time at which the first is due.
fn send_on_schedule<const N: usize>(tx: &mut impl Sender<N>, plan: &Plan) {
    let mut source = Source::new();
    send(tx, &mut source, 0..plan.warm, 0);
    let start = now() + HEAD_START;
    tx.send(source.message(start));
    for (number, due) in schedule(plan, start) {
        wait_until(due);
        tx.send(source.message(number));
    }
}

/// Receives and checks each message, and measures the time since it was due.
fn receive_on_schedule<const N: usize>(rx: &mut impl Receiver<N>, plan: &Plan) -> Sample {
    let mut latencies = vec![u32::MAX; plan.count as usize];
    let mut wrong = receive(rx, 0..plan.warm, 0);
    let start = rx.receive(number_of::<N>).expect("the message with the starting time is correct");
    let watch = Stopwatch::start();
    for ((number, due), latency) in schedule(plan, start).zip(&mut latencies) {
        wrong += u64::from(!rx.receive(|bytes| is_correct::<N>(bytes, number)));
        *latency = since(due);
    }
    Sample::timed(&latencies, watch.stop(), wrong)
}

/// Calls and waits for the answer, for each message of the plan, on the producer's core.
pub(crate) fn call<const N: usize, const D: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    plan: &Plan,
) -> Sample {
    pin(plan.cores.producer);
    let mut wrong = send_and_receive(tx, rx, 0..plan.warm, plan.load.jitter);
    if const { has_schedule::<N, D>() } && plan.load.every > 0 {
        let mut latencies = vec![u32::MAX; plan.count as usize];
        let mut source = Source::new();
        let watch = Stopwatch::start();
        for ((number, due), latency) in schedule(plan, now() + HEAD_START).zip(&mut latencies) {
            wait_until(due);
            tx.send(source.message(number));
            wrong += u64::from(!rx.receive(|bytes| is_correct::<N>(bytes, number)));
            *latency = since(due);
        }
        return Sample::timed(&latencies, watch.stop(), wrong);
    }
    let watch = Stopwatch::start();
    wrong += send_and_receive(tx, rx, plan.warm..plan.total(), plan.load.jitter);
    Sample::window(plan.count, without_jitter(watch.stop(), plan), wrong)
}

/// A window of round trips without the time of the random work of both sides. That is measured twice, and the
/// shorter time counts, because the core may be interrupted during one of them.
pub(crate) fn without_jitter(span: Span, plan: &Plan) -> Span {
    if plan.load.jitter == 0 {
        return span;
    }
    let delays = || {
        let mut jitter = Jitter::new(plan.load.jitter);
        let watch = Stopwatch::start();
        for number in plan.warm..plan.total() {
            jitter.delay(number);
            jitter.delay(!number);
        }
        watch.stop().nanos
    };
    Span { nanos: span.nanos - delays().min(delays()), ..span }
}

/// Answers each message of the plan with itself, on the consumer's core.
pub(crate) fn answer<const N: usize>(
    rx: &mut impl Receiver<N>,
    tx: &mut impl Sender<N>,
    plan: &Plan,
) -> Span {
    pin(plan.cores.consumer);
    let watch = Stopwatch::start();
    let mut source = Source::new();
    let reply = source.place();
    let mut jitter = Jitter::new(plan.load.jitter);
    for number in 0..plan.total() {
        reply.0 = rx.receive(|bytes| *<&[u8; N]>::try_from(bytes).expect("calls and answers have one size"));
        // Negated, so that the delay differs from that of the call.
        jitter.delay(!number);
        tx.send(reply);
    }
    watch.stop()
}

/// Reads what it can of a producer that does not wait, on the consumer's core. The window is the range of numbers
/// after the warm-up; the missing ones count as lost.
pub(crate) fn observe<const N: usize>(rx: &mut impl Observer<N>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    let (mut next, mut messages, mut wrong) = (0, 0, 0);
    let mut read_until = |end: u64| {
        while next < end {
            let observed = rx.observe(|number, bytes| {
                wrong += u64::from(!is_correct::<N>(bytes, number) || number < next);
                messages += 1;
                next = number + 1;
            });
            match observed {
                Observed::Message => {}
                Observed::Nothing => pause(),
                Observed::Lapped(number) => next = number,
            }
        }
        (next, messages)
    };
    let (begin, before) = read_until(plan.warm);
    let watch = Stopwatch::start();
    let (end, after) = read_until(plan.total());
    let span = watch.stop();
    let messages = after - before;
    Sample { lost: end - begin - messages, ..Sample::window(messages, span, wrong) }
}

/// Messages of `N` bytes from one thread to another.
pub(crate) fn one_way<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let mut storage = C::storage();
    let (tx, rx) = C::split(&mut storage);
    send_to::<C, N, D, _>(tx, vec![rx], plan, consume::<C, N, D>).1
}

/// One thread sends, and each of several others gets everything.
pub(crate) fn fan_out<C: FanOut<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (tx, receivers) = C::open(plan.readers());
    send_to::<C, N, D, _>(tx, receivers, plan, consume::<C, N, D>).1
}

/// One thread sends, and several others observe it. The figure is the producer's.
pub(crate) fn observed<C: Lossy<N, D>, const N: usize, const D: usize>(
    folder: Option<&Path>,
    plan: &Plan,
) -> Sample {
    let source = C::make(folder);
    let observers: Vec<_> = (0..plan.readers()).map(|_| C::observe(&source)).collect();
    let (span, sample) = send_to::<C, N, D, _>(C::connect(source), observers, plan, observe::<N>);
    sample.by_the_producer(span, plan)
}

/// Runs each reader and the producer in threads of their own. Returns the producer's time and the readers' sample.
fn send_to<P: Peer, const N: usize, const D: usize, R: Send>(
    tx: impl Sender<N> + Send,
    readers: Vec<R>,
    plan: &Plan,
    read: impl Fn(&mut R, &Plan) -> Sample + Copy + Send,
) -> (Span, Sample) {
    let (cores, shared) = plan.cores.of_readers(readers.len());
    let _shared = SharedCore::assume(shared);
    let (readers, mut tx) = (readers.into_iter().map(Apart), Apart(tx));
    thread::scope(|scope| {
        let start = |(mut reader, core): (Apart<R>, usize)| {
            spawn(scope, move || {
                // Captures the aligned place, not only the reader in it.
                let place = &mut reader;
                read(&mut place.0, &plan.with_consumer(core))
            })
        };
        let readers: Vec<_> = readers.zip(cores).map(start).collect();
        let producer = spawn(scope, || produce::<P, N, D>(&mut tx.0, plan));
        let span = join(producer);
        let sample = Sample::slowest(readers.into_iter().map(join));
        (span, sample.with_other_side(span, !shared && P::ABOUT.spins))
    })
}

/// Messages of `N` bytes there and back, over two channels.
pub(crate) fn round_trip<C: Channel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut storage_there, mut storage_back) = (C::storage(), C::storage());
    let (mut tx, mut rx_there) = Apart::both(C::split(&mut storage_there));
    let (mut tx_back, mut rx) = Apart::both(C::split(&mut storage_back));
    let answer = || answer(&mut rx_there.0, &mut tx_back.0, plan);
    both(answer, || call::<N, D>(&mut tx.0, &mut rx.0, plan), C::ABOUT.spins)
}

/// One half of a channel in cache lines of its own. Halves that store state in themselves and lie side by side on
/// the stack would share lines.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Apart<T> {
    fn both<U>((one, other): (T, U)) -> (Self, Apart<U>) {
        (Self(one), Apart(other))
    }
}

/// Runs both sides, each in a thread. The second one measures.
pub(crate) fn both(
    other: impl FnOnce() -> Span + Send,
    measuring: impl FnOnce() -> Sample + Send,
    spins: bool,
) -> Sample {
    thread::scope(|scope| {
        let other = spawn(scope, other);
        let measuring = spawn(scope, measuring);
        let span = join(other);
        join(measuring).with_other_side(span, spins)
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("a panic ends the process")
}

/// The numbers of the messages of a plan, and when each is due.
#[inline(always)]
pub(crate) fn schedule(plan: &Plan, start: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
    let Load { every, burst, .. } = plan.load;
    let due = (0..).flat_map(move |number| repeat_n(start + number * every, burst as usize));
    (0..plan.count).zip(due)
}

#[inline(always)]
pub(crate) fn wait_until(due: u64) {
    while now() < due {
        pause();
    }
}

/// Nanoseconds since `due`.
#[inline(always)]
pub(crate) fn since(due: u64) -> u32 {
    u32::try_from(now().saturating_sub(due)).unwrap_or(u32::MAX)
}

/// The time that a benchmark of messages of `N` bytes takes itself: the loops below without a channel between them, one
/// after the other. In a measurement they run at the same time, so this is more than they add to a figure.
pub(crate) fn itself<const N: usize>(plan: &Plan) -> Sample {
    pin(plan.cores.producer);
    let mut source = Source::<N>::new();
    let mut shelf = Shelf::<N>::new();
    let fits = shelf.messages.len() as u64;
    let shelves = plan.count.div_ceil(fits);
    send(&mut Nowhere, &mut source, 0..plan.warm, 0);
    let mut wrong = receive(&mut shelf, 0..fits, 0);
    let watch = Stopwatch::start();
    send(&mut Nowhere, &mut source, 0..shelves * fits, 0);
    for _ in 0..shelves {
        shelf.next = 0;
        wrong += receive(&mut shelf, 0..fits, 0);
    }
    Sample::window(shelves * fits, watch.stop(), wrong)
}

/// Takes every message, and does nothing with it.
struct Nowhere;

impl<const N: usize> Sender<N> for Nowhere {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        black_box(message);
        true
    }
}

/// Hands out messages that are there, in a cache.
struct Shelf<const N: usize> {
    messages: Vec<Message<N>>,
    next: usize,
}

impl<const N: usize> Shelf<N> {
    fn new() -> Self {
        let mut source = Source::new();
        let fits = ((16 << 10) / N).max(2) as u64;
        Self { messages: (0..fits).map(|number| *source.message(number)).collect(), next: 0 }
    }
}

impl<const N: usize> Receiver<N> for Shelf<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        let message = self.messages.get(self.next)?;
        self.next += 1;
        Some(read(&message.0))
    }
}

// The loops are functions of their own, so that the warm-up and the window run the same instructions.

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
        wrong += u64::from(!rx.receive(|bytes| is_correct::<N>(bytes, number)));
        state = work(state, steps);
    }
    black_box(state);
    wrong
}

/// Returns how many messages were wrong, and how many beyond the range have arrived: some peers return all they
/// have.
#[inline(never)]
fn receive_batches<const N: usize>(rx: &mut impl Receiver<N>, numbers: Range<u64>, steps: u32) -> (u64, u64) {
    let (mut wrong, mut state) = (0, 1);
    let mut number = numbers.start;
    while number < numbers.end {
        let max = batch_size::<N>().min((numbers.end - number) as usize);
        let received = rx.try_receive_batch(max, |bytes| {
            wrong += u64::from(!is_correct::<N>(bytes, number));
            number += 1;
            state = work(state, steps);
        });
        if received == 0 {
            pause();
        }
    }
    black_box(state);
    (wrong, number - numbers.end)
}

#[inline(never)]
fn send_and_receive<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    numbers: Range<u64>,
    jitter: u32,
) -> u64 {
    let mut source = Source::new();
    let mut jitter = Jitter::new(jitter);
    let mut wrong = 0;
    for number in numbers {
        jitter.delay(number);
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_correct::<N>(bytes, number)));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Cores;
    use crate::plan::RowId;

    #[test]
    fn a_schedule_depends_only_on_its_start() {
        let load = Load { every: 100, burst: 3, ..Load::default() };
        let cores = Cores { producer: 0, consumer: 0 };
        let plan = Plan { cores, warm: 0, count: 7, load, row: RowId::default() };
        let due: Vec<u64> = schedule(&plan, 1_000).map(|(_, due)| due).collect();
        assert_eq!(due, [1_000, 1_000, 1_000, 1_100, 1_100, 1_100, 1_200]);
    }
}
