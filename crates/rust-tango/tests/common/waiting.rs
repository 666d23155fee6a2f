//! Scenarios of sleeping and waking that run on the heap and in shared memory alike.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rust_tango::{Consumer, Link, TangoError, Wait};

use super::{assert_is, few, payload, publish_blocking, sig};

pub(crate) const MTU: usize = 200;
/// Sleeps without spinning first, so that every wait in a test is a sleep.
pub(crate) const AT_ONCE: Wait = Wait::ParkAfter(Duration::ZERO);

/// Reads `count` fragments and checks the number and content of each.
pub(crate) fn read(rx: &mut Consumer<'_>, count: u64) {
    let first = rx.next_seq();
    for seq in first..first + count {
        assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
    }
}

pub(crate) fn is_asleep(link: &Link, slot: usize) -> bool {
    link.status().consumers.iter().any(|consumer| consumer.slot == slot && consumer.asleep)
}

pub(crate) fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One producer and two consumers of different pace, all of which sleep whenever they have to wait.
pub(crate) fn exchange_between_sleeping_threads() {
    for (depth, count) in [(2, few(3000)), (64, few(20_000))] {
        let link = Link::builder().depth(depth).mtu(MTU).consumers(2).build().unwrap();
        let tx = link.producer().unwrap().with_wait(AT_ONCE);
        let readers: Vec<_> = [1, 50]
            .into_iter()
            .map(|pace| {
                let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
                std::thread::spawn(move || {
                    for at in 0..count {
                        read(&mut rx, 1);
                        if at % pace == 0 {
                            std::thread::yield_now();
                        }
                    }
                    assert!(rx.wait().unwrap().is_none() && rx.is_closed());
                })
            })
            .collect();
        for _ in 0..count {
            publish_blocking(&tx, MTU);
        }
        drop(tx);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}

/// A producer waits for credits until its timeout, and no longer. The link must have 8 lines.
pub(crate) fn producer_timeouts_are_kept(make: impl Fn() -> Link) {
    for wait in [AT_ONCE, Wait::Park, Wait::Yield, Wait::Spin] {
        let link = make();
        let tx = link.producer().unwrap().with_wait(wait);
        let mut rx = link.consumer().unwrap();
        let publish_within = |timeout| {
            let seq = tx.next_seq();
            let bytes = payload(seq, MTU);
            tx.publish_timeout(&bytes, sig(seq), sig(seq) as u16, seq as u32, timeout)
        };
        for seq in 1..=8 {
            assert_eq!(publish_within(Duration::ZERO).unwrap().seq, seq, "there are credits");
        }
        for timeout in [0, 1, 20, 120].map(Duration::from_millis) {
            let begin = Instant::now();
            assert_eq!((publish_within(timeout), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
            assert!(begin.elapsed() >= timeout, "{:?} is less than {timeout:?}", begin.elapsed());
            assert_eq!(link.status().next, 9, "nothing was published");
        }
        // A credit that arrives meanwhile ends the wait, and so does the end of the link.
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            read(&mut rx, 1);
            rx
        });
        assert_eq!(publish_within(Duration::from_secs(100)).unwrap().seq, 9);
        let mut rx = reader.join().unwrap();
        let other = link.clone();
        let stops = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.stop().unwrap();
        });
        assert_eq!(publish_within(Duration::from_secs(100)), Err(TangoError::Closed));
        stops.join().unwrap();
        read(&mut rx, 8);
        assert!(rx.wait().unwrap().is_none());
    }
}

/// A consumer, which is woken, and an observer, which naps. Each thread returns whether its reader saw the
/// end.
fn start_waiting_readers(link: &Link) -> [JoinHandle<bool>; 2] {
    let readers = [link.consumer().unwrap(), link.observer().unwrap()];
    let readers =
        readers.map(|reader| std::thread::spawn(move || reader.with_wait(AT_ONCE).wait().unwrap().is_none()));
    until(|| is_asleep(link, 0));
    readers
}

/// Dropping the producer wakes the readers.
pub(crate) fn the_end_wakes(make: impl Fn() -> Link) {
    let link = make();
    let tx = link.producer().unwrap();
    let readers = start_waiting_readers(&link);
    drop(tx);
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()), "closed");
}

/// Stopping the link wakes the readers, and a producer that waits for credits.
pub(crate) fn a_stop_wakes(make: impl Fn() -> Link) {
    let link = make();
    let tx = link.producer().unwrap().with_wait(AT_ONCE);
    let readers = start_waiting_readers(&link);
    allow_time_to_fall_asleep();
    link.stop().unwrap();
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()), "stopped");
    drop(tx);

    let link = make();
    let tx = link.producer().unwrap().with_wait(AT_ONCE);
    let rx = link.consumer().unwrap();
    let blocked = std::thread::spawn(move || {
        loop {
            if let Err(error) = tx.send(b"x") {
                break error;
            }
        }
    });
    until(|| link.status().held_by == Some(0));
    allow_time_to_fall_asleep();
    link.stop().unwrap();
    assert_eq!(blocked.join().unwrap(), TangoError::Closed);
    drop(rx);
}

/// A stop may miss a party that is just falling asleep; that party wakes at the end of its slice. With long
/// slices, this waits until everybody is asleep.
pub(crate) fn allow_time_to_fall_asleep() {
    if cfg!(long_slice) {
        std::thread::sleep(Duration::from_secs(1));
    }
}
