//! A link whose name is lost ends. Its producer gets `Closed`, its readers drain it and find it closed, and each
//! status says why. What only looks like a lost name changes nothing.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::env::set_current_dir;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::process::{Child, TestFolder, die_with_parent, is_told, role, say, skip};
use common::{PATIENCE, in_time};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rust_tango::{Consumer, Link, LinkBuilder, LinkErrorKind, TangoError};

/// Longer than the time between two checks of a name.
const LONG: Duration = Duration::from_millis(2_500);

fn builder(base: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(64).consumers(2).dir(base)
}

/// Makes the folder of links of a test, below a folder that stays where it is.
fn base_in(folder: &TestFolder) -> std::path::PathBuf {
    folder.path().join("links")
}

/// Publishes until the link is closed, and reports what the status of the link is then.
fn publish_until_closed(link: &Link, tx: &rust_tango::Producer<'_>) {
    let begin = Instant::now();
    loop {
        match tx.publish_timeout(b"on", 0, 0, 0, Duration::from_millis(50)) {
            Err(TangoError::Closed) => break,
            Ok(_) | Err(TangoError::NoCredits) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < PATIENCE, "the producer is not told");
    }
    let status = link.status();
    say(format!("stopped {} name lost {}", status.stopped, status.name_lost));
}

/// Private mounts for this thread, and for those that it starts.
fn private_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

fn cover(path: &Path) {
    mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    die_with_parent();
    let base = folder.join("links");
    if role == "in private mounts" {
        private_mounts();
    }
    let link = match role.as_str() {
        "second" => builder(&base).create_or_take_over("quotes").unwrap(),
        "named by a relative path" => {
            set_current_dir(&folder).unwrap();
            builder(Path::new("links")).create("quotes").unwrap()
        }
        _ => builder(&base).create("quotes").unwrap(),
    };
    if role == "reserved" {
        say("ready");
        while !link.status().stopped {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let tx = link.producer().unwrap();
    match role.as_str() {
        "named by a relative path" => set_current_dir("/").unwrap(),
        "in another root" => std::os::unix::fs::chroot(folder.join("root")).unwrap(),
        "without permission" => {
            let nobody = 65534;
            setresgid(Gid::from_raw(nobody), Gid::from_raw(nobody), Gid::from_raw(nobody)).unwrap();
            setresuid(Uid::from_raw(nobody), Uid::from_raw(nobody), Uid::from_raw(nobody)).unwrap();
            die_with_parent(); // lost with the user
        }
        // No path and no open file can be examined.
        "without the right to ask" => {
            let calls = [libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx];
            common::kernel::forbid_in_all_threads(&calls).unwrap();
            assert!(link.is_named());
        }
        "that removes it" => {
            link.remove().unwrap();
            assert!(!link.is_named());
        }
        _ => {}
    }
    tx.wait_for_consumers(if role == "second" { 0 } else { 1 }, Some(PATIENCE));
    if role != "reserved" {
        say("ready");
    }
    if role == "in private mounts" {
        while !is_told("cover") {
            std::thread::sleep(Duration::from_millis(1));
        }
        cover(&base);
    }
    publish_until_closed(&link, &tx);
}

/// Reads until the link is closed, and returns how many fragments there were.
fn drain(rx: &mut Consumer<'_>) -> u64 {
    let mut count = 0;
    while let Some(fragment) = rx.wait().unwrap() {
        assert_eq!(fragment.payload.as_slice(), b"on");
        count += 1;
    }
    assert!(rx.is_closed());
    count
}

/// Starts the producer's process, and a reader in this one.
fn start(role: &str, folder: &TestFolder) -> (Child, Link, Consumer<'static>) {
    let owner = Child::start(role, folder);
    let link = Link::open_wait_in(base_in(folder), "quotes", Some(PATIENCE)).unwrap();
    let rx = link.consumer().unwrap();
    (owner, link, rx)
}

#[track_caller]
fn assert_ends(what: &str, mut owner: Child, link: &Link, mut rx: Consumer<'_>) {
    assert_eq!(owner.hear(), "stopped true name lost true", "{what}");
    let status = link.status();
    assert!(status.stopped && status.name_lost, "{what}: {status:?}");
    // The first fragments are all that the ring has room for: nothing of them is lost.
    let published = status.next - 1;
    assert_eq!(drain(&mut rx), published, "{what}");
    assert!(!link.is_named(), "{what}");
    owner.succeeds();
}

#[test]
fn whatever_takes_the_name_ends_the_link() {
    type Act = fn(&Path, &Path);
    let acts: [(&str, Act); 10] = [
        ("the folder is deleted", |_, link| fs::remove_dir_all(link).unwrap()),
        ("the base folder is deleted", |base, _| fs::remove_dir_all(base).unwrap()),
        ("all files are deleted", |_, link| {
            fs::read_dir(link).unwrap().for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
        }),
        ("tx is deleted", |_, link| fs::remove_file(link.join("tx")).unwrap()),
        ("ctl is deleted", |_, link| fs::remove_file(link.join("ctl")).unwrap()),
        ("rx.1 is deleted", |_, link| fs::remove_file(link.join("rx.1")).unwrap()),
        ("rx.0 is replaced", |_, link| {
            fs::copy(link.join("rx.0"), link.join("rx.0.new")).unwrap();
            fs::rename(link.join("rx.0.new"), link.join("rx.0")).unwrap();
        }),
        ("the folder is renamed", |base, link| fs::rename(link, base.join("other")).unwrap()),
        ("the base folder is renamed", |base, _| fs::rename(base, base.with_extension("old")).unwrap()),
        ("it is removed by name", |base, _| Link::remove_named(base, "quotes").unwrap()),
    ];
    in_time(move || {
        let started: Vec<_> = acts
            .iter()
            .map(|(what, act)| {
                let folder = TestFolder::new();
                let (mut owner, link, rx) = start("owner", &folder);
                assert_eq!(owner.hear(), "ready");
                assert!(link.is_named());
                act(&base_in(&folder), link.path().unwrap());
                (what, folder, owner, link, rx)
            })
            .collect();
        for (what, _folder, owner, link, rx) in started {
            assert_ends(what, owner, &link, rx);
        }
    });
}

/// Two processes publish under one name for about a second at most, and the first one is told.
#[test]
fn the_first_owner_is_told_when_another_link_gets_the_name() {
    in_time(|| {
        let folder = TestFolder::new();
        let (mut first, link, rx) = start("owner", &folder);
        assert_eq!(first.hear(), "ready");
        fs::remove_dir_all(link.path().unwrap()).unwrap();
        let mut second = Child::start_ready("second", &folder);
        let new = Link::open_in(base_in(&folder), "quotes").unwrap();
        let mut new_rx = new.consumer().unwrap();
        assert_ends("another link has the name", first, &link, rx);
        std::thread::sleep(LONG);
        assert!(new.is_named() && !new.status().stopped, "the second is not disturbed");
        assert!(new_rx.wait().unwrap().is_some());
        new.stop().unwrap();
        assert_eq!(second.hear(), "stopped true name lost false");
        second.succeeds();
        drain(&mut new_rx);
    });
}

/// No producer was taken yet: a reader waits for the first one.
#[test]
fn a_reserved_link_ends_too() {
    in_time(|| {
        let folder = TestFolder::new();
        let (mut owner, link, mut rx) = start("reserved", &folder);
        assert_eq!(owner.hear(), "ready");
        fs::remove_dir_all(link.path().unwrap()).unwrap();
        assert_eq!(drain(&mut rx), 0);
        assert!(link.status().name_lost);
        drop(rx);
        owner.kill();
    });
}

#[test]
fn a_reader_that_waits_for_a_producer_learns_that_none_can_come() {
    in_time(|| {
        let folder = TestFolder::new();
        let (mut owner, link, mut rx) = start("owner", &folder);
        assert_eq!(owner.hear(), "ready");
        owner.kill();
        while !matches!(rx.wait(), Err(TangoError::ProducerGone)) {}
        assert!(!rx.wait_for_producer(Some(Duration::from_millis(50))), "the time is up");
        assert!(link.is_named());
        let waiter = std::thread::spawn(move || rx.wait_for_producer(None));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiter.is_finished(), "a producer may come");
        fs::remove_dir_all(link.path().unwrap()).unwrap();
        assert!(!waiter.join().unwrap());
    });
}

/// The link goes on as long as other processes find it, and ends when they do not.
#[test]
fn a_process_that_sees_the_path_no_longer_keeps_its_link() {
    if !Uid::effective().is_root() {
        return skip("only root may change its root folder and its user");
    }
    in_time(|| {
        let roles = ["named by a relative path", "in another root", "without permission"];
        let started = roles.map(|role| {
            let folder = TestFolder::new();
            fs::create_dir(folder.path().join("root")).unwrap();
            let (mut owner, link, rx) = start(role, &folder);
            assert_eq!(owner.hear(), "ready");
            (role, folder, owner, link, rx)
        });
        std::thread::sleep(LONG);
        for (role, _folder, owner, link, rx) in started {
            let status = link.status();
            assert!(status.producer && !status.stopped && link.is_named(), "{role}: {status:?}");
            fs::remove_dir_all(link.path().unwrap()).unwrap();
            assert_ends(role, owner, &link, rx);
        }
    });
}

/// An error is no proof that the name is lost.
#[test]
fn a_process_that_may_not_ask_keeps_its_link() {
    in_time(|| {
        let folder = TestFolder::new();
        let (mut owner, link, mut rx) = start("without the right to ask", &folder);
        assert_eq!(owner.hear(), "ready");
        std::thread::sleep(LONG);
        let status = link.status();
        assert!(status.producer && !status.stopped, "{status:?}");
        link.stop().unwrap();
        assert_eq!(owner.hear(), "stopped true name lost false");
        owner.succeeds();
        drain(&mut rx);
    });
}

/// The mounts of a process may have changed, and only `/proc` would say so.
#[test]
fn a_link_is_named_where_proc_is_missing_and_the_path_leads_elsewhere() {
    if !Uid::effective().is_root() {
        return skip("only root may mount");
    }
    let test = "a_link_is_named_where_proc_is_missing_and_the_path_leads_elsewhere";
    let Some(folder) = in_own_process(test) else { return };
    private_mounts();
    cover(Path::new("/proc"));
    let base = folder.join("links");
    let link = builder(&base).create("quotes").unwrap();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    cover(&base);
    assert!(link.is_named());
    umount(&base).unwrap();
    fs::remove_dir_all(link.path().unwrap()).unwrap();
    assert!(!link.is_named());
}

/// A process that comes later cannot reach the link.
#[test]
fn a_mount_over_the_folder_ends_the_link() {
    if !Uid::effective().is_root() {
        return skip("only root may mount");
    }
    in_time(|| {
        let folder = TestFolder::new();
        let (mut owner, link, mut rx) = start("in private mounts", &folder);
        assert_eq!(owner.hear(), "ready");
        std::thread::sleep(LONG);
        assert!(!link.status().stopped);
        owner.tell("cover");
        assert_eq!(owner.hear(), "stopped true name lost true");
        drain(&mut rx);
        assert!(link.is_named(), "this process does not see that mount");
        owner.succeeds();
    });
}

/// A producer that removes its own link does so when all readers have attached.
#[test]
fn a_producer_that_removes_its_own_link_goes_on() {
    in_time(|| {
        let folder = TestFolder::new();
        fs::create_dir(base_in(&folder)).unwrap();
        let link = builder(&base_in(&folder)).create("quotes").unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        // Another handle of the same process is as good.
        Link::open_in(base_in(&folder), "quotes").unwrap().remove().unwrap();
        std::thread::sleep(LONG);
        tx.send(b"on").unwrap();
        let status = link.status();
        assert!(!link.is_named() && !status.stopped && !status.name_lost, "{status:?}");
        drop(tx);
        assert_eq!(drain(&mut rx), 1);
        assert!(link.producer().unwrap_err().is_not_found());
    });
}

/// A removal that fails leaves the link watched.
#[test]
fn a_failed_removal_changes_nothing() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(&base_in(&folder)).create("quotes").unwrap();
        let _tx = link.producer().unwrap();
        let notes = link.path().unwrap().join("notes");
        fs::write(&notes, "mine").unwrap();
        assert_eq!(link.remove().unwrap_err().kind(), LinkErrorKind::Incompatible);
        assert!(link.is_named());
        fs::remove_dir_all(link.path().unwrap()).unwrap();
        while !link.status().name_lost {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// One thread serves all links of a process, and ends with the last of them.
#[test]
fn one_thread_watches_all_links() {
    let Some(folder) = in_own_process("one_thread_watches_all_links") else { return };
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let name =
            |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).filter(|name| name.trim_end() == "tango-names").count()
    };
    let links: Vec<_> = (0..20).map(|n| builder(&folder).create(&format!("q{n}")).unwrap()).collect();
    let producers: Vec<_> = links.iter().map(|link| link.producer().unwrap()).collect();
    let begin = Instant::now();
    // A new thread gives itself its name.
    while threads() != 1 {
        assert!(begin.elapsed() < PATIENCE);
    }
    for status in fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path()) {
        if fs::read_to_string(status.join("comm")).is_ok_and(|name| name.trim_end() == "tango-names") {
            let status = fs::read_to_string(status.join("status")).unwrap();
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
            let blocked = u64::from_str_radix(blocked, 16).unwrap();
            for signal in [1, 2, 10, 13, 14, 15, 17] {
                assert!(blocked & 1 << (signal - 1) != 0, "signal {signal} may be delivered there");
            }
        }
    }
    drop((producers, links));
    let begin = Instant::now();
    while threads() > 0 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    // And it starts again.
    let link = builder(&folder).create("again").unwrap();
    fs::remove_dir_all(link.path().unwrap()).unwrap();
    while !link.status().name_lost {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A link that could not be watched is not made.
#[test]
fn nothing_is_left_if_the_thread_cannot_start() {
    if !Uid::effective().is_root() {
        return skip("only root may make pid namespaces");
    }
    let Some(folder) = in_own_process("nothing_is_left_if_the_thread_cannot_start") else { return };
    // From now on, this thread can start processes, and no threads.
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let error = builder(&folder).create("quotes").unwrap_err();
    assert!(error.kind() == LinkErrorKind::System && error.to_string().contains("thread"), "{error}");
    assert_eq!(common::process::entries(&folder), [".lock"]);
}

/// Runs the test of this name in a process of its own. Returns a folder for its links there, and `None` here,
/// when it has succeeded.
fn in_own_process(test: &str) -> Option<std::path::PathBuf> {
    const PLACE: &str = "TANGO_TEST_ALONE";
    if let Some(place) = std::env::var_os(PLACE) {
        return Some(place.into());
    }
    let folder = TestFolder::new();
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact"])
        .env(PLACE, folder.path())
        .spawn()
        .unwrap();
    assert!(process.wait().unwrap().success());
    None
}

/// A child has another list of links, and does not wait for a lock that its parent held during the fork.
#[test]
fn forked_children_neither_hang_nor_disturb() {
    let Some(folder) = in_own_process("forked_children_neither_hang_nor_disturb") else { return };
    let link = builder(&folder).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    for n in 0..200 {
        // SAFETY: the child uses this library and ends without returning.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                nix::unistd::alarm::set(60);
                drop((tx, link));
                let own = builder(&folder).create(&format!("own{n}")).unwrap();
                own.remove().unwrap();
                drop(own);
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { nix::libc::_exit(7) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 7));
            }
        }
    }
    fs::remove_dir_all(link.path().unwrap()).unwrap();
    while !link.status().name_lost {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(tx);
}
