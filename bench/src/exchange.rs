//! What the two sides of a measurement do, whatever the channel: one sends numbered messages, the other
//! checks them; or one calls and the other answers.

use std::hint::black_box;
use std::ops::Range;
use std::thread;

use crate::message::{Source, is_right, work};
use crate::method::{Plan, Sample, Span, Stopwatch, pin};
use crate::peers::{Channel, Receiver, Sender};

/// Sends the messages of the plan, with `steps` of work before each. The calling thread moves to the
/// producer's core.
pub(crate) fn produce<const N: usize>(tx: &mut impl Sender<N>, plan: &Plan, steps: u32) -> Span {
    pin(plan.cores.producer);
    let mut source = Source::new();
    let mut state = 1;
    let watch = Stopwatch::start();
    send(tx, &mut source, 0..plan.total(), steps, &mut state);
    let span = watch.stop();
    black_box(state);
    span
}

/// The same with nobody reading: the window begins after the warm-up.
pub(crate) fn produce_alone<const N: usize>(tx: &mut impl Sender<N>, plan: &Plan) -> Sample {
    pin(plan.cores.producer);
    let mut source = Source::new();
    let mut state = 1;
    send(tx, &mut source, 0..plan.warm, 0, &mut state);
    let watch = Stopwatch::start();
    send(tx, &mut source, plan.warm..plan.total(), 0, &mut state);
    sample(plan, watch.stop(), 0)
}

/// Receives and checks the messages of the plan; the window is what follows the warm-up. The calling
/// thread moves to the consumer's core.
pub(crate) fn consume<const N: usize>(rx: &mut impl Receiver<N>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    let mut wrong = receive(rx, 0..plan.warm);
    let watch = Stopwatch::start();
    wrong += receive(rx, plan.warm..plan.total());
    sample(plan, watch.stop(), wrong)
}

/// Calls and waits for the answer, for each message of the plan.
pub(crate) fn call<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    plan: &Plan,
) -> Sample {
    pin(plan.cores.producer);
    let mut wrong = there_and_back(tx, rx, 0..plan.warm);
    let watch = Stopwatch::start();
    wrong += there_and_back(tx, rx, plan.warm..plan.total());
    sample(plan, watch.stop(), wrong)
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
    for _ in 0..plan.total() {
        reply.0 = rx.receive(|bytes| *<&[u8; N]>::try_from(bytes).expect("an answer is as long as the call"));
        tx.send(reply);
    }
    watch.stop()
}

/// How fast messages of `N` bytes get from one thread to another.
pub(crate) fn throughput<C: Channel<N>, const N: usize>(plan: &Plan, steps: u32) -> Sample {
    let (mut tx, mut rx) = C::open();
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(&mut tx, plan, steps));
        let consumer = scope.spawn(move || consume(&mut rx, plan));
        let span = producer.join().expect("a panic ends the process");
        let sample = consumer.join().expect("a panic ends the process");
        on_both_cores(sample, span, C::SPINS)
    })
}

/// How long a message of `N` bytes takes there and back, over two channels.
pub(crate) fn round_trip<C: Channel<N>, const N: usize>(plan: &Plan) -> Sample {
    let (mut tx, mut rx_there) = C::open();
    let (mut tx_back, mut rx) = C::open();
    thread::scope(|scope| {
        let echo = scope.spawn(move || answer(&mut rx_there, &mut tx_back, plan));
        let caller = scope.spawn(move || call(&mut tx, &mut rx, plan));
        let span = echo.join().expect("a panic ends the process");
        let sample = caller.join().expect("a panic ends the process");
        on_both_cores(sample, span, C::SPINS)
    })
}

/// Takes into account how much of its time the other side had its core. A side that blocks gives its
/// core away of its own will.
pub(crate) fn on_both_cores(sample: Sample, other: Span, spins: bool) -> Sample {
    let on_core = if spins { sample.on_core.min(other.on_core) } else { 1.0 };
    Sample { on_core, ..sample }
}

/// A reliable reader's window.
fn sample(plan: &Plan, span: Span, wrong: u64) -> Sample {
    Sample { messages: plan.count, nanos: span.nanos, wrong, lost: 0, on_core: span.on_core }
}

// The loops are functions of their own so that warm-up and window run the same instructions.

#[inline(never)]
fn send<const N: usize>(
    tx: &mut impl Sender<N>,
    source: &mut Source<N>,
    numbers: Range<u64>,
    steps: u32,
    state: &mut u64,
) {
    let mut local = *state;
    for number in numbers {
        local = work(local, steps);
        tx.send(source.message(number));
    }
    *state = local;
}

#[inline(never)]
fn receive<const N: usize>(rx: &mut impl Receiver<N>, numbers: Range<u64>) -> u64 {
    let mut wrong = 0;
    for number in numbers {
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
    }
    wrong
}

#[inline(never)]
fn there_and_back<const N: usize>(
    tx: &mut impl Sender<N>,
    rx: &mut impl Receiver<N>,
    numbers: Range<u64>,
) -> u64 {
    let mut source = Source::new();
    let mut wrong = 0;
    for number in numbers {
        tx.send(source.message(number));
        wrong += u64::from(!rx.receive(|bytes| is_right::<N>(bytes, number)));
    }
    wrong
}
