//! Fragments can be awaited under any executor, and the descriptor of a reader can be watched. No wakeup is lost,
//! whoever gives up in between; ends, deaths and takeovers wake too; waiting takes no processor.
#![cfg(all(feature = "async", target_os = "linux"))]

mod common;

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::process::{Child, Place, role, say};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use rust_tango::{AsyncConsumer, Consumer, Link, LinkBuilder, LinkError, Producer, Start, TangoError, Wait};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const MTU: usize = 200;
const AT_ONCE: Wait = Wait::ParkAfter(Duration::ZERO);
type Kind = fn(&Link) -> Result<Consumer<'static>, LinkError>;
/// All kinds of readers.
const KINDS: [Kind; 3] = [Link::consumer, |link| link.evictable_consumer(Start::Next), Link::observer];

fn builder(place: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(place)
}

fn on_heap() -> Link {
    Link::builder().depth(8).mtu(MTU).consumers(2).build().unwrap()
}

fn is_asleep(link: &Link, slot: usize) -> bool {
    link.status().consumers.iter().any(|consumer| consumer.slot == slot && consumer.asleep)
}

fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The smallest executor: parks the thread until its waker is used.
fn block_on<F: Future>(future: F) -> F::Output {
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

fn tokio_on_this_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls once, and lets go of the future. A fragment that it got is checked; true if there was one.
async fn glance(rx: &mut AsyncConsumer, seq: u64) -> bool {
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

#[test]
fn child() {
    let Some((role, place)) = role() else { return };
    match role.as_str() {
        // Answers each fragment of `there` by one in `back`.
        "echo" => block_on(async {
            let rx = Link::open_in(&place, "there").unwrap().consumer().unwrap();
            let mut rx = rx.into_async().unwrap();
            let tx = Link::open_in(&place, "back").unwrap().producer().unwrap();
            say("ready");
            while let Some(fragment) = rx.recv().await.unwrap() {
                tx.send(fragment.payload.as_slice()).unwrap();
            }
        }),
        "producer" => {
            let link = builder(&place).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            say("ready");
            assert!(tx.wait_for_consumers(1, None));
            until(|| is_asleep(&link, 0));
            publish(&tx, MTU).unwrap();
            std::thread::sleep(common::PATIENCE);
        }
        // In a process of its own, because the watcher counts too.
        "idle" => {
            const IDLE: Duration = Duration::from_secs(2);
            let link = Link::open_in(&place, "quotes").unwrap();
            let runtime = tokio_on_this_thread();
            for kind in KINDS {
                let mut rx = kind(&link).unwrap().into_async().unwrap();
                let before = used();
                let timeout = async { tokio::time::timeout(IDLE, rx.recv()).await.is_err() };
                assert!(runtime.block_on(timeout));
                let used = used() - before;
                assert!(used < IDLE / 100, "{rx:?} used {used:?} in {IDLE:?}");
            }
        }
        other => panic!("no role {other}"),
    }
}

fn started(role: &str, place: &Place) -> Child {
    let mut child = Child::start(role, place);
    assert_eq!(child.hear(), "ready");
    child
}

/// Processor time of this process.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

/// Four threads take part in every exchange, and each has to be woken. A task that is not told would hang; a
/// watcher that is not rung for would show as a pause of 50 ms.
#[test]
fn exchanges_between_processes_lose_no_wakeup() {
    in_time(|| {
        let place = Place::new();
        let there = builder(place.path()).create("there").unwrap();
        let back = builder(place.path()).create("back").unwrap();
        let tx = there.producer().unwrap();
        let mut rx = back.consumer().unwrap().into_async().unwrap();
        drop(back); // so that the child can be its producer
        let child = started("echo", &place);
        let mut random = Random::new(7);
        let mut late = 0;
        const ROUNDS: u64 = 4000;
        tokio_on_this_thread().block_on(async {
            for round in 0..ROUNDS {
                let begin = Instant::now();
                tx.send(&round.to_le_bytes()).unwrap();
                let answer = rx.recv().await.unwrap().unwrap();
                assert_eq!(answer.payload.as_slice(), round.to_le_bytes());
                late += u64::from(begin.elapsed() >= Duration::from_millis(45));
                drop(answer);
                // Meet the other one, and both watchers, at all stages of falling asleep.
                for _ in 0..random.below(3000) {
                    std::hint::spin_loop();
                }
            }
        });
        assert!(late < ROUNDS / 100, "{late} of {ROUNDS} exchanges took a slice");
        drop(tx);
        child.succeeds();
    });
}

/// Readers on several threads of one runtime, which give up waiting at random and in all ways.
#[test]
fn who_gives_up_loses_nothing() {
    const COUNT: u64 = 4000;
    in_time(|| {
        let place = Place::new();
        let links = [
            on_heap(),
            on_heap(),
            builder(place.path()).create("a").unwrap(),
            builder(place.path()).create("b").unwrap(),
        ];
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut producers = Vec::new();
        let mut readers = Vec::new();
        for (seed, link) in links.iter().enumerate() {
            let seed = seed as u64;
            for number in 0..2 {
                let rx = link.consumer().unwrap().into_async().unwrap();
                readers.push(runtime.spawn(read_with_interruptions(rx, seed * 2 + number, COUNT)));
            }
            let tx = link.producer().unwrap();
            producers.push(std::thread::spawn(move || {
                let mut random = Random::new(100 + seed);
                for _ in 0..COUNT {
                    publish_blocking(&tx, MTU);
                    if random.below(8) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(100)));
                    }
                }
            }));
        }
        runtime.block_on(async {
            for reader in readers {
                reader.await.unwrap();
            }
        });
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

async fn read_with_interruptions(mut rx: AsyncConsumer, seed: u64, count: u64) {
    let mut random = Random::new(seed);
    let mut seq = 1;
    while seq <= count {
        match random.below(4) {
            0 => {
                let wait = Duration::from_micros(random.below(300));
                if let Ok(fragment) = tokio::time::timeout(wait, rx.recv()).await {
                    assert_is(&fragment.unwrap().unwrap(), seq, MTU);
                    seq += 1;
                }
            }
            1 => seq += u64::from(glance(&mut rx, seq).await),
            2 => {
                if let Some(fragment) = rx.poll().unwrap() {
                    assert_is(&fragment, seq, MTU);
                    seq += 1;
                }
            }
            _ => {
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                seq += 1;
            }
        }
    }
    assert!(rx.recv().await.unwrap().is_none());
    assert!(rx.get_ref().is_closed() && rx.poll().unwrap().is_none());
}

#[test]
fn tokio_watches_the_descriptor() {
    const COUNT: u64 = 4000;
    in_time(|| {
        let place = Place::new();
        let link = builder(place.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let readers = [link.consumer().unwrap(), link.evictable_consumer(Start::Next).unwrap()];
        let producer = std::thread::spawn(move || {
            let tx = tx.with_patience(common::PATIENCE);
            let mut random = Random::new(3);
            for _ in 0..COUNT {
                publish_blocking(&tx, MTU);
                if random.below(4) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(100)));
                }
            }
        });
        tokio_on_this_thread().block_on(async {
            let tasks = readers.map(|rx| {
                let rx = rx.into_async().unwrap();
                // SAFETY: a reader has one descriptor, and closes it when it is dropped and no sooner.
                let rx = unsafe { AsyncFd::register_with_interest(rx, Interest::READABLE) };
                tokio::spawn(read_by_descriptor(rx.unwrap()))
            });
            for task in tasks {
                assert_eq!(task.await.unwrap(), COUNT);
            }
        });
        producer.join().unwrap();
    });
}

/// How many fragments came until the link was closed.
async fn read_by_descriptor(mut rx: AsyncFd<AsyncConsumer>) -> u64 {
    let mut seq = 1;
    loop {
        let mut guard = rx.readable_mut().await.unwrap();
        while let Some(fragment) = guard.get_inner_mut().poll().unwrap() {
            assert_is(&fragment, seq, MTU);
            seq += 1;
        }
        if guard.get_inner().get_ref().is_closed() {
            return seq - 1;
        }
        guard.clear_ready();
    }
}

/// Whether the descriptor is readable now, or gets so within the time.
fn is_readable(rx: &AsyncConsumer, within: Duration) -> bool {
    let mut descriptors = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut descriptors, PollTimeout::try_from(within).unwrap()).unwrap() == 1
}

#[test]
fn the_descriptor_is_readable_when_there_is_something_to_look_at() {
    in_time(|| {
        let place = Place::new();
        let child = started("producer", &place);
        let link = Link::open_in(place.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let patience = Duration::from_secs(30);
        // Long enough for the watcher to ask whether the producer lives: that alone tells nobody.
        let moment = Duration::from_millis(120);

        assert!(is_readable(&rx, Duration::ZERO), "before the first look");
        assert!(rx.poll().unwrap().is_none());
        assert!(is_readable(&rx, patience), "a fragment");
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
        assert!(rx.poll().unwrap().is_none() && !rx.get_ref().is_closed());
        assert!(!is_readable(&rx, moment), "nothing");
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, moment), "still nothing");

        child.kill();
        assert!(is_readable(&rx, patience), "a death");
        assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerGone);
        let tx = link.producer().unwrap();
        assert!(is_readable(&rx, Duration::ZERO), "behind an error");
        assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerReplaced { first: 2 });
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, moment), "a new producer, but nothing new from it");

        // Who awaits goes by its waker; the descriptor says nothing then.
        block_on(async { assert!(!glance(&mut rx, 2).await) });
        assert!(is_readable(&rx, Duration::ZERO), "somebody else's turn");
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, Duration::ZERO));

        publish(&tx, MTU).unwrap();
        assert!(is_readable(&rx, patience), "another fragment");
        assert_is(&rx.poll().unwrap().unwrap(), 2, MTU);
        assert!(rx.poll().unwrap().is_none());
        drop(tx);
        assert!(is_readable(&rx, patience), "the end");
        assert!(rx.poll().unwrap().is_none() && rx.get_ref().is_closed());
        assert!(is_readable(&rx, Duration::ZERO), "the end lasts");
    });
}

#[test]
fn a_takeover_while_nobody_looks_is_told() {
    in_time(|| {
        let place = Place::new();
        let child = started("producer", &place);
        let link = Link::open_in(place.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        child.kill();
        let tx = link.producer().unwrap();
        block_on(async {
            assert_eq!(rx.recv().await.unwrap_err(), TangoError::ProducerReplaced { first: 2 });
            publish(&tx, MTU).unwrap();
            assert_is(&rx.recv().await.unwrap().unwrap(), 2, MTU);
        });
    });
}

#[test]
fn ends_and_deaths_wake_who_awaits() {
    in_time(|| {
        let place = Place::new();
        let shared = || builder(place.path()).create("quotes").unwrap();
        let awaits_the_end = |rx: Consumer<'static>| {
            let mut rx = rx.into_async().unwrap();
            std::thread::spawn(move || block_on(async { rx.recv().await.unwrap().is_none() }))
        };
        for make in [&on_heap as &dyn Fn() -> Link, &shared] {
            for stops in [false, true] {
                let link = make();
                let mut tx = Some(link.producer().unwrap());
                let readers = [link.consumer().unwrap(), link.observer().unwrap()].map(awaits_the_end);
                until(|| is_asleep(&link, 0));
                if stops {
                    link.stop().unwrap();
                } else {
                    tx = None; // closed
                }
                assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
                drop(tx);
            }
        }

        let child = started("producer", &place);
        let link = Link::open_in(place.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let mut observer = link.observer_from(Start::At(2)).unwrap().into_async().unwrap();
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        let waiting = [
            std::thread::spawn(move || block_on(async { rx.recv().await.unwrap_err() })),
            std::thread::spawn(move || block_on(async { observer.recv().await.unwrap_err() })),
        ];
        until(|| is_asleep(&link, 0));
        child.kill();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), TangoError::ProducerGone);
        }
    });
}

#[test]
fn timeouts_of_the_executor_are_kept() {
    in_time(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        for (kind, seq) in KINDS.into_iter().zip(1..) {
            let mut rx = kind(&link).unwrap().into_async().unwrap();
            tokio_on_this_thread().block_on(async {
                for timeout in [0, 1, 20, 120].map(Duration::from_millis) {
                    let begin = Instant::now();
                    assert!(tokio::time::timeout(timeout, rx.recv()).await.is_err());
                    assert!(begin.elapsed() >= timeout);
                }
                publish(&tx, MTU).unwrap();
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
            });
        }
    });
}

#[test]
fn losses_are_told() {
    in_time(|| {
        let link = on_heap();
        let tx: Producer<'_> = link.producer().unwrap().with_patience(Duration::ZERO);
        let mut observer = link.observer().unwrap().into_async().unwrap();
        let mut evictable = link.evictable_consumer(Start::Next).unwrap().into_async().unwrap();
        for _ in 0..20 {
            publish_blocking(&tx, MTU);
        }
        block_on(async {
            let TangoError::Overrun { lost, next } = observer.recv().await.unwrap_err() else {
                panic!("an observer is overrun")
            };
            assert_eq!(next, 1 + lost);
            let TangoError::Evicted { lost, next: joined } = evictable.recv().await.unwrap_err() else {
                panic!("an evictable consumer is evicted")
            };
            assert_eq!(joined, 1 + lost);
            for (mut rx, next) in [(observer, next), (evictable, joined)] {
                for seq in next..=20 {
                    assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                }
            }
        });
    });
}

/// What is there already must not keep the executor from its other tasks.
#[test]
fn other_tasks_get_their_turn() {
    in_time(|| {
        let link = Link::builder().depth(1024).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        for _ in 0..1000 {
            publish(&tx, MTU).unwrap();
        }
        tokio_on_this_thread().block_on(async {
            let other = tokio::spawn(async {});
            let mut at = None;
            for seq in 1..=1000 {
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                if other.is_finished() {
                    at.get_or_insert(seq);
                }
            }
            assert!(at.is_some_and(|at| at < 1000), "{at:?}");
        });
    });
}

/// Its watcher sleeps on the producer's bell, which is not rung for this.
#[test]
fn dropping_a_reader_that_waits_does_not_take_a_slice() {
    in_time(|| {
        const TIMES: u32 = 100;
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let _tx = link.producer().unwrap();
        let mut took = Duration::ZERO;
        for round in 0..TIMES {
            // Its slot is free again each time.
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            if round % 4 != 0 {
                assert!(rx.poll().unwrap().is_none());
                until(|| is_asleep(&link, 0));
            }
            let begin = Instant::now();
            drop(rx);
            took += begin.elapsed();
            assert!(!is_asleep(&link, 0));
        }
        assert!(took < TIMES * Duration::from_millis(20), "{TIMES} drops took {took:?}");
    });
}

#[test]
fn a_consumer_can_go_back_to_blocking() {
    in_time(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
        for seq in 1..=50 {
            let mut awaiting = rx.into_async().unwrap();
            if seq % 2 == 0 {
                block_on(async { assert!(!glance(&mut awaiting, seq).await) });
            }
            rx = awaiting.into_inner();
            let reader = std::thread::spawn(move || {
                assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
                rx
            });
            until(|| is_asleep(&link, 0));
            let begin = Instant::now();
            publish(&tx, MTU).unwrap();
            rx = reader.join().unwrap();
            assert!(begin.elapsed() < Duration::from_secs(1));
        }
    });
}

/// Wakers are foreign code: they run on the watcher's thread.
#[test]
fn wakers_may_panic_and_may_drop_the_reader() {
    struct Bad {
        woken: AtomicU32,
        reader: Mutex<Option<AsyncConsumer>>,
        panics: bool,
    }
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            drop(self.reader.lock().unwrap().take());
            self.woken.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "a waker that panics, as it should in this test");
        }
    }
    let bad = |panics| Arc::new(Bad { woken: AtomicU32::new(0), reader: Mutex::new(None), panics });
    let order = |rx: &mut AsyncConsumer, bad: &Arc<Bad>| {
        let waker = Waker::from(bad.clone());
        assert!(rx.poll_next(&mut Context::from_waker(&waker)).is_pending());
    };
    in_time(move || {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let panics = bad(true);
        order(&mut rx, &panics);
        publish(&tx, MTU).unwrap();
        until(|| panics.woken.load(Ordering::SeqCst) == 1);
        block_on(async {
            assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU);
            assert!(!glance(&mut rx, 2).await);
        });

        // The lock keeps the reader from being taken before it is there.
        let drops = bad(false);
        let mut place = drops.reader.lock().unwrap();
        order(&mut rx, &drops);
        *place = Some(rx);
        drop(place);
        publish(&tx, MTU).unwrap();
        until(|| drops.woken.load(Ordering::SeqCst) == 1);
        let mut rx = link.consumer().unwrap().into_async().unwrap(); // its slot is free
        publish(&tx, MTU).unwrap();
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 3, MTU) });
    });
}

/// As an executor does that puts its tasks away under a lock, for which its wakers wait.
#[test]
fn a_reader_is_dropped_while_its_waker_waits_for_who_drops_it() {
    struct Waits {
        called: AtomicU32,
        lock: Mutex<()>,
    }
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            self.called.fetch_add(1, Ordering::SeqCst);
            drop(self.lock.lock().unwrap());
            self.called.fetch_add(1, Ordering::SeqCst);
        }
    }
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let waits = Arc::new(Waits { called: AtomicU32::new(0), lock: Mutex::new(()) });
        let waker = Waker::from(waits.clone());
        assert!(rx.poll_next(&mut Context::from_waker(&waker)).is_pending());
        let lock = waits.lock.lock().unwrap();
        publish(&tx, MTU).unwrap();
        until(|| waits.called.load(Ordering::SeqCst) == 1);
        drop(rx);
        assert!(link.consumer().is_ok(), "its slot is free");
        drop(lock);
        until(|| waits.called.load(Ordering::SeqCst) == 2);
    });
}

/// A forked child has the reader, but not its thread: it may drop it, and its parent does not notice.
#[test]
fn a_forked_child_can_drop_a_reader() {
    in_time(|| {
        let place = Place::new();
        let link = builder(place.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        assert!(rx.poll().unwrap().is_none());
        until(|| is_asleep(&link, 0));
        // SAFETY: the child drops what it has got, and ends without returning.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                drop(rx);
                // SAFETY: ends this process at once, without running anything of the parent's.
                unsafe { nix::libc::_exit(7) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
        assert!(!is_readable(&rx, Duration::from_millis(60)));
        publish(&tx, MTU).unwrap();
        assert!(is_readable(&rx, Duration::from_secs(30)));
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        assert!(is_readable(&rx, Duration::ZERO));
    });
}

#[test]
fn an_idle_reader_takes_less_than_a_hundredth_of_a_core() {
    let place = Place::new();
    let link = builder(place.path()).create("quotes").unwrap();
    let _tx = link.producer().unwrap();
    Child::start("idle", &place).succeeds();
}
