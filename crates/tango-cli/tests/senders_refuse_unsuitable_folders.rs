//! A sender does not wait for receivers that can never come, because the filesystem of the link does not
//! suit them: it says so and exits.

mod common;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{TestFolder, wait_until};

/// Answers for every file that it is on NFS.
const ON_NFS: &str = r"
#define _GNU_SOURCE
#include <sys/vfs.h>
#include <sys/syscall.h>
#include <unistd.h>
int fstatfs(int file, struct statfs *found) {
    long failed = syscall(SYS_fstatfs, file, found);
    found->f_type = 0x6969;
    return failed;
}
int fstatfs64(int file, struct statfs64 *found) { return fstatfs(file, (struct statfs *)found); }
";

/// Builds the library that is loaded before the C library; `None`, with the reason printed, without a C
/// compiler.
fn build(folder: &TestFolder) -> Option<PathBuf> {
    let source = folder.links().with_file_name("on_nfs.c");
    let library = source.with_extension("so");
    fs::write(&source, ON_NFS).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if built.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    eprintln!("skipped: there is no C compiler");
    assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none());
    None
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exit status of `tango` with these arguments, and what it has printed on standard error.
fn run(folder: &TestFolder, library: &PathBuf, arguments: &[&str]) -> (i32, String) {
    let mut process = Running(
        Command::new(env!("CARGO_BIN_EXE_tango"))
            .args(arguments)
            .env("TANGO_DIR", folder.links())
            .env("LD_PRELOAD", library)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut status = None;
    wait_until("exit of tango", || {
        status = process.0.try_wait().unwrap();
        status.is_some()
    });
    let mut errors = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    (status.unwrap().code().unwrap(), errors)
}

#[test]
fn on_a_filesystem_that_is_not_known_to_be_coherent() {
    let folder = TestFolder::new();
    let Some(library) = build(&folder) else { return };
    let (status, errors) = run(&folder, &library, &["send", "x"]);
    assert_eq!(status, 1, "{errors}");
    for part in ["/x/tx is on the filesystem (", "/dev/shm", "TANGO_DIR"] {
        assert!(errors.contains(part), "no {part:?} in {errors:?}");
    }
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(folder.list().is_empty(), "the link is removed");
    // Observers can come, so this one goes on after it has said so.
    let (status, errors) = run(&folder, &library, &["send", "x", "--wait-for", "0"]);
    assert_eq!((status, errors.lines().count()), (0, 1), "{errors}");
    assert!(errors.contains("filesystem"), "{errors}");
}
