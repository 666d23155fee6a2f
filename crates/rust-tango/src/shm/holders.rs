//! Who holds a link: [`Holders`], for messages and for who clears up.
//!
//! That a file is held is what its lock says ([`lock`]). Which process holds it is what `/proc` tells as far
//! as this process may look: a hint for people, by which nothing is decided.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::folder::Folder;
use super::lock;
use crate::error::{LinkError, LinkErrorKind};

/// Who holds the files of a link at one moment, see [`Link::holders`](crate::Link::holders).
///
/// Written out, it is a part of a sentence: `its producer (tx, process 812) and the consumer in slot 0 (rx.0,
/// process 815)`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders(Vec<Holder>);

/// Who holds one file of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// What the file makes of its holder.
    pub party: Party,
    /// The processes that have the lock: one, or several after a fork. Empty where this process cannot
    /// see them: in another pid namespace, or of another user.
    pub processes: Vec<u32>,
}

/// What somebody is to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Party {
    /// The producer, or who has made the link or taken it over and can become its producer.
    Producer,
    /// The consumer in this slot.
    Consumer(usize),
    /// Who is about to stop the link.
    Operator,
}

impl Holders {
    /// Nobody: the link is dead.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them: first the producer, then the consumers, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.0.iter()
    }

    /// Asks for the lock of each file.
    pub(super) fn of(folder: &Folder) -> Result<Self, LinkError> {
        let mut held = folder.lockable_files()?;
        // Where the system does not say, yes: `false` is proof.
        held.retain(|(_, file)| lock::is_locked(file).unwrap_or(true));
        Ok(Self::holding(&held))
    }

    fn holding(held: &[(String, File)]) -> Self {
        let mut holders: Vec<Holder> = held
            .iter()
            .filter_map(|(name, _)| Some(Holder { party: Party::of(name)?, processes: Vec::new() }))
            .collect();
        holders.sort_by_key(|holder| holder.party.order());
        let wanted = held.iter().filter_map(|(name, file)| Some((Party::of(name)?, file.metadata().ok()?)));
        let wanted: Vec<_> = wanted.map(|(party, found)| (party, (found.dev(), found.ino()))).collect();
        let files: Vec<_> = wanted.iter().map(|(_, file)| *file).collect();
        for (process, file) in locks_in_proc(&files, |name| Party::of(name).is_some()) {
            let party = wanted.iter().find(|(_, wanted)| *wanted == file).map(|(party, _)| *party);
            let holder = holders.iter_mut().find(|holder| Some(holder.party) == party);
            if let Some(Holder { processes, .. }) = holder {
                processes.push(process);
            }
        }
        for holder in &mut holders {
            holder.processes.sort_unstable();
            holder.processes.dedup();
        }
        Self(holders)
    }

    /// The refusal to touch a link that is in use.
    pub(super) fn refuse(&self, name: &str) -> LinkError {
        LinkError::new(LinkErrorKind::InUse, format!("link {name} is in use by {self}"))
    }
}

impl Party {
    /// Who holds a file of this name.
    fn of(file: &str) -> Option<Self> {
        match file {
            "tx" => Some(Self::Producer),
            "ctl" => Some(Self::Operator),
            _ => file.strip_prefix("rx.")?.parse().ok().map(Self::Consumer),
        }
    }

    fn order(self) -> (u8, usize) {
        match self {
            Self::Producer => (0, 0),
            Self::Consumer(slot) => (1, slot),
            Self::Operator => (2, 0),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.party {
            Party::Producer => f.write_str("its producer (tx")?,
            Party::Consumer(slot) => write!(f, "the consumer in slot {slot} (rx.{slot}")?,
            Party::Operator => f.write_str("who is stopping it (ctl")?,
        }
        match self.processes.as_slice() {
            [] => {}
            [process] => write!(f, ", process {process}")?,
            [first, others @ ..] => {
                write!(f, ", processes {first}")?;
                others.iter().try_for_each(|process| write!(f, " and {process}"))?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nobody");
        }
        for (index, holder) in self.0.iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{separator}{holder}")?;
        }
        Ok(())
    }
}

/// A link that nobody holds, and that nobody can join until this is dropped.
#[derive(Debug)]
pub(super) struct Vacant {
    files: Vec<(String, File)>,
}

impl Vacant {
    /// Makes sure that nobody holds the link, and that it stays so.
    ///
    /// # Errors
    ///
    /// `InUse`, naming the holders; `System`.
    pub(super) fn keep(folder: &Folder) -> Result<Self, LinkError> {
        let cannot = |name: &str, error| {
            LinkError::system(format!("cannot lock {}", folder.path.join(name).display()), error)
        };
        // Only asked at first: what is free in a link that is in use can be taken while we look.
        let (mut held, mut free) = (Vec::new(), Vec::new());
        for (name, file) in folder.lockable_files()? {
            let is_held = lock::is_locked(&file).map_err(|error| cannot(&name, error))?;
            (if is_held { &mut held } else { &mut free }).push((name, file));
        }
        let mut vacant = Self { files: Vec::new() };
        if held.is_empty() {
            for (name, file) in free {
                let is_free = lock::keep_free(&file).map_err(|error| cannot(&name, error))?;
                (if is_free { &mut vacant.files } else { &mut held }).push((name, file));
            }
        }
        if held.is_empty() {
            return Ok(vacant);
        }
        // Somebody has come in between. To find out who takes some time.
        drop(vacant);
        Err(Holders::holding(&held).refuse(&folder.name))
    }
}

impl Drop for Vacant {
    fn drop(&mut self) {
        for (_, file) in &self.files {
            let _ = lock::unlock(file); // the close that follows unlocks too, though later if somebody forks
        }
    }
}

/// The processes that hold the lock of this file (device and inode), as far as this one may look.
pub(super) fn that_lock(name: &str, file: (u64, u64)) -> Vec<u32> {
    locks_in_proc(&[file], |found| found == name).into_iter().map(|(process, _)| process).collect()
}

/// Which processes hold the lock of which of these files (device and inode), which have such names, as far as this one may
/// look.
fn locks_in_proc(files: &[(u64, u64)], has_name: impl Fn(&str) -> bool) -> Vec<(u32, (u64, u64))> {
    let mut found = Vec::new();
    if files.is_empty() {
        return found;
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let descriptors = fs::read_dir(process.path().join("fd"));
        for descriptor in descriptors.into_iter().flatten().flatten() {
            // The name first: to look at any file whatever could mean to wait for a server.
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
            // The system names a lock with the description that holds it.
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
    use super::super::scratch::{Scratch, make_link};
    use super::*;

    #[test]
    fn holders_are_named_with_their_processes() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        assert!(Holders::of(&folder).unwrap().is_empty());
        let own = |file: &str| {
            let file = folder.open_file(file, true).unwrap();
            assert!(lock::try_lock(&file).unwrap());
            file
        };
        let owned = [own("rx.0"), own("tx")];
        let holders = Holders::of(&folder).unwrap();
        let me = std::process::id();
        let expected = [Party::Producer, Party::Consumer(0)];
        assert!(holders.iter().map(|holder| holder.party).eq(expected));
        // Another test's child, just between fork and exec, may have a copy.
        assert!(holders.iter().all(|holder| holder.processes.contains(&me)), "{holders}");
        let error = Vacant::keep(&folder).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::InUse);
        let message = error.to_string();
        assert!(message.starts_with("link quotes is in use by its producer (tx, process"), "{message}");
        assert!(message.contains(" and the consumer in slot 0 (rx.0, process"), "{message}");
        for file in &owned {
            lock::unlock(file).unwrap();
        }
        assert_eq!(Holders::of(&folder).unwrap().to_string(), "nobody");
    }

    #[test]
    fn nobody_joins_a_link_that_is_kept_vacant() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        let (tx, rx) = (folder.open_file("tx", true).unwrap(), folder.open_file("rx.0", true).unwrap());
        let vacant = Vacant::keep(&folder).unwrap();
        assert!(!lock::try_lock(&tx).unwrap() && !lock::try_lock(&rx).unwrap());
        assert!(Holders::of(&folder).unwrap().is_empty(), "who clears up is no holder");
        drop(vacant);
        assert!(lock::try_lock(&tx).unwrap() && lock::try_lock(&rx).unwrap());
    }

    #[test]
    fn what_is_no_regular_file_holds_nothing() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        fs::create_dir(folder.path.join("rx.1")).unwrap();
        std::os::unix::fs::symlink("tx", folder.path.join("rx.2")).unwrap();
        fs::write(folder.path.join("notes"), "").unwrap();
        let mut names: Vec<_> = folder.lockable_files().unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["ctl", "rx.0", "tx"]);
        assert!(Holders::of(&folder).unwrap().is_empty());
    }

    #[test]
    fn in_words() {
        let holder = |party, processes: &[u32]| Holder { party, processes: processes.to_vec() };
        let all = Holders(vec![
            holder(Party::Producer, &[]),
            holder(Party::Consumer(3), &[7, 8]),
            holder(Party::Operator, &[9]),
        ]);
        assert_eq!(
            all.to_string(),
            "its producer (tx), the consumer in slot 3 (rx.3, processes 7 and 8) and who is stopping it (ctl, process 9)"
        );
    }
}
