//! In some sandboxes, a request for a lock succeeds and locks nothing. A process that runs there learns that it
//! can neither make a link, nor join or remove one: it would damage those of others.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use common::process::{Child, TestFolder, role};
use common::{assert_is, in_time, publish};
use nix::libc;
use rust_tango::{Link, LinkBuilder, LinkErrorKind};

const MTU: usize = 64;

fn builder(folder: &std::path::Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder)
}

/// From now on, these commands of `fcntl` do nothing in this thread, and report success.
fn pretend_success(commands: &[i32]) {
    let step = |code: u32, value: u32, if_equal: u8, otherwise: u8| libc::sock_filter {
        code: code as u16,
        jt: if_equal,
        jf: otherwise,
        k: value,
    };
    // Offsets in `seccomp_data`.
    const NUMBER: u32 = 0;
    const SECOND_ARGUMENT: u32 = if cfg!(target_endian = "little") { 24 } else { 28 };
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let compare = |value, if_equal, otherwise| {
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, if_equal, otherwise)
    };
    let answer = |what| step(libc::BPF_RET | libc::BPF_K, what, 0, 0);
    let count = commands.len() as u8;
    let mut filter = vec![load(NUMBER), compare(libc::SYS_fcntl as u32, 0, count + 1), load(SECOND_ARGUMENT)];
    filter.extend((1..).zip(commands).map(|(n, command)| compare(*command as u32, count - n + 1, 0)));
    filter.extend([answer(libc::SECCOMP_RET_ALLOW), answer(libc::SECCOMP_RET_ERRNO)]);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let opened = Link::open_in(&folder, "quotes").unwrap();
    pretend_success(match role.as_str() {
        "setting succeeds" => &[libc::F_OFD_SETLK, libc::F_OFD_SETLKW],
        "all succeed" => &[libc::F_OFD_GETLK, libc::F_OFD_SETLK, libc::F_OFD_SETLKW],
        role => panic!("{role}"),
    });
    let errors = [
        ("another link", builder(&folder).create("other").map(drop)),
        ("a link that exists", builder(&folder).create("quotes").map(drop)),
        ("taking over", builder(&folder).create_or_take_over("quotes").map(drop)),
        ("a dead link", builder(&folder).create_or_take_over("dead").map(drop)),
        ("a producer", opened.producer().map(drop)),
        ("a consumer", opened.consumer().map(drop)),
        ("removing", opened.remove()),
        ("removing by name", Link::remove_named(&folder, "quotes")),
        ("removing if dead", Link::remove_dead(&folder, "quotes")),
        ("removing the dead", Link::remove_all_dead(&folder).map(drop)),
    ];
    for (what, result) in errors {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), LinkErrorKind::System, "{what}: {error}");
        assert!(error.to_string().contains("locks of files lock nothing here"), "{what}: {error}");
    }
    // An observer takes no lock.
    drop(opened.observer().unwrap());
}

#[test]
fn links_are_left_alone_where_locks_lock_nothing() {
    in_time(|| {
        for role in ["setting succeeds", "all succeed"] {
            let folder = TestFolder::new();
            drop(builder(folder.path()).create("dead").unwrap());
            let link = builder(folder.path()).create("quotes").unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
            Child::start(role, &folder).succeeds();
            assert_eq!(Link::list(folder.path()).unwrap(), ["dead", "quotes"], "{role}");
            assert!(link.is_named(), "{role}");
            publish(&tx, MTU).unwrap();
            assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
        }
    });
}
