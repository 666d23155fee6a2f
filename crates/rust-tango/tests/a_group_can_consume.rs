//! A maker can let the members of a group be reliable consumers: they get every fragment, by copy, and each
//! writes only the file of its slot. Other users stay out, and a hostile member cannot make others accept
//! anything that the producer has not published.
//!
//! Needs root, to become other users. Without it, the tests report that they are skipped.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::hostile::{CONSUMER, CONSUMER_WORDS, hostile_value};
use common::process::{Child, TestFolder, is_told, maps_hot_slot_writable, maps_writable, role, say, skip};
use common::users::{GROUP, HOSTILE, MEMBER, OWNER, STRANGER, become_user};
use common::{Random, assert_is, assert_whole, in_time, payload, publish, sig};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};
use rust_tango::{Link, LinkBuilder, LinkErrorKind, Start, TangoError};

const MTU: usize = 300;
/// How many fragments a stream has. The ring has 8 slots.
const STREAM: u64 = 5_000;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(3).dir(folder.join("base"))
}

fn open(folder: &Path) -> Link {
    Link::open_in(folder.join("base"), "quotes").unwrap()
}

/// The roles of the child processes: `USER ACT`.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let (user, act) = role.split_once(' ').unwrap();
    become_user(user.parse().unwrap());
    umask(Mode::from_bits_truncate(0o077));
    match act {
        "publishes" => {
            let tx = builder(&folder).consumer_group(GROUP).create("quotes").unwrap().producer().unwrap();
            say("ready");
            assert!(tx.wait_for_consumers(2, Some(common::PATIENCE)));
            for _ in 0..STREAM {
                common::publish_blocking(&tx, MTU);
            }
        }
        // Whoever holds it back: what it publishes has the right content.
        "publishes what it can" => {
            let tx = builder(&folder).consumer_group(GROUP).create("quotes").unwrap().producer().unwrap();
            say("ready");
            while !is_told("end") {
                let seq = tx.next_seq();
                let wait = Duration::from_millis(1);
                let (bytes, tag) = (payload(seq, MTU), sig(seq));
                match tx.publish_timeout(&bytes, tag, tag as u16, seq as u32, wait) {
                    Ok(_) | Err(TangoError::NoCredits) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        "consumes" => {
            let link = open(&folder);
            link.check_trust().unwrap();
            let mut rx = link.consumer_from(Start::At(1)).unwrap();
            let is_owner = Uid::effective().as_raw() == OWNER;
            assert_eq!(
                maps_writable("/quotes/tx"),
                is_owner && maps_hot_slot_writable(),
                "the page of the hot slot"
            );
            for seq in 1..=STREAM {
                assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
            }
            assert!(rx.wait().unwrap().is_none());
        }
        "consumes what it gets" => {
            let link = open(&folder);
            let (mut rx, mut got) = (link.consumer().unwrap(), 0);
            say("ready");
            while !is_told("end") {
                match rx.wait_timeout(Duration::from_millis(1)) {
                    Ok(Some(fragment)) => {
                        assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
                        got += 1;
                    }
                    Ok(None) | Err(TangoError::Overrun { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            say(got);
        }
        "writes into files of consumers" => {
            let path = folder.join("base/quotes");
            for file in ["tx", "ctl"] {
                assert!(OpenOptions::new().write(true).open(path.join(file)).is_err(), "{file}");
            }
            let file = |slot| OpenOptions::new().write(true).open(path.join(format!("rx.{slot}"))).unwrap();
            let files: Vec<_> = (0..3).map(file).collect();
            let mut random = Random::new(u64::from(std::process::id()));
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {
                let at = CONSUMER + random.below(CONSUMER_WORDS);
                let word = hostile_value(&mut random);
                files[random.below(3) as usize].write_at(&word.to_ne_bytes(), 8 * at).unwrap();
            }
        }
        "is refused" => {
            let link = open(&folder);
            for error in [link.producer().unwrap_err(), link.stop().unwrap_err()] {
                assert_eq!(error.kind(), LinkErrorKind::System, "{error}");
            }
            assert!(link.remove().is_err());
            assert!(builder(&folder).create("mine").is_err());
        }
        "cannot give" => {
            let base = folder.join("own");
            fs::create_dir(&base).unwrap();
            fs::set_permissions(&base, Permissions::from_mode(0o755)).unwrap();
            let error = builder(&folder).dir(&base).consumer_group(GROUP).create("quotes").unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::System);
            let message = error.to_string();
            assert!(message.contains("group 61500") && message.contains("only its members"), "{message}");
            assert_eq!(common::process::entries(&base), Vec::<String>::new());
        }
        "is kept out" => {
            assert!(Link::open_in(folder.join("base"), "quotes").is_err());
        }
        other => panic!("no role {other:?}"),
    }
    say("done");
}

/// A folder of links of `OWNER` that the group can enter.
fn shared_folder() -> (TestFolder, PathBuf) {
    let folder = TestFolder::new();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    chown(&base, Some(OWNER), Some(GROUP)).unwrap();
    fs::set_permissions(&base, Permissions::from_mode(0o2750)).unwrap();
    (folder, base)
}

fn as_root(test: fn()) {
    if Uid::effective().is_root() {
        in_time(test);
    } else {
        skip("only root can become other users");
    }
}

#[test]
fn members_get_every_fragment_and_so_does_the_maker() {
    as_root(|| {
        let (folder, base) = shared_folder();
        let maker = Child::start_ready(&format!("{OWNER} publishes"), &folder);
        let of = |path: &str| {
            let found = fs::metadata(base.join(path)).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o777)
        };
        assert_eq!(of("quotes"), (OWNER, GROUP, 0o750));
        for (file, mode) in [("tx", 0o640), ("ctl", 0o640), ("rx.0", 0o660), ("rx.2", 0o660)] {
            assert_eq!(of(&format!("quotes/{file}")), (OWNER, GROUP, mode), "{file}");
        }
        Child::start(&format!("{MEMBER} is refused"), &folder).succeeds();
        let members = [MEMBER, OWNER].map(|user| Child::start(&format!("{user} consumes"), &folder));
        members.into_iter().for_each(Child::succeeds);
        maker.succeeds();
    });
}

#[test]
fn a_hostile_member_can_disturb_and_nothing_else() {
    as_root(|| {
        let (folder, _) = shared_folder();
        let mut maker = Child::start_ready(&format!("{OWNER} publishes what it can"), &folder);
        let mut victims =
            [MEMBER, OWNER].map(|user| Child::start_ready(&format!("{user} consumes what it gets"), &folder));
        Child::start(&format!("{HOSTILE} writes into files of consumers"), &folder).succeeds();
        for victim in &mut victims {
            victim.tell("end");
            let got: u64 = victim.hear().parse().unwrap();
            assert!(got > 0);
        }
        maker.tell("end");
        victims.into_iter().for_each(Child::succeeds);
        maker.succeeds();
    });
}

#[test]
fn other_users_stay_out() {
    as_root(|| {
        let (folder, base) = shared_folder();
        let maker = Child::start_ready(&format!("{OWNER} publishes what it can"), &folder);
        Child::start(&format!("{STRANGER} is kept out"), &folder).succeeds();
        fs::set_permissions(&base, Permissions::from_mode(0o2751)).unwrap();
        Child::start(&format!("{STRANGER} is kept out"), &folder).succeeds();
        Child::start(&format!("{STRANGER} cannot give"), &folder).succeeds();
        drop(maker);
    });
}

#[test]
fn what_cannot_work_is_an_error_of_create() {
    let folder = TestFolder::new();
    let group = Gid::effective().as_raw();
    let builder = builder(folder.path()).consumer_group(group);
    let error = builder.clone().create("quotes").unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Invalid);
    let (message, base) = (error.to_string(), folder.path().join("base"));
    for part in [&format!("group {group} cannot enter"), base.to_str().unwrap(), "install -d -m 2750"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    fs::set_permissions(&base, Permissions::from_mode(0o750)).unwrap();
    let error = builder.clone().observers(false).create("quotes").unwrap_err();
    assert!(error.kind() == LinkErrorKind::Invalid && error.to_string().contains("observers"), "{error}");
    // A link is taken over only with the group that it has.
    drop(builder.clone().create("quotes").unwrap());
    drop(builder.clone().create_or_take_over("quotes").unwrap());
    let other = Link::builder().depth(8).mtu(MTU).consumers(3).dir(&base).mode(0o640);
    let error = other.create_or_take_over("quotes").unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Incompatible);
    assert!(error.to_string().contains(&format!("consumer group {group} instead of none")), "{error}");
}

/// It takes a slot and holds the producer back like any consumer, and is never evicted.
#[test]
fn a_consumer_by_copy_is_reliable() {
    let folder = TestFolder::new();
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, Permissions::from_mode(0o750)).unwrap();
    let link = builder(folder.path()).consumer_group(Gid::effective().as_raw()).create("quotes").unwrap();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = open(folder.path()).consumer().unwrap();
    for _ in 0..8 {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    assert!(!link.status().consumers[0].evictable);
    for seq in 1..=8 {
        let fragment = rx.poll().unwrap().unwrap();
        assert_is(&fragment, seq, MTU);
        // The credit is returned with the copy, so the payload may be kept.
        publish(&tx, MTU).unwrap();
        assert_is(&fragment, seq, MTU);
    }
}
