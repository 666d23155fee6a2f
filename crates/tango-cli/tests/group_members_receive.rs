//! `tango send --group` lets the members of a group receive, each as a user of its own, and keeps other users
//! out.
//!
//! Needs root, to become other users. Without it, the test reports that it is skipped.

mod common;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{PATIENCE, TestFolder, assert_same, random_bytes};
use rust_tango::Link;

/// Users that need no entry anywhere.
const SENDER: u32 = 61_001;
const MEMBER: u32 = 61_002;
const STRANGER: u32 = 61_003;
const GROUP: u32 = 61_500;

struct Place {
    folder: TestFolder,
    /// A copy of the program that every user can run.
    program: PathBuf,
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    /// A folder of links that `SENDER` owns and the group can enter. `Err`: the reason why the test cannot run.
    fn new() -> Result<Self, String> {
        let folder = TestFolder::new();
        let place = Self { program: folder.links().with_file_name("tango"), folder };
        let links = place.folder.links();
        fs::copy(env!("CARGO_BIN_EXE_tango"), &place.program).unwrap();
        fs::create_dir(&links).unwrap();
        fs::set_permissions(links.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&links, Permissions::from_mode(0o750)).unwrap();
        chown(&links, Some(SENDER), Some(GROUP))
            .map_err(|error| format!("cannot give folders away: {error}"))?;
        let version = place.tango(STRANGER, &["--version"]).output();
        let version = version.map_err(|error| format!("cannot run setpriv: {error}"))?;
        if version.status.success() {
            Ok(place)
        } else {
            Err(String::from_utf8_lossy(&version.stderr).into())
        }
    }

    fn tango(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let ids = [format!("--reuid={user}"), format!("--regid={user}")];
        let groups = if user == STRANGER { "--clear-groups".to_owned() } else { format!("--groups={GROUP}") };
        command
            .args(ids)
            .arg(groups)
            .arg(&self.program)
            .args(arguments)
            .env("TANGO_DIR", self.folder.links());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The exit status of a process, and what it has printed on standard output and standard error.
fn finish(mut running: Running) -> (i32, Vec<u8>, String) {
    let (mut output, mut errors) = (Vec::new(), String::new());
    running.0.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    (running.0.wait().unwrap().code().unwrap(), output, errors)
}

#[test]
fn members_receive_and_strangers_do_not() {
    let place = match Place::new() {
        Ok(place) => place,
        Err(why) => {
            assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "{why}");
            return eprintln!("skipped: {why}");
        }
    };
    let group = GROUP.to_string();
    let mut send = place.tango(SENDER, &["send", "x", "--group", &group, "--wait-for", "1"]);
    let mut sender = Running(send.stdin(Stdio::piped()).spawn().unwrap());
    Link::open_wait_in(place.folder.links(), "x", Some(PATIENCE)).unwrap();
    let (status, _, errors) = finish(Running(place.tango(STRANGER, &["recv", "x"]).spawn().unwrap()));
    let says_why = errors.contains("cannot enter the folder of links") && errors.contains("user 61003");
    assert!(status == 1 && says_why && errors.lines().count() == 1, "{errors}");
    let receiver = Running(place.tango(MEMBER, &["recv", "x"]).spawn().unwrap());
    let bytes = random_bytes(3 << 20);
    let mut input = sender.0.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let bytes = bytes.clone();
        move || input.write_all(&bytes).unwrap()
    });
    let (status, output, errors) = finish(receiver);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert_same(&output, &bytes);
    writer.join().unwrap();
    assert_eq!(finish(sender).0, 0);
}

#[test]
fn whoever_may_not_read_a_link_is_told_so() {
    let place = match Place::new() {
        Ok(place) => place,
        Err(why) => {
            assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "{why}");
            return eprintln!("skipped: {why}");
        }
    };
    fs::set_permissions(place.folder.links(), Permissions::from_mode(0o755)).unwrap();
    let mut send = place.tango(SENDER, &["send", "x", "--wait-for", "0"]);
    let sender = Running(send.stdin(Stdio::piped()).spawn().unwrap());
    Link::open_wait_in(place.folder.links(), "x", Some(PATIENCE)).unwrap();
    for arguments in [&["ls"][..], &["recv", "x"], &["rm", "x"], &["rm", "x", "--force"]] {
        let (status, _, errors) = finish(Running(place.tango(STRANGER, arguments).spawn().unwrap()));
        assert!(status == 1 && errors.lines().count() == 1, "{arguments:?}: {errors}");
        // What a program would have to call is of no use here.
        assert!(errors.contains("permission") || errors.contains("its mode"), "{arguments:?}: {errors}");
        assert!(!errors.contains("LinkBuilder"), "{arguments:?}: {errors}");
    }
    drop(sender);
}

#[test]
fn a_folder_that_the_group_cannot_enter_is_refused() {
    let folder = TestFolder::new();
    let group = nix::unistd::Gid::effective().to_string();
    let refused = folder.run(&format!("send x --group {group}"));
    refused.assert_failed(2, &[&format!("group {group} cannot enter"), "install -d -m 2750"]);
    folder.run("send x --group no-such-group").assert_failed(2, &["no-such-group", "there is no group"]);
}
