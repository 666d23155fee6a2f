//! [`Owned`]: a file of which this process is the only writer, locked and mapped.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use super::forks::ChildWords;
use super::map::{Mapping, Pages};
use super::{lock, space};
use crate::error::{LinkError, LinkErrorKind};

/// A file that this process has locked, and may therefore write.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) map: Mapping,
    /// Holds the lock. It is unlocked explicitly: closing the file does not unlock it while a child that
    /// was forked meanwhile has a copy of the descriptor.
    file: File,
}

impl Owned {
    /// Takes the lock of the file and maps `len` bytes for writing. `None`: another process holds the lock.
    ///
    /// # Errors
    ///
    /// `NotFound`: the link was removed before the lock was taken, so no other process would ever find the
    /// new owner. `System`.
    pub(super) fn take(
        file: File,
        len: usize,
        path: &str,
        pages: Pages,
        in_child: ChildWords,
    ) -> Result<Option<Self>, LinkError> {
        if !lock::try_lock(&file).map_err(|error| LinkError::system(format!("cannot lock {path}"), error))? {
            return Ok(None);
        }
        let found =
            file.metadata().map_err(|error| LinkError::system(format!("cannot examine {path}"), error))?;
        if found.nlink() == 0 {
            let message = format!("{path} does not exist any more");
            return Err(LinkError::new(LinkErrorKind::NotFound, message));
        }
        let map = map_for_writing(&file, &found, len, path, pages, in_child)?;
        Ok(Some(Self { map, file }))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // A forked child shares the lock of its parent, and must not release it.
        if self.map.is_of_this_process() {
            // There is nothing to do about an error, and the file is closed next.
            let _ = lock::unlock(&self.file);
        }
    }
}

/// Maps a file that will be written, and fills its holes first: a store into a hole of a full filesystem
/// would end the process.
fn map_for_writing(
    file: &File,
    found: &Metadata,
    len: usize,
    path: &str,
    pages: Pages,
    in_child: ChildWords,
) -> Result<Mapping, LinkError> {
    space::reserve_holes(file, found, len)
        .map_err(|error| LinkError::system(format!("cannot reserve {len} bytes for {path}"), error))?;
    Mapping::read_write(file, found, len, pages, in_child)
        .map_err(|error| LinkError::system(format!("cannot map {len} bytes of {path}"), error))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::layout::{SMALL_FILE, ZEROS_IN_CHILD};
    use super::super::removal::remove;
    use super::super::scratch::{Scratch, make_link};
    use super::*;

    /// The link can be removed between the moments when a file is opened and when it is locked.
    #[test]
    fn the_lock_of_a_removed_file_is_not_taken() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        let (before, after) = (folder.open_file("tx", true).unwrap(), folder.open_file("tx", true).unwrap());
        let take = |file| Owned::take(file, SMALL_FILE, "tx", Pages::AtOnce, ZEROS_IN_CHILD);
        drop(take(before).unwrap().unwrap());
        remove(scratch.path(), &folder).unwrap().delete().unwrap();
        let error = take(after).unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("tx does not exist any more"), "{error}");
    }
}
