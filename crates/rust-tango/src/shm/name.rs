//! Whether the name of an open link still leads to it.
//!
//! A link loses its name when it is removed, and when something else (a program that cleans up, a person)
//! deletes, renames or replaces its folder, the folder of links, or one of its files. What this process has
//! open and mapped then works as before, but no other process can find the link, or join it:
//!
//! ```text
//!   BASE/NAME ---------------> the open folder? ---> tx, ctl, rx.N in it: the files that were opened?
//!      |  no, and this process may see other mounts, or have another root, than when it opened the link
//!      `--> ../NAME, from the open folder on ---> the open folder?
//! ```
//!
//! The path alone would mislead a process that has locked itself in since (`chroot`, a mount namespace): it
//! sees nothing there, although the link has its name. The second way works in each namespace. But it does not
//! tell when the folder of links is renamed, or covered by a mount, so it is the second.
//!
//! Where the system does not say (no permission, for example), the link counts as named, unless its folder is
//! deleted.

use std::fs::File;
use std::path::Path;

use nix::sys::stat::{fstat, stat};

use super::folder::{Folder, Found, Identity, find};
use super::layout::rx_name;

/// What the name of a link led to when the link was opened.
#[derive(Debug)]
pub(super) struct Name {
    folder: Identity,
    /// `tx`, `ctl`, and then `rx.N` of each slot.
    files: Vec<Identity>,
    view: View,
}

impl Name {
    /// Remembers the folder of a link, and its files in the order `tx`, `ctl`, `rx.0`, `rx.1`, ...
    pub(super) fn of(folder: &Folder, files: Vec<Identity>) -> nix::Result<Self> {
        Ok(Self { folder: Identity::of_file(&folder.dir)?, files, view: View::of_this_thread() })
    }

    /// Whether this is the file of the link that had this name.
    pub(super) fn is_file(&self, name: &str, file: &File) -> nix::Result<bool> {
        let found = Identity::of_file(file)?;
        Ok((0..self.files.len()).any(|index| self.files[index] == found && file_name(index) == name))
    }

    /// The file of the link that had this name.
    pub(super) fn identity(&self, name: &str) -> Option<Identity> {
        (0..self.files.len()).find(|index| file_name(*index) == name).map(|index| self.files[index])
    }

    /// The file `tx` of the link.
    #[cfg(feature = "async")]
    pub(super) fn tx(&self) -> Identity {
        self.files[0]
    }

    /// Whether both are of the same link.
    pub(super) fn is_of_same_link(&self, other: &Self) -> bool {
        self.folder == other.folder
    }

    /// Whether the name still leads to this folder, and the names in it to its files. Makes a system call for
    /// each.
    pub(super) fn leads_here(&self, folder: &Folder) -> bool {
        // The path is absolute.
        let mut found = find(&folder.dir, &folder.path, self.folder);
        if found == Found::Other && !self.view.is_surely(&View::of_this_thread()) {
            found = find(&folder.dir, &Path::new("..").join(&folder.name), self.folder);
        }
        let is_there = match found {
            Found::Same => true,
            Found::Other => false,
            // An error says nothing, either.
            Found::Unknown => fstat(&folder.dir).ok().is_none_or(|found| found.st_nlink > 0),
        };
        is_there
            && self
                .files
                .iter()
                .enumerate()
                .all(|(index, file)| find(&folder.dir, Path::new(&file_name(index)), *file) != Found::Other)
    }
}

/// The name of a file, from its place in [`Name::files`].
fn file_name(index: usize) -> String {
    match index {
        0 => "tx".to_owned(),
        1 => "ctl".to_owned(),
        _ => rx_name(index - 2),
    }
}

/// What decides where an absolute path leads a thread. `None`: the system does not say.
#[derive(Debug)]
struct View {
    root: Option<Identity>,
    mounts: Option<Identity>,
}

impl View {
    fn of_this_thread() -> Self {
        let at = |path| stat(path).ok().map(|found| Identity::of(&found));
        Self { root: at("/"), mounts: at("/proc/thread-self/ns/mnt") }
    }

    /// False if they differ, and where the system does not say (without `/proc`, for example).
    fn is_surely(&self, other: &Self) -> bool {
        let is_same = |own: Option<Identity>, other| own.is_some() && own == other;
        is_same(self.root, other.root) && is_same(self.mounts, other.mounts)
    }
}
