//! [`ShmLink`]: a link in shared memory, as `Link` and its ends own it. [`MappedLink`]: its files, opened and checked.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::Uid;

use super::access::Access;
use super::base;
use super::folder::{self, Folder, Identity};
use super::forks::ChildWords;
use super::layout::{self, HOT_PAGE, HOT_SLOT, Kind, SMALL_FILE, rx_name};
use super::map::{Mapping, Pages};
use super::name::Name;
use super::{filesystem, lock, trust};
use crate::credits::slot::ConsumerSlot;
use crate::error::{LinkError, LinkErrorKind};
use crate::memory::counts::LinkMetrics;
use crate::memory::geometry::Geometry;
use crate::memory::hints::Hints;
use crate::memory::parts::{NAME_LOST, Parts};
use crate::memory::payload_type::PayloadType;
use crate::memory::status::LinkStatus;
use crate::sync::{Arc, Relaxed, Release, ordering};
use crate::timing::processor;
#[cfg(feature = "async")]
use crate::waiting::direct::NotifierId;

/// How long a process that stops a link waits for the lock of `ctl`.
const STOP_PATIENCE: Duration = Duration::from_millis(100);

/// The files of a link in shared memory, all of them mapped read-only.
///
/// The producer and the consumers of this process have further mappings, writable, of the files that they
/// own. Readers may have one of the page of the hot slot: see [`hot_slot`](crate::ring::hot_slot).
#[derive(Debug)]
pub(crate) struct MappedLink {
    pub(super) folder: Folder,
    pub(super) base: PathBuf,
    name: Name,
    pub(super) geometry: Geometry,
    payload_type: Option<PayloadType>,
    /// When the pages of `tx` are mapped.
    pub(super) pages: Pages,
    /// Has an open file description of its own, to ask whether the lock is held.
    pub(super) tx: File,
    pub(super) tx_map: Mapping,
    /// The page of the hot slot, mapped writable for the readers of this process, which only load from it. Set when
    /// the first of them is made. `None`: they use `tx_map`.
    hot_page: OnceLock<Option<Mapping>>,
    ctl: File,
    pub(super) ctl_map: Mapping,
    rx: Vec<ConsumerFile>,
    /// The group whose members can be consumers.
    pub(super) group: Option<u32>,
    pub(super) hints: Hints,
}

/// `rx.N` of one slot.
#[derive(Debug)]
struct ConsumerFile {
    map: Mapping,
    /// The file that is mapped, open to ask for its lock. A consumer never asks, so this is opened when the
    /// first question comes: a link can have hundreds of slots.
    file: OnceLock<File>,
}

impl MappedLink {
    pub(crate) fn open(explicit: Option<&Path>, name: &str) -> Result<Self, LinkError> {
        folder::check_name(name)?;
        let base = base::base_dir(explicit);
        let folder = Folder::open(&base, name)?;
        Self::attach(base, folder)
    }

    /// Checks the headers of all files of a link and maps the files read-only.
    pub(super) fn attach(base: PathBuf, folder: Folder) -> Result<Self, LinkError> {
        let path = |file: &str| folder.path.join(file).display().to_string();
        let cannot_read = |file: &str, what: String, error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LinkError::new(
                LinkErrorKind::Incompatible,
                format!("{} is not a file of a link: it is too short", path(file)),
            ),
            _ => LinkError::system(format!("cannot {what} of {}", path(file)), error),
        };
        let mapped = |opened: &File, found: &Metadata, file: &str, (len, pages), in_child: ChildWords| {
            Mapping::read_only(opened, found, len, pages, in_child)
                .map_err(|error| cannot_read(file, format!("map {len} bytes"), error))
        };
        let checked_and_mapped = |file: &str, kind: Kind, in_child: ChildWords| {
            let (opened, found) = folder.open_and_examine(file, false)?;
            let mapping = mapped(&opened, &found, file, (SMALL_FILE, Pages::AtOnce), in_child)?;
            layout::check_header(mapping.words(), kind, &path(file))?;
            Ok::<_, LinkError>((opened, found, mapping))
        };
        // Read and not mapped, because the length of the rest is not known yet.
        let (tx, tx_found) = folder.open_and_examine("tx", false)?;
        let header = layout::read_header(&tx)
            .map_err(|error| cannot_read("tx", "read the header".to_owned(), error))?;
        layout::check_header(&header, Kind::Producer, &path("tx"))?;
        let geometry = layout::read_geometry(&header, tx_found.len(), &path("tx"))?;
        let payload_type = layout::read_payload_type(&tx, &header, geometry.mtu, &path("tx"))
            .map_err(|error| cannot_read("tx", "read the payload type".to_owned(), error))??;
        let pages = layout::read_pages(&header);
        let (len, in_child) = (layout::producer_len(&geometry), layout::tx_in_child(&geometry));
        let tx_map = mapped(&tx, &tx_found, "tx", (len, pages), in_child)?;
        let (ctl, ctl_found, ctl_map) = checked_and_mapped("ctl", Kind::Control, layout::CTL_IN_CHILD)?;
        let mut files = vec![Identity::of_metadata(&tx_found), Identity::of_metadata(&ctl_found)];
        let (mut rx, mut group) = (Vec::with_capacity(geometry.consumers), None);
        // One file is open at a time: a link can have hundreds of slots.
        for slot in 0..geometry.consumers {
            let rx_file = rx_name(slot);
            let (_, found, map) = checked_and_mapped(&rx_file, Kind::Consumer, layout::ZEROS_IN_CHILD)?;
            files.push(Identity::of_metadata(&found));
            if slot == 0 {
                group = Access::group_of(found.mode(), found.gid());
            }
            rx.push(ConsumerFile { map, file: OnceLock::new() });
        }
        let name = Name::of(&folder, files)
            .map_err(|error| LinkError::system(format!("cannot examine {}", folder.path.display()), error))?;
        Ok(Self {
            folder,
            base,
            name,
            geometry,
            payload_type,
            pages,
            tx,
            tx_map,
            hot_page: OnceLock::new(),
            ctl,
            ctl_map,
            rx,
            group,
            hints: processor::hints_of_process()?,
        })
    }

    /// The link as long as an `Arc` of it is kept.
    ///
    /// `'static` stands for that. Everything that is built on the result keeps an `Arc` of this link, or of a
    /// [`ShmLink`] with it, in the field that is dropped last, and hands out nothing that outlives a borrow of itself.
    pub(super) fn kept(this: &Arc<Self>) -> &'static Self {
        // SAFETY: the memory of an `Arc` does not move, and lives until the last `Arc` is dropped: see above.
        unsafe { &*Arc::as_ptr(this) }
    }

    /// The memory of the link, through the mappings that this process has for reading.
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            hints: self.hints,
            ..layout::parts(self.tx_map.words(), self.ctl_map.words(), &self.geometry)
        }
    }

    /// The same for a reader, which may poll the hot slot.
    pub(super) fn reader_parts(&self) -> Parts<'_> {
        let parts = self.parts();
        match self.hot_page.get_or_init(|| self.map_hot_page()) {
            Some(page) => Parts { hot_slot: layout::hot_slot(page.words()), ..parts },
            None => parts,
        }
    }

    /// Maps the page of the hot slot writable, if that makes readers faster and this user owns the file. `None` as
    /// well if the system refuses: only speed differs.
    fn map_hot_page(&self) -> Option<Mapping> {
        // Not on an overlay, where opening a file for writing can replace it by a copy.
        if !self.hints.hot_page || !filesystem::is_tmpfs(&self.tx) {
            return None;
        }
        let owner = self.tx.metadata().ok()?.uid();
        let is_own = owner == Uid::effective().as_raw();
        let (file, found) = is_own.then(|| self.folder.open_and_examine("tx", true).ok())??;
        // All checks, past and future, are about the file that was opened first.
        self.check_is_file("tx", &file).ok()?;
        let in_child = layout::hot_page_in_child(&self.geometry);
        Mapping::part_read_write(&file, &found, HOT_SLOT..HOT_SLOT + HOT_PAGE, in_child).ok()
    }

    pub(crate) fn payload_type(&self) -> Option<&PayloadType> {
        self.payload_type.as_ref()
    }

    /// The slots of all reliable consumers, for reading.
    pub(super) fn consumer_slots(&self) -> impl Iterator<Item = &ConsumerSlot> {
        self.rx.iter().map(|rx| layout::consumer_slot(rx.map.words()))
    }

    /// Opens `rx.N` of each slot, and keeps the files open. From then on, [`consumer_lives`](Self::consumer_lives)
    /// has the kernel's answer, even if the link loses its name.
    pub(super) fn keep_consumer_files(&self) -> Result<(), LinkError> {
        (0..self.rx.len()).try_for_each(|slot| self.consumer_file(slot).map(drop))
    }

    /// Whether the consumer in this slot is alive. If that cannot be asked: true.
    pub(super) fn consumer_lives(&self, slot: usize) -> bool {
        slot >= self.rx.len() || self.consumer_file(slot).map_or(true, lock::is_held)
    }

    /// Opens the file that is mapped as `rx.N`, and no other that has got its name since. Keeps it open.
    fn consumer_file(&self, slot: usize) -> Result<&File, LinkError> {
        let rx = &self.rx[slot];
        if let Some(file) = rx.file.get() {
            return Ok(file);
        }
        let file = self.folder.open_file(&rx_name(slot), false)?;
        self.check_is_file(&rx_name(slot), &file)?;
        Ok(rx.file.get_or_init(|| file))
    }

    /// Refuses a file that has this name in the folder of the link, but had not when the link was opened.
    fn check_is_file(&self, name: &str, file: &File) -> Result<(), LinkError> {
        let path = self.folder.path.join(name);
        let is_same = self
            .name
            .is_file(name, file)
            .map_err(|error| LinkError::system(format!("cannot examine {}", path.display()), error))?;
        if is_same {
            return Ok(());
        }
        let message = format!("{} is another file than when the link was opened", path.display());
        Err(LinkError::new(LinkErrorKind::NotFound, message))
    }

    /// Refuses to go on in a child that was forked since the link was opened: it has private memory in
    /// place of the link ([`forks`](super::forks)).
    pub(crate) fn check_process(&self) -> Result<(), LinkError> {
        if self.tx_map.is_of_this_process() {
            return Ok(());
        }
        let name = &self.folder.name;
        let message = format!("link {name} was opened before this process was forked: open it again here");
        Err(LinkError::new(LinkErrorKind::Invalid, message))
    }

    /// The producer's eventcount, whichever mapping of `tx` it is found in.
    #[cfg(feature = "async")]
    pub(super) fn notifier(&self) -> NotifierId {
        let [device, inode] = self.name.tx().numbers();
        NotifierId::File { device, inode }
    }

    /// How a reliable consumer of this user has to read.
    ///
    /// # Errors
    ///
    /// Those of [`trust::check`].
    pub(crate) fn check_trust(&self) -> Result<Reading, LinkError> {
        match self.check_writers() {
            Ok(()) => Ok(Reading::InPlace),
            // Nothing that other users write there can do more than hide fragments: see `trust`.
            Err(error) if self.group.is_some() && self.geometry.observers && error.observer_may_join() => {
                Ok(Reading::ByCopy)
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that only this user and root can write to the files of the link.
    pub(super) fn check_writers(&self) -> Result<(), LinkError> {
        let checked = trust::check(&self.folder, &[&self.tx, &self.ctl]).map_err(|error| {
            // If only a file is gone, opening it again says which, and that the link is damaged.
            let missing = || ["tx", "ctl"].iter().find_map(|file| self.folder.open_file(file, false).err());
            if error.is_not_found() { missing().unwrap_or(error) } else { error }
        })?;
        (0..self.geometry.consumers).try_for_each(|slot| {
            let name = rx_name(slot);
            // The file that was opened under this name, asked by its name, or else whatever has the name now.
            match self.name.identity(&name).is_some_and(|file| checked.named(&name, file)) {
                true => Ok(()),
                false => checked.file(&self.folder.open_file(&name, false)?),
            }
        })
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

    /// Whether the link has been stopped.
    pub(super) fn is_stopped(&self) -> bool {
        layout::command(self.ctl_map.words()).load(Relaxed) != 0
    }

    pub(crate) fn stop(&self) -> Result<(), LinkError> {
        self.check_process()?;
        let path = self.folder.path.join("ctl").display().to_string();
        let file = self.folder.open_file("ctl", true)?;
        // Another user that may only read can take a read lock and keep it. A store of another process, which
        // ends the link as well, does no harm. So the store is done without the lock then.
        let is_locked = lock::lock_within(&file, STOP_PATIENCE)
            .map_err(|error| LinkError::system(format!("cannot lock {path}"), error))?;
        let ended =
            self.end(&file, 1).map_err(|error| LinkError::system(format!("cannot map {path}"), error));
        if is_locked {
            // Closing the file unlocks it too, but only after the exit or exec of a child that was forked
            // meanwhile.
            let _ = lock::unlock(&file);
        }
        ended
    }

    /// Ends the link because its name does not lead to it any more. `ctl`: that file of the link, which may be
    /// deleted, open for writing.
    pub(super) fn end_without_name(&self, ctl: &File) -> io::Result<()> {
        if self.is_stopped() { Ok(()) } else { self.end(ctl, NAME_LOST) }
    }

    /// Stores a command that is not 0, and wakes all that wait.
    fn end(&self, ctl: &File, command: u64) -> io::Result<()> {
        let found = ctl.metadata()?;
        let map = Mapping::read_write(ctl, &found, SMALL_FILE, Pages::AtOnce, layout::CTL_IN_CHILD)?;
        // Pairs with the acquire fence in `Parts::ending`.
        layout::command(map.words()).store(command, ordering("link.stop", Release));
        self.parts().head.eventcount.wake_all();
        self.consumer_slots().for_each(ConsumerSlot::wake_all);
        Ok(())
    }

    /// Whether the other value is a handle of this link, too.
    pub(super) fn is_same_link(&self, other: &Self) -> bool {
        self.name.is_of_same_link(&other.name)
    }

    /// Whether the name of the link still leads to it. Makes a system call for each of its files.
    pub(crate) fn is_named(&self) -> bool {
        self.name.leads_here(&self.folder)
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let lives = |slot| self.consumer_lives(slot);
        LinkStatus::of(&self.parts(), lock::is_held(&self.tx), self.consumer_slots(), lives)
    }

    pub(crate) fn metrics(&self) -> LinkMetrics {
        LinkMetrics::of(&self.parts(), self.consumer_slots())
    }
}

/// A link as `Link` and the ends of the link own it. Their last owner removes the link, if it was made so: see
/// [`by_name`](super::by_name).
///
/// The watcher of async ends owns the [`MappedLink`] only. So it never removes a link: it would do that late, and all
/// async ends would wait meanwhile.
#[derive(Debug)]
pub(crate) struct ShmLink {
    /// Never replaced.
    mapped: Arc<MappedLink>,
    pub(super) remove_on_drop: bool,
}

impl ShmLink {
    pub(crate) fn open(explicit: Option<&Path>, name: &str) -> Result<Self, LinkError> {
        Ok(Self::new(MappedLink::open(explicit, name)?, false))
    }

    pub(super) fn new(mapped: MappedLink, remove_on_drop: bool) -> Self {
        Self { mapped: Arc::new(mapped), remove_on_drop }
    }

    pub(super) fn mapped(&self) -> &Arc<MappedLink> {
        &self.mapped
    }
}

impl Deref for ShmLink {
    type Target = MappedLink;

    fn deref(&self) -> &MappedLink {
        &self.mapped
    }
}

/// How a reliable consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    InPlace,
    /// Other users can write to files of the link.
    ByCopy,
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;
    use crate::ring::hot_slot::HotSlot;

    fn is_in(map: &Mapping, hot_slot: &HotSlot) -> bool {
        map.words().as_ptr_range().contains(&std::ptr::from_ref(hot_slot).cast())
    }

    #[test]
    fn readers_load_the_hot_slot_and_nothing_else_through_a_page_of_their_own() {
        let scratch = Scratch::new();
        let made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = MappedLink::open(Some(scratch.path()), "quotes").unwrap();
        let (parts, all) = (link.reader_parts(), link.tx_map.words().as_ptr_range());
        assert!(all.contains(&std::ptr::from_ref(parts.head).cast()));
        assert!(all.contains(&parts.ring.line(0).meta.as_ptr()));
        assert_eq!(link.hot_page.get().unwrap().is_some(), link.hints.hot_page);
        if let Some(page) = link.hot_page.get().unwrap() {
            assert_eq!(page.words().len() * 8, HOT_PAGE);
            assert!(is_in(page, parts.hot_slot) && is_in(&link.tx_map, link.parts().hot_slot));
        }
        // It is the same memory.
        let tx = made.producer().unwrap();
        let n = tx.publish(b"newest", 0, 0, 0).unwrap().seq;
        assert!([parts.hot_slot, link.parts().hot_slot].iter().all(|found| found.newest(n) == n));
    }

    #[test]
    fn another_file_in_the_place_of_the_producers_is_not_mapped() {
        let scratch = Scratch::new();
        let _made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = MappedLink::open(Some(scratch.path()), "quotes").unwrap();
        let tx = scratch.path().join("quotes/tx");
        std::fs::copy(&tx, tx.with_extension("copy")).unwrap();
        std::fs::rename(tx.with_extension("copy"), &tx).unwrap();
        assert!(is_in(&link.tx_map, link.reader_parts().hot_slot));
    }

    #[test]
    fn a_user_that_does_not_own_the_file_does_not_map_it_writable() {
        if !Uid::effective().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let scratch = Scratch::new();
        let _made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let link = MappedLink::open(Some(scratch.path()), "quotes").unwrap();
        std::os::unix::fs::chown(scratch.path().join("quotes/tx"), Some(1), None).unwrap();
        assert!(is_in(&link.tx_map, link.reader_parts().hot_slot));
    }

    /// A process that may only read the link can take such a lock.
    #[test]
    fn a_read_lock_does_not_keep_a_link_from_being_stopped() {
        let scratch = Scratch::new();
        let made = crate::Link::builder().depth(8).mtu(8).dir(scratch.path()).create("quotes").unwrap();
        let reader = File::open(scratch.path().join("quotes/ctl")).unwrap();
        assert!(lock::keep_free(&reader).unwrap());
        made.stop().unwrap();
        assert!(made.status().stopped);
    }
}
