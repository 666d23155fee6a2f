//! What `/proc` says of processes: which of them hold a lock ([`that_lock_any`]), and what a person wants to know of one
//! ([`HolderProcess`]). All of this is for people. Nothing depends on it.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::string::String;
use std::time::{Duration, SystemTime};
use std::vec::Vec;

/// A file, by device and inode.
pub(super) type FileId = (u64, u64);

/// A process that holds a file of a link, in [`Holder::processes`](crate::Holder::processes).
///
/// It may have ended before the caller reads this, and another process may have its id then.
/// [`Holders`](crate::Holders) has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HolderProcess {
    /// Its process id, as this process sees it.
    pub id: u32,
    /// The number of its (effective) user. `None` if this process may not know.
    pub user: Option<u32>,
    /// Its name: usually the first 15 bytes of the name of its program. A process can choose any, so it can contain
    /// characters that change the state of a terminal. `None` if this process may not know.
    pub command: Option<String>,
    /// When it started, to about a second. `None` if this process may not know. In JSON: seconds since 1970, UTC.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_unix_seconds"))]
    pub started: Option<SystemTime>,
}

#[cfg(feature = "serde")]
fn as_unix_seconds<S: serde::Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    let seconds = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    serde::Serialize::serialize(&seconds.map(|since| since.as_secs()), to)
}

impl HolderProcess {
    /// Asks the system, which started at `boot`.
    pub(super) fn of(id: u32, boot: Option<SystemTime>) -> Self {
        let read = |file: &str| fs::read(format!("/proc/{id}/{file}")).ok();
        let text = |file: &str| read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let command = text("comm").map(|name| name.trim_end_matches('\n').into());
        let user = text("status").as_deref().and_then(effective_user);
        let since_boot = text("stat").as_deref().and_then(start_after_boot);
        let started = boot.zip(since_boot).and_then(|(boot, since)| boot.checked_add(since));
        Self { id, user, command, started }
    }
}

/// The time that `/proc` gives as that of the start of the system.
pub(super) fn boot_time() -> Option<SystemTime> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// From `/proc/ID/status`: real, effective, saved and filesystem user.
fn effective_user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// From `/proc/ID/stat`: field 22, in ticks of the interface (`USER_HZ`), of which all targets of this library have 100
/// in a second. The fields are counted from the end of the name, which can contain anything.
fn start_after_boot(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks: u64 = behind_name.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

/// Whether this process is stopped, by a signal or a debugger.
pub(super) fn is_stopped(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['T', 't']))
}

/// The processes that hold the lock of this file, as far as this process may see them.
pub(super) fn that_lock(name: &str, file: FileId) -> Vec<u32> {
    let found = that_lock_any(&HashSet::from([file]), |found| found == name);
    found.into_iter().map(|(process, _)| process).collect()
}

/// Which processes hold the lock of which of these files, as far as this process may see them. `has_name`: whether one of
/// the files may have this name.
pub(super) fn that_lock_any(files: &HashSet<FileId>, has_name: impl Fn(&str) -> bool) -> Vec<(u32, FileId)> {
    let mut found = Vec::new();
    if files.is_empty() {
        return found;
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let descriptors = fs::read_dir(process.path().join("fd"));
        for descriptor in descriptors.into_iter().flatten().flatten() {
            // Checks the name first: asking for the metadata of an arbitrary file could block on a network
            // server.
            let is_ours = |path: &Path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| has_name(name.trim_end_matches(" (deleted)")))
            };
            if !fs::read_link(descriptor.path()).is_ok_and(|path| is_ours(&path)) {
                continue;
            }
            let Ok(metadata) = fs::metadata(descriptor.path()) else { continue };
            let file = (metadata.dev(), metadata.ino());
            let info = || fs::read_to_string(process.path().join("fdinfo").join(descriptor.file_name()));
            // `fdinfo` lists the locks that the description of this descriptor holds.
            let is_lock = |line: &str| line.contains("OFDLCK") && line.contains("WRITE");
            if files.contains(&file) && info().is_ok_and(|info| info.lines().any(is_lock)) {
                found.push((id, file));
            }
        }
    }
    found
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn this_process_knows_itself() {
        let me = HolderProcess::of(std::process::id(), boot_time());
        assert_eq!(me.user, Some(nix::unistd::Uid::effective().as_raw()));
        let program = std::env::current_exe().unwrap();
        let name = program.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with(&me.command.unwrap()), "{name}");
        // The clock may have been set since the system started, so this is not compared with the time of a test.
        assert!(me.started.unwrap() > boot_time().unwrap());
        let nobody = HolderProcess::of(u32::MAX, boot_time());
        assert_eq!((nobody.user, nobody.command, nobody.started), (None, None, None));
    }

    #[test]
    fn names_of_processes_contain_anything() {
        let stat = "812 (a) b) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(start_after_boot(stat), Some(Duration::from_millis(42_420)));
        assert_eq!(start_after_boot("812 (a"), None);
        assert_eq!(effective_user("Name:\ta\nUid:\t1\t2\t3\t4\n"), Some(2));
    }
}
