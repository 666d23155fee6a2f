//! Where a link cannot be created, `create` fails at once, with the path and the reason: no space, no
//! permission, no such folder. It leaves nothing behind, and no party gets a signal later.
//!
//! Some tests mount filesystems in a mount namespace of their own. That needs root; without it they report
//! that they are skipped.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use common::kernel;
use common::process::{Child, TestFolder, entries, role, say, skip};
use common::{assert_is, in_time, publish};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setresgid, setresuid};
use rust_tango::{Link, LinkBuilder, LinkError, LinkErrorKind, Start};

const MTU: usize = 300;
const MIB: usize = 1 << 20;

fn builder(base: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).dir(base)
}

/// The error of `create`, which must leave neither a link nor a part of one.
#[track_caller]
fn refused(builder: LinkBuilder, base: &Path, parts: &[&str]) -> LinkError {
    let before = entries(base);
    let error = builder.clone().create("quotes").expect_err("it cannot be created");
    assert_eq!(error.kind(), LinkErrorKind::System, "{error}");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    assert_eq!(builder.create_or_take_over("quotes").unwrap_err().to_string(), message);
    let left: Vec<_> = entries(base).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(left.iter().all(|name| name == ".lock"), "{left:?} after {message}");
    error
}

/// The link works: it is created, written, read in place and removed.
#[track_caller]
fn works(builder: LinkBuilder) {
    let link = builder.create("works").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for seq in 1..=50 {
        publish(&tx, MTU).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    link.remove().unwrap();
}

/// The roles of the child processes. Each has a mount namespace, limits and an environment to itself.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let base = folder.join("base");
    let mounts =
        ["full", "full, exactly", "room for one", "no inodes", "read-only", "no shared memory", "huge pages"];
    if mounts.contains(&role.as_str()) {
        // What this thread mounts from now on is visible to it alone, and is unmounted when it ends.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mine = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
        if let Err(why) = mine {
            return say(format!("cannot mount filesystems: {why}"));
        }
    }
    match role.as_str() {
        "full" => {
            mounted("tmpfs", &base, MsFlags::empty(), "size=1m");
            let need = 8192 + 8 * 128 + 2 * MIB;
            let large = builder(&base).region(2 * MIB);
            let tx = base.join("quotes/tx").display().to_string();
            refused(large, &base, &[&tx, &need.to_string(), "No space left on device"]);
            // Full because of other files, at many points: in the middle of files, and of their number.
            for count in 0..300 {
                fs::write(base.join(format!("other-{count}")), vec![1; 4096]).unwrap_or_default();
            }
            refused(builder(&base), &base, &[&base.display().to_string(), "No space left on device"]);
            // With a little more room each time: it fails at one file after the other until all of them fit.
            let failed = (0..40).take_while(|count| {
                fs::remove_file(base.join(format!("other-{count}"))).unwrap();
                let made = builder(&base).consumers(16).create("quotes").is_ok();
                if !made {
                    refused(builder(&base).consumers(16), &base, &["quotes", "No space left on device"]);
                }
                !made
            });
            let failed = failed.count();
            assert!((18..24).contains(&failed), "21 pages are needed; {failed} were not enough");
        }
        "full, exactly" => {
            mounted("tmpfs", &base, MsFlags::empty(), "size=1m");
            let mut links = Vec::new();
            let last = loop {
                match builder(&base).create(&format!("quotes{}", links.len())) {
                    Ok(link) => links.push(link),
                    Err(error) => break error,
                }
            };
            assert!(last.to_string().contains("No space left on device"), "{last}");
            let cause = last.io_error().map(std::io::Error::kind);
            assert_eq!(cause, Some(std::io::ErrorKind::StorageFull));
            assert!((20..60).contains(&links.len()), "{} links in a MiB", links.len());
            // All links are whole: no page is missing when it is touched.
            for link in &links {
                let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
                for seq in 1..=20 {
                    publish(&tx, MTU).unwrap();
                    assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
                }
            }
            links.pop().unwrap().remove().unwrap();
            builder(&base).create("there-is-room-again").unwrap();
        }
        "room for one" => {
            mounted("tmpfs", &base, MsFlags::empty(), "size=12m");
            let make = |name: &str| builder(&base).region(8 * MIB).create(name);
            for round in 0..100 {
                let names = if round % 2 == 0 { ["one", "one"] } else { ["one", "other"] };
                let made = std::thread::scope(|scope| {
                    names.map(|name| scope.spawn(move || make(name))).map(|maker| maker.join().unwrap())
                });
                let errors = made.iter().filter_map(|made| made.as_ref().err()).map(LinkError::to_string);
                assert_eq!(errors.clone().count(), 1, "{names:?}: {:?}", errors.collect::<Vec<_>>());
                drop(made);
                Link::remove_all_dead(&base).unwrap().into_iter().for_each(|(_, removed)| removed.unwrap());
            }
        }
        "no inodes" => {
            mounted("tmpfs", &base, MsFlags::empty(), "size=1m,nr_inodes=7");
            // The base folder, the folder for links in the making, the link's folder, and three files. The lock
            // for removing is one more.
            works(builder(&base));
            refused(builder(&base).consumers(2), &base, &["quotes/", "No space left on device"]);
            works(builder(&base));
            // A link can be removed where nothing else can be made.
            let link = builder(&base).create("quotes").unwrap();
            fs::write(base.join("last"), "").unwrap();
            assert!(fs::write(base.join("one more"), "").is_err());
            link.remove().unwrap();
            assert_eq!(entries(&base), [".lock", "last"]);
        }
        "read-only" => {
            mounted("tmpfs", &base, MsFlags::empty(), "size=1m");
            let link = builder(&base).create("there").unwrap();
            publish(&link.producer().unwrap(), MTU).unwrap();
            mounted("tmpfs", &base, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, "");
            refused(builder(&base), &base, &[&base.display().to_string(), "Read-only file system"]);
            let deeper = base.join("deeper");
            refused(builder(&deeper), &deeper, &[&deeper.display().to_string(), "Read-only file system"]);
            // Where nothing can be written, an observer can still read.
            let link = Link::open_in(&base, "there").unwrap();
            let mut ob = link.observer_from(Start::Oldest).unwrap();
            assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
            for error in [link.consumer().unwrap_err(), link.producer().unwrap_err()] {
                assert!(error.to_string().contains("for writing"), "{error}");
            }
            let error = Link::remove_dead(&base, "there").unwrap_err();
            assert!(error.to_string().contains("Read-only file system"), "{error}");
        }
        "no shared memory" => {
            // The namespace has a /dev of its own, which is empty.
            mounted("tmpfs", Path::new("/dev"), MsFlags::empty(), "size=64k");
            let base = Link::folder_of_links();
            assert_eq!(base, PathBuf::from(format!("/dev/shm/tango-{}", Uid::effective())));
            let error = Link::builder().create("quotes").unwrap_err();
            let message = error.to_string();
            for part in ["/dev/shm/tango-", "No such file or directory", "TANGO_DIR"] {
                assert!(message.contains(part), "no {part:?} in {message}");
            }
            assert!(!Path::new("/dev/shm").exists(), "/dev/shm must not be created");
            assert!(Link::open("quotes").unwrap_err().is_not_found());
            assert!(Link::list(Link::folder_of_links()).unwrap().is_empty());
            // Read-only, then too small.
            fs::create_dir("/dev/shm").unwrap();
            mounted("tmpfs", Path::new("/dev/shm"), MsFlags::MS_RDONLY, "size=64k");
            let message = Link::builder().create("quotes").unwrap_err().to_string();
            assert!(message.contains("/dev/shm/tango-") && message.contains("Read-only"), "{message}");
            mounted("tmpfs", Path::new("/dev/shm"), MsFlags::empty(), "size=64k");
            let message = Link::builder().create("quotes").unwrap_err().to_string();
            assert!(
                message.contains("quotes/tx") && message.contains("No space left on device"),
                "{message}"
            );
            assert!(entries(&base).is_empty());
            works(Link::builder().depth(8).mtu(MTU));
        }
        "huge pages" => {
            if let Err(why) =
                mount(Some("none"), &made(&base), Some("hugetlbfs"), MsFlags::empty(), None::<&str>)
            {
                return say(format!("cannot mount hugetlbfs: {why}"));
            }
            let free = fs::read_to_string("/proc/meminfo").unwrap();
            let free = free.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).unwrap();
            let free: usize = free.trim().parse().unwrap();
            // One huge page for each file.
            if free < 3 {
                refused(builder(&base), &base, &[&base.display().to_string(), "quotes/"]);
                return say(format!("only {free} huge pages are free"));
            }
            works(builder(&base));
            let too_many = builder(&base).consumers(0).region((free + 1) * 2 * MIB);
            refused(too_many, &base, &["quotes/tx", "No space left on device"]);
        }
        "few descriptors" => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            for limit in 8..70 {
                setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
                refused(
                    builder(&base).consumers(64),
                    &base,
                    &[&base.display().to_string(), "Too many open files"],
                );
            }
            assert!(entries(&base).is_empty());
            works(builder(&base));
        }
        "short files" => {
            let limit = 64 << 10;
            setrlimit(Resource::RLIMIT_FSIZE, limit, limit).unwrap();
            let need = 8192 + 8 * 128 + 64 * 1024;
            let tx = base.join("quotes/tx").display().to_string();
            let large = builder(&base).region(64 * 1024);
            refused(large, &base, &[&tx, &need.to_string(), "RLIMIT_FSIZE", "65536"]);
            works(builder(&base));
        }
        "little memory" => {
            // Enough for what is mapped already, and a part of what the link takes.
            let used = fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
            let limit = pages * 4096 + (256 << 20);
            setrlimit(Resource::RLIMIT_AS, limit, limit).unwrap();
            let need = (8192 + 8 * 128 + (320 << 20)).to_string();
            let tx = base.join("quotes/tx").display().to_string();
            refused(builder(&base).region(320 << 20), &base, &[&tx, &need, "Cannot allocate memory"]);
            works(builder(&base));
        }
        "little locked memory" => {
            fs::create_dir_all(&base).unwrap();
            // Root may lock any amount.
            let user = 61_001;
            if Uid::effective().is_root() {
                for path in [&folder, &base] {
                    chown(path, Some(user), Some(user)).unwrap();
                }
                setresgid(user.into(), user.into(), user.into()).unwrap();
                setresuid(user.into(), user.into(), user.into()).unwrap();
            }
            let limit = 4 << 20;
            if let Err(why) = setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit) {
                return say(format!("cannot set the limit: {why}"));
            }
            mlockall(MlockAllFlags::MCL_FUTURE).unwrap();
            let tx = base.join("quotes/tx").display().to_string();
            let large = builder(&base).region(8 * MIB);
            let error = refused(large, &base, &[&tx, "mlockall", "4194304", "RLIMIT_MEMLOCK"]);
            assert_eq!(error.io_error().unwrap().kind(), std::io::ErrorKind::OutOfMemory);
            works(builder(&base));
        }
        "no rename without replacing: EINVAL"
        | "no rename without replacing: ENOSYS"
        | "no rename without replacing: EOPNOTSUPP" => {
            drop(builder(&base).create("before").unwrap());
            let error = match role.rsplit(' ').next().unwrap() {
                "EINVAL" => Errno::EINVAL,
                "ENOSYS" => Errno::ENOSYS,
                _ => Errno::EOPNOTSUPP,
            };
            // The last argument is for flags.
            if let Err(why) = kernel::fail_above(libc::SYS_renameat2, 4, 0, error) {
                return say(format!("cannot install a filter: {why}"));
            }
            let number = format!("os error {}", error as i32);
            let parts = ["(tmpfs)", "cannot rename without replacing", "/dev/shm", "TANGO_DIR", &number];
            refused(builder(&base), &base, &parts);
            for error in [
                Link::remove_dead(&base, "before").unwrap_err(),
                builder(&base).create("before").unwrap_err(),
            ] {
                let message = error.to_string();
                assert!(parts.iter().all(|part| message.contains(part)), "{message}");
            }
        }
        "no fallocate" => {
            if let Err(why) = kernel::forget(libc::SYS_fallocate) {
                return say(format!("cannot install a filter: {why}"));
            }
            let parts = ["quotes/tx", "(tmpfs)", "fallocate", "/dev/shm", "TANGO_DIR"];
            refused(builder(&base), &base, &parts);
        }
        "interrupted" => {
            // As under a timer that interrupts every call that reserves more than this much.
            let most = MIB as u32 / 4;
            if let Err(why) = kernel::fail_above(libc::SYS_fallocate, 3, most, Errno::EINTR) {
                return say(format!("cannot install a filter: {why}"));
            }
            works(builder(&base).region(64 * MIB));
            let tx = builder(&base).region(64 * MIB).create("quotes").unwrap().path().unwrap().join("tx");
            let found = fs::metadata(tx).unwrap();
            assert!(found.blocks() * 512 >= found.len() && found.len() >= 64 * MIB as u64, "{found:?}");
        }
        other => panic!("no role {other}"),
    }
    say("done");
}

fn made(path: &Path) -> PathBuf {
    fs::create_dir_all(path).unwrap();
    path.to_owned()
}

/// Mounts a filesystem. Unless it is a remount, it covers what was there.
fn mounted(kind: &str, path: &Path, flags: MsFlags, options: &str) {
    if flags.contains(MsFlags::MS_REMOUNT) {
        return mount(None::<&str>, path, None::<&str>, flags, None::<&str>).unwrap();
    }
    mount(Some("none"), &made(path), Some(kind), flags, Some(options)).unwrap();
}

/// Runs the child in this role.
fn run_in_child(role: &'static str) {
    in_time(move || {
        let folder = TestFolder::new();
        let mut child = Child::start(role, &folder);
        let said = child.hear();
        let status = child.ends();
        assert!(status.success(), "{role}: {status}, signal {:?}", status.signal());
        if said != "done" {
            skip(&format!("{role}: {said}"));
        }
    });
}

#[test]
fn a_full_filesystem() {
    run_in_child("full");
}

#[test]
fn a_filesystem_that_is_filled_with_links() {
    run_in_child("full, exactly");
}

/// Two that try at the same time do not take the space from each other.
#[test]
fn a_filesystem_with_room_for_one_of_two() {
    run_in_child("room for one");
}

#[test]
fn a_filesystem_without_inodes() {
    run_in_child("no inodes");
}

#[test]
fn a_read_only_filesystem() {
    run_in_child("read-only");
}

#[test]
fn no_shared_memory_or_too_little() {
    run_in_child("no shared memory");
}

#[test]
fn huge_pages() {
    run_in_child("huge pages");
}

#[test]
fn too_few_descriptors() {
    run_in_child("few descriptors");
}

/// Beyond that limit, the kernel would kill the process (SIGXFSZ).
#[test]
fn a_limit_on_the_length_of_files() {
    run_in_child("short files");
}

#[test]
fn a_limit_on_memory() {
    run_in_child("little memory");
}

#[test]
fn a_limit_on_locked_memory() {
    run_in_child("little locked memory");
}

#[test]
fn a_filesystem_that_cannot_rename_without_replacing() {
    run_in_child("no rename without replacing: EINVAL");
    run_in_child("no rename without replacing: ENOSYS");
    run_in_child("no rename without replacing: EOPNOTSUPP");
}

#[test]
fn a_system_that_cannot_reserve_space() {
    run_in_child("no fallocate");
}

/// On some kernels, each signal undoes what a call has reserved so far.
#[test]
fn reserving_ends_although_signals_interrupt_it() {
    run_in_child("interrupted");
}

#[test]
fn a_folder_that_cannot_be_made() {
    let folder = TestFolder::new();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for base in
        [file.clone(), file.join("below"), PathBuf::from("/proc/links"), folder.path().join("n".repeat(300))]
    {
        let error = builder(&base).create("quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::System, "{error}");
        assert!(error.to_string().contains(&base.display().to_string()), "{error}");
    }
    let missing = folder.path().join("made/with/what/is/above");
    works(builder(&missing));
}

/// A link works on a disk, too, if the filesystem maps the same memory for all.
#[test]
fn a_folder_on_a_disk() {
    let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("links-{}", std::process::id()));
    let link = builder(&base).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, MTU).unwrap();
    let mut ob = link.observer_from(Start::Oldest).unwrap();
    assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
    match link.consumer_from(Start::Oldest) {
        Ok(mut rx) => assert_is(&rx.poll().unwrap().unwrap(), 1, MTU),
        // On an overlay, for example, it is refused with the reason.
        Err(error) => {
            assert_eq!(error.kind(), LinkErrorKind::Untrusted, "{error}");
            let message = error.to_string();
            assert!(
                message.contains("filesystem") || message.contains("can be written by others"),
                "{message}"
            );
            skip(&format!("no consumer on this disk: {message}"));
        }
    }
    drop(tx);
    fs::remove_dir_all(&base).unwrap();
}
