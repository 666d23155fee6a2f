//! [`LinkFolder`]: the folder of links that `--dir` names, or the library's default folder. [`RemoveOnDrop`]: a
//! link in it that this process has created.

use std::path::{Path, PathBuf};

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

    /// The value of `--dir`, to pass on to child processes and to the library.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The path of the folder, whoever chose it.
    pub(crate) fn path(&self) -> PathBuf {
        Link::folder_of_links(self.dir())
    }

    /// Opens the link with this name.
    pub(crate) fn open(&self, name: &str) -> Result<Link, LinkError> {
        match &self.dir {
            Some(dir) => Link::open_in(dir, name),
            None => Link::open(name),
        }
    }

    /// A builder for links in this folder.
    pub(crate) fn builder(&self) -> LinkBuilder {
        match &self.dir {
            Some(dir) => Link::builder().dir(dir),
            None => Link::builder(),
        }
    }

    /// The names of all links.
    pub(crate) fn list(&self) -> Result<Vec<String>, LinkError> {
        Link::list(self.dir())
    }

    /// Removes the link with this name, even if it is in use.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LinkError> {
        Link::remove_named(self.dir(), name)
    }
}

/// Removes the link when it is dropped.
pub(crate) struct RemoveOnDrop(pub(crate) Link);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // It fails if another process has removed the link already.
        let _ = self.0.remove();
    }
}
