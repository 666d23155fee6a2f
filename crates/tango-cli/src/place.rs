//! Where links are: the folder that the user names, and what can be said of a folder that is no sound link.

use std::env;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::Uid;
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

    /// What `--dir` says, for processes that this one starts.
    pub(crate) fn explicit(&self) -> Option<&PathBuf> {
        self.dir.as_ref()
    }

    /// The folder, by the same rule as the library's.
    pub(crate) fn folder(&self) -> PathBuf {
        let from_environment = || env::var_os("TANGO_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.dir
            .clone()
            .or_else(from_environment)
            .unwrap_or_else(|| PathBuf::from(format!("/dev/shm/tango-{}", Uid::effective())))
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
        Link::list(self.dir.as_deref())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), LinkError> {
        Link::remove_named(self.dir.as_deref(), name)
    }

    /// The files of a link, sound or not, that somebody holds: each has a lock while its owner lives.
    /// `name` is one that the library has accepted.
    pub(crate) fn held_files(&self, name: &str) -> io::Result<Vec<String>> {
        let mut held = Vec::new();
        for entry in fs::read_dir(self.folder().join(name))? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            let careful = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = OpenOptions::new().read(true).custom_flags(careful).open(entry.path())?;
            let mut answer = libc::flock {
                l_type: libc::F_RDLCK as libc::c_short,
                l_whence: libc::SEEK_SET as libc::c_short,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            fcntl(&file, FcntlArg::F_OFD_GETLK(&mut answer))?;
            if answer.l_type != libc::F_UNLCK as libc::c_short {
                held.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        held.sort_unstable();
        Ok(held)
    }
}
