//! Threads that have nothing to do sleep, and are woken by what they wait for. No wakeup is lost. Between
//! processes, see `parking`.
#![cfg(feature = "std")]

mod common;

use std::time::{Duration, Instant};

use common::waiting::{self, AT_ONCE, MTU};
use common::{in_time, publish_blocking};
use rust_tango::Link;

fn link() -> Link {
    Link::builder().depth(8).mtu(MTU).consumers(2).build().unwrap()
}

#[test]
fn one_producer_and_two_consumers() {
    in_time(waiting::exchange_between_sleeping_threads);
}

/// When the consumer that holds the producer back leaves, the producer wakes.
#[test]
fn leaving_wakes_the_producer() {
    in_time(|| {
        let link = Link::builder().depth(4).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap().with_wait(AT_ONCE);
        for _ in 0..20 {
            let rx = link.consumer().unwrap();
            let begin = Instant::now();
            let leaves = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                drop(rx);
            });
            for _ in 0..5 {
                publish_blocking(&tx, MTU);
            }
            assert!(begin.elapsed() >= Duration::from_millis(2), "it must have waited");
            leaves.join().unwrap();
        }
    });
}

#[test]
fn timeouts_are_kept() {
    in_time(|| {
        let link = link();
        let _tx = link.producer().unwrap();
        for mut reader in [link.consumer().unwrap(), link.observer().unwrap()] {
            reader = reader.with_wait(AT_ONCE);
            for timeout in [0, 1, 20, 120].map(Duration::from_millis) {
                let begin = Instant::now();
                assert!(reader.wait_timeout(timeout).unwrap().is_none());
                assert!(begin.elapsed() >= timeout, "{:?} is less than {timeout:?}", begin.elapsed());
            }
        }
    });
}

#[test]
fn timeouts_of_a_producer_are_kept() {
    in_time(|| waiting::producer_timeouts_are_kept(link));
}

#[test]
fn the_end_wakes_everyone() {
    in_time(|| waiting::the_end_wakes(link));
}

#[test]
fn a_stop_wakes_everyone() {
    in_time(|| waiting::a_stop_wakes(link));
}
