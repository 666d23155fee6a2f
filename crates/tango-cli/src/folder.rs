//! [`LinkFolder`]: the folder of links that `--dir` names, or the library's default folder. [`Identity`]: which link has a
//! name there. [`RemoveOnDrop`]: a link that this process has created.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, SystemTime};

use rust_tango::{Link, LinkBuilder, LinkError};

/// The folder of links that this process works in.
#[derive(Debug, Clone)]
pub(crate) struct LinkFolder {
    /// The value of `--dir`. `None`: the library chooses the folder (`TANGO_DIR`, else `/dev/shm/tango-UID`).
    dir: Option<PathBuf>,
}

impl LinkFolder {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// The value of `--dir`, to pass on to child processes.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The path of the folder, whoever chose it. It is absolute.
    pub(crate) fn path(&self) -> PathBuf {
        // An empty path stays as it is, for the library to refuse.
        self.dir
            .as_ref()
            .map_or_else(Link::folder_of_links, |dir| absolute(dir).unwrap_or_else(|_| dir.clone()))
    }

    /// Opens the link with this name.
    pub(crate) fn open(&self, name: &str) -> Result<Link, LinkError> {
        Link::open_in(self.path(), name)
    }

    /// Opens the link with this name as soon as it exists: see [`Link::open_wait`].
    pub(crate) fn open_wait(&self, name: &str, timeout: Duration) -> Result<Link, LinkError> {
        Link::open_wait_in(self.path(), name, Some(timeout))
    }

    /// A builder for links in this folder.
    pub(crate) fn builder(&self) -> LinkBuilder {
        Link::builder().dir(self.path())
    }

    /// The names of all links.
    pub(crate) fn list(&self) -> Result<Vec<String>, LinkError> {
        Link::list(self.path())
    }

    /// Opens every link, in the order of their names. Each is closed before the next is opened, so that thousands of links
    /// need no more descriptors than one. A link that was removed after the names were read is left out.
    ///
    /// # Errors
    /// The folder cannot be read. A missing folder is an empty one.
    pub(crate) fn for_each(
        &self,
        mut visit: impl FnMut(String, Result<Link, LinkError>),
    ) -> Result<(), LinkError> {
        for name in self.list()? {
            match self.open(&name) {
                Err(error) if error.is_not_found() && !self.path().join(&name).exists() => {}
                found => visit(name, found),
            }
        }
        Ok(())
    }

    /// Which link has this name now.
    pub(crate) fn identity(&self, name: &str) -> Option<Identity> {
        let found = fs::metadata(self.path().join(name)).ok()?;
        Some(Identity { device: found.dev(), inode: found.ino(), born: found.created().ok() })
    }

    /// Removes the link with this name, even if it is in use.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LinkError> {
        Link::remove_named(self.path(), name)
    }
}

/// What tells a link from others that have its name before or after it: device and inode of its folder, and when that was
/// made, where the filesystem knows it (some use inodes again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

/// Removes the link when it is dropped.
pub(crate) struct RemoveOnDrop(pub(crate) Link);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // It fails if another process has removed the link already.
        let _ = self.0.remove();
    }
}
