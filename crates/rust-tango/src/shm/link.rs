//! A link in shared memory: made, opened, and joined.
#![allow(unsafe_code)]

use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::folder::{self, Folder};
use super::holders::{Holders, Vacant};
use super::layout::{self, Kind, SMALL_FILE};
use super::map::Mapping;
use super::staging::{self, Removed, Staging};
use super::{lock, trust};
use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::credits::floor::Slots;
use crate::credits::seat::Seat;
use crate::credits::slot::ConsumerSlot;
use crate::error::{LinkError, LinkErrorKind, TangoError};
use crate::memory::geometry::Geometry;
use crate::memory::parts::Parts;
use crate::memory::status::LinkStatus;
use crate::producer::{self, Claim, Producer, ProducerClaim};
use crate::sync::{Arc, Mutex, PoisonError, Relaxed, Release, ordering};

/// A link as a process sees it: everything mapped read-only. Producer and consumers add mappings that
/// they can write, of the files that are theirs; readers one of the producer's file, if they have asked for it.
#[derive(Debug)]
pub(crate) struct ShmLink {
    folder: Folder,
    base: PathBuf,
    geometry: Geometry,
    /// Its own file description, by which it can ask who holds the lock.
    tx: File,
    tx_map: Mapping,
    /// What readers load from instead of `tx_map`, once they have been allowed to: the same, mapped writable.
    writable: OnceLock<Mapping>,
    ctl: File,
    ctl_map: Mapping,
    rx: Vec<(File, Mapping)>,
}

/// Who makes a link has the producer's lock from the start, until it takes the producer, or drops the last
/// `Link` that it made (its readers may live on).
#[derive(Debug, Default)]
pub(crate) struct Made(Mutex<Option<ProducerFiles>>);

/// What a producer writes.
#[derive(Debug)]
struct ProducerFiles {
    tx: Own,
    /// `tx.N` of each slot.
    hot_slot: Vec<Mapping>,
}

/// A file of which this is the one writer.
#[derive(Debug)]
struct Own {
    map: Mapping,
    /// Holds the lock. Given up explicitly: closing the file would not do while a child process that has
    /// been forked meanwhile still has a copy.
    file: File,
}

impl Drop for Own {
    fn drop(&mut self) {
        // A forked child shares the lock, and must not give up what is its parent's.
        if self.map.is_of_this_process() {
            // Nothing can be done about an error, and closing the file follows.
            let _ = lock::unlock(&self.file);
        }
    }
}

impl Own {
    /// Takes the lock of the file; `None` if somebody has it. `NotFound` if the link has been removed
    /// before the lock was taken: nobody else would ever find whoever joins it now.
    fn take(file: File, len: usize, path: &str) -> Result<Option<Self>, LinkError> {
        if !lock::try_lock(&file).map_err(|error| LinkError::system(format!("cannot lock {path}"), error))? {
            return Ok(None);
        }
        if file.metadata().is_ok_and(|found| found.nlink() == 0) {
            let message = format!("{path} does not exist any more");
            return Err(LinkError::new(LinkErrorKind::NotFound, message));
        }
        let map = mapped_without_holes(&file, len, path)?;
        Ok(Some(Self { map, file }))
    }
}

/// A file that will be written, mapped. Whoever made it has reserved the space; somebody may have dug holes since. Filling
/// them now is an error where there is no space, filling them with a store would be the end of this process.
fn mapped_without_holes(file: &File, len: usize, path: &str) -> Result<Mapping, LinkError> {
    staging::reserve_holes(file, len)
        .map_err(|error| LinkError::system(format!("cannot reserve {len} bytes for {path}"), error))?;
    Mapping::read_write(file, len)
        .map_err(|error| LinkError::system(format!("cannot map {len} bytes of {path}"), error))
}

/// How long who stops a link waits for others who do, or who take it away.
const STOP_PATIENCE: Duration = Duration::from_millis(100);

fn rx_name(slot: usize) -> String {
    format!("rx.{slot}")
}

fn hot_slot_name(slot: usize) -> String {
    format!("tx.{slot}")
}

impl ShmLink {
    /// Makes a link, or takes over the one that is there: see [`Existing`]. `mode`: permissions of its files.
    pub(crate) fn create(
        explicit: Option<&Path>,
        name: &str,
        geometry: &Geometry,
        mode: u32,
        existing: Existing,
    ) -> Result<(Self, Made), LinkError> {
        folder::check_name(name)?;
        let base = folder::base_dir(explicit);
        folder::ensure_base(&base)?;
        let (link, files) = loop {
            match Folder::open(&base, name) {
                Err(error) if error.is_not_found() => {}
                _ => match staging::with_base_lock(&base, || {
                    Self::there(&base, name, geometry, mode, existing)
                })? {
                    There::Nothing => {}
                    There::Dead(dead) => dead.delete()?,
                    There::TakenOver(link, files) => break (*link, files),
                },
            }
            let made =
                staging::make(&base, name, mode, |staging| Self::fill(staging, &base, name, geometry))?;
            if let Some(made) = made {
                break made;
            }
        };
        Ok((link, Made(Mutex::new(Some(files)))))
    }

    /// Takes the link that is there over, or its name from it. Within the lock of the base folder.
    fn there(
        base: &Path,
        name: &str,
        geometry: &Geometry,
        mode: u32,
        existing: Existing,
    ) -> Result<There, LinkError> {
        let old = match Folder::open(base, name) {
            Err(error) if error.is_not_found() => return Ok(There::Nothing),
            old => old?,
        };
        if existing == Existing::Replace {
            return Ok(There::Dead(Dead::remove(base, &old)?));
        }
        let link = Self::attach(base.to_path_buf(), old)?;
        if layout::command(&link.ctl_map).load(Relaxed) != 0 {
            return Ok(There::Dead(Dead::remove(base, &link.folder)?)); // it has been stopped, for good
        }
        let files = link.producer_files(link.take_over(geometry, mode)?)?;
        Ok(There::TakenOver(Box::new(link), files))
    }

    /// Makes the files of a link.
    fn fill(
        staging: &Staging,
        base: &Path,
        name: &str,
        geometry: &Geometry,
    ) -> Result<(Self, ProducerFiles), LinkError> {
        let make = |file: &str, len: usize| {
            let path = base.join(name).join(file).display().to_string();
            let made = staging.create_file(file, len as u64)?;
            Own::take(made, len, &path)?.ok_or_else(|| {
                LinkError::new(LinkErrorKind::InUse, format!("somebody has taken the lock of {path}"))
            })
        };
        let tx = make("tx", layout::producer_len(geometry))?;
        layout::write_header(&tx.map, Kind::Producer, &layout::geometry_fields(geometry));
        let ctl = make("ctl", SMALL_FILE)?;
        layout::write_header(&ctl.map, Kind::Control, &[]);
        // SAFETY: both mappings outlive this block.
        producer::prepare(&unsafe { layout::parts(&tx.map, &ctl.map, geometry) }, geometry.start);
        for slot in 0..geometry.consumers {
            let rx = make(&rx_name(slot), SMALL_FILE)?;
            layout::write_header(&rx.map, Kind::Consumer, &[slot as u64]);
            let hot_slot = make(&hot_slot_name(slot), SMALL_FILE)?;
            layout::write_header(&hot_slot.map, Kind::HotSlot, &[slot as u64]);
        }
        // Before others see it: if this fails (too many open files, say), nothing is left behind.
        let link = Self::attach(base.to_path_buf(), staging.open()?)?;
        let files = link.producer_files(tx)?;
        Ok((link, files))
    }

    /// Takes the producer's lock of a link that is there, if it is what was asked for.
    fn take_over(&self, geometry: &Geometry, mode: u32) -> Result<Own, LinkError> {
        let path = self.folder.path.join("tx");
        let file = self.folder.open_file("tx", true)?;
        let found = file
            .metadata()
            .map_err(|error| LinkError::system(format!("cannot look at {}", path.display()), error))?;
        let len = layout::producer_len(&self.geometry);
        let Some(own) = Own::take(file, len, &path.display().to_string())? else {
            return Err(Holders::of(&self.folder)?.refuse(&self.folder.name));
        };
        let mut differences = self.geometry.differences(geometry);
        if found.mode() & 0o777 != mode {
            differences.push(format!("mode {:o} instead of {mode:o}", found.mode() & 0o777));
        }
        if differences.is_empty() {
            return Ok(own);
        }
        let message = format!(
            "link {} is not what was asked for: {}; ask for what it is, or make it anew (create)",
            path.parent().unwrap_or(&path).display(),
            differences.join(", ")
        );
        Err(LinkError::new(LinkErrorKind::Incompatible, message))
    }

    pub(crate) fn open(explicit: Option<&Path>, name: &str) -> Result<Self, LinkError> {
        folder::check_name(name)?;
        let base = folder::base_dir(explicit);
        let folder = Folder::open(&base, name)?;
        Self::attach(base, folder)
    }

    /// Maps all files read-only, after a look at their headers.
    fn attach(base: PathBuf, folder: Folder) -> Result<Self, LinkError> {
        let path = |file: &str| folder.path.join(file).display().to_string();
        let mapped = |opened: &File, file: &str, len: usize| {
            Mapping::read_only(opened, len).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => LinkError::new(
                    LinkErrorKind::Incompatible,
                    format!("{} is not a file of a link: it is too short", path(file)),
                ),
                _ => LinkError::system(format!("cannot map {len} bytes of {}", path(file)), error),
            })
        };
        let checked = |file: &str, kind: Kind, len: usize| {
            let opened = folder.open_file(file, false)?;
            let mapping = mapped(&opened, file, len)?;
            layout::check_header(&mapping, kind, &path(file))?;
            Ok::<_, LinkError>((opened, mapping))
        };
        let (tx, header) = checked("tx", Kind::Producer, layout::header_len())?;
        let file_len = tx
            .metadata()
            .map_err(|error| LinkError::system(format!("cannot look at {}", path("tx")), error))?
            .len();
        let geometry = layout::read_geometry(&header, file_len, &path("tx"))?;
        drop(header);
        let tx_map = mapped(&tx, "tx", layout::producer_len(&geometry))?;
        let (ctl, ctl_map) = checked("ctl", Kind::Control, SMALL_FILE)?;
        let rx = (0..geometry.consumers)
            .map(|slot| checked(&rx_name(slot), Kind::Consumer, SMALL_FILE))
            .collect::<Result<Vec<_>, LinkError>>()?;
        // Who has a use for these opens them again.
        for slot in 0..geometry.consumers {
            checked(&hot_slot_name(slot), Kind::HotSlot, SMALL_FILE)?;
        }
        Ok(Self { folder, base, geometry, tx, tx_map, writable: OnceLock::new(), ctl, ctl_map, rx })
    }

    /// The link through the mappings that this process has for reading.
    ///
    /// 'static stands for "as long as the `Arc` is kept": what is built on it keeps one, in the field that
    /// is dropped last, and hands out nothing that outlives a borrow of itself.
    fn parts(this: &Arc<Self>) -> Parts<'static> {
        let tx = this.writable.get().unwrap_or(&this.tx_map);
        // SAFETY: the mappings live as long as `this` (a `OnceLock` is filled once), see above; moving a
        // `Mapping` does not move memory.
        unsafe { layout::parts(tx, &this.ctl_map, &this.geometry) }
    }

    /// Readers that are made from now on load through a mapping that could be written to.
    pub(crate) fn map_writable(&self) -> Result<(), LinkError> {
        self.check_process()?;
        if self.writable.get().is_some() {
            return Ok(());
        }
        let path = self.folder.path.join("tx").display().to_string();
        let file = self.folder.open_file("tx", true)?;
        // What was checked, and will be, is the one that was opened first.
        if identity(file.metadata(), &path)? != identity(self.tx.metadata(), &path)? {
            let message = format!("{path} is another file than when the link was opened");
            return Err(LinkError::new(LinkErrorKind::NotFound, message));
        }
        let len = layout::producer_len(&self.geometry);
        let map = Mapping::read_write(&file, len).map_err(|error| {
            LinkError::system(format!("cannot map {len} bytes of {path} for writing"), error)
        })?;
        // Somebody else may have been faster: one is as good as the other.
        let _ = self.writable.set(map);
        Ok(())
    }

    /// All that the holder of the producer's lock writes.
    fn producer_files(&self, tx: Own) -> Result<ProducerFiles, LinkError> {
        let hot_slot = (0..self.geometry.consumers).map(|slot| self.hot_slot_of(slot));
        Ok(ProducerFiles { tx, hot_slot: hot_slot.collect::<Result<_, _>>()? })
    }

    /// Where the newest fragment can be shown to the consumer in this slot: for the producer and for that one.
    fn hot_slot_of(&self, slot: usize) -> Result<Mapping, LinkError> {
        let name = hot_slot_name(slot);
        let path = self.folder.path.join(&name).display().to_string();
        let file = self.folder.open_file(&name, true)?;
        mapped_without_holes(&file, SMALL_FILE, &path)
    }

    /// An error in a child that was forked since the link was opened: this process has the memory of that link no
    /// more ([`forks`](super::forks)).
    fn check_process(&self) -> Result<(), LinkError> {
        if self.tx_map.is_of_this_process() {
            return Ok(());
        }
        let name = &self.folder.name;
        let message = format!("link {name} was opened before this process was forked: open it again here");
        Err(LinkError::new(LinkErrorKind::Invalid, message))
    }

    pub(crate) fn producer(this: &Arc<Self>, made: &Made) -> Result<Producer<'static>, LinkError> {
        this.check_process()?;
        let made = made.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let files = match made {
            Some(files) => files,
            None => {
                let file = this.folder.open_file("tx", true)?;
                let path = this.folder.path.join("tx").display().to_string();
                let tx = Own::take(file, layout::producer_len(&this.geometry), &path)?
                    .ok_or(TangoError::ProducerTaken)?;
                this.producer_files(tx)?
            }
        };
        // SAFETY: `files` move into the claim and `this` is kept there: all mappings live until the producer's
        // last field is dropped.
        let (mut parts, slots) = unsafe {
            let hot_slots = files.hot_slot.iter().map(|map| Some(layout::hot_slot(map, &this.geometry)));
            let slots = this.rx.iter().map(|(_, map)| layout::consumer_slot(map)).zip(hot_slots);
            (layout::parts(&files.tx.map, &this.ctl_map, &this.geometry), Slots::watching(slots))
        };
        // Where somebody else can write, nobody gets a `&mut [u8]` (`Loan::as_mut_slice`).
        parts.observers |= this.check_trust().is_err();
        let Geometry { credits, start, .. } = this.geometry;
        let claim = Claim::Owned(Box::new(ShmProducer { files, link: this.clone() }));
        Ok(Producer::attach(parts, slots, credits, this.geometry.is_ample(), start, claim))
    }

    pub(crate) fn consumer(this: &Arc<Self>, start: Start) -> Result<Consumer<'static>, LinkError> {
        this.check_trust()?;
        // SAFETY: the check has found that only this user and root can write to the files; that they do it
        // through this library is what the documentation of links asks for.
        unsafe { Self::seated(this, start, Mode::Reliable) }
    }

    /// Whether nobody but this user and root can write to the link's files.
    fn check_trust(&self) -> Result<(), LinkError> {
        let hot_slot =
            (0..self.geometry.consumers).map(|slot| self.folder.open_file(&hot_slot_name(slot), false));
        let hot_slot = hot_slot.collect::<Result<Vec<_>, LinkError>>()?;
        let mut files = vec![&self.tx, &self.ctl];
        files.extend(self.rx.iter().map(|(file, _)| file).chain(&hot_slot));
        trust::check(&self.folder, &files)
    }

    /// A consumer with a slot.
    ///
    /// # Safety
    /// For a mode that reads in place, as [`Link::consumer_trusting`](crate::Link::consumer_trusting).
    pub(crate) unsafe fn seated(
        this: &Arc<Self>,
        start: Start,
        mode: impl FnOnce(Seat<'static>) -> Mode<'static>,
    ) -> Result<Consumer<'static>, LinkError> {
        this.check_process()?;
        for slot in 0..this.geometry.consumers {
            let name = rx_name(slot);
            let path = this.folder.path.join(&name).display().to_string();
            let file = this.folder.open_file(&name, true)?;
            let Some(own) = Own::take(file, SMALL_FILE, &path)? else { continue };
            layout::check_header(&own.map, Kind::Consumer, &path)?;
            let hot_slot_map = this.hot_slot_of(slot)?;
            // By consumers alone: a producer can take over what is left, whatever it is.
            let shown = this.folder.path.join(hot_slot_name(slot)).display().to_string();
            layout::check_header(&hot_slot_map, Kind::HotSlot, &shown)?;
            let parts = Self::parts(this);
            // SAFETY: both mappings move into the claim, which the consumer drops last.
            let (words, hot_slot) =
                unsafe { (layout::consumer_slot(&own.map), layout::hot_slot(&hot_slot_map, &this.geometry)) };
            let mode = mode(Seat::new(words, Some(hot_slot), &parts.head.eventcount));
            let _own = Some((own, hot_slot_map));
            let claim = Attachment::Owned(Box::new(ShmConsumer { _own, link: this.clone() }));
            return Ok(Consumer::attach(parts, mode, start, claim));
        }
        Err(TangoError::ConsumerTaken.into())
    }

    pub(crate) fn observer(
        this: &Arc<Self>,
        mode: Mode<'static>,
        start: Start,
    ) -> Result<Consumer<'static>, LinkError> {
        this.check_process()?;
        let claim = Attachment::Owned(Box::new(ShmConsumer { _own: None, link: this.clone() }));
        Ok(Consumer::attach(Self::parts(this), mode, start, claim))
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn name(&self) -> &str {
        &self.folder.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }

    pub(crate) fn stop(&self) -> Result<(), LinkError> {
        self.check_process()?;
        let path = self.folder.path.join("ctl").display().to_string();
        let file = self.folder.open_file("ctl", true)?;
        // A reader of another user may lock the file and keep it. All who have it to themselves here store the same, so
        // who does not get it in time goes on without.
        let is_ours = lock::lock_within(&file, STOP_PATIENCE)
            .map_err(|error| LinkError::system(format!("cannot lock {path}"), error))?;
        let map = Mapping::read_write(&file, SMALL_FILE)
            .map_err(|error| LinkError::system(format!("cannot map {path}"), error))?;
        // Pairs with the acquire fence in `Parts::ending`.
        layout::command(&map).store(1, ordering("link.stop", Release));
        if is_ours {
            // The close that follows unlocks too, though later if somebody forks.
            let _ = lock::unlock(&file);
        }
        // SAFETY: borrowed from `self` for this call only.
        let (parts, slots) = unsafe {
            let slots = self.rx.iter().map(|(_, map)| layout::consumer_slot(map));
            (layout::parts(&self.tx_map, &self.ctl_map, &self.geometry), slots)
        };
        parts.head.eventcount.wake_all();
        slots.for_each(ConsumerSlot::wake_all);
        Ok(())
    }

    pub(crate) fn status(self: &Arc<Self>) -> LinkStatus {
        let consumers = self.rx.iter().map(|(file, map)| {
            // SAFETY: borrowed from `self` for this call only.
            (unsafe { layout::consumer_slot(map) }, is_held(file))
        });
        LinkStatus::of(&Self::parts(self), is_held(&self.tx), consumers)
    }

    pub(crate) fn remove(&self) -> Result<(), LinkError> {
        self.check_process()?;
        staging::with_base_lock(&self.base, || {
            let there = Folder::open(&self.base, &self.folder.name)?;
            let identity = |folder: &Folder| {
                let found = folder.dir.try_clone().map(File::from).and_then(|dir| dir.metadata());
                identity(found, &folder.path.display())
            };
            if identity(&there)? != identity(&self.folder)? {
                let message = format!("link {} has been removed, and another one made", self.folder.name);
                return Err(LinkError::new(LinkErrorKind::NotFound, message));
            }
            staging::remove(&self.base, &self.folder.name)
        })?
        .delete()
    }
}

/// What to do about a link of the name that has no producer (and, to be made anew, no consumers either).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    TakeOver,
}

/// What has become of a link whose name is wanted.
enum There {
    Nothing,
    Dead(Dead),
    TakenOver(Box<ShmLink>, ProducerFiles),
}

/// A link that nobody holds, without a name. Until its files are deleted, nobody can join it either: not who has opened it
/// before.
struct Dead {
    removed: Removed,
    _vacant: Vacant,
}

impl Dead {
    /// Takes its name from this link if nobody holds it. Within the lock of the base folder.
    fn remove(base: &Path, link: &Folder) -> Result<Self, LinkError> {
        let vacant = Vacant::keep(link)?;
        Ok(Self { removed: staging::remove(base, &link.name)?, _vacant: vacant })
    }

    fn delete(self) -> Result<(), LinkError> {
        self.removed.delete()
    }
}

pub(crate) fn folder_of_links(explicit: Option<&Path>) -> PathBuf {
    folder::base_dir(explicit)
}

pub(crate) fn list(explicit: Option<&Path>) -> Result<Vec<String>, LinkError> {
    folder::list(&folder::base_dir(explicit))
}

pub(crate) fn holders(explicit: Option<&Path>, name: &str) -> Result<Holders, LinkError> {
    Holders::of(&Folder::open(&folder::base_dir(explicit), name)?)
}

pub(crate) fn remove(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = folder::base_dir(explicit);
    // Without the folder of links there is no lock to take, and nothing to remove.
    Folder::open(&base, name)?;
    staging::with_base_lock(&base, || staging::remove(&base, name))?.delete()
}

pub(crate) fn remove_dead(explicit: Option<&Path>, name: &str) -> Result<(), LinkError> {
    let base = folder::base_dir(explicit);
    Folder::open(&base, name)?;
    staging::with_base_lock(&base, || Dead::remove(&base, &Folder::open(&base, name)?))?.delete()
}

/// What became of each link. Clears away what makers and removers have left half way, too.
#[allow(clippy::type_complexity)]
pub(crate) fn remove_all_dead(
    explicit: Option<&Path>,
) -> Result<Vec<(String, Result<(), LinkError>)>, LinkError> {
    let base = folder::base_dir(explicit);
    match folder::open_base(&base) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        found => found?,
    };
    let names = staging::with_base_lock(&base, || folder::list(&base))?;
    // One by one: each takes some descriptors until it is deleted.
    Ok(names.into_iter().map(|name| (name.clone(), remove_dead(Some(&base), &name))).collect())
}

/// What tells a file from another one that has its name: device and number.
fn identity(found: io::Result<Metadata>, path: &impl Display) -> Result<(u64, u64), LinkError> {
    let found = found.map_err(|error| LinkError::system(format!("cannot look at {path}"), error))?;
    Ok((found.dev(), found.ino()))
}

/// Whether somebody holds the lock of this file. Where the system does not say, yes: `false` is proof.
fn is_held(file: &File) -> bool {
    lock::is_locked(file).unwrap_or(true)
}

/// What the producer of a shared link keeps.
struct ShmProducer {
    /// Its lock, and the memory that it writes.
    files: ProducerFiles,
    /// The memory that it reads.
    link: Arc<ShmLink>,
}

impl ProducerClaim for ShmProducer {
    fn is_of_this_process(&self) -> bool {
        self.files.tx.map.is_of_this_process()
    }

    fn consumer_lives(&self, slot: usize) -> bool {
        self.link.rx.get(slot).is_none_or(|(file, _)| is_held(file))
    }
}

/// What a reader of a shared link keeps.
struct ShmConsumer {
    /// A reliable consumer's lock, and the memory that it writes; and that where it is shown the newest fragment.
    _own: Option<(Own, Mapping)>,
    /// The memory that it reads.
    link: Arc<ShmLink>,
}

impl ConsumerClaim for ShmConsumer {
    fn is_of_this_process(&self) -> bool {
        self.link.tx_map.is_of_this_process()
    }

    fn producer_lives(&self) -> bool {
        is_held(&self.link.tx)
    }

    #[cfg(feature = "async")]
    fn question(&self) -> Option<crate::consumer::Question> {
        let link = self.link.clone();
        Some(Box::new(move || is_held(&link.tx)))
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::scratch::{Scratch, make_link};
    use super::*;

    #[test]
    fn readers_load_through_the_writable_mapping_once_there_is_one() {
        let scratch = Scratch::new();
        let _made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = Arc::new(ShmLink::open(Some(scratch.path()), "quotes").unwrap());
        let is_in = |map: &Mapping, head: *const u8| map.words().as_ptr_range().contains(&head.cast());
        let head = || std::ptr::from_ref(ShmLink::parts(&link).head).cast();
        assert!(is_in(&link.tx_map, head()));
        link.map_writable().unwrap();
        assert!(is_in(link.writable.get().unwrap(), head()) && !is_in(&link.tx_map, head()));
    }

    /// Asks in vain for some time, then takes what is published. Where it was shown that; `None`: in the ring.
    fn shown(tx: &Producer<'_>, rx: &mut Consumer<'_>) -> Option<usize> {
        (0..10).for_each(|_| assert!(rx.poll().unwrap().is_none()));
        let n = tx.publish(&[7; 24], 0, 0, 0).unwrap().seq;
        let (place, ring) = (rx.shown_at(), rx.parts.ring.line(n).room.as_ptr().addr());
        let fragment = rx.poll().unwrap().unwrap();
        assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (n, &[7; 24][..]));
        (fragment.payload.as_slice().as_ptr().addr() != ring).then_some(place)
    }

    /// Where it is shown fragments when it has been for some time.
    fn settled(tx: &Producer<'_>, rx: &mut Consumer<'_>, mut beside: Option<&mut Consumer<'_>>) -> usize {
        let mut turn = || {
            let place = shown(tx, rx);
            beside.iter_mut().for_each(|beside| assert!(beside.poll().unwrap().is_some()));
            place
        };
        let places: Vec<_> = (0..20).map(|_| turn()).collect();
        assert!(places[10..].iter().all(|place| place.is_some() && *place == places[10]), "{places:?}");
        places[10].unwrap()
    }

    fn drain(rx: &mut Consumer<'_>) {
        while rx.poll().unwrap().is_some() {}
    }

    #[test]
    fn the_only_consumer_that_follows_is_shown_the_newest_apart() {
        let scratch = Scratch::new();
        let builder = crate::Link::builder().depth(1024).mtu(24).consumers(2).dir(scratch.path());
        let link = builder.create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut first = link.consumer().unwrap();
        let shared = std::ptr::from_ref(&first.parts.head.hot_slot).addr();
        let apart = settled(&tx, &mut first, None);
        assert_ne!(apart, shared);
        // Beside others that do not follow, and before any credits are asked for.
        let mut second = link.consumer().unwrap();
        let mut observer = link.observer().unwrap();
        assert_eq!(settled(&tx, &mut first, Some(&mut second)), apart);
        drain(&mut observer);
        assert_eq!(settled(&tx, &mut observer, None), shared, "and all others see it as well");
        // Beside one that follows, too.
        drain(&mut first);
        drain(&mut second);
        assert_eq!(settled(&tx, &mut second, None), shared);
        drain(&mut first);
        assert_eq!(settled(&tx, &mut first, None), shared);
        drop(first);
        drain(&mut second);
        let second_apart = settled(&tx, &mut second, None);
        assert!(second_apart != shared && second_apart != apart);
        // The next producer begins by showing them to all.
        drop(tx);
        let tx = link.producer().unwrap();
        assert_eq!(settled(&tx, &mut second, None), second_apart);
    }

    #[test]
    fn another_file_in_the_place_of_the_producers_is_not_mapped() {
        let scratch = Scratch::new();
        let _made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = ShmLink::open(Some(scratch.path()), "quotes").unwrap();
        let tx = scratch.path().join("quotes/tx");
        std::fs::copy(&tx, tx.with_extension("copy")).unwrap();
        std::fs::rename(tx.with_extension("copy"), &tx).unwrap();
        let error = link.map_writable().unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("another file"), "{error}");
    }

    #[test]
    fn what_is_in_the_place_of_a_page_for_one_consumer_is_not_mapped() {
        let scratch = Scratch::new();
        let made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = crate::Link::open_in(scratch.path(), "quotes").unwrap();
        let path = scratch.path().join("quotes/tx.0");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, vec![0; SMALL_FILE]).unwrap();
        let error = link.consumer().unwrap_err();
        assert!(error.kind() == LinkErrorKind::Incompatible && error.to_string().contains("tx.0"), "{error}");
        drop(made);
    }

    /// Who may only read the link can do this.
    #[test]
    fn a_read_lock_does_not_keep_a_link_from_being_stopped() {
        let scratch = Scratch::new();
        let made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let reader = File::open(scratch.path().join("quotes/ctl")).unwrap();
        assert!(lock::keep_free(&reader).unwrap());
        made.stop().unwrap();
        assert!(made.status().stopped);
    }

    /// Between opening a file and taking its lock, the link can go.
    #[test]
    fn the_lock_of_a_removed_file_is_not_taken() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        let (before, after) = (folder.open_file("tx", true).unwrap(), folder.open_file("tx", true).unwrap());
        drop(Own::take(before, SMALL_FILE, "tx").unwrap().unwrap());
        staging::remove(scratch.path(), "quotes").unwrap().delete().unwrap();
        let error = Own::take(after, SMALL_FILE, "tx").unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("tx does not exist any more"), "{error}");
    }
}
