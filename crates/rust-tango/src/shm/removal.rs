//! Removing a link: one rename takes its name, then its files are deleted.
//!
//! Only the rename, and what must be true at that moment, happens under the base lock. The folder is opened
//! and read before, and the files are deleted afterwards.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::base::open_base;
use super::base_lock::with_base_lock;
use super::filesystem::{rename_error, rename_new};
use super::folder::{Folder, entries, is_link_file};
use super::holders::{Unheld, Vacant};
use super::leftovers::{OLD, Workspace, delete_files, hidden_name, is_folder};
use crate::error::{LinkError, LinkErrorKind};

/// A link that has lost its name.
#[derive(Debug)]
#[must_use]
pub(super) struct Removed {
    base: PathBuf,
    dir: OwnedFd,
    workspace: Workspace,
    hidden: String,
    files: Vec<OsString>,
}

impl Removed {
    /// Deletes the files and the folder. Processes that have the files open keep them.
    ///
    /// # Errors
    ///
    /// `System`. The next process of this user that creates a link tries again.
    pub(super) fn delete(self) -> Result<(), LinkError> {
        let Self { base, dir, workspace, hidden, files } = self;
        delete_files(workspace.dir(), &hidden, &dir, &files).map_err(|error| {
            LinkError::system(format!("cannot delete all of {}", base.join(hidden).display()), error)
        })
    }
}

/// Takes the name from a link.
///
/// # Errors
///
/// `NotFound` if the name does not lead to this link any more; `Incompatible` if the folder contains
/// anything but files of a link (a subfolder never is one, whatever its name), and then nothing has been
/// changed; `System`.
pub(super) fn remove(base: &Path, link: &Folder) -> Result<Removed, LinkError> {
    let files = files_of(link)?;
    with_base_lock(base, || take_name(base, link, files))
}

/// The names of the link's files.
pub(super) fn files_of(link: &Folder) -> Result<Vec<OsString>, LinkError> {
    let files = entries(&link.dir).map_err(|error| cannot(link, error))?;
    let is_foreign = |entry: &&OsString| !is_link_file(entry) || is_folder(&link.dir, entry);
    if let Some(foreign) = files.iter().find(is_foreign) {
        let message = format!(
            "{} contains {foreign:?}, which is not a file of a link, so nothing was removed: move it elsewhere, or delete the folder yourself",
            link.path.display()
        );
        return Err(LinkError::new(LinkErrorKind::Incompatible, message));
    }
    Ok(files)
}

/// Takes the name from a link. The caller holds the base lock. Without it, the name could lead to another
/// link between the check and the rename.
pub(super) fn take_name(base: &Path, link: &Folder, files: Vec<OsString>) -> Result<Removed, LinkError> {
    let dir = link
        .dir
        .try_clone()
        .map_err(|error| LinkError::system(format!("cannot remove {}", link.path.display()), error))?;
    loop {
        let workspace = Workspace::open(open_base(base)?).map_err(|error| cannot(link, error))?;
        link.check_has_name(workspace.base())?;
        let (hidden, name) = (hidden_name(OLD), link.name.as_str());
        match rename_new(workspace.base(), name, workspace.dir(), &hidden) {
            Ok(()) => return Ok(Removed { base: base.to_path_buf(), dir, workspace, hidden, files }),
            // Another process has deleted the workspace. Or the link by hand, which the next turn finds.
            Err(Errno::EEXIST | Errno::ENOENT) => {}
            Err(error) => {
                let what = format!("cannot remove {}", link.path.display());
                return Err(rename_error(what, workspace.base(), error));
            }
        }
    }
}

fn cannot(link: &Folder, error: Errno) -> LinkError {
    LinkError::system(format!("cannot remove {}", link.path.display()), error)
}

/// A link that no process holds and that has lost its name. Until its files are deleted, no process can
/// join it, not even one that has opened it before.
pub(super) struct Dead {
    removed: Removed,
    _vacant: Vacant,
}

impl Dead {
    /// Takes the name from this link if no process holds it. Takes no lock if one does.
    ///
    /// # Errors
    ///
    /// `InUse`, with the holders; otherwise as [`remove`].
    pub(super) fn remove(base: &Path, link: &Folder) -> Result<Self, LinkError> {
        let (unheld, files) = (Unheld::of(link)?, files_of(link)?);
        with_base_lock(base, || {
            let vacant = unheld.keep()?;
            Ok(Self { removed: take_name(base, link, files)?, _vacant: vacant })
        })
    }

    pub(super) fn delete(self) -> Result<(), LinkError> {
        self.removed.delete()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::base_lock::LOCK_FILE;
    use super::super::folder::list;
    use super::super::leftovers::clear_leftovers;
    use super::super::scratch::{Scratch, make_link, visible};
    use super::*;

    #[test]
    fn foreign_files_are_not_deleted() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        fs::write(folder.path.join("notes.txt"), "mine").unwrap();
        let error = remove(scratch.path(), &folder).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Incompatible);
        assert!(error.to_string().contains("notes.txt"));
        assert_eq!(list(scratch.path()).unwrap(), ["quotes"]);
        folder.open_file("tx", false).unwrap();
        fs::remove_file(folder.path.join("notes.txt")).unwrap();
        // A subfolder is not a file of a link, even under such a name.
        fs::create_dir(folder.path.join("rx.1")).unwrap();
        let error = remove(scratch.path(), &folder).unwrap_err();
        assert!(error.kind() == LinkErrorKind::Incompatible && error.to_string().contains("rx.1"), "{error}");
        folder.open_file("tx", false).unwrap();
        fs::remove_dir(folder.path.join("rx.1")).unwrap();
        remove(scratch.path(), &folder).unwrap().delete().unwrap();
    }

    #[test]
    fn nothing_is_deleted_through_a_symbolic_link() {
        let scratch = Scratch::new();
        let (base, elsewhere) = (scratch.path().join("base"), scratch.path().join("elsewhere"));
        fs::create_dir(&base).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("tx"), "precious").unwrap();
        for name in ["quotes", ".new-1-0", ".old-1-0"] {
            symlink("../elsewhere", base.join(name)).unwrap();
        }
        assert_eq!(Folder::open(&base, "quotes").unwrap_err().kind(), LinkErrorKind::Incompatible);
        clear_leftovers(&open_base(&base).unwrap());
        // A symbolic link in the place of a file is deleted; its target stays.
        let folder = make_link(&base, "other").unwrap();
        symlink("../../elsewhere/tx", folder.path.join("rx.1")).unwrap();
        remove(&base, &folder).unwrap().delete().unwrap();
        assert_eq!(fs::read(elsewhere.join("tx")).unwrap(), b"precious");
        assert_eq!(visible(&base).len(), 3, "{:?}", visible(&base));
        // Nor is anything locked through one.
        fs::remove_file(base.join(LOCK_FILE)).unwrap();
        symlink("../elsewhere/tx", base.join(LOCK_FILE)).unwrap();
        let error = with_base_lock(&base, || Ok(())).unwrap_err();
        assert!(error.kind() == LinkErrorKind::System && error.to_string().contains(LOCK_FILE), "{error}");
    }
}
