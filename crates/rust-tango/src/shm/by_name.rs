//! What is done to links by name, without opening them: list, ask for the holders, remove.

use std::path::{Path, PathBuf};

use super::base_lock;
use super::folder::{self, Folder};
use super::holders::{Held, Holders};
use super::leftovers;
use super::removal::{self, Dead};
use crate::error::LinkError;

pub(crate) fn folder_of_links(explicit: Option<&Path>) -> PathBuf {
    folder::base_dir(explicit)
}

pub(crate) fn list(explicit: Option<&Path>) -> Result<Vec<String>, LinkError> {
    folder::list(&folder::base_dir(explicit))
}

pub(crate) fn holders(explicit: Option<&Path>, name: &str) -> Result<Holders, LinkError> {
    Ok(Held::of(&Folder::open(&folder::base_dir(explicit), name)?)?.holders())
}

pub(crate) fn remove(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = folder::base_dir(explicit);
    removed(&base, name, removal::remove)?.delete()
}

pub(crate) fn remove_dead(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = folder::base_dir(explicit);
    removed(&base, name, Dead::remove)?.delete()
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
pub(crate) fn remove_leftovers(explicit: Option<&Path>) -> Result<(), LinkError> {
    match folder::open_base(&folder::base_dir(explicit)) {
        Err(error) if error.is_not_found() => {}
        base => leftovers::clear_leftovers(&base?),
    }
    Ok(())
}

/// Removes every link that no process holds. Returns what became of each link.
#[allow(clippy::type_complexity)]
pub(crate) fn remove_all_dead(
    explicit: Option<&Path>,
) -> Result<Vec<(String, Result<(), LinkError>)>, LinkError> {
    let base = folder::base_dir(explicit);
    remove_leftovers(Some(&base))?;
    // One by one, because each needs some descriptors until it is deleted.
    let mut results = Vec::new();
    for name in folder::list(&base)? {
        match remove_dead(Some(&base), &name) {
            // It would be the same for each of the others, after the same time.
            Err(error) if base_lock::is_timeout(&error) => return Err(error),
            result => results.push((name, result)),
        }
    }
    Ok(results)
}
