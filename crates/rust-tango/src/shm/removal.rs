//! Removing a link: one rename takes its name, then its files are deleted.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::base::open_base;
use super::filesystem::{rename_error, rename_new};
use super::folder::{Folder, entries, is_link_file, not_found};
use super::holders::Vacant;
use super::leftovers::{OLD, delete_files, hidden_name, is_folder};
use crate::error::{LinkError, LinkErrorKind};

/// A link that has lost its name.
#[derive(Debug)]
#[must_use]
pub(super) struct Removed {
    base: PathBuf,
    parent: OwnedFd,
    folder: Folder,
    hidden: String,
    files: Vec<OsString>,
}

impl Removed {
    /// Deletes the files and the folder. Processes that have the files open keep them.
    ///
    /// # Errors
    ///
    /// `System`. The next process that creates or removes a link tries again.
    pub(super) fn delete(self) -> Result<(), LinkError> {
        let Self { base, parent, folder, hidden, files } = self;
        delete_files(&parent, &hidden, &folder.dir, &files).map_err(|error| {
            LinkError::system(format!("cannot delete all of {}", base.join(hidden).display()), error)
        })
    }
}

/// Takes the name from a link.
///
/// The caller holds the base lock ([`with_base_lock`](super::base_lock::with_base_lock)). Without it, the
/// name may lead to another link by now, which was created after another process had removed the first.
///
/// # Errors
///
/// `NotFound`; `Incompatible` if the folder contains anything but files of a link (a subfolder never is
/// one, whatever its name), and then nothing has been changed; `System`.
pub(super) fn remove(base: &Path, name: &str) -> Result<Removed, LinkError> {
    let folder = Folder::open(base, name)?;
    let path = &folder.path;
    let cannot = |error: Errno| LinkError::system(format!("cannot remove {}", path.display()), error);
    let is_foreign = |entry: &&OsString| !is_link_file(entry) || is_folder(&folder.dir, entry);
    let files = entries(&folder.dir).map_err(cannot)?;
    if let Some(foreign) = files.iter().find(is_foreign) {
        let message = format!(
            "{} contains {foreign:?}, which is not a file of a link, so nothing was removed: move it elsewhere, or delete the folder yourself",
            path.display()
        );
        return Err(LinkError::new(LinkErrorKind::Incompatible, message));
    }
    let parent = open_base(base)?;
    let hidden = loop {
        let hidden = hidden_name(OLD);
        match rename_new(&parent, name, &hidden) {
            Ok(()) => break hidden,
            Err(Errno::EEXIST) => {}
            Err(Errno::ENOENT) => return Err(not_found(name, base)),
            Err(error) => {
                return Err(rename_error(format!("cannot remove {}", path.display()), &parent, error));
            }
        }
    };
    Ok(Removed { base: base.to_path_buf(), parent, folder, hidden, files })
}

/// A link that no process holds and that has lost its name. Until its files are deleted, no process can
/// join it, not even one that has opened it before.
pub(super) struct Dead {
    removed: Removed,
    _vacant: Vacant,
}

impl Dead {
    /// Takes the name from this link if no process holds it. The caller holds the base lock, as for
    /// [`remove`].
    ///
    /// # Errors
    ///
    /// `InUse`, with the holders; otherwise as [`remove`].
    pub(super) fn remove(base: &Path, link: &Folder) -> Result<Self, LinkError> {
        let vacant = Vacant::keep(link)?;
        Ok(Self { removed: remove(base, &link.name)?, _vacant: vacant })
    }

    pub(super) fn delete(self) -> Result<(), LinkError> {
        self.removed.delete()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::base_lock::{LOCK_FILE, with_base_lock};
    use super::super::folder::list;
    use super::super::scratch::{Scratch, make_link, visible};
    use super::*;

    #[test]
    fn foreign_files_are_not_deleted() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        fs::write(folder.path.join("notes.txt"), "mine").unwrap();
        let error = remove(scratch.path(), "quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Incompatible);
        assert!(error.to_string().contains("notes.txt"));
        assert_eq!(list(scratch.path()).unwrap(), ["quotes"]);
        folder.open_file("tx", false).unwrap();
        fs::remove_file(folder.path.join("notes.txt")).unwrap();
        // A subfolder is not a file of a link, even under such a name.
        fs::create_dir(folder.path.join("rx.1")).unwrap();
        let error = remove(scratch.path(), "quotes").unwrap_err();
        assert!(error.kind() == LinkErrorKind::Incompatible && error.to_string().contains("rx.1"), "{error}");
        folder.open_file("tx", false).unwrap();
        fs::remove_dir(folder.path.join("rx.1")).unwrap();
        remove(scratch.path(), "quotes").unwrap().delete().unwrap();
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
        assert_eq!(remove(&base, "quotes").unwrap_err().kind(), LinkErrorKind::Incompatible);
        with_base_lock(&base, || Ok(())).unwrap();
        // A symbolic link in the place of a file is deleted; its target stays.
        let folder = make_link(&base, "other").unwrap();
        symlink("../../elsewhere/tx", folder.path.join("rx.1")).unwrap();
        remove(&base, "other").unwrap().delete().unwrap();
        assert_eq!(fs::read(elsewhere.join("tx")).unwrap(), b"precious");
        assert_eq!(visible(&base).len(), 3, "{:?}", visible(&base));
        // Nor is anything locked through one.
        fs::remove_file(base.join(LOCK_FILE)).unwrap();
        symlink("../elsewhere/tx", base.join(LOCK_FILE)).unwrap();
        let error = with_base_lock(&base, || Ok(())).unwrap_err();
        assert!(error.kind() == LinkErrorKind::System && error.to_string().contains(LOCK_FILE), "{error}");
    }
}
