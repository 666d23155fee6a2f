//! A process that is killed (SIGKILL) blocks nobody. Readers of a dead producer drain the link, learn of the
//! death, and later learn of the next producer. A dead consumer's credits return. What the dead leave behind
//! can be taken over.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::path::Path;
use std::time::Duration;

use common::process::{Child, TestFolder, role, say};
use common::{assert_is, in_time, publish, publish_blocking};
use rust_tango::{Link, LinkBuilder, LinkErrorKind, Start, TangoError};

const MTU: usize = 300;
const DEPTH: u64 = 16;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).consumers(2).dir(folder)
}

/// The roles of the child processes, which play them until they are killed.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let holding = match role.as_str() {
        "producer of ten" => {
            let tx = builder(&folder).create("quotes").unwrap().producer().unwrap();
            for _ in 0..10 {
                publish(&tx, MTU).unwrap();
            }
            Some(tx)
        }
        "producer without end" => {
            let tx = builder(&folder).create("quotes").unwrap().producer().unwrap();
            say("ready");
            loop {
                publish_blocking(&tx, MTU);
            }
        }
        "maker" => {
            let link = builder(&folder).create("quotes").unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
            drop(link);
            None
        }
        "consumer" => {
            let mut rx = Link::open_in(&folder, "quotes").unwrap().consumer_from(Start::Oldest).unwrap();
            let held = rx.poll().unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
            drop(held);
            None
        }
        other => panic!("no role {other}"),
    };
    say("ready");
    std::thread::sleep(common::PATIENCE);
    drop(holding);
}

#[test]
fn readers_of_a_killed_producer_drain_and_end() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer of ten", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer_from(Start::Oldest).unwrap();
        let mut ob = link.observer_from(Start::Oldest).unwrap();
        let mut waits = link.consumer().unwrap();
        let waiting = std::thread::spawn(move || waits.wait().unwrap_err());
        assert!(link.status().producer);
        child.kill();
        assert_eq!(waiting.join().unwrap(), TangoError::ProducerGone, "a waiting reader must return");
        for reader in [&mut rx, &mut ob] {
            for seq in 1..=10 {
                assert_is(&reader.wait().unwrap().unwrap(), seq, MTU);
            }
            assert_eq!(reader.wait().unwrap_err(), TangoError::ProducerGone);
            assert_eq!(
                reader.poll().unwrap_err(),
                TangoError::ProducerGone,
                "as long as there is no producer"
            );
            assert_eq!(reader.poll_batch(4).unwrap_err(), TangoError::ProducerGone);
            assert_eq!(reader.wait_timeout(Duration::ZERO).unwrap_err(), TangoError::ProducerGone);
            assert!(!reader.is_closed(), "nobody has closed it");
            assert!(!reader.wait_for_producer(Some(Duration::from_millis(5))));
        }
        let status = link.status();
        assert_eq!((status.producer, status.next), (false, 11));
    });
}

/// A reader that only polls learns of the death, too.
#[test]
fn polling_readers_learn_of_the_death() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer of ten", &folder);
        let mut ob = Link::open_in(folder.path(), "quotes").unwrap().observer_from(Start::At(11)).unwrap();
        assert!(ob.poll().unwrap().is_none() && !ob.is_closed());
        child.kill();
        let error = loop {
            match ob.poll() {
                Ok(found) => assert!(found.is_none()),
                Err(error) => break error,
            }
        };
        assert_eq!(error, TangoError::ProducerGone);
        assert!(!ob.is_closed());
    });
}

/// So does one that polls seldom, after a few polls: as often as a program that draws a picture 60 times a
/// second, or looks once a second.
#[test]
fn readers_that_poll_seldom_learn_of_the_death() {
    in_time(|| {
        for (period, most) in [(Duration::from_millis(16), 20), (Duration::from_secs(1), 2)] {
            let folder = TestFolder::new();
            let child = Child::start_ready("producer of ten", &folder);
            let link = Link::open_in(folder.path(), "quotes").unwrap();
            let start = Start::Oldest;
            let mut readers = [
                link.consumer_from(start).unwrap(),
                link.evictable_consumer(start).unwrap(),
                link.observer_from(start).unwrap(),
            ];
            for rx in &mut readers {
                for seq in 1..=10 {
                    assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
                }
            }
            let mut child = Some(child);
            let mut polls = [0; 3];
            for round in 0..3 + most {
                if round == 3 {
                    child.take().unwrap().kill();
                }
                for (rx, polls) in readers.iter_mut().zip(&mut polls) {
                    match rx.poll().map(|found| found.is_none()) {
                        Ok(is_none) => assert!(is_none && *polls == round && !rx.is_closed()),
                        Err(error) => {
                            assert_eq!(error, TangoError::ProducerGone);
                            continue;
                        }
                    }
                    *polls = round + 1;
                }
                std::thread::sleep(period);
            }
            assert!(polls.iter().all(|polls| (3..3 + most).contains(polls)), "{polls:?} at {period:?}");
        }
    });
}

#[test]
fn a_producer_killed_while_it_publishes_leaves_whole_fragments() {
    in_time(|| {
        for round in 0..5 {
            let folder = TestFolder::new();
            let child = Child::start_ready("producer without end", &folder);
            let link = Link::open_in(folder.path(), "quotes").unwrap();
            let mut rx = link.consumer_from(Start::Oldest).unwrap();
            let mut next = rx.next_seq();
            for _ in 0..500 + 100 * round {
                assert_is(&rx.wait().unwrap().unwrap(), next, MTU);
                next += 1;
            }
            child.kill();
            let error = loop {
                match rx.wait() {
                    Ok(fragment) => assert_is(&fragment.unwrap(), next, MTU),
                    Err(error) => break error,
                }
                next += 1;
            };
            assert_eq!(error, TangoError::ProducerGone);
            let mut late = link.consumer_from(Start::At(next)).unwrap();
            let tx = link.producer().unwrap();
            assert_eq!((tx.next_seq(), link.status().takeovers), (next, 1));
            for _ in 0..DEPTH {
                publish(&tx, MTU).unwrap();
            }
            for reader in [&mut rx, &mut late] {
                assert!(reader.wait_for_producer(None));
            }
            // Reported before the first fragment of the new producer, to a reader that had read everything of
            // the old one.
            assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerReplaced { first: next });
            for seq in next..next + DEPTH {
                assert_is(&late.poll().unwrap().unwrap(), seq, MTU);
            }
            // Reported when it has caught up, to a reader that lagged behind.
            assert_eq!(late.poll().unwrap_err(), TangoError::ProducerReplaced { first: next });
            assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
            for seq in next..next + DEPTH {
                assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
            }
        }
    });
}

#[test]
fn a_link_whose_maker_dies_before_it_produces_is_closed() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("maker", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap();
        assert!(rx.wait_timeout(Duration::from_millis(20)).unwrap().is_none() && !rx.is_closed());
        child.kill();
        assert_eq!(rx.wait().unwrap_err(), TangoError::ProducerGone);
        let tx = link.producer().unwrap();
        assert_eq!(publish(&tx, MTU).unwrap().seq, 1);
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
    });
}

/// A reader that saw the death of one producer learns of the next one, once, and continues with it.
#[test]
fn after_a_death_a_new_producer_opens_the_link_again() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer of ten", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap();
        let mut ob = link.observer().unwrap();
        child.kill();
        assert_eq!(rx.wait().unwrap_err(), TangoError::ProducerGone);
        assert_eq!(ob.wait().unwrap_err(), TangoError::ProducerGone);
        let tx = link.producer().unwrap();
        assert_eq!(publish(&tx, MTU).unwrap().seq, 11);
        for reader in [&mut rx, &mut ob] {
            assert_eq!(reader.wait().unwrap_err(), TangoError::ProducerReplaced { first: 11 });
            assert_is(&reader.wait().unwrap().unwrap(), 11, MTU);
            assert!(reader.poll().unwrap().is_none());
            assert!(!reader.is_closed(), "this producer lives");
        }
        let waiting = std::thread::spawn(move || rx.wait().unwrap().map(|fragment| fragment.meta.seq));
        std::thread::sleep(Duration::from_millis(20));
        publish(&tx, MTU).unwrap();
        assert_eq!(waiting.join().unwrap(), Some(12));
    });
}

/// Also to a producer that does not wait for them, but tries again now and then.
#[test]
fn a_killed_consumer_returns_its_credits_to_a_producer_that_tries_seldom() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        publish(&tx, MTU).unwrap();
        let child = Child::start_ready("consumer", &folder);
        while publish(&tx, MTU).is_ok() {}
        // A producer that has tried often in vain is not made to wait the longer for that.
        for _ in 0..600 {
            assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        }
        child.kill();
        let tries = (0..20).take_while(|_| {
            std::thread::sleep(Duration::from_millis(60));
            publish(&tx, MTU).is_err()
        });
        assert!(tries.count() <= 2);
    });
}

#[test]
fn a_killed_consumer_returns_its_credits() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        publish(&tx, MTU).unwrap();
        let child = Child::start_ready("consumer", &folder);
        for _ in 1..DEPTH {
            publish(&tx, MTU).unwrap();
        }
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        let producer = std::thread::spawn(move || {
            for _ in 0..3 * DEPTH {
                publish_blocking(&tx, MTU);
            }
            tx
        });
        std::thread::sleep(Duration::from_millis(30));
        assert!(!producer.is_finished(), "a living consumer must be waited for, however slow it is");
        assert_eq!(link.status().next, 1 + DEPTH);
        child.kill();
        let tx = producer.join().unwrap();
        assert_eq!((tx.consumers(), link.status().next), (0, 1 + 4 * DEPTH));
        assert!(link.status().consumers.iter().all(|consumer| !consumer.alive));
        assert!(tx.wait_until_drained(Some(Duration::ZERO)));
        // Its slot can be claimed, and the new owner is not taken for the dead one.
        let mut rx = link.consumer().unwrap();
        assert_eq!((tx.consumers(), link.status().consumers[0].slot), (1, 0));
        for _ in 0..DEPTH {
            publish(&tx, MTU).unwrap();
        }
        for _ in 0..2000 {
            assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        }
        assert_is(&rx.poll().unwrap().unwrap(), 1 + 4 * DEPTH, MTU);
    });
}

#[test]
fn the_producer_does_not_wait_for_the_dead_to_drain() {
    in_time(|| {
        let folder = TestFolder::new();
        let tx = builder(folder.path()).create("quotes").unwrap().producer().unwrap();
        publish(&tx, MTU).unwrap();
        let child = Child::start_ready("consumer", &folder);
        assert!(!tx.wait_until_drained(Some(Duration::from_millis(10))));
        child.kill();
        assert!(tx.wait_until_drained(None));
    });
}

#[test]
fn a_dead_link_is_created_again() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer of ten", &folder);
        let create = || builder(folder.path()).create("quotes");
        let reader = Link::open_in(folder.path(), "quotes").unwrap();
        let mut ob = reader.observer_from(Start::Oldest).unwrap();
        assert_eq!(create().unwrap_err().kind(), LinkErrorKind::InUse);
        child.kill();
        let link = create().unwrap();
        assert_eq!(link.status().next, 1);
        // A reader of the old link continues with it.
        for seq in 1..=10 {
            assert_is(&ob.wait().unwrap().unwrap(), seq, MTU);
        }
        assert_eq!(ob.wait().unwrap_err(), TangoError::ProducerGone);
    });
}

/// Producers come and go in an orderly way, and no reader is told of a death.
#[test]
fn an_orderly_hand_over_is_no_death() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let mut rx = link.consumer().unwrap();
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 2000 {
                if rx.poll().unwrap().is_some() {
                    seen += 1;
                }
            }
        });
        while !reader.is_finished() {
            let tx = link.producer().unwrap();
            publish_blocking(&tx, MTU);
            std::thread::sleep(Duration::from_micros(20));
        }
        reader.join().unwrap();
        assert_eq!(link.status().takeovers, 0);
    });
}
