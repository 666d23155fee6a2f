//! What is done to links by name, without opening them: list, ask for the holders, remove.

use std::path::{Path, PathBuf};

use super::base;
use super::base_lock::with_base_lock;
use super::folder::{self, Folder};
use super::holders::Holders;
use super::removal::{self, Dead};
use crate::error::LinkError;

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
