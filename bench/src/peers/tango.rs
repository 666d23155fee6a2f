//! Ours: `publish` and `poll` on a link, with reliable consumers or with an observer.

use std::hint::spin_loop;
use std::thread;

use rust_tango::{Consumer, Link, LinkBuilder, Producer, TangoError};

use super::{Channel, DEPTH, Receiver, Sender};
use crate::exchange::{on_both_cores, produce, produce_alone};
use crate::message::{Message, is_right};
use crate::method::{Plan, Sample, Stopwatch, pin};

pub(crate) struct Tango;

/// A link for messages of `N` bytes, still to be built or created.
pub(crate) fn link<const N: usize>() -> LinkBuilder {
    Link::builder().depth(DEPTH).mtu(N)
}

impl<const N: usize> Channel<N> for Tango {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        let link = link::<N>().build().expect("a link on the heap");
        let tx = link.producer().expect("the only producer");
        let rx = link.consumer().expect("the only consumer");
        (Writer(tx), Reader(rx))
    }
}

/// A producer of ours.
pub(crate) struct Writer(pub(crate) Producer<'static>);

/// A consumer of ours, reliable or observing.
pub(crate) struct Reader(pub(crate) Consumer<'static>);

impl<const N: usize> Sender<N> for Writer {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        match self.0.publish(&message.0, 0, 0, 0) {
            Ok(_) => true,
            Err(TangoError::NoCredits { .. }) => false,
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

impl<const N: usize> Receiver<N> for Reader {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        match self.0.poll() {
            Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

/// An observer reads what it can of a producer that does not know of it. The window is what follows the
/// warm-up, in positions; those that it missed count as lost. The calling thread moves to the
/// consumer's core.
pub(crate) fn observe<const N: usize>(rx: &mut Consumer<'static>, plan: &Plan) -> Sample {
    pin(plan.cores.consumer);
    let mut seen = Seen::default();
    while seen.position < plan.warm {
        seen.look::<N>(rx);
    }
    let before = seen;
    let watch = Stopwatch::start();
    while seen.position < plan.total() {
        seen.look::<N>(rx);
    }
    let span = watch.stop();
    Sample {
        messages: seen.messages - before.messages,
        nanos: span.nanos,
        wrong: seen.wrong,
        lost: seen.lost - before.lost,
        on_core: span.on_core,
    }
}

/// What an observer has seen so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Number of the message that it looks for next.
    position: u64,
    messages: u64,
    wrong: u64,
    lost: u64,
}

impl Seen {
    #[inline(always)]
    fn look<const N: usize>(&mut self, rx: &mut Consumer<'static>) {
        match rx.poll() {
            Ok(Some(fragment)) => {
                // Sequence numbers start with 1, messages with 0.
                let number = fragment.meta.seq - 1;
                self.wrong += u64::from(!is_right::<N>(fragment.payload.as_slice(), number));
                self.messages += 1;
                self.position = number + 1;
            }
            Ok(None) => spin_loop(),
            Err(TangoError::Overrun { lost, next }) => {
                self.lost += lost;
                self.position = next - 1;
            }
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

/// One thread publishes, and another observes it.
pub(crate) fn observed<const N: usize>(plan: &Plan, steps: u32) -> Sample {
    let link = link::<N>().build().expect("a link on the heap");
    let mut tx = Writer(link.producer().expect("the only producer"));
    let mut rx = link.observer().expect("an observer");
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce::<N>(&mut tx, plan, steps));
        let observer = scope.spawn(move || observe::<N>(&mut rx, plan));
        let span = producer.join().expect("a panic ends the process");
        let sample = observer.join().expect("a panic ends the process");
        on_both_cores(sample, span, true)
    })
}

/// One thread publishes, and nobody reads.
pub(crate) fn unread<const N: usize>(plan: &Plan) -> Sample {
    let link = link::<N>().build().expect("a link on the heap");
    let mut tx = Writer(link.producer().expect("the only producer"));
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce_alone::<N>(&mut tx, plan));
        producer.join().expect("a panic ends the process")
    })
}
