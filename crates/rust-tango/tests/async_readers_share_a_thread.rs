//! One thread of the process waits for all async readers, whatever their kinds and links. It takes no signal, and
//! next to no processor time. Readers come and go without waking or losing others, also on kernels that let a
//! thread sleep on one word only. What one async reader does is in `awaiting` and `awaiting_between_threads`.
#![cfg(all(feature = "async", target_os = "linux", not(miri)))]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::executor::{KINDS, block_on};
use common::kernel::forget;
use common::process::{Child, TestFolder, assert_uses_less, role, say, skip};
use common::waiting::{MTU, until};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::libc;
use nix::sys::resource::UsageWho;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rust_tango::{AsyncConsumer, Link, LinkBuilder};

/// What the kernel of a child does not know.
const FILTERS: [(&str, &[libc::c_long]); 3] = [
    (" on one word", &[libc::SYS_futex_waitv]),
    (" without the barrier", &[libc::SYS_membarrier]),
    (" with neither", &[libc::SYS_futex_waitv, libc::SYS_membarrier]),
];

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).dir(folder)
}

/// Counts how often it is called.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls in vain. `count` is woken when there is something.
fn wait_with(rx: &mut AsyncConsumer, count: &Arc<Count>) {
    let waker = Waker::from(count.clone());
    assert!(rx.poll_next(&mut Context::from_waker(&waker)).is_pending());
}

/// The content of `status` of each thread that the library has started in this process.
fn watchers() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end meanwhile.
    let status = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("status")).ok();
    let all = threads.filter_map(|thread| status(thread.unwrap()));
    all.filter(|status| status.starts_with("Name:\ttango-watcher\n")).collect()
}

/// Waits until there are as many of these threads. (A new one gets its name a moment after its start, and the
/// kernel may list one for a moment after it was joined.)
fn there_are_watchers(count: usize) {
    until(|| watchers().len() == count);
}

/// Whether the kernel lets a thread sleep on several words. (It refuses to sleep on none.)
fn can_sleep_on_many() -> bool {
    // SAFETY: the call gets no addresses.
    let result = unsafe { libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) };
    assert_eq!(result, -1);
    nix::errno::Errno::last() == nix::errno::Errno::EINVAL
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let mut role = role.as_str();
    for (suffix, calls) in FILTERS {
        if let Some(rest) = role.strip_suffix(suffix) {
            role = rest;
            for call in calls {
                if let Err(error) = forget(*call) {
                    return say(format!("no filter: {error}"));
                }
            }
        }
    }
    let links = |count: usize, slots: usize| -> Vec<Link> {
        (0..count).map(|_| Link::builder().depth(8).mtu(MTU).consumers(slots).build().unwrap()).collect()
    };
    match role {
        "all kinds" => all_kinds(&folder),
        "many links" => many_links(links(300, 1)),
        "churn" => readers_come_and_go(&folder),
        "signals" => signals(),
        "idle" => idle(&links(8, 256)),
        "forks" => forks(&folder),
        other => panic!("no role {other}"),
    }
    // The threads end with the last readers.
    there_are_watchers(0);
    say("done");
}

/// Plays a role in a process of its own, since the number of threads is one of the process.
fn play(role: &str) {
    let role = role.to_owned();
    in_time(move || {
        let folder = TestFolder::new();
        let mut child = Child::start(&role, &folder);
        match child.hear().as_str() {
            "done" => {}
            why => skip(why),
        }
        child.succeeds();
    });
}

fn play_with_every_kernel(role: &str) {
    play(role);
    for (filter, _) in FILTERS {
        play(&format!("{role}{filter}"));
    }
}

fn all_kinds(folder: &Path) {
    let links = [
        Link::builder().depth(8).mtu(MTU).consumers(80).build().unwrap(),
        Link::builder().depth(8).mtu(MTU).consumers(80).build().unwrap(),
        builder(folder).consumers(80).create("quotes").unwrap(),
    ];
    let producers = links.each_ref().map(|link| link.producer().unwrap());
    let mut readers = Vec::new();
    for link in &links {
        for kind in KINDS {
            for _ in 0..40 {
                readers.push(kind(link).unwrap().into_async().unwrap());
            }
        }
    }
    let of_each = readers.len() as u32;
    for seq in 1..=20 {
        let woken = Arc::new(Count::default());
        readers.iter_mut().for_each(|rx| wait_with(rx, &woken));
        let most = if can_sleep_on_many() { 1 } else { links.len() + 1 };
        there_are_watchers(most);
        for tx in &producers {
            publish(tx, MTU).unwrap();
        }
        until(|| woken.get() == of_each);
        for rx in &mut readers {
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

#[test]
fn readers_of_all_kinds_and_links_share_a_thread() {
    play_with_every_kernel("all kinds");
}

fn many_links(links: Vec<Link>) {
    let producers: Vec<_> = links.iter().map(|link| link.producer().unwrap()).collect();
    let mut readers: Vec<_> =
        links.iter().map(|link| link.consumer().unwrap().into_async().unwrap()).collect();
    let woken: Vec<_> = links.iter().map(|_| Arc::new(Count::default())).collect();
    readers.iter_mut().zip(&woken).for_each(|(rx, woken)| wait_with(rx, woken));
    let needed = if can_sleep_on_many() { links.len().div_ceil(127) } else { links.len() };
    there_are_watchers(needed);
    drop(links); // so that the memory of each link ends with its reader and its producer
    for (at, tx) in producers.iter().enumerate() {
        publish(tx, MTU).unwrap();
        until(|| woken[at].get() == 1);
    }
    for rx in &mut readers {
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
    }
    drop(producers);
    // In another order than they came.
    let mut random = Random::new(5);
    while !readers.is_empty() {
        readers.swap_remove(random.below(readers.len() as u64) as usize);
    }
}

#[test]
fn more_links_than_a_thread_can_sleep_on_get_more_threads() {
    play("many links");
    play("many links on one word");
}

/// Readers of two links come, read a little and leave, while two others have to get every fragment.
fn readers_come_and_go(folder: &Path) {
    const COUNT: u64 = 3000;
    let links = [
        Link::builder().depth(8).mtu(MTU).consumers(6).build().unwrap(),
        builder(folder).consumers(6).create("quotes").unwrap(),
    ];
    std::thread::scope(|scope| {
        for (seed, link) in links.iter().enumerate() {
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            scope.spawn(move || {
                block_on(async {
                    for seq in 1..=COUNT {
                        assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                    }
                    assert!(rx.recv().await.unwrap().is_none());
                });
            });
            let tx = link.producer().unwrap();
            scope.spawn(move || {
                let mut random = Random::new(seed as u64);
                for _ in 0..COUNT {
                    publish_blocking(&tx, MTU);
                    if random.below(4) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(100)));
                    }
                }
            });
            scope.spawn(move || {
                let mut random = Random::new(10 + seed as u64);
                let mut readers = Vec::new();
                loop {
                    let kind = KINDS[random.below(3) as usize];
                    if readers.len() < 4 {
                        readers.push(kind(link).unwrap().into_async().unwrap());
                    }
                    let at = random.below(readers.len() as u64) as usize;
                    let rx = &mut readers[at];
                    if rx.is_closed() {
                        return;
                    }
                    match random.below(4) {
                        // Polls a few times, with a waker or for the descriptor, and may be woken.
                        0 => drop(rx.poll()),
                        1 | 2 => drop(rx.poll_next(&mut Context::from_waker(Waker::noop()))),
                        _ => drop(readers.swap_remove(at)),
                    }
                }
            });
        }
    });
}

#[test]
fn readers_come_and_go_without_a_loss() {
    play_with_every_kernel("churn");
}

/// A program blocks signals in its own threads to wait for them, after it has made an async reader.
fn signals() {
    let link = Link::builder().depth(8).mtu(MTU).build().unwrap();
    let _tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap().into_async().unwrap();
    assert!(rx.poll().unwrap().is_none());
    let blocked = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    there_are_watchers(1);
    for signal in Signal::iterator() {
        let raised_by_the_thread = [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ];
        let free =
            raised_by_the_thread.contains(&signal) || [Signal::SIGKILL, Signal::SIGSTOP].contains(&signal);
        for status in watchers() {
            assert_eq!(blocked(&status) >> (signal as u32 - 1) & 1, u64::from(!free), "{signal}");
        }
    }
    // The thread that made the reader has its own mask again.
    assert_eq!(SigSet::thread_get_mask().unwrap(), SigSet::empty());
}

#[test]
fn signals_that_are_blocked_later_are_not_taken() {
    play("signals");
    // In a forked child, which has no other threads that take signals, as a test binary has.
    in_time(|| {
        // SAFETY: the child calls what may take locks of the allocator. The parent's other threads are those of
        // the test harness, and the C library makes its allocator usable in a child.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let status = std::panic::catch_unwind(take_all_signals).is_ok();
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { libc::_exit(if status { 7 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
    });
}

fn take_all_signals() {
    let link = Link::builder().depth(8).mtu(MTU).build().unwrap();
    let _tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap().into_async().unwrap();
    assert!(rx.poll().unwrap().is_none());
    // Until then, the C library blocks all signals in the new thread.
    there_are_watchers(1);
    let set = SigSet::from(Signal::SIGTERM);
    set.thread_block().unwrap();
    for _ in 0..1000 {
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        assert_eq!(set.wait().unwrap(), Signal::SIGTERM);
    }
}

/// 2,048 readers with slots, and as many observers.
fn idle(links: &[Link]) {
    const IDLE: Duration = Duration::from_secs(2);
    let _producers: Vec<_> = links.iter().map(|link| link.producer().unwrap()).collect();
    let mut readers = Vec::new();
    for link in links {
        for _ in 0..256 {
            readers.push(link.consumer().unwrap().into_async().unwrap());
            readers.push(link.observer().unwrap().into_async().unwrap());
        }
    }
    let woken = Arc::new(Count::default());
    readers.iter_mut().for_each(|rx| wait_with(rx, &woken));
    // Until the naps of the observers are long.
    std::thread::sleep(Duration::from_millis(300));
    // With a thread for each reader, it was more than a core.
    assert_uses_less(IDLE / 20, UsageWho::RUSAGE_SELF, || std::thread::sleep(IDLE));
    assert_eq!(woken.get(), 0);
}

#[test]
fn thousands_of_idle_readers_take_next_to_no_processor_time() {
    play("idle");
}

/// Nothing wakes the other readers of the link when one is dropped: no waker is called, and nothing is lost.
/// The tests of this process that share its one thread, and that it may not share with others. (The rest run in processes
/// of their own.)
static THREAD: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn dropping_readers_wakes_no_other_reader() {
    let _thread = THREAD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(256).build().unwrap();
        let tx = link.producer().unwrap();
        let mut readers: Vec<_> = (0..256).map(|_| link.consumer().unwrap().into_async().unwrap()).collect();
        let woken = Arc::new(Count::default());
        let mut random = Random::new(9);
        let mut seq = 0;
        while !readers.is_empty() {
            readers.iter_mut().for_each(|rx| wait_with(rx, &woken));
            for _ in 0..random.below(32).min(readers.len() as u64 - 1) {
                readers.swap_remove(random.below(readers.len() as u64) as usize);
            }
            assert_eq!(woken.0.swap(0, Ordering::SeqCst), 0);
            seq += 1;
            publish(&tx, MTU).unwrap();
            until(|| woken.get() == readers.len() as u32);
            woken.0.store(0, Ordering::SeqCst);
            for rx in &mut readers {
                assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
            }
            if readers.len() == 1 {
                readers.clear();
            }
        }
    });
}

/// A forked child makes async readers of its own, although it has inherited some and their thread is missing.
fn forks(folder: &Path) {
    let link = builder(folder).consumers(2).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap().into_async().unwrap();
    assert!(rx.poll().unwrap().is_none());
    // SAFETY: as above.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let works = std::panic::catch_unwind(|| {
                let link = Link::open_in(folder, "quotes").unwrap();
                let mut own = link.consumer().unwrap().into_async().unwrap();
                block_on(async { assert_is(&own.recv().await.unwrap().unwrap(), 1, MTU) });
            });
            drop(rx);
            // SAFETY: ends this process at once, without running any code of the parent's.
            unsafe { libc::_exit(if works.is_ok() { 7 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            until(|| {
                link.status().consumers.len() == 2 && link.status().consumers.iter().all(|rx| rx.asleep)
            });
            publish(&tx, MTU).unwrap();
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        }
    }
}

#[test]
fn a_forked_child_has_async_readers_of_its_own() {
    play("forks");
}

/// The thread calls a waker that blocks. Nobody waits for it who drops readers, even the last one.
#[test]
fn readers_are_dropped_while_a_waker_blocks() {
    let _thread = THREAD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    struct Blocks(std::sync::Mutex<()>, Count);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            self.1.0.fetch_add(1, Ordering::SeqCst);
            drop(self.0.lock().unwrap());
            self.1.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(64).build().unwrap();
        // So that it is the thread that calls the waker.
        let tx = link.producer().unwrap().with_direct_wake(false);
        let mut readers: Vec<_> = (0..64).map(|_| link.consumer().unwrap().into_async().unwrap()).collect();
        let blocks = Arc::new(Blocks(std::sync::Mutex::new(()), Count::default()));
        let lock = blocks.0.lock().unwrap();
        let waker = Waker::from(blocks.clone());
        assert!(readers[0].poll_next(&mut Context::from_waker(&waker)).is_pending());
        publish(&tx, MTU).unwrap();
        until(|| blocks.1.get() == 1);
        readers.clear();
        // The thread has lost its last reader, so a reader that comes now gets another one.
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let woken = Arc::new(Count::default());
        wait_with(&mut rx, &woken);
        publish(&tx, MTU).unwrap();
        until(|| woken.get() == 1);
        assert_eq!(blocks.1.get(), 1, "the waker still blocks");
        drop(lock);
        until(|| blocks.1.get() == 2);
        assert_is(&rx.poll().unwrap().unwrap(), 2, MTU);
    });
}
