//! Creating a link, or taking over the one that exists.
//!
//! ```text
//!   the name is free                      staging::make
//!   a link without a producer, ...
//!     asked to take it over               lock tx; geometry and mode must be as asked
//!     asked to replace it, or stopped     remove it if no process holds it, then staging::make
//!   a link in use                         InUse, with the holders
//! ```

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::access::Access;
use super::base;
use super::base_lock::with_base_lock;
use super::ends::{ProducerFiles, Reservation};
use super::folder::{self, Folder};
use super::holders::Held;
use super::layout::{self, Kind, SMALL_FILE, rx_name};
use super::leftovers::clear_own_leftovers;
use super::link::{MappedLink, ShmLink};
use super::lock;
use super::map::Pages;
use super::owned::Owned;
use super::removal::Dead;
use super::staging::{self, Staging};
use crate::error::{LinkError, LinkErrorKind};
use crate::events::emit;
use crate::memory::geometry::Geometry;
use crate::memory::hints::Hints;
use crate::memory::payload_type::PayloadType;
use crate::producer;
use crate::sync::Arc;

/// What to do with a link of the wanted name that has no producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Replace it, unless it still has consumers.
    Replace,
    /// Continue it.
    TakeOver,
}

/// How a link is created.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) access: Access,
    pub(crate) existing: Existing,
    /// The last owner of the result removes the link.
    pub(crate) remove_on_drop: bool,
    /// Each process maps all pages at once.
    pub(crate) prefault: bool,
    /// Those of this process's ends. `None`: by default.
    pub(crate) hints: Option<Hints>,
}

/// Creates a link, or takes over the one that exists.
///
/// First deletes what remains of processes of this user that died while they created or removed a link.
pub(crate) fn create(
    explicit: Option<&Path>,
    name: &str,
    geometry: &Geometry,
    settings: Settings,
) -> Result<(Arc<ShmLink>, Reservation), LinkError> {
    let Settings { payload_type, access, existing, remove_on_drop, prefault, hints } = settings;
    let asked = Asked { geometry, payload_type: payload_type.as_ref(), access };
    let pages = if prefault { Pages::AtOnce } else { Pages::WhenTouched };
    folder::check_name(name)?;
    let base = base::base_dir(explicit);
    base::ensure_base(&base)?;
    if let Some(group) = access.group() {
        base::check_others_may_enter(&base, group)?;
    }
    clear_own_leftovers(&base::open_base(&base)?);
    let (mut link, files, is_new) = loop {
        match Folder::open(&base, name) {
            Err(error) if error.is_not_found() => {}
            old => match claim_name(&base, old?, &asked, existing)? {
                Claimed::Free => {}
                Claimed::Dead(dead) => {
                    dead.delete()?;
                    emit!(link_removed(name));
                }
                Claimed::TakenOver(link, files) => break (*link, files, false),
            },
        }
        let made = staging::make(&base, name, access, |staging| fill(staging, &base, name, &asked, pages))?;
        if let Some((link, files)) = made {
            break (link, files, true);
        }
    };
    link.hints = hints.unwrap_or(link.hints);
    let link = Arc::new(ShmLink::new(link, remove_on_drop));
    let reservation = Reservation::new(&link, files).inspect_err(|_| {
        if is_new {
            let _ = link.remove();
        }
    })?;
    if is_new {
        emit!(link_created(Some(name), geometry.depth, geometry.mtu, geometry.consumers));
    } else {
        emit!(link_taken_over(name));
    }
    Ok((link, reservation))
}

/// What a link has to be, new or continued.
struct Asked<'a> {
    geometry: &'a Geometry,
    payload_type: Option<&'a PayloadType>,
    access: Access,
}

/// What has become of the link that had the wanted name.
enum Claimed {
    /// Another process has removed it.
    Free,
    /// It has lost its name.
    Dead(Dead),
    /// It is continued.
    TakenOver(Box<MappedLink>, ProducerFiles),
}

/// Takes over the link that has the name, or takes the name from it.
fn claim_name(base: &Path, old: Folder, asked: &Asked<'_>, existing: Existing) -> Result<Claimed, LinkError> {
    let claimed = || -> Result<Claimed, LinkError> {
        if existing == Existing::Replace {
            return Ok(Claimed::Dead(Dead::remove(base, &old)?));
        }
        let link = MappedLink::attach(base.to_path_buf(), old.try_clone()?)?;
        if link.is_stopped() {
            return Ok(Claimed::Dead(Dead::remove(base, &old)?)); // it has ended for good
        }
        let tx = take_over(base, &link, asked)?;
        let files = ProducerFiles::of(&link, tx)?;
        Ok(Claimed::TakenOver(Box::new(link), files))
    };
    match claimed() {
        // A file of the link is missing because another process has removed the link since it was opened.
        Err(error) if error.is_not_found() && !still_has_name(base, &old) => Ok(Claimed::Free),
        claimed => claimed,
    }
}

fn still_has_name(base: &Path, link: &Folder) -> bool {
    base::open_base(base).is_ok_and(|parent| link.check_has_name(&parent).is_ok())
}

/// Takes the lock of the producer of an existing link, if the link is as asked.
fn take_over(base: &Path, link: &MappedLink, asked: &Asked<'_>) -> Result<Owned, LinkError> {
    let Asked { geometry, payload_type, access } = *asked;
    let path = link.folder.path.join("tx");
    let file = link.folder.open_file("tx", true)?;
    let found = file
        .metadata()
        .map_err(|error| LinkError::system(format!("cannot examine {}", path.display()), error))?;
    let refused =
        || Ok::<_, LinkError>(Held::of(&link.folder)?.with_producer(&link.tx).refuse(&link.folder.name));
    let cannot = |error| LinkError::system(format!("cannot lock {}", path.display()), error);
    lock::check_that_locks_exclude().map_err(cannot)?;
    if lock::is_locked(&file).map_err(cannot)? {
        return Err(refused()?);
    }
    // Under the base lock, a link that has its name is not being removed.
    let is_ours = with_base_lock(base, || {
        link.folder.check_has_name(&base::open_base(base)?)?;
        lock::try_lock(&file).map_err(cannot)
    })?;
    if !is_ours {
        return Err(refused()?);
    }
    let (len, in_child) = (layout::producer_len(&link.geometry), layout::tx_in_child(&link.geometry));
    let own = Owned::take(file, len, &path.display().to_string(), link.pages, in_child)?;
    let Some(own) = own else {
        return Err(refused()?);
    };
    let mut differences = link.geometry.differences(geometry);
    if link.payload_type() != payload_type {
        let [here, wanted] = [link.payload_type(), payload_type].map(PayloadType::describe);
        differences.push(format!("{here} instead of {wanted}"));
    }
    let (mode, wanted) = (found.mode() & 0o777, access.of_file("tx"));
    if mode != wanted {
        differences.push(format!("mode {mode:o} instead of {wanted:o}"));
    }
    // Without consumers, the group has no file.
    if link.group != access.group() && link.geometry.consumers > 0 {
        let name = |group: Option<u32>| group.map_or("none".to_owned(), |group| group.to_string());
        let (group, wanted) = (name(link.group), name(access.group()));
        differences.push(format!("consumer group {group} instead of {wanted}"));
    }
    if differences.is_empty() {
        return Ok(own);
    }
    let message = format!(
        "link {} is not as requested: {}",
        path.parent().unwrap_or(&path).display(),
        differences.join(", ")
    );
    let error = LinkError::new(LinkErrorKind::Incompatible, message);
    Err(error.with_advice("request what exists, or replace the link with LinkBuilder::create"))
}

/// Makes the files of a link.
fn fill(
    staging: &Staging,
    base: &Path,
    name: &str,
    asked: &Asked<'_>,
    pages: Pages,
) -> Result<(MappedLink, ProducerFiles), LinkError> {
    let Asked { geometry, payload_type, .. } = *asked;
    let make = |file: &str, len: usize, pages, in_child| {
        let path = base.join(name).join(file).display().to_string();
        let made = staging.create_file(file, len as u64)?;
        Owned::take(made, len, &path, pages, in_child)?.ok_or_else(|| {
            LinkError::new(LinkErrorKind::InUse, format!("another process has taken the lock of {path}"))
        })
    };
    let small = |file: &str, in_child| make(file, SMALL_FILE, Pages::AtOnce, in_child);
    let tx = make("tx", layout::producer_len(geometry), pages, layout::tx_in_child(geometry))?;
    layout::write_header(
        tx.map.words(),
        Kind::Producer,
        &layout::producer_fields(geometry, pages, payload_type),
    );
    layout::write_type_name(tx.map.words(), payload_type);
    let ctl = small("ctl", layout::CTL_IN_CHILD)?;
    layout::write_header(ctl.map.words(), Kind::Control, &[]);
    producer::prepare_zeroed(&layout::parts(tx.map.words(), ctl.map.words(), geometry), geometry.start);
    for slot in 0..geometry.consumers {
        let rx = small(&rx_name(slot), layout::ZEROS_IN_CHILD)?;
        layout::write_header(rx.map.words(), Kind::Consumer, &[slot as u64]);
    }
    // Before other processes see the link: an error here (too many open files, for example) leaves nothing
    // behind.
    let link = MappedLink::attach(base.to_path_buf(), staging.open()?)?;
    let files = ProducerFiles::of(&link, tx)?;
    Ok((link, files))
}
