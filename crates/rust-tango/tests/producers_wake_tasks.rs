//! A producer wakes the tasks of its own process itself, on its own thread, and not by way of the watcher; unless it was
//! told not to. Whatever the wakers do, and whoever else sleeps, nobody is forgotten.
#![cfg(all(feature = "async", target_os = "linux", not(miri)))]

mod common;

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use common::executor::{block_on, on_heap};
use common::process::{Child, TestFolder, role, say};
use common::waiting::{AT_ONCE, MTU, is_asleep, until};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use rust_tango::{AsyncConsumer, Link, LinkBuilder, Producer, TangoError};

/// The tests share the one watcher of this process, and count what it does.
static WATCHER: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    WATCHER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder)
}

/// Reports the name of the thread on which it is called.
struct Reports(Mutex<Sender<String>>);

impl Wake for Reports {
    fn wake(self: Arc<Self>) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().send(name).unwrap();
    }
}

fn reports() -> (Waker, Receiver<String>) {
    let (sender, woken) = channel();
    (Waker::from(Arc::new(Reports(Mutex::new(sender)))), woken)
}

/// Polls in vain.
fn wait_with(rx: &mut AsyncConsumer, waker: &Waker) {
    assert!(rx.poll_next(&mut Context::from_waker(waker)).is_pending());
}

fn read(rx: &mut AsyncConsumer, seq: u64) {
    assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
}

/// In how many of 100 rounds this thread woke the task. (The thread of the readers has its lock for a moment now and
/// then, and is left to wake the task then.)
fn woken_by_this_thread(tx: &Producer<'_>, rx: &mut AsyncConsumer) -> usize {
    let (waker, woken) = reports();
    let own = std::thread::current().name().unwrap_or_default().to_owned();
    let mut direct = 0;
    for _ in 0..100 {
        let seq = tx.next_seq();
        wait_with(rx, &waker);
        publish(tx, MTU).unwrap();
        let by = woken.recv().unwrap();
        assert!(by == own || by == "tango-watcher", "{by}");
        direct += usize::from(by == own);
        assert!(woken.try_recv().is_err(), "woken once");
        read(rx, seq);
    }
    direct
}

/// Runs a test on a thread whose name is its own.
fn on_a_thread(test: impl FnOnce() + Send + 'static) {
    let _alone = alone();
    in_time(|| std::thread::Builder::new().name("publishes".into()).spawn(test).unwrap().join().unwrap());
}

#[test]
fn a_publish_wakes_the_task_itself() {
    on_a_thread(|| {
        let folder = TestFolder::new();
        for link in [on_heap(), builder(folder.path()).create("quotes").unwrap()] {
            let tx = link.producer().unwrap();
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            let direct = woken_by_this_thread(&tx, &mut rx);
            assert!(direct >= 80, "{direct} of 100");
        }
    });
}

/// The same link is mapped twice.
#[test]
fn a_reader_that_has_opened_the_link_by_name_is_woken_too() {
    on_a_thread(|| {
        let folder = TestFolder::new();
        let made = builder(folder.path()).create("quotes").unwrap();
        let opened = Link::open_in(folder.path(), "quotes").unwrap();
        let tx = made.producer().unwrap();
        let mut own = made.consumer().unwrap().into_async().unwrap();
        let mut other = opened.consumer().unwrap().into_async().unwrap();
        let (waker, woken) = reports();
        let mut direct = 0;
        for seq in 1..=100 {
            [&mut own, &mut other].into_iter().for_each(|rx| wait_with(rx, &waker));
            publish(&tx, MTU).unwrap();
            let by = [(), ()].map(|()| woken.recv().unwrap());
            direct += usize::from(by.iter().all(|by| by == "publishes"));
            [&mut own, &mut other].into_iter().for_each(|rx| read(rx, seq));
        }
        assert!(direct >= 80, "{direct} of 100");
    });
}

#[test]
fn a_batch_and_a_loan_wake_the_task() {
    on_a_thread(|| {
        let link = on_heap();
        let mut tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let (waker, woken) = reports();
        let mut direct = 0;
        for round in 0..100 {
            wait_with(&mut rx, &waker);
            if round % 2 == 0 {
                assert_eq!(tx.publish_batch(&[b"one", b"two"], 0, 0), 2);
            } else {
                tx.loan(3).unwrap().commit(0, 0, 0).unwrap();
            }
            direct += usize::from(woken.recv().unwrap() == "publishes");
            while rx.poll().unwrap().is_some() {}
        }
        assert!(direct >= 80, "{direct} of 100");
    });
}

#[test]
fn a_producer_can_leave_wakers_to_the_thread() {
    on_a_thread(|| {
        let link = on_heap();
        let tx = link.producer().unwrap().with_direct_wake(false);
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        assert_eq!(woken_by_this_thread(&tx, &mut rx), 0);
    });
}

/// How often the watcher went to sleep.
fn sleeps_of_the_watcher() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let status =
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).ok());
    let watcher = status.filter(|status| status.starts_with("Name:\ttango-watcher\n"));
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    watcher.map(count).sum()
}

/// It sleeps in slices, but no publish ends a slice.
#[test]
fn the_watcher_sleeps_on() {
    const ROUNDS: u64 = 2000;
    on_a_thread(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let (waker, woken) = reports();
        let before = sleeps_of_the_watcher();
        for seq in 1..=ROUNDS {
            wait_with(&mut rx, &waker);
            publish(&tx, MTU).unwrap();
            woken.recv().unwrap();
            read(&mut rx, seq);
        }
        let slept = sleeps_of_the_watcher() - before;
        assert!(slept < ROUNDS / 4, "the watcher slept {slept} times");
    });
}

/// The producer has written to the descriptor when the publish returns.
#[test]
fn a_publish_makes_the_descriptor_readable() {
    on_a_thread(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let mut at_once = 0;
        for seq in 1..=100 {
            assert!(rx.poll().unwrap().is_none());
            let is_readable = |timeout| {
                let mut descriptors = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
                nix::poll::poll(&mut descriptors, timeout).unwrap() == 1
            };
            assert!(!is_readable(PollTimeout::ZERO));
            publish(&tx, MTU).unwrap();
            at_once += usize::from(is_readable(PollTimeout::ZERO));
            assert!(is_readable(PollTimeout::NONE));
            read(&mut rx, seq);
        }
        assert!(at_once >= 80, "{at_once} of 100");
    });
}

/// More tasks than one publish wakes itself.
#[test]
fn many_tasks_are_woken_by_the_producer_and_by_the_watcher() {
    on_a_thread(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(200).build().unwrap();
        let tx = link.producer().unwrap();
        let mut readers: Vec<_> = (0..200).map(|_| link.consumer().unwrap().into_async().unwrap()).collect();
        let (waker, woken) = reports();
        for seq in 1..=20 {
            readers.iter_mut().for_each(|rx| wait_with(rx, &waker));
            publish(&tx, MTU).unwrap();
            let direct = (0..200).filter(|_| woken.recv().unwrap() == "publishes").count();
            assert!(direct <= 32, "{direct}");
            readers.iter_mut().for_each(|rx| read(rx, seq));
        }
    });
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let link = Link::open_in(&folder, "quotes").unwrap();
    let mut rx = link.consumer().unwrap();
    match role.as_str() {
        "thread" => {
            rx = rx.with_wait(AT_ONCE);
            say("ready");
            while let Some(fragment) = rx.wait().unwrap() {
                say(fragment.meta.seq);
            }
        }
        "task" => {
            let mut rx = rx.into_async().unwrap();
            say("ready");
            block_on(async {
                while let Some(fragment) = rx.recv().await.unwrap() {
                    say(fragment.meta.seq);
                }
            });
        }
        other => panic!("no role {other}"),
    }
}

/// To wake a task here must not take the place of notifying a reader of another process.
#[test]
fn sleepers_of_other_processes_are_woken_too() {
    for role in ["thread", "task"] {
        on_a_thread(move || {
            let folder = TestFolder::new();
            let link = builder(folder.path()).create("quotes").unwrap();
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            let mut child = Child::start_ready(role, &folder);
            let tx = link.producer().unwrap();
            let (waker, woken) = reports();
            for seq in 1..=200 {
                until(|| is_asleep(&link, 1));
                wait_with(&mut rx, &waker);
                publish(&tx, MTU).unwrap();
                assert_eq!(child.hear(), seq.to_string());
                woken.recv().unwrap();
                read(&mut rx, seq);
            }
            drop(tx);
            child.succeeds();
        });
    }
}

/// A producer, and a reader that its waker polls.
type Ends = (Rc<Producer<'static>>, Rc<RefCell<AsyncConsumer>>);

thread_local! {
    /// Those of this thread.
    static OWN: RefCell<Option<Ends>> = const { RefCell::new(None) };
}

/// Polls the reader inside the waker, and answers each of the first fragments by another one.
struct Inline(AtomicU32);

const ANSWERED: u64 = 100;

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let own = OWN.with_borrow(Clone::clone);
        // The watcher has no producer, and leaves the rest to the loop in the test.
        let Some((tx, rx)) = own else { return };
        let waker = Waker::from(self.clone());
        let Ok(mut rx) = rx.try_borrow_mut() else { return };
        loop {
            let read = match rx.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(fragment) => fragment.unwrap().unwrap().meta.seq,
                Poll::Pending => return,
            };
            assert_eq!(read, u64::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1);
            if read <= ANSWERED {
                assert_eq!(tx.publish(b"answer", 0, 0, 0).unwrap().seq, read + 1);
            }
        }
    }
}

/// The waker of an executor that runs the task at once, which reads and publishes by the same producer.
#[test]
fn a_waker_may_read_and_publish_by_the_producer_that_calls_it() {
    on_a_thread(|| {
        let link = on_heap();
        let tx = Rc::new(link.producer().unwrap());
        let rx = Rc::new(RefCell::new(link.consumer().unwrap().into_async().unwrap()));
        let inline = Arc::new(Inline(AtomicU32::new(0)));
        let waker = Waker::from(inline.clone());
        wait_with(&mut rx.borrow_mut(), &waker);
        OWN.set(Some((tx.clone(), rx)));
        assert_eq!(
            tx.publish(b"first", 0, 0, 0).unwrap().seq,
            1,
            "although more were published before it returned"
        );
        // If the watcher was left to wake the task, it is polled here.
        until(|| {
            waker.wake_by_ref();
            u64::from(inline.0.load(Ordering::SeqCst)) == ANSWERED + 1
        });
        assert_eq!(tx.next_seq(), ANSWERED + 2);
        OWN.set(None);
    });
}

/// The waker blocks on the thread of the producer. Another thread drops the reader meanwhile, and makes another one.
#[test]
fn a_reader_is_dropped_while_the_producer_calls_its_waker() {
    struct Blocks {
        called: AtomicBool,
        lock: Mutex<()>,
    }
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            self.called.store(true, Ordering::SeqCst);
            drop(self.lock.lock().unwrap());
        }
    }
    on_a_thread(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let blocks = Arc::new(Blocks { called: AtomicBool::new(false), lock: Mutex::new(()) });
        let lock = blocks.lock.lock().unwrap();
        wait_with(&mut rx, &Waker::from(blocks.clone()));
        let publishes = std::thread::spawn(move || {
            publish(&tx, MTU).unwrap();
            tx
        });
        until(|| blocks.called.load(Ordering::SeqCst));
        drop(rx);
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        assert!(rx.poll().unwrap().is_none());
        drop(lock);
        let tx = publishes.join().unwrap();
        publish(&tx, MTU).unwrap();
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 2, MTU) });
    });
}

/// Requests come and are cancelled while the producer answers them.
#[test]
fn readers_come_and_go_while_the_producer_wakes_them() {
    const COUNT: u64 = 20_000;
    on_a_thread(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).consumers(4).create("quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tx = link.producer().unwrap();
                (0..COUNT).for_each(|_| publish_blocking(&tx, MTU));
            });
            scope.spawn(move || {
                block_on(async {
                    for seq in 1..=COUNT {
                        assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                    }
                    assert!(rx.recv().await.unwrap().is_none());
                });
            });
            for seed in 0..2 {
                let link = &link;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    loop {
                        let mut rx = link.consumer().unwrap().into_async().unwrap();
                        for _ in 0..random.below(20) {
                            match random.below(3) {
                                0 => drop(rx.poll()),
                                _ => drop(rx.poll_next(&mut Context::from_waker(Waker::noop()))),
                            }
                        }
                        if rx.is_closed() {
                            return;
                        }
                    }
                });
            }
        });
    });
}

/// The child has inherited producers, readers and the list of readers, but their thread is missing. It leaves the readers
/// alone, whose lock another thread may have held.
#[test]
fn a_forked_child_wakes_its_own_tasks() {
    on_a_thread(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let (waker, woken) = reports();
        wait_with(&mut rx, &waker);
        let on_heap_of_both = on_heap();
        let heap_tx = on_heap_of_both.producer().unwrap();
        let mut heap_rx = on_heap_of_both.consumer().unwrap().into_async().unwrap();
        wait_with(&mut heap_rx, &waker);
        // SAFETY: the child calls what may take locks of the allocator. The C library makes its allocator usable in a
        // child.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let works = catch_unwind(AssertUnwindSafe(|| {
                    assert_eq!(tx.publish(b"inherited", 0, 0, 0), Err(TangoError::Closed));
                    publish(&heap_tx, MTU).unwrap();
                    assert!(woken.try_recv().is_err());
                    let link = on_heap();
                    let tx = link.producer().unwrap();
                    let mut rx = link.consumer().unwrap().into_async().unwrap();
                    assert!(woken_by_this_thread(&tx, &mut rx) >= 80);
                }));
                let is_left_alone = woken.try_recv().is_err();
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { nix::libc::_exit(if works.is_ok() && is_left_alone { 7 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
        for (tx, rx) in [(tx, rx), (heap_tx, heap_rx)].iter_mut() {
            publish(tx, MTU).unwrap();
            woken.recv().unwrap();
            read(rx, 1);
        }
    });
}
