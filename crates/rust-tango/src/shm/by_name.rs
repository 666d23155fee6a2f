//! What is done to links by name: list, ask for the holders, remove. And how a process removes a link that it
//! has open.

use std::ffi::OsString;
use std::path::Path;

use super::base::{self, base_dir};
use super::base_lock::{is_timeout, with_base_lock};
use super::folder::{self, Folder};
use super::holders::{Held, Holders};
use super::leftovers;
use super::link::{MappedLink, ShmLink};
use super::lock;
use super::name_watch::set_removed_here;
use super::removal::{self, Dead, Removed};
use crate::error::LinkError;
use crate::events::emit;

pub(crate) fn list(folder: &Path) -> Result<Vec<String>, LinkError> {
    folder::list(&base_dir(Some(folder)))
}

pub(crate) fn holders(folder: &Path, name: &str) -> Result<Holders, LinkError> {
    Ok(Held::of(&Folder::open(&base_dir(Some(folder)), name)?)?.holders())
}

pub(crate) fn remove(folder: &Path, name: &str) -> Result<(), LinkError> {
    let base = base_dir(Some(folder));
    removed(&base, name, removal::remove)?.delete()?;
    emit!(link_removed(name));
    Ok(())
}

pub(crate) fn remove_dead(folder: &Path, name: &str) -> Result<(), LinkError> {
    let base = base_dir(Some(folder));
    removed(&base, name, Dead::remove)?.delete()?;
    emit!(link_removed(name));
    Ok(())
}

/// Opens the link of this name and takes its name by `remove`, again if the name has got to another link in
/// between.
fn removed<T>(
    base: &Path,
    name: &str,
    remove: impl Fn(&Path, &Folder) -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    loop {
        match remove(base, &Folder::open(base, name)?) {
            Err(error) if error.is_not_found() => {}
            result => return result,
        }
    }
}

/// Deletes what remains of processes that died while they created or removed a link.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<(), LinkError> {
    match base::open_base(&base_dir(Some(folder))) {
        Err(error) if error.is_not_found() => {}
        base => leftovers::clear_leftovers(&base?),
    }
    Ok(())
}

/// Removes every link that no process holds. Returns what became of each link.
#[allow(clippy::type_complexity)]
pub(crate) fn remove_all_dead(folder: &Path) -> Result<Vec<(String, Result<(), LinkError>)>, LinkError> {
    let base = base_dir(Some(folder));
    lock::check_that_locks_exclude()
        .map_err(|error| LinkError::system(format!("cannot lock {}", base.display()), error))?;
    remove_leftovers(&base)?;
    // One by one, because each needs some descriptors until it is deleted.
    let mut results = Vec::new();
    for name in folder::list(&base)? {
        match remove_dead(&base, &name) {
            // It would be the same for each of the others, after the same time.
            Err(error) if is_timeout(&error) => return Err(error),
            result => results.push((name, result)),
        }
    }
    Ok(results)
}

impl MappedLink {
    /// Removes this link, but not another one that has got its name since. A producer of this process goes on.
    pub(crate) fn remove(&self) -> Result<(), LinkError> {
        self.check_process()?;
        let files = removal::files_of(&self.folder)?;
        with_base_lock(&self.base, || self.take_name(files))?.delete()?;
        emit!(link_removed(self.name()));
        Ok(())
    }

    /// [`remove`](Self::remove), if the link has no producer.
    fn remove_without_producer(&self) -> Result<(), LinkError> {
        let files = removal::files_of(&self.folder)?;
        let removed = with_base_lock(&self.base, || {
            // Under the base lock, before which a later producer may have taken the link over. From here on no
            // process becomes its producer.
            if !lock::keep_free(&self.tx).unwrap_or(false) {
                return Ok(None);
            }
            let removed = self.take_name(files);
            let _ = lock::unlock(&self.tx);
            removed.map(Some)
        })?;
        if let Some(removed) = removed {
            removed.delete()?;
            emit!(link_removed(self.name()));
        }
        Ok(())
    }

    /// The caller holds the base lock.
    fn take_name(&self, files: Vec<OsString>) -> Result<Removed, LinkError> {
        self.folder.check_has_name(&base::open_base(&self.base)?)?;
        // Before the name is gone, which would end the link.
        set_removed_here(self, true);
        removal::take_name(&self.base, &self.folder, files).inspect_err(|_| set_removed_here(self, false))
    }
}

/// Removes the link, if it was made so, unless a later producer has it, or another link has its name. A process
/// that dies, or a forked child, does not come here, or does nothing.
impl Drop for ShmLink {
    fn drop(&mut self) {
        // All producers that were made from this value have unlocked `tx` by now.
        if self.remove_on_drop && self.check_process().is_ok() && !lock::is_held(&self.tx) {
            // There is nobody to tell of an error. What is left counts as a dead link.
            let _ = self.remove_without_producer();
        }
    }
}
