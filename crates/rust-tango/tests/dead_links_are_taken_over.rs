//! What `create` and `create_or_take_over` do when the link exists: a dead link is replaced or taken over;
//! for a link in use, the error names its holders.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Barrier;

use common::process::{Child, TestFolder, role, say};
use common::{assert_is, in_time, publish, publish_blocking};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rust_tango::{Consumer, Link, LinkBuilder, LinkErrorKind, Party, Start, TangoError};

const MTU: usize = 300;
const DEPTH: u64 = 16;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).slot(128).consumers(2).dir(folder)
}

fn taken_over(folder: &Path) -> Link {
    builder(folder).create_or_take_over("quotes").unwrap()
}

/// The roles of the child processes, which play them until they are killed.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "producer of ten" => {
            let tx = taken_over(&folder).producer().unwrap();
            for _ in 0..10 {
                publish(&tx, MTU).unwrap();
            }
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        "producer without end" => {
            let tx = taken_over(&folder).producer().unwrap();
            say(tx.next_seq());
            loop {
                publish_blocking(&tx, MTU);
            }
        }
        "consumer" => {
            let _rx = Link::open_in(&folder, "quotes").unwrap().consumer().unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        "one of many" => {
            say("ready");
            while !folder.join("go").exists() {
                std::hint::spin_loop();
            }
            match builder(&folder).create_or_take_over("quotes") {
                Ok(link) => {
                    let tx = link.producer().unwrap();
                    say(format!("taken at {}", tx.next_seq()));
                    std::thread::sleep(common::PATIENCE);
                }
                Err(error) => {
                    assert_eq!(error.kind(), LinkErrorKind::InUse, "{error}");
                    say("in use");
                }
            }
        }
        other => panic!("no role {other}"),
    }
}

/// A link whose producer has published ten fragments and was then killed.
fn dead_link() -> TestFolder {
    let folder = TestFolder::new();
    Child::start_ready("producer of ten", &folder).kill();
    folder
}

#[track_caller]
fn first_of_new_producer(error: TangoError) -> u64 {
    match error {
        TangoError::ProducerReplaced { first } => first,
        other => panic!("{other:?}"),
    }
}

/// Reads fragments `from..to`. Returns where new producers began, as far as the reader was told.
fn read(rx: &mut Consumer<'_>, from: u64, to: u64) -> Vec<u64> {
    let mut reported = Vec::new();
    let mut next = from;
    while next < to {
        match rx.wait() {
            Ok(Some(fragment)) => {
                assert_is(&fragment, next, MTU);
                next += 1;
            }
            Err(TangoError::ProducerReplaced { first }) => reported.push(first),
            // Between the death of a producer and the arrival of the next one.
            Err(TangoError::ProducerGone) => std::thread::yield_now(),
            other => panic!("at {next}: {other:?}"),
        }
    }
    reported
}

#[test]
fn readers_stay_attached_and_lose_nothing() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer of ten", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer_from(Start::Oldest).unwrap();
        let mut ob = link.observer_from(Start::Oldest).unwrap();
        assert!(read(&mut rx, 1, 4).is_empty());
        child.kill();

        let error = builder(folder.path()).create("quotes").unwrap_err();
        assert_eq!(
            error.kind(),
            LinkErrorKind::InUse,
            "a living consumer must not be left on a replaced link"
        );
        let holder =
            format!("link quotes is in use by the consumer in slot 0 (rx.0, process {}", std::process::id());
        assert!(error.to_string().starts_with(&holder), "{error}");

        let tx = taken_over(folder.path()).producer().unwrap();
        assert_eq!((tx.next_seq(), tx.consumers()), (11, 1));
        let mut sent = 10;
        while publish(&tx, MTU).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 3 + DEPTH, "unread fragments still hold credits");
        let mut reported = read(&mut rx, 4, sent + 1);
        reported.extend(rx.poll().err().map(first_of_new_producer));
        assert_eq!(reported, [11], "reported at the latest when everything is read");
        assert_eq!(
            ob.poll().unwrap_err(),
            TangoError::Overrun { lost: sent - DEPTH, next: sent + 1 - DEPTH }
        );
        let mut reported = read(&mut ob, sent + 1 - DEPTH, sent + 1);
        reported.extend(ob.poll().err().map(first_of_new_producer));
        assert_eq!(reported, [11]);
        assert!(rx.poll().unwrap().is_none() && ob.poll().unwrap().is_none(), "reported once");
    });
}

#[test]
fn a_missing_link_is_created() {
    let folder = TestFolder::new();
    let link = builder(folder.path()).start(77).create_or_take_over("quotes").unwrap();
    assert_eq!(link.producer().unwrap().next_seq(), 77);
    // After an orderly end, the link continues, even when another start is asked for.
    publish(&link.producer().unwrap(), MTU).unwrap();
    drop(link);
    let link = taken_over(folder.path());
    assert_eq!(link.geometry().start, 77);
    let mut rx = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(link.producer().unwrap().next_seq(), 78);
    assert_is(&rx.poll().unwrap().unwrap(), 77, MTU);
}

#[test]
fn a_takeover_reserves_the_producer_until_the_link_is_dropped() {
    in_time(|| {
        let folder = dead_link();
        let link = taken_over(folder.path());
        let other = Link::open_in(folder.path(), "quotes").unwrap();
        assert_eq!(other.producer().unwrap_err().kind(), LinkErrorKind::Taken);
        assert_eq!(builder(folder.path()).create("quotes").unwrap_err().kind(), LinkErrorKind::InUse);
        drop(link);
        assert_eq!(other.producer().unwrap().next_seq(), 11);
    });
}

#[test]
fn the_error_for_a_link_in_use_names_its_holders() {
    in_time(|| {
        let folder = TestFolder::new();
        let producer = Child::start_ready("producer of ten", &folder);
        let consumers = [Child::start_ready("consumer", &folder), Child::start_ready("consumer", &folder)];
        let holders = format!(
            "its producer (tx, process {}), the consumer in slot 0 (rx.0, process {}) and the consumer in slot 1 (rx.1, process {})",
            producer.id(),
            consumers[0].id(),
            consumers[1].id()
        );
        for refused in [
            builder(folder.path()).create("quotes").unwrap_err(),
            taken_over_error(folder.path()),
            Link::remove_dead(folder.path(), "quotes").unwrap_err(),
        ] {
            assert_eq!(refused.kind(), LinkErrorKind::InUse);
            assert_eq!(refused.to_string(), format!("link quotes is in use by {holders}"));
        }
        let found = Link::holders(folder.path(), "quotes").unwrap();
        assert_eq!(found.to_string(), holders);
        let parties: Vec<_> = found.iter().map(|holder| holder.party).collect();
        assert_eq!(parties, [Party::Producer, Party::Consumer(0), Party::Consumer(1)]);
        producer.kill();
        let [first, second] = consumers;
        first.kill();
        let left = Link::holders(folder.path(), "quotes").unwrap();
        assert_eq!(left.iter().map(|holder| holder.party).collect::<Vec<_>>(), [Party::Consumer(1)]);
        second.kill();
        assert!(Link::holders(folder.path(), "quotes").unwrap().is_empty());
        Link::remove_dead(folder.path(), "quotes").unwrap();
        assert!(Link::holders(folder.path(), "quotes").unwrap_err().is_not_found());
        assert!(Link::remove_dead(folder.path(), "quotes").unwrap_err().is_not_found());
    });
}

/// The lock of the producer may be in the way for a moment only. Here, it is a read lock, so nobody owns it.
#[test]
fn the_error_for_a_link_in_use_never_names_nobody() {
    let folder = TestFolder::new();
    drop(taken_over(folder.path()).producer().unwrap());
    let tx = fs::File::open(folder.path().join("quotes/tx")).unwrap();
    let whole = libc::flock {
        l_type: libc::F_RDLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&tx, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    let error = taken_over_error(folder.path());
    assert_eq!(error.kind(), LinkErrorKind::InUse);
    assert_eq!(error.to_string(), "link quotes is in use by its producer (tx)");
}

fn taken_over_error(folder: &Path) -> rust_tango::LinkError {
    builder(folder).create_or_take_over("quotes").unwrap_err()
}

#[test]
fn a_link_with_other_settings_is_not_taken_over_and_they_are_named() {
    in_time(|| {
        let folder = dead_link();
        let asked = [
            (builder(folder.path()).depth(32).credits(16), "depth 16 instead of 32"),
            (builder(folder.path()).depth(32), "depth 16 instead of 32, region"),
            (builder(folder.path()).mtu(90), "MTU 300 instead of 90, region 5440 instead of 0"),
            (builder(folder.path()).region(4096), "region 5440 instead of 4096"),
            (builder(folder.path()).slot(256), "slot 128 instead of 256"),
            (builder(folder.path()).consumers(3), "consumers 2 instead of 3"),
            (builder(folder.path()).credits(4), "credits 16 instead of 4"),
            (builder(folder.path()).observers(false), "with observers instead of without observers"),
            (builder(folder.path()).mode(0o640), "mode 600 instead of 640"),
        ];
        for (builder, difference) in asked {
            let error = builder.create_or_take_over("quotes").expect_err(difference);
            assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{error}");
            assert!(error.to_string().contains(difference), "{difference}: {error}");
            assert!(Link::holders(folder.path(), "quotes").unwrap().is_empty(), "no lock may be left");
        }
        // A mode that somebody has changed by hand differs from the settings, too.
        fs::set_permissions(folder.path().join("quotes/tx"), Permissions::from_mode(0o640)).unwrap();
        assert!(taken_over_error(folder.path()).to_string().contains("mode 640 instead of 600"));
        fs::set_permissions(folder.path().join("quotes/tx"), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(taken_over(folder.path()).producer().unwrap().next_seq(), 11);
    });
}

#[test]
fn a_stopped_link_has_ended_for_good() {
    in_time(|| {
        let folder = dead_link();
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let rx = link.consumer().unwrap();
        link.stop().unwrap();
        let error = taken_over_error(folder.path());
        assert!(error.kind() == LinkErrorKind::InUse && error.to_string().contains("slot 0"), "{error}");
        drop(rx);
        let tx = builder(folder.path()).depth(64).create_or_take_over("quotes").unwrap().producer().unwrap();
        assert_eq!(publish(&tx, MTU).unwrap().seq, 1);
    });
}

#[test]
fn a_broken_link_is_replaced_and_not_taken_over() {
    in_time(|| {
        let break_it: [fn(&Path); 3] = [
            |link| {
                let tx = OpenOptions::new().write(true).open(link.join("tx")).unwrap();
                tx.write_all_at(&[0xff; 8], 8).unwrap(); // the version
            },
            |link| fs::remove_file(link.join("rx.1")).unwrap(),
            |link| OpenOptions::new().write(true).open(link.join("ctl")).unwrap().set_len(0).unwrap(),
        ];
        for break_it in break_it {
            let folder = dead_link();
            break_it(&folder.path().join("quotes"));
            let error = taken_over_error(folder.path());
            let expected = [LinkErrorKind::Incompatible, LinkErrorKind::Damaged];
            assert!(expected.contains(&error.kind()), "{error}");
            assert!(Link::holders(folder.path(), "quotes").unwrap().is_empty());
            assert_eq!(builder(folder.path()).create("quotes").unwrap().status().next, 1);
        }
    });
}

#[test]
fn one_of_many_simultaneous_takeovers_succeeds() {
    in_time(|| {
        for _ in 0..10 {
            let folder = dead_link();
            let mut takers: Vec<Child> = (0..4).map(|_| Child::start_ready("one of many", &folder)).collect();
            fs::write(folder.path().join("go"), "").unwrap();
            let mut answers: Vec<String> = takers.iter_mut().map(Child::hear).collect();
            answers.sort();
            assert_eq!(answers, ["in use", "in use", "in use", "taken at 11"]);
        }
    });
}

/// One producer after the other is killed while it publishes, each at another point, and replaced. A consumer
/// that stays attached gets every number once, and learns where new producers began. It may miss some of
/// those, but not the last.
#[test]
fn producers_killed_one_after_the_other_leave_no_gap() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start("producer without end", &folder);
        assert_eq!(child.hear(), "1");
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap(); // the producer has waited for no consumer so far
        let mut next = rx.next_seq();
        let (mut firsts, mut reported) = (Vec::new(), Vec::new());
        for round in 0..20 {
            let to = next + 50 + 7 * round;
            reported.extend(read(&mut rx, next, to));
            next = to;
            child.kill();
            child = Child::start("producer without end", &folder);
            let first: u64 = child.hear().parse().unwrap();
            assert!(first >= next && first <= next + DEPTH, "{first}, read up to {next}");
            firsts.push(first);
        }
        child.kill();
        loop {
            match rx.wait() {
                Ok(fragment) => {
                    assert_is(&fragment.expect("it was not closed"), next, MTU);
                    next += 1;
                }
                Err(TangoError::ProducerReplaced { first }) => reported.push(first),
                Err(error) => break assert_eq!(error, TangoError::ProducerGone),
            }
        }
        assert_eq!(
            taken_over(folder.path()).producer().unwrap().next_seq(),
            next,
            "everything must have been read"
        );
        assert_eq!(reported.last(), firsts.last());
        let mut all = firsts.iter();
        assert!(reported.iter().all(|first| all.any(|other| other == first)), "{reported:?} of {firsts:?}");
    });
}

/// One party joins a dead link, and another removes or replaces it at the same moment. One of them succeeds
/// and the other gets an error. Nobody ends up on a link that nobody else can find.
#[test]
fn nobody_joins_a_link_that_is_removed() {
    in_time(|| {
        let folder = TestFolder::new();
        let (mut joined, mut removed) = (0, 0);
        for round in 0..400 {
            builder(folder.path()).create("quotes").unwrap();
            let link = Link::open_in(folder.path(), "quotes").unwrap();
            let both = Barrier::new(2);
            let (join, remove) = std::thread::scope(|scope| {
                let join = scope.spawn(|| {
                    both.wait();
                    match round % 2 {
                        0 => link.producer().map(|tx| (Some(tx), None)),
                        _ => link.consumer().map(|rx| (None, Some(rx))),
                    }
                });
                both.wait();
                let remove = match round % 4 {
                    0 | 1 => Link::remove_dead(folder.path(), "quotes"),
                    _ => builder(folder.path()).create("quotes").map(drop),
                };
                (join.join().unwrap(), remove)
            });
            match (&join, &remove) {
                (Ok(_), Err(error)) => {
                    assert_eq!(error.kind(), LinkErrorKind::InUse, "{error}");
                    joined += 1;
                }
                (Err(error), Ok(())) => {
                    let expected = [LinkErrorKind::Taken, LinkErrorKind::NotFound];
                    assert!(expected.contains(&error.kind()), "{error}");
                    removed += 1;
                }
                both => panic!("round {round}: {both:?}"),
            }
        }
        assert!(joined > 0 && removed > 0, "each must come first now and then: {joined}, {removed}");
    });
}

/// A call of `create` or `remove_dead` that is refused because the link is in use is in nobody's way: free
/// parts of the link can be claimed at any moment.
#[test]
fn a_refusal_does_not_disturb_joiners() {
    in_time(|| {
        let folder = TestFolder::new();
        let make = || Link::builder().depth(8).mtu(64).consumers(2).dir(folder.path()).create("quotes");
        let link = make().unwrap();
        let _user = link.consumer().unwrap();
        drop(link.producer().unwrap());
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..150 {
                    assert_eq!(make().unwrap_err().kind(), LinkErrorKind::InUse);
                    let refused = Link::remove_dead(folder.path(), "quotes").unwrap_err();
                    assert_eq!(refused.kind(), LinkErrorKind::InUse);
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let joined = link.consumer().map(drop).and_then(|()| link.producer().map(drop));
                if let Err(error) = joined {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("{error}");
                }
            }
        });
    });
}
