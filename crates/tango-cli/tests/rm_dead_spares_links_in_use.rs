//! `tango rm --dead` removes every link that no process uses, and no other.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{TestFolder, wait_until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use rust_tango::Link;

/// Runs `tango rm --dead`, which must succeed, and returns its output.
fn rm_dead(folder: &TestFolder) -> String {
    let exited = folder.run("rm --dead");
    exited.assert_ok();
    String::from_utf8(exited.out).unwrap()
}

#[test]
fn only_dead_links_are_removed() {
    let folder = TestFolder::new();
    for link in ["b", "a", "d.1"] {
        folder.leave_dead_link(link);
    }
    // A process stopped by SIGSTOP still uses its link, and a consumer alone is enough to use it.
    let stopped = folder.start_sender("stopped");
    stopped.signal(Signal::SIGSTOP);
    let mut producer = folder.start_sender("read");
    let consumer = folder.start("recv read");
    producer.write(b"part");
    consumer.await_output(4);
    consumer.signal(Signal::SIGSTOP);
    producer.signal(Signal::SIGKILL);
    producer.wait();

    assert_eq!(rm_dead(&folder), "removed a\nremoved b\nremoved d.1\n");
    assert_eq!(folder.list(), ["read", "stopped"]);
    let text = rm_dead(&folder);
    assert!(text.contains("no dead links") && text.lines().count() == 1, "{text}");

    consumer.signal(Signal::SIGCONT);
    consumer.finish().assert_failed(1, &["link read", "died"]);
    stopped.signal(Signal::SIGKILL);
    stopped.wait();
    assert_eq!(rm_dead(&folder), "removed read\nremoved stopped\n");
    assert!(folder.list().is_empty());
}

#[test]
fn a_missing_folder_is_not_an_error() {
    let folder = TestFolder::new();
    assert!(rm_dead(&folder).contains("no dead links"));
    assert!(!folder.links().exists());
}

#[test]
fn broken_links_are_removed_and_other_files_stay() {
    let folder = TestFolder::new();
    folder.leave_dead_link("sound");
    let links = folder.links();
    let create = |name: &str, files: &[&str]| {
        fs::create_dir(links.join(name)).unwrap();
        for file in files {
            fs::write(links.join(name).join(file), "anything").unwrap();
        }
    };
    create("cut", &["tx", "rx.0", "tx.0"]);
    create("letters", &["tx", "letter"]);
    create("empty", &[]);
    create(".new-1-1", &["tx"]);
    create(".old-1-1", &["rx.3"]);
    symlink("/nowhere", links.join("cut/rx.1")).unwrap();
    symlink("sound", links.join("alias")).unwrap();
    fs::write(links.join("file"), "").unwrap();

    let exited = folder.run("rm --dead");
    exited.assert_failed(1, &["letters", "letter"]);
    assert_eq!(String::from_utf8(exited.out).unwrap(), "removed cut\nremoved sound\n");
    let mut left: Vec<_> = fs::read_dir(&links)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, [".lock", "alias", "empty", "file", "letters"]);
    assert_eq!(fs::read(links.join("letters/letter")).unwrap(), b"anything");
}

/// Whether a link is in use does not depend on the content of its files.
#[test]
fn a_broken_link_in_use_stays() {
    let folder = TestFolder::new();
    let sender = folder.start_sender("x");
    fs::remove_file(folder.links().join("x/ctl")).unwrap();
    assert!(rm_dead(&folder).contains("no dead links"));
    assert_eq!(folder.list(), ["x"]);
    drop(sender);
    assert_eq!(rm_dead(&folder), "removed x\n");
}

/// Two processes remove dead links while senders start and are killed: no link in use is removed, each dead
/// link is removed once, and no command fails.
#[test]
fn rm_dead_can_race_with_starting_and_dying_senders() {
    let folder = TestFolder::new();
    let mut live = folder.start_sender("live");
    let done = AtomicBool::new(false);
    let removed = thread::scope(|scope| {
        let remove_dead_links = || {
            let mut removed = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let text = rm_dead(&folder);
                removed
                    .extend(text.lines().filter_map(|line| line.strip_prefix("removed ")).map(String::from));
                assert!(folder.list().contains(&"live".to_owned()));
            }
            removed
        };
        let threads = [scope.spawn(remove_dead_links), scope.spawn(remove_dead_links)];
        for round in 0..40 {
            folder.leave_dead_link(&format!("x{round}"));
        }
        wait_until("all dead links are gone", || folder.list() == ["live"]);
        done.store(true, Ordering::Relaxed);
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    let mut once = removed.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((removed.len(), once.len()), (40, 40), "{removed:?}");
    live.write(b"still here");
    let receiver = folder.start("recv live");
    receiver.await_output(10);
    live.finish().assert_ok();
    receiver.finish().assert_ok();
}

/// If the command is interrupted, or cannot go on, its output says what it has removed. Here it cannot print,
/// because nobody reads its output.
#[test]
fn each_name_is_printed_when_its_link_has_been_removed() {
    const LINKS: usize = 60;
    let folder = TestFolder::new();
    let name = |n: usize| format!("{n:03}-{}", "x".repeat(190));
    for n in 0..LINKS {
        drop(Link::builder().depth(2).mtu(8).dir(folder.links()).create(&name(n)).unwrap());
    }
    let (mut output, write_end) = std::io::pipe().unwrap();
    // Holds 20 of the names.
    fcntl(&write_end, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let remover = folder.start_with("rm --dead", Stdio::null(), Some(write_end.into()));
    wait_until("some links are removed", || folder.list().len() < LINKS - 15);
    remover.signal(Signal::SIGINT);
    assert_eq!(remover.wait().code(), -2);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let printed = text.lines().filter(|line| line.starts_with("removed ")).count();
    let removed = LINKS - folder.list().len();
    // It was interrupted in front of the name of the last one, or while it removed the next.
    assert!((printed..=printed + 1).contains(&removed), "{printed} of {removed}");
}

/// As if another process were stopped while it removes a link. The command waits once, and not for each link.
#[test]
fn a_locked_folder_is_reported_once() {
    let folder = TestFolder::new();
    for link in ["a", "b", "c"] {
        folder.leave_dead_link(link);
    }
    let _live = folder.start_sender("live");
    let lock = folder.lock_links();
    folder.run("rm --dead").assert_failed(1, &[".lock", &format!("process {} has held", std::process::id())]);
    drop(lock);
    assert_eq!(rm_dead(&folder), "removed a\nremoved b\nremoved c\n");
}
