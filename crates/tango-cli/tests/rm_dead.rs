//! `tango rm --dead` takes away every link that nobody holds, and no other.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Place, Running, wait_until};
use nix::sys::signal::Signal;

/// A sender that waits for a receiver, and does not take its link away when it is killed.
fn sender(place: &Place, link: &str) -> Running {
    let sender = place.start(&format!("send {link}"));
    place.await_status(link, |status| status.producer);
    sender
}

/// A link whose producer was killed, with nobody on it.
fn dead(place: &Place, link: &str) {
    let sender = sender(place, link);
    sender.signal(Signal::SIGKILL);
    sender.end_by_itself();
}

fn removed(place: &Place) -> String {
    let ended = place.run("rm --dead");
    ended.assert_ok();
    String::from_utf8(ended.out).unwrap()
}

#[test]
fn dead_links_go_and_live_ones_stay() {
    let place = Place::new();
    for link in ["b", "a", "d.1"] {
        dead(&place, link);
    }
    // One that is stopped (SIGSTOP) lives; so does one whose consumer alone is left.
    let stopped = sender(&place, "stopped");
    stopped.signal(Signal::SIGSTOP);
    let mut producer = sender(&place, "read");
    let consumer = place.start("recv read");
    producer.write(b"part");
    consumer.await_output(4);
    consumer.signal(Signal::SIGSTOP);
    producer.signal(Signal::SIGKILL);
    producer.end_by_itself();

    assert_eq!(removed(&place), "removed a\nremoved b\nremoved d.1\n");
    assert_eq!(place.list(), ["read", "stopped"]);
    let text = removed(&place);
    assert!(text.contains("no dead links") && text.lines().count() == 1, "{text}");

    consumer.signal(Signal::SIGCONT);
    consumer.end().assert_failed(1, &["link read", "died"]);
    stopped.signal(Signal::SIGKILL);
    stopped.end_by_itself();
    assert_eq!(removed(&place), "removed read\nremoved stopped\n");
    assert!(place.list().is_empty());
}

#[test]
fn without_a_folder_there_is_nothing_to_do() {
    let place = Place::new();
    assert!(removed(&place).contains("no dead links"));
    assert!(!place.links().exists());
}

#[test]
fn broken_ones_go_and_strangers_stay() {
    let place = Place::new();
    dead(&place, "sound");
    let links = place.links();
    let folder = |name: &str, files: &[&str]| {
        fs::create_dir(links.join(name)).unwrap();
        for file in files {
            fs::write(links.join(name).join(file), "anything").unwrap();
        }
    };
    folder("cut", &["tx", "rx.0", "tx.0"]);
    folder("letters", &["tx", "letter"]);
    folder("empty", &[]);
    folder(".new-1-1", &["tx"]);
    folder(".old-1-1", &["rx.3"]);
    symlink("/nowhere", links.join("cut/rx.1")).unwrap();
    symlink("sound", links.join("alias")).unwrap();
    fs::write(links.join("file"), "").unwrap();

    let ended = place.run("rm --dead");
    ended.assert_failed(1, &["letters", "letter"]);
    assert_eq!(String::from_utf8(ended.out).unwrap(), "removed cut\nremoved sound\n");
    let mut left: Vec<_> = fs::read_dir(&links)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, [".lock", "alias", "empty", "file", "letters"]);
    assert_eq!(fs::read(links.join("letters/letter")).unwrap(), b"anything");
}

/// What a link of the name is held by does not depend on what is in its files.
#[test]
fn a_broken_one_that_is_held_stays() {
    let place = Place::new();
    let sender = sender(&place, "x");
    fs::remove_file(place.links().join("x/ctl")).unwrap();
    assert!(removed(&place).contains("no dead links"));
    assert_eq!(place.list(), ["x"]);
    drop(sender);
    assert_eq!(removed(&place), "removed x\n");
}

/// Two that clear up and senders that come and are killed, all at once: no link is removed that is in use,
/// each dead one goes once, and nobody fails.
#[test]
fn clearing_races_with_making_and_dying() {
    let place = Place::new();
    let mut live = sender(&place, "live");
    let done = AtomicBool::new(false);
    let named = thread::scope(|scope| {
        let clear = || {
            let mut named = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let text = removed(&place);
                named.extend(text.lines().filter_map(|line| line.strip_prefix("removed ")).map(String::from));
                assert!(place.list().contains(&"live".to_owned()));
            }
            named
        };
        let clearing = [scope.spawn(clear), scope.spawn(clear)];
        for round in 0..40 {
            dead(&place, &format!("x{round}"));
        }
        wait_until("all dead links are gone", || place.list() == ["live"]);
        done.store(true, Ordering::Relaxed);
        clearing.map(|thread| thread.join().unwrap()).concat()
    });
    let mut once = named.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((named.len(), once.len()), (40, 40), "{named:?}");
    live.write(b"still here");
    let receiver = place.start("recv live");
    receiver.await_output(10);
    live.end().assert_ok();
    receiver.end().assert_ok();
}
