//! Helpers for tests of async readers: executors, and scenarios that run on the heap and in shared memory.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use rust_tango::{AsyncConsumer, Consumer, Link, LinkError, Start};

use super::assert_is;
use super::waiting::{MTU, allow_time_to_fall_asleep, is_asleep, until};

type Kind = fn(&Link) -> Result<Consumer<'static>, LinkError>;
/// Every kind of reader.
pub(crate) const KINDS: [Kind; 3] =
    [Link::consumer, |link| link.evictable_consumer(Start::Next), Link::observer];

pub(crate) fn on_heap() -> Link {
    Link::builder().depth(8).mtu(MTU).consumers(2).build().unwrap()
}

/// The smallest executor: parks the thread until its waker is used.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// A single-threaded runtime of tokio.
pub(crate) fn tokio_on_this_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls `recv` once and drops the future. Checks the fragment if there was one, and returns whether there
/// was.
pub(crate) async fn poll_once(rx: &mut AsyncConsumer, seq: u64) -> bool {
    poll_fn(|cx| {
        let mut found = false;
        if let Poll::Ready(result) = pin!(rx.recv()).poll(cx) {
            if let Some(fragment) = result.unwrap() {
                assert_is(&fragment, seq, MTU);
                found = true;
            }
        }
        Poll::Ready(found)
    })
    .await
}

/// Async readers wake when the link ends: the producer is dropped, or the link is stopped.
pub(crate) fn ends_wake_readers(make: impl Fn() -> Link) {
    let wait_for_the_end = |rx: Consumer<'static>| {
        let mut rx = rx.into_async().unwrap();
        std::thread::spawn(move || block_on(async { rx.recv().await.unwrap().is_none() }))
    };
    for stop in [false, true] {
        let link = make();
        let mut tx = Some(link.producer().unwrap());
        let readers = [link.consumer().unwrap(), link.observer().unwrap()].map(wait_for_the_end);
        until(|| is_asleep(&link, 0));
        if stop {
            allow_time_to_fall_asleep();
            link.stop().unwrap();
        } else {
            tx = None; // closes the link
        }
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
        drop(tx);
    }
}
