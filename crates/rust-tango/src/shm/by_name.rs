//! What is done to links by name: list, ask for the holders, remove. And how a process removes a link that it
//! has open.

use std::path::{Path, PathBuf};

use super::base;
use super::base_lock::with_base_lock;
use super::folder::{self, Folder};
use super::holders::Holders;
use super::link::ShmLink;
use super::lock;
use super::name_watch::set_removed_here;
use super::removal::{self, Dead, Removed};
use crate::error::{LinkError, LinkErrorKind};

pub(crate) fn folder_of_links(explicit: Option<&Path>) -> PathBuf {
    base::base_dir(explicit)
}

pub(crate) fn list(explicit: Option<&Path>) -> Result<Vec<String>, LinkError> {
    folder::list(&base::base_dir(explicit))
}

pub(crate) fn holders(explicit: Option<&Path>, name: &str) -> Result<Holders, LinkError> {
    Holders::of(&Folder::open(&base::base_dir(explicit), name)?)
}

pub(crate) fn remove(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = base::base_dir(explicit);
    // Without a base folder there is no lock to take, and nothing to remove.
    Folder::open(&base, name)?;
    with_base_lock(&base, || removal::remove(&base, name))?.delete()
}

pub(crate) fn remove_dead(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = base::base_dir(explicit);
    Folder::open(&base, name)?;
    with_base_lock(&base, || Dead::remove(&base, &Folder::open(&base, name)?))?.delete()
}

/// Removes every link that no process holds, and what remains of processes that died while they created or
/// removed a link. Returns what became of each link.
#[allow(clippy::type_complexity)]
pub(crate) fn remove_all_dead(
    explicit: Option<&Path>,
) -> Result<Vec<(String, Result<(), LinkError>)>, LinkError> {
    let base = base::base_dir(explicit);
    match base::open_base(&base) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        found => found?,
    };
    let names = with_base_lock(&base, || folder::list(&base))?;
    // One by one, because each needs some descriptors until it is deleted.
    Ok(names.into_iter().map(|name| (name.clone(), remove_dead(Some(&base), &name))).collect())
}

impl ShmLink {
    /// Removes this link, but not another one that has got its name since. A producer of this process goes on.
    pub(crate) fn remove(&self) -> Result<(), LinkError> {
        self.check_process()?;
        with_base_lock(&self.base, || self.take_name())?.delete()
    }

    /// The caller holds the base lock.
    fn take_name(&self) -> Result<Removed, LinkError> {
        let name = &self.folder.name;
        if !self.has_folder(&Folder::open(&self.base, name)?)? {
            let message = format!("link {name} has been removed, and another one has its name now");
            return Err(LinkError::new(LinkErrorKind::NotFound, message));
        }
        // Before the name is gone, which would end the link.
        set_removed_here(self, true);
        removal::remove(&self.base, name).inspect_err(|_| set_removed_here(self, false))
    }

    /// [`remove`](Self::remove), if the link has no producer.
    fn remove_without_producer(&self) -> Result<(), LinkError> {
        let removed = with_base_lock(&self.base, || {
            // Under the base lock, where a later producer may have taken the link over meanwhile. From here on no
            // process becomes its producer.
            if !lock::keep_free(&self.tx).unwrap_or(false) {
                return Ok(None);
            }
            let removed = self.take_name();
            let _ = lock::unlock(&self.tx);
            removed.map(Some)
        })?;
        removed.map_or(Ok(()), Removed::delete)
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
