//! Which processes hold a link: [`Holders`], for messages and for removing dead links.
//!
//! Whether a file is held is decided by its lock ([`lock`]), which costs a few system calls ([`Held`]). Which
//! process holds it is read from `/proc`, as far as this process may read there. That takes longer than
//! everything else that is done to a link by name: it reads each descriptor of each process. So it is done
//! only when a message about the holders is shown, or when the caller asks for them. The process ids are a
//! hint for people; nothing depends on them.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::folder::Folder;
use super::lock;
use super::processes::{self, FileId, HolderProcess};
use crate::error::{LinkError, LinkErrorKind};

/// The processes that hold the files of a link at one moment. See [`Link::holders`](crate::Link::holders).
///
/// A link without holders is dead: [`Link::remove_dead`](crate::Link::remove_dead) removes it. Observers
/// hold nothing. Processes may join or leave before the caller reads the answer.
///
/// [`Display`](fmt::Display) writes a part of a sentence: `its producer (tx, process 812) and the consumer
/// in slot 0 (rx.0, process 815)`, or `nobody`.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, Party};
/// # let folder = std::env::temp_dir().join(format!("tango-holders-{}", std::process::id()));
///
/// let link = Link::builder().dir(&folder).create("quotes")?;
/// let tx = link.producer()?;
/// let holders = Link::holders(&folder, "quotes")?;
/// let first = holders.iter().next().unwrap();
/// assert_eq!(first.party, Party::Producer);
/// assert!(first.processes.iter().any(|process| process.id == std::process::id()));
///
/// drop((tx, link));
/// assert!(Link::holders(&folder, "quotes")?.is_empty());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Holders(Vec<Holder>);

/// The holder of one file of a link. See [`Holders`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// The role that goes with the file. In JSON: `role` and, for a consumer, `slot`.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub party: Party,
    /// The processes that have the lock, by their ids: one, or several after a fork. Empty if this process cannot
    /// see them, because they are in another pid namespace or belong to another user.
    pub processes: Vec<HolderProcess>,
}

/// The role of a process on a link. See [`Holders`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "role", content = "slot", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Party {
    /// The producer. Also a process that has created the link or taken it over and has not taken the
    /// producer yet.
    Producer,
    /// The reliable or evictable consumer in this slot.
    Consumer(usize),
    /// A process that is just stopping the link.
    Operator,
}

impl Holders {
    /// Whether no process holds the link: it is dead.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All holders: first the producer, then the consumers in the order of their slots, then the operator.
    pub fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.0.iter()
    }

    /// The holders of the files of several links, with their processes.
    pub(super) fn of_all<'h>(links: impl IntoIterator<Item = &'h Held>) -> Vec<Self> {
        let links: Vec<_> = links.into_iter().collect();
        let files = links.iter().flat_map(|held| &held.0).map(|(_, file)| *file).collect();
        let mut found: HashMap<FileId, Vec<u32>> = HashMap::new();
        for (process, file) in processes::that_lock_any(&files, |name| Party::of(name).is_some()) {
            found.entry(file).or_default().push(process);
        }
        let boot = processes::boot_time();
        let holder = |(party, file): &(Party, FileId)| {
            let mut ids = found.get(file).cloned().unwrap_or_default();
            ids.sort_unstable();
            ids.dedup();
            let processes = ids.into_iter().map(|id| HolderProcess::of(id, boot)).collect();
            Holder { party: *party, processes }
        };
        links.iter().map(|held| Self(held.0.iter().map(holder).collect())).collect()
    }
}

/// The files of a link that processes hold at one moment: roles, device and inode, in the order of
/// [`Holders::iter`].
#[derive(Debug, Default)]
pub(super) struct Held(Vec<(Party, FileId)>);

impl Held {
    /// Asks whether the lock of each file is held. Opens one file at a time.
    ///
    /// # Errors
    ///
    /// `System`.
    pub(super) fn of(folder: &Folder) -> Result<Self, LinkError> {
        Self::of_files(folder, folder.lockable_files()?)
    }

    /// [`of`](Self::of) for the files with these names, for a user that may not list the folder.
    pub(super) fn of_files(
        folder: &Folder,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Self, LinkError> {
        let (mut held, mut has_tx) = (Self::default(), false);
        for name in names {
            let Some(file) = folder.open_lockable(&name)? else { continue };
            has_tx |= name == "tx";
            if lock::is_held(&file) {
                held.add(&name, &file);
            }
        }
        // The producer, whose process cannot be found: it has no lock of a file that exists.
        if !has_tx && lock::is_shared(&folder.dir).unwrap_or(true) {
            held.0.insert(0, (Party::Producer, (0, 0)));
        }
        Ok(held)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the producer in any case: the lock of `tx` was in the way a moment ago.
    pub(super) fn with_producer(mut self, tx: &File) -> Self {
        if self.0.iter().all(|(party, _)| *party != Party::Producer) {
            self.add("tx", tx);
        }
        self
    }

    /// Looks for the processes. Takes long: see the module.
    pub(super) fn holders(&self) -> Holders {
        Holders::of_all([self]).pop().unwrap_or_default()
    }

    /// The error for a link that is in use. The processes are looked for when it is shown.
    pub(super) fn refuse(self, name: &str) -> LinkError {
        let message = InUse { name: name.to_owned(), held: self, holders: OnceLock::new() };
        LinkError::when_shown(LinkErrorKind::InUse, message)
    }

    fn add(&mut self, name: &str, file: &File) {
        // A file whose metadata cannot be read is held, too, by a process that cannot be found.
        let found = file.metadata().map_or((0, 0), |found| (found.dev(), found.ino()));
        if let Some(party) = Party::of(name) {
            self.0.push((party, found));
            self.0.sort_by_key(|(party, _)| party.order());
        }
    }
}

/// The message for a link that is in use.
struct InUse {
    name: String,
    held: Held,
    holders: OnceLock<Holders>,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} is in use by {}", self.name, self.holders.get_or_init(|| self.held.holders()))
    }
}

impl Party {
    /// The role that goes with a file of this name.
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
            Party::Operator => f.write_str("a process that stops it (ctl")?,
        }
        match self.processes.as_slice() {
            [] => {}
            [process] => write!(f, ", process {}", process.id)?,
            [first, others @ ..] => {
                write!(f, ", processes {}", first.id)?;
                others.iter().try_for_each(|process| write!(f, " and {}", process.id))?;
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

/// The files of a link that no process held a moment ago, open.
#[derive(Debug)]
pub(super) struct Unheld {
    name: String,
    path: PathBuf,
    files: Vec<(String, File)>,
}

impl Unheld {
    /// Asks whether a process holds the link. Takes no locks: the free places of a link in use must stay
    /// open to others.
    ///
    /// # Errors
    ///
    /// `InUse`, naming the holders; `System`.
    pub(super) fn of(folder: &Folder) -> Result<Self, LinkError> {
        lock::check_that_locks_exclude().map_err(|error| cannot_lock(&folder.path, error))?;
        let (mut held, mut files, mut has_tx) = (Held::default(), Vec::new(), false);
        for name in folder.lockable_files()? {
            let Some(file) = folder.open_lockable(&name)? else { continue };
            has_tx |= name == "tx";
            if lock::is_locked(&file).map_err(|error| cannot_lock(&folder.path.join(&name), error))? {
                held.add(&name, &file);
                files.clear(); // they are not needed any more, and a link can have hundreds of them
            } else if held.is_empty() {
                files.push((name, file));
            }
        }
        // Without `tx`, the lock of the folder proves that the producer lives.
        if !has_tx && lock::is_shared(&folder.dir).map_err(|error| cannot_lock(&folder.path, error))? {
            let message =
                format!("link {} is in use by its producer, although its file tx is missing", folder.name);
            return Err(LinkError::new(LinkErrorKind::InUse, message));
        }
        if !held.is_empty() {
            return Err(held.refuse(&folder.name));
        }
        Ok(Self { name: folder.name.clone(), path: folder.path.clone(), files })
    }

    /// Makes sure that no process holds the link now, and that it stays so.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub(super) fn keep(self) -> Result<Vacant, LinkError> {
        let mut vacant = Vacant { files: Vec::with_capacity(self.files.len()) };
        let mut held = Held::default();
        for (name, file) in self.files {
            if lock::keep_free(&file).map_err(|error| cannot_lock(&self.path.join(&name), error))? {
                vacant.files.push(file);
            } else {
                held.add(&name, &file); // a process has joined in between
            }
        }
        if held.is_empty() { Ok(vacant) } else { Err(held.refuse(&self.name)) }
    }
}

fn cannot_lock(file: &Path, error: io::Error) -> LinkError {
    LinkError::system(format!("cannot lock {}", file.display()), error)
}

/// A link that no process holds, and that no process can join until this is dropped.
#[derive(Debug)]
pub(super) struct Vacant {
    files: Vec<File>,
}

impl Drop for Vacant {
    fn drop(&mut self) {
        for file in &self.files {
            // Closing the file unlocks it too, but only after the exit or exec of a child that was forked
            // meanwhile.
            let _ = lock::unlock(file);
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;

    use super::super::scratch::{Scratch, make_link};
    use super::*;

    fn holders_of(folder: &Folder) -> Holders {
        Held::of(folder).unwrap().holders()
    }

    #[test]
    fn holders_are_named_with_their_processes() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        assert!(holders_of(&folder).is_empty());
        let own = |file: &str| {
            let file = folder.open_file(file, true).unwrap();
            assert!(lock::try_lock(&file).unwrap());
            file
        };
        let owned = [own("rx.0"), own("tx")];
        let holders = holders_of(&folder);
        let me = std::process::id();
        let expected = [Party::Producer, Party::Consumer(0)];
        assert!(holders.iter().map(|holder| holder.party).eq(expected));
        // A child of another test may have a copy between fork and exec.
        assert!(
            holders.iter().all(|holder| holder.processes.iter().any(|process| process.id == me)),
            "{holders}"
        );
        let error = Unheld::of(&folder).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::InUse);
        let message = error.to_string();
        assert!(message.starts_with("link quotes is in use by its producer (tx, process"), "{message}");
        assert!(message.contains(" and the consumer in slot 0 (rx.0, process"), "{message}");
        for file in &owned {
            lock::unlock(file).unwrap();
        }
        assert_eq!(holders_of(&folder).to_string(), "nobody");
    }

    #[test]
    fn a_link_that_is_kept_vacant_cannot_be_joined() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        let (tx, rx) = (folder.open_file("tx", true).unwrap(), folder.open_file("rx.0", true).unwrap());
        let vacant = Unheld::of(&folder).unwrap().keep().unwrap();
        assert!(!lock::try_lock(&tx).unwrap() && !lock::try_lock(&rx).unwrap());
        assert!(holders_of(&folder).is_empty(), "a process that removes the link is not a holder");
        drop(vacant);
        assert!(lock::try_lock(&tx).unwrap() && lock::try_lock(&rx).unwrap());
    }

    #[test]
    fn only_regular_files_have_holders() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        fs::create_dir(folder.path.join("rx.1")).unwrap();
        std::os::unix::fs::symlink("tx", folder.path.join("rx.2")).unwrap();
        fs::write(folder.path.join("notes"), "").unwrap();
        let mut names = folder.lockable_files().unwrap();
        names.retain(|name| folder.open_lockable(name).unwrap().is_some());
        names.sort();
        assert_eq!(names, ["ctl", "rx.0", "tx"]);
        assert!(holders_of(&folder).is_empty());
    }

    #[test]
    fn in_words() {
        let holder = |party, processes: &[u32]| Holder {
            party,
            processes: processes.iter().map(|id| HolderProcess::of(*id, None)).collect(),
        };
        let all = Holders(vec![
            holder(Party::Producer, &[]),
            holder(Party::Consumer(3), &[7, 8]),
            holder(Party::Operator, &[9]),
        ]);
        assert_eq!(
            all.to_string(),
            "its producer (tx), the consumer in slot 3 (rx.3, processes 7 and 8) and a process that stops it (ctl, process 9)"
        );
    }
}
