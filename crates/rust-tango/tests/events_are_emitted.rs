//! With the feature `tracing`, what seldom happens to a link is an event, with its fields. A subscriber may use the very
//! end that has emitted an event.
#![cfg(all(feature = "tracing", feature = "shm", target_os = "linux"))]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rust_tango::{Consumer, Link, Producer, RecvError, Start, TangoError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, subscriber};

/// An event: target, level, text, and the other fields in the order of their names.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    target: &'static str,
    level: Level,
    text: String,
    fields: BTreeMap<&'static str, String>,
}

impl Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.level, self.target.trim_start_matches("rust_tango::"), self.text)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.text = text;
        } else {
            self.fields.insert(field.name(), text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Keeps all events of this library, and then calls `then`.
struct Keeper {
    seen: Arc<Mutex<Vec<Seen>>>,
    then: fn(&Seen),
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rust_tango::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        let mut seen = Seen { target, level, text: String::new(), fields: BTreeMap::new() };
        event.record(&mut seen);
        self.seen.lock().unwrap().push(seen.clone());
        (self.then)(&seen);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The events that `run` emits in this thread.
fn events(run: impl FnOnce()) -> Vec<String> {
    events_and(|_| {}, run)
}

/// The same, and calls `then` after each.
fn events_and(then: fn(&Seen), run: impl FnOnce()) -> Vec<String> {
    let seen = Arc::default();
    subscriber::with_default(Keeper { seen: Arc::clone(&seen), then }, run);
    let seen = seen.lock().unwrap();
    seen.iter().map(|seen| format!("{seen:?}")).collect()
}

#[track_caller]
fn assert_events(found: &[String], wanted: &[&str]) {
    assert_eq!(found, wanted, "{found:#?}");
}

#[test]
fn ends_that_attach_and_leave() {
    let found = events(|| {
        let link = Link::builder().depth(8).mtu(64).consumers(2).build().unwrap();
        let tx = link.producer().unwrap();
        let rx = link.consumer().unwrap();
        let other = link.evictable_consumer(Start::Oldest).unwrap();
        let observer = link.observer().unwrap();
        tx.send(b"one").unwrap();
        drop((rx, other, observer));
        drop(tx);
        drop(link.producer().unwrap());
        link.stop().unwrap();
    });
    assert_events(
        &found,
        &[
            "INFO link link created consumers=2 depth=8 mtu=64",
            "INFO producer producer attached next=1 took_over=false",
            "INFO consumer consumer attached kind=reliable next=1 slot=0",
            "INFO consumer consumer attached kind=evictable next=1 slot=1",
            "INFO consumer consumer attached kind=observer next=1",
            "INFO consumer consumer detached kind=reliable losses=0 lost=0 next=1 slot=0",
            "INFO consumer consumer detached kind=evictable losses=0 lost=0 next=1 slot=1",
            "INFO consumer consumer detached kind=observer losses=0 lost=0 next=1",
            "INFO producer producer detached next=2 panicked=false",
            "INFO producer producer attached next=2 took_over=false",
            "INFO producer producer detached next=2 panicked=false",
            "INFO link link stopped",
        ],
    );
}

#[test]
fn losses_and_evictions() {
    let link = Link::builder().depth(4).mtu(64).consumers(1).build().unwrap();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut observer = link.observer().unwrap();
    let mut slow = link.evictable_consumer(Start::Next).unwrap();
    let mut lost = 0;
    let found = events(|| {
        for _ in 0..5 {
            tx.send(b"more").unwrap();
        }
        let Err(TangoError::Evicted { .. }) = slow.poll() else { panic!("it was evicted") };
        drop(slow);
        // There are many losses, and one event each second at most.
        for _ in 0..100 {
            for _ in 0..8 {
                tx.send(b"more").unwrap();
            }
            while let Err(error) = observer.poll() {
                let TangoError::Overrun { lost: now, .. } = error else { panic!("{error}") };
                lost += now;
            }
        }
        drop(observer);
    });
    let wanted = [
        "WARN producer consumer evicted slot=0",
        "WARN consumer fragments lost cause=evicted kind=evictable losses=1 lost=4 next=5 slot=0",
        "INFO consumer consumer detached kind=evictable losses=1 lost=4 next=5 slot=0",
        "WARN consumer fragments lost cause=overrun kind=observer losses=1 lost=9 next=10",
    ];
    assert_events(&found[..4], &wanted);
    let end = found.last().unwrap();
    assert!(end.starts_with("INFO consumer consumer detached kind=observer losses="), "{found:?}");
    assert!(end.contains(&format!(" lost={lost} ")), "{lost}: {end}");
    let of_observer = found.iter().filter(|event| event.contains("fragments lost cause=overrun")).count();
    assert!(of_observer < 50, "{of_observer} events of 100 losses");
}

#[test]
fn producers_that_die() {
    let link = Link::builder().depth(4).mtu(64).consumers(1).build().unwrap();
    let mut rx = link.consumer().unwrap();
    let found = events(|| {
        let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let tx = link.producer().unwrap();
            tx.send(b"the last one").unwrap();
            panic!("as it should");
        }));
        panic.unwrap_err();
        assert!(rx.poll().unwrap().is_some());
        for _ in 0..3 {
            assert_eq!(rx.poll().map(drop), Err(TangoError::ProducerGone));
        }
        let tx = link.producer().unwrap();
        assert_eq!(rx.poll().map(drop), Err(TangoError::ProducerReplaced { first: 2 }));
        drop(tx);
    });
    assert_events(
        &found,
        &[
            "INFO producer producer attached next=1 took_over=false",
            "INFO producer producer detached next=2 panicked=true",
            "WARN consumer producer gone kind=reliable next=2 slot=0",
            "INFO producer producer attached next=2 took_over=true",
            "WARN consumer producer replaced first=2 kind=reliable slot=0",
            "INFO producer producer detached next=2 panicked=false",
        ],
    );
}

thread_local! {
    static TX: RefCell<Option<Producer<'static>>> = const { RefCell::new(None) };
    static RX: RefCell<Option<Consumer<'static>>> = const { RefCell::new(None) };
    static PUBLISHED: Cell<u64> = const { Cell::new(0) };
}

/// A subscriber that writes events to the link that they are about.
#[test]
fn a_subscriber_may_publish_with_the_producer_that_has_emitted() {
    let link = Link::builder().depth(4).mtu(64).consumers(1).build().unwrap();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let _slow = link.evictable_consumer(Start::Next).unwrap();
    let mut observer = link.observer().unwrap();
    TX.set(Some(tx));
    let publish = |_: &Seen| {
        TX.with_borrow(|tx| {
            tx.as_ref().unwrap().publish(b"an event", 2, 0, 0).unwrap();
            PUBLISHED.set(PUBLISHED.get() + 1);
        });
    };
    let mut numbers = Vec::new();
    let found = events_and(publish, || {
        TX.with_borrow(|tx| {
            let tx = tx.as_ref().unwrap();
            for _ in 0..4 {
                tx.publish(b"quote", 1, 0, 0).unwrap();
            }
            // It has to evict the consumer. The subscriber takes the number.
            assert_eq!(tx.publish(b"quote", 1, 0, 0), Err(TangoError::NoCredits));
            assert_eq!(tx.next_seq(), 6);
            assert_eq!(tx.publish(b"quote", 1, 0, 0).unwrap().seq, 6);
        });
    });
    assert_events(&found, &["WARN producer consumer evicted slot=0"]);
    assert_eq!(PUBLISHED.get(), 1);
    TX.take();
    loop {
        match observer.poll() {
            Ok(Some(fragment)) => {
                numbers.push((fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice().to_vec()));
            }
            Ok(None) => break,
            Err(TangoError::Overrun { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(numbers.ends_with(&[(5, 2, b"an event".to_vec()), (6, 1, b"quote".to_vec())]), "{numbers:?}");
}

/// A subscriber that reads with the consumer that has emitted the event, in a call through a shared reference.
#[test]
fn a_subscriber_may_read_with_the_consumer_that_has_emitted() {
    let link = Link::builder().depth(4).mtu(64).consumers(0).build().unwrap();
    let tx = link.producer().unwrap();
    RX.set(Some(link.observer().unwrap()));
    let read = |seen: &Seen| {
        if seen.text == "fragments lost" {
            RX.with_borrow(|rx| {
                let rx = rx.as_ref().unwrap();
                let fragment = rx.try_recv().unwrap();
                PUBLISHED.set(fragment.meta.seq);
                // One lives, and not a second.
                assert!(matches!(rx.try_recv(), Err(RecvError::Held)));
            });
        }
    };
    let found = events_and(read, || {
        (0..10).for_each(|_| tx.send(b"more").unwrap());
        RX.with_borrow(|rx| {
            let rx = rx.as_ref().unwrap();
            let Err(RecvError::Lost { next, .. }) = rx.try_recv() else { panic!("it was overrun") };
            assert_eq!(PUBLISHED.get(), next, "the subscriber has read it");
            assert_eq!(rx.try_recv().unwrap().meta.seq, next + 1);
        });
    });
    assert_eq!(found.len(), 1, "{found:?}");
    RX.take();
}

#[cfg(not(miri))]
mod in_files {
    use std::sync::OnceLock;

    use super::*;

    /// The events of all threads. `Keeper`s of one thread come first there.
    fn of_all_threads() -> &'static Arc<Mutex<Vec<Seen>>> {
        static SEEN: OnceLock<Arc<Mutex<Vec<Seen>>>> = OnceLock::new();
        SEEN.get_or_init(|| {
            let seen = Arc::default();
            // A thread of the library goes on after that.
            let panic_in_threads = |seen: &Seen| {
                let is_there = seen.target == "rust_tango::thread" || seen.text == "link lost its name";
                assert!(!is_there, "as a subscriber should not");
            };
            let keeper = Keeper { seen: Arc::clone(&seen), then: panic_in_threads };
            subscriber::set_global_default(keeper).unwrap();
            seen
        })
    }

    /// Waits for an event of any thread.
    #[track_caller]
    fn await_event(wanted: &str) {
        let begin = std::time::Instant::now();
        while !of_all_threads().lock().unwrap().iter().any(|seen| format!("{seen:?}") == wanted) {
            assert!(begin.elapsed() < Duration::from_secs(60), "no {wanted:?} in {:#?}", of_all_threads());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("tango-events-{name}-{}", std::process::id()))
    }

    #[test]
    fn links_are_made_opened_taken_over_and_removed() {
        let folder = folder("made");
        let builder = || Link::builder().depth(8).mtu(64).consumers(1).dir(&folder);
        let found = events(|| {
            let link = builder().create("quotes").unwrap();
            let tx = link.producer().unwrap();
            drop(Link::open_in(&folder, "quotes").unwrap());
            drop((tx, link));
            drop(builder().create_or_take_over("quotes").unwrap());
            // Replaced.
            let link = builder().create("quotes").unwrap();
            link.stop().unwrap();
            link.remove().unwrap();
            drop(link);
            drop(builder().remove_on_drop(true).create("quotes").unwrap());
            drop(builder().create("quotes").unwrap());
            Link::remove_dead(&folder, "quotes").unwrap();
            drop(builder().create("quotes").unwrap());
            Link::remove_named(&folder, "quotes").unwrap();
        });
        let created = "INFO link link created consumers=1 depth=8 link=quotes mtu=64";
        let removed = "INFO link link removed link=quotes";
        assert_events(
            &found,
            &[
                created,
                "INFO producer producer attached link=quotes next=1 took_over=false",
                "DEBUG link link opened link=quotes",
                "INFO producer producer detached link=quotes next=1 panicked=false",
                "INFO link link taken over link=quotes",
                removed,
                created,
                "INFO link link stopped link=quotes",
                removed,
                created,
                removed,
                created,
                removed,
                created,
                removed,
            ],
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A reader in another process is killed.
    #[test]
    fn dead_consumers_are_reaped() {
        let folder = folder("reaped");
        let link = Link::builder().depth(2).mtu(64).consumers(2).dir(&folder).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_files::reads_and_dies", "--ignored", "--nocapture"])
            .env("TANGO_DIR", &folder)
            .status();
        assert!(!child.unwrap().success(), "it was killed");
        let found = events(|| {
            for _ in 0..4 {
                tx.send(b"more").unwrap();
            }
        });
        assert_events(&found, &["WARN producer dead consumer reaped link=quotes slot=0"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Not a test: what the test above runs in another process.
    #[test]
    #[ignore = "another test runs it"]
    fn reads_and_dies() {
        let Ok(link) = Link::open("quotes") else { return };
        let _rx = link.consumer().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_link_that_loses_its_name_and_the_thread_that_notices() {
        of_all_threads();
        let folder = folder("lost");
        let names = ["lost-name", "lost-later"];
        let links = names.map(|name| Link::builder().depth(8).mtu(64).dir(&folder).create(name).unwrap());
        await_event("DEBUG thread thread started thread=tango-names");
        for (name, link) in names.iter().zip(&links) {
            std::fs::remove_dir_all(link.path().unwrap()).unwrap();
            await_event(&format!("WARN link link lost its name link={name}"));
        }
        drop(links);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(feature = "async")]
    #[test]
    fn the_thread_that_waits_for_tasks() {
        of_all_threads();
        let link = Link::builder().depth(8).mtu(64).build().unwrap();
        let rx = link.consumer().unwrap().into_async().unwrap();
        await_event("DEBUG thread thread started thread=tango-watcher");
        drop(rx);
        await_event("DEBUG thread thread ended thread=tango-watcher");
    }
}
