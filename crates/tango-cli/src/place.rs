//! Where links are: the folder that the user names, or the library's default.

use std::path::{Path, PathBuf};

use rust_tango::{Link, LinkBuilder, LinkError};

/// The folder of links that this run works in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What `--dir` says; otherwise the library finds the folder.
    dir: Option<PathBuf>,
}

impl Place {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// What `--dir` says, for processes that this one starts, and for the library.
    pub(crate) fn explicit(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The folder.
    pub(crate) fn folder(&self) -> PathBuf {
        Link::folder_of_links(self.explicit())
    }

    pub(crate) fn open(&self, name: &str) -> Result<Link, LinkError> {
        match &self.dir {
            Some(dir) => Link::open_in(dir, name),
            None => Link::open(name),
        }
    }

    /// A builder of links in this folder.
    pub(crate) fn builder(&self) -> LinkBuilder {
        match &self.dir {
            Some(dir) => Link::builder().dir(dir),
            None => Link::builder(),
        }
    }

    /// The names of all links.
    pub(crate) fn list(&self) -> Result<Vec<String>, LinkError> {
        Link::list(self.explicit())
    }

    /// Takes the link of this name away, whoever uses it.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LinkError> {
        Link::remove_named(self.explicit(), name)
    }
}
