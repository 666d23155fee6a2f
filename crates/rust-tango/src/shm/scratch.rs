//! Shared by the unit tests of this folder: a folder that is removed when its test ends or panics, and a
//! small link.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use super::access::OWNER;
use super::base_lock::LOCK_FILE;
use super::folder::Folder;
use super::staging;

pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder of mode 0700, in `/dev/shm` if that exists.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("tango-test-{}-{count}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A new file of `len` zero bytes, open for reading and writing.
    pub(super) fn file(&self, name: &str, len: u64) -> fs::File {
        let file = fs::File::create_new(self.0.join(name)).unwrap();
        file.set_len(len).unwrap();
        self.open(name, true)
    }

    /// Opens a file again, with an open file description of its own.
    pub(super) fn open(&self, name: &str, write: bool) -> fs::File {
        fs::File::options().read(true).write(write).open(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a link of small files that no process holds; `None` as in [`staging::make`].
pub(super) fn make_link(base: &Path, name: &str) -> Option<Folder> {
    let made = staging::make(base, name, OWNER, |staging| {
        let make = |file| staging.create_file(file, 4096);
        let files = ["tx", "ctl", "rx.0"].into_iter().map(make).collect::<Result<Vec<_>, _>>()?;
        Ok((staging.open()?, files))
    });
    made.unwrap().map(|(folder, _)| folder)
}

/// The names in a base folder, without its lock file.
pub(super) fn visible(base: &Path) -> Vec<String> {
    let names = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != LOCK_FILE).collect()
}

/// The permissions of a file or folder.
pub(super) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
