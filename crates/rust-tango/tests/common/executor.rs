//! Helpers for tests of async ends: executors, and scenarios that run on the heap and in shared memory.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

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

/// Polls in vain until the reader waits, for `waker`. (A task that got a fragment lately wakes itself a few times first.)
/// Returns how often it woke itself.
pub(crate) fn wait_with(rx: &mut AsyncConsumer, waker: &Waker) -> usize {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let itself = Waker::from(woken.clone());
    let mut looks = 0;
    while woken.0.swap(false, Ordering::SeqCst) {
        assert!(rx.poll_next(&mut Context::from_waker(&itself)).is_pending());
        looks += 1;
    }
    assert!(rx.poll_next(&mut Context::from_waker(waker)).is_pending());
    looks - 1
}

/// What tasks run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executor {
    /// Several threads.
    Tokio,
    Smol,
    /// [`block_on`], with a thread for each task.
    Parked,
    /// One thread, which polls a task only if its waker was used, and fails if nothing is woken for a long time.
    OnlyWoken,
}

pub(crate) const EXECUTORS: [Executor; 4] =
    [Executor::Tokio, Executor::Smol, Executor::Parked, Executor::OnlyWoken];

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Executor {
    /// Runs a future to its end, as a task.
    pub(crate) fn run<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> T {
        let output = Arc::new(Mutex::new(None));
        let place = output.clone();
        self.run_all(vec![Box::pin(async move {
            let output = future.await;
            *place.lock().unwrap() = Some(output);
        })]);
        output.lock().unwrap().take().unwrap()
    }

    /// Runs futures side by side to their ends.
    pub(crate) fn run_all(self, futures: Vec<Task>) {
        match self {
            Self::Tokio => {
                let runtime = tokio_on_threads();
                let tasks: Vec<_> = futures.into_iter().map(|future| runtime.spawn(future)).collect();
                tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
            }
            Self::Smol => {
                let executor = smol::Executor::new();
                let tasks: Vec<_> = futures.into_iter().map(|future| executor.spawn(future)).collect();
                smol::block_on(executor.run(async {
                    for task in tasks {
                        task.await;
                    }
                }));
            }
            Self::Parked => {
                let threads: Vec<_> =
                    futures.into_iter().map(|future| std::thread::spawn(|| block_on(future))).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            }
            Self::OnlyWoken => run_only_woken(futures),
        }
    }

    /// `None`: the future was dropped, because it was not ready in time.
    pub(crate) async fn timeout<T>(self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Tokio => tokio::time::timeout(time, future).await.ok(),
            Self::Smol => {
                let never = async {
                    smol::Timer::after(time).await;
                    None
                };
                smol::future::or(async { Some(future.await) }, never).await
            }
            Self::Parked | Self::OnlyWoken => {
                let (mut future, mut started) = (pin!(future), false);
                let is_over = Arc::new(AtomicBool::new(false));
                poll_fn(|cx| {
                    if let Poll::Ready(output) = future.as_mut().poll(cx) {
                        return Poll::Ready(Some(output));
                    }
                    if !std::mem::replace(&mut started, true) {
                        let (waker, is_over) = (cx.waker().clone(), is_over.clone());
                        std::thread::spawn(move || {
                            std::thread::sleep(time);
                            is_over.store(true, Ordering::SeqCst);
                            waker.wake();
                        });
                    }
                    if is_over.load(Ordering::SeqCst) { Poll::Ready(None) } else { Poll::Pending }
                })
                .await
            }
        }
    }
}

/// See [`Executor::OnlyWoken`].
fn run_only_woken(futures: Vec<Task>) {
    #[derive(Default)]
    struct Queue(Mutex<VecDeque<usize>>, Condvar);
    struct WakesOne(Arc<Queue>, usize);
    impl Wake for WakesOne {
        fn wake(self: Arc<Self>) {
            self.0.0.lock().unwrap().push_back(self.1);
            self.0.1.notify_one();
        }
    }
    let queue = Arc::new(Queue::default());
    let mut tasks: Vec<_> = futures
        .into_iter()
        .enumerate()
        .map(|(at, future)| {
            let waker = Waker::from(Arc::new(WakesOne(queue.clone(), at)));
            waker.wake_by_ref();
            (Some(future), waker)
        })
        .collect();
    while tasks.iter().any(|(future, _)| future.is_some()) {
        let queued = queue.0.lock().unwrap();
        let (mut queued, waited) =
            queue.1.wait_timeout_while(queued, super::PATIENCE / 2, |queued| queued.is_empty()).unwrap();
        assert!(!waited.timed_out(), "a wakeup was lost");
        let at = queued.pop_front().unwrap();
        drop(queued);
        let (task, waker) = &mut tasks[at];
        if let Some(future) = task {
            if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                *task = None;
            }
        }
    }
}

/// A runtime of tokio with two threads.
pub(crate) fn tokio_on_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
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
