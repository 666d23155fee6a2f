//! A command that waits for another process says so once, on standard error: soon on a terminal, after a while
//! elsewhere. A receiver also says where it looks for the link, and what may be wrong.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Running, TestFolder, wait_until};
use nix::pty::openpty;
use nix::unistd::Uid;

/// Starts `tango` with a terminal as its standard error. Returns what it has written there so far.
fn start_on_terminal(folder: &TestFolder, arguments: &str) -> (Running, Arc<Mutex<String>>) {
    let terminal = openpty(None, None).unwrap();
    let running = folder.start_with_stderr(arguments, Stdio::from(terminal.slave));
    let text = Arc::new(Mutex::new(String::new()));
    let shown = text.clone();
    thread::spawn(move || {
        let (mut screen, mut piece) = (File::from(terminal.master), [0; 4096]);
        while let Ok(len) = screen.read(&mut piece) {
            shown.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..len]));
        }
    });
    (running, text)
}

#[track_caller]
fn await_text(text: &Mutex<String>, parts: &[&str]) {
    wait_until(&format!("{parts:?}"), || {
        let text = text.lock().unwrap();
        parts.iter().all(|part| text.contains(part))
    });
}

#[test]
fn a_receiver_on_a_terminal() {
    let folder = TestFolder::new();
    let sender = folder.start("send quotes");
    folder.await_status("quotes", |status| status.producer);
    let links = folder.links().display().to_string();
    let (receiver, text) = start_on_terminal(&folder, "recv qoutes");
    await_text(
        &text,
        &["waiting for link qoutes in ", &links, "(TANGO_DIR)", "similar names are there: quotes"],
    );
    // It says so once.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(text.lock().unwrap().matches("waiting").count(), 1);
    drop((sender, receiver));
}

#[test]
fn a_sender_on_a_terminal() {
    let folder = TestFolder::new();
    let (sender, text) = start_on_terminal(&folder, "send quotes --wait-for 2");
    await_text(&text, &["waiting for 2 receivers of link quotes", "tango recv quotes"]);
    drop(sender);
}

#[test]
fn a_folder_that_does_not_exist() {
    let folder = TestFolder::new();
    let nowhere = folder.links().join("nowhere").display().to_string();
    let (receiver, text) = start_on_terminal(&folder, &format!("recv x --dir {nowhere}"));
    await_text(&text, &[&nowhere, "(--dir)", "there is no such folder"]);
    drop(receiver);
}

/// A link in the default folder of some other user.
#[test]
fn folders_of_other_users() {
    if !Uid::effective().is_root() {
        println!("skipped: only root can make the folder of another user");
        assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none());
        return;
    }
    struct Deleted(String);
    impl Drop for Deleted {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
    // No user has a number like this one.
    let other = Deleted(format!("/dev/shm/tango-39{:08}", std::process::id()));
    fs::create_dir(&other.0).unwrap();
    let folder = TestFolder::new();
    let (receiver, text) = start_on_terminal(&folder, "recv quotes");
    await_text(&text, &["waiting for link quotes", "other folders of links", &other.0]);
    drop(receiver);
    fs::create_dir(format!("{}/quotes", other.0)).unwrap();
    let (receiver, text) = start_on_terminal(&folder, "recv quotes");
    await_text(&text, &[&format!("a link quotes is in {}", other.0), "--dir"]);
    drop(receiver);
}

/// Whoever reads a log file finds the same there, later.
#[test]
fn without_a_terminal() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv nobody-sends");
    let sender = folder.start("send nobody-receives");
    wait_until("what both wait for", || {
        receiver.stderr().contains("tango: waiting for link nobody-sends in ")
            && sender.stderr().contains("tango: waiting for a receiver of link nobody-receives in ")
    });
    drop((receiver, sender));
}
