//! The producer, the consumers and the observers of a link in shared memory: which files each of them keeps.
//!
//! | | writes, and so keeps locked | reads |
//! |---|---|---|
//! | producer | `tx`; every `tx.N`, without a lock of its own; `ctl`, if the name of the link is lost | `ctl`, every `rx.N` |
//! | consumer in slot N | `rx.N`; one word of `tx.N`, without a lock of its own | `tx`, `ctl` |
//! | observer | nothing | `tx`, `ctl` |
//!
//! The producer also keeps a read lock of the link's folder. It proves that the producer lives where `tx` was
//! deleted ([`Vacant`](super::holders::Vacant)).
#![allow(unsafe_code)]

use std::fs::File;

use super::layout::{self, Kind, SMALL_FILE, hot_slot_name, rx_name};
use super::link::{Reading, ShmLink};
use super::lock;
use super::map::Mapping;
use super::name_watch::Watched;
use super::owned::{Owned, map_for_writing};
use crate::consumer::payload::Scratch;
use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::credits::floor::Slots;
use crate::credits::seat::Seat;
use crate::error::{LinkError, TangoError};
use crate::memory::geometry::Geometry;
use crate::producer::{Begin, Claim, Producer, ProducerClaim};
use crate::sync::{Arc, Mutex, PoisonError};

/// The files that a producer writes.
#[derive(Debug)]
pub(super) struct ProducerFiles {
    tx: Owned,
    /// `tx.N` of each slot. Empty if the link is for a group: its members may not write to these files.
    hot_slots: Vec<Mapping>,
    ctl: File,
}

impl ProducerFiles {
    /// All files of the producer that has the lock of `tx`.
    pub(super) fn of(link: &ShmLink, tx: Owned) -> Result<Self, LinkError> {
        link.keep_consumer_files()?;
        let private = if link.group.is_none() { link.geometry.consumers } else { 0 };
        let hot_slots = (0..private).map(|slot| hot_slot_of(link, slot));
        let hot_slots = hot_slots.collect::<Result<_, _>>()?;
        Ok(Self { tx, hot_slots, ctl: link.folder.open_file("ctl", true)? })
    }
}

/// The process that creates a link or takes it over has the lock of its producer from the start: until it
/// takes the producer, or drops the last `Link` of that origin. (Readers may outlive that `Link`.)
#[derive(Debug, Default)]
pub(crate) struct Reservation(Mutex<Option<ShmProducer>>);

impl Reservation {
    /// Reserves the producer of a link that has its name.
    pub(super) fn new(link: &Arc<ShmLink>, files: ProducerFiles) -> Result<Self, LinkError> {
        Ok(Self(Mutex::new(Some(ShmProducer::new(link, files)?))))
    }
}

/// Maps the hot slot of one consumer, for that consumer or for the producer.
fn hot_slot_of(link: &ShmLink, slot: usize) -> Result<Mapping, LinkError> {
    let name = hot_slot_name(slot);
    let path = link.folder.path.join(&name).display().to_string();
    let file = link.folder.open_file(&name, true)?;
    map_for_writing(&file, SMALL_FILE, &path, layout::hot_slot_in_child(&link.geometry))
}

impl ShmLink {
    pub(crate) fn producer(
        this: &Arc<Self>,
        reservation: &Reservation,
    ) -> Result<Producer<'static>, LinkError> {
        this.check_process()?;
        let reserved = reservation.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let claim = match reserved {
            Some(claim) => claim,
            None => {
                let file = this.folder.open_file("tx", true)?;
                let path = this.folder.path.join("tx").display().to_string();
                let (len, in_child) =
                    (layout::producer_len(&this.geometry), layout::tx_in_child(&this.geometry));
                let tx = Owned::take(file, len, &path, in_child)?.ok_or(TangoError::ProducerTaken)?;
                ShmProducer::new(this, ProducerFiles::of(this, tx)?)?
            }
        };
        let kept = Self::kept(this);
        // SAFETY: the mappings are in the claim, which the producer drops last.
        let (tx, hot_slots) = unsafe {
            let hot_slots: Vec<_> = claim.hot_slots.iter().map(|map| map.words_for()).collect();
            (claim.tx.map.words_for(), hot_slots)
        };
        let hot_slots = hot_slots.into_iter().map(|words| Some(layout::hot_slot(words)));
        let slots = Slots::watching(kept.consumer_slots());
        let mut parts = layout::parts(tx, kept.ctl_map.words(), &this.geometry);
        // If another user can write to the files, `Loan::as_mut_slice` must not lend them.
        parts.observers |= this.check_writers().is_err();
        parts.hints = this.hints;
        let Geometry { credits, start, .. } = this.geometry;
        let claim = Claim::Owned(Box::new(claim));
        let begin = Begin { credits, ample: this.geometry.is_ample(), first: start, claim };
        Ok(Producer::attach(parts, slots, hot_slots, begin))
    }

    pub(crate) fn consumer(this: &Arc<Self>, start: Start) -> Result<Consumer<'static>, LinkError> {
        let reading = this.check_trust()?;
        let scratch = |reading| (reading == Reading::ByCopy).then(|| Scratch::boxed(this.geometry.mtu));
        // SAFETY: a consumer without a scratch buffer reads in place. The check has found then that only
        // this user and root can write to the files. That they do it only through this library is required
        // by the documentation of links.
        unsafe {
            Self::seated(this, start, |seat| match scratch(reading) {
                None => Mode::Reliable(seat),
                Some(scratch) => Mode::Copying(seat, scratch),
            })
        }
    }

    /// A consumer with a slot.
    ///
    /// # Safety
    ///
    /// For a mode that reads in place: as for [`Link::consumer_trusting`](crate::Link::consumer_trusting).
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
            let Some(own) = Owned::take(file, SMALL_FILE, &path, layout::ZEROS_IN_CHILD)? else { continue };
            layout::check_header(own.map.words(), Kind::Consumer, &path)?;
            let hot_slot = if this.group.is_none() { Some(hot_slot_of(this, slot)?) } else { None };
            if let Some(hot_slot) = &hot_slot {
                // Only consumers check this header again. A producer can take over whatever was left behind.
                let path = this.folder.path.join(hot_slot_name(slot)).display().to_string();
                layout::check_header(hot_slot.words(), Kind::HotSlot, &path)?;
            }
            // SAFETY: both mappings move into the claim, which the consumer drops last.
            let (rx, tx) = unsafe { (own.map.words_for(), hot_slot.as_ref().map(|map| map.words_for())) };
            let parts = Self::kept(this).parts();
            let seat = Seat::new(layout::consumer_slot(rx), &parts.head.eventcount);
            let private = tx.map(layout::hot_slot);
            let claim = ShmConsumer { _files: Some((own, hot_slot)), link: this.clone() };
            return Ok(Consumer::attach(
                parts,
                mode(seat),
                private,
                start,
                Attachment::Owned(Box::new(claim)),
            ));
        }
        Err(TangoError::ConsumerTaken.into())
    }

    pub(crate) fn observer(
        this: &Arc<Self>,
        mode: Mode<'static>,
        start: Start,
    ) -> Result<Consumer<'static>, LinkError> {
        this.check_process()?;
        let claim = ShmConsumer { _files: None, link: this.clone() };
        Ok(Consumer::attach(Self::kept(this).parts(), mode, None, start, Attachment::Owned(Box::new(claim))))
    }
}

/// What the producer of a shared link keeps.
#[derive(Debug)]
struct ShmProducer {
    /// Dropped first: once `tx` is unlocked, another process may remove the link, and that is no loss.
    _watched: Watched,
    tx: Owned,
    hot_slots: Vec<Mapping>,
    /// The files that it reads. Dropped last.
    link: Arc<ShmLink>,
}

impl ShmProducer {
    fn new(link: &Arc<ShmLink>, files: ProducerFiles) -> Result<Self, LinkError> {
        let ProducerFiles { tx, hot_slots, ctl } = files;
        let watched = Watched::new(link, ctl)?;
        // Some filesystems have no locks of folders. Nothing but the answer to a question about a damaged link
        // depends on this one.
        let _ = lock::share(&link.folder.dir);
        Ok(Self { _watched: watched, tx, hot_slots, link: link.clone() })
    }
}

impl Drop for ShmProducer {
    fn drop(&mut self) {
        // A forked child shares the lock of its parent, and must not release it.
        if self.is_of_this_process() {
            let _ = lock::unlock(&self.link.folder.dir);
        }
    }
}

impl ProducerClaim for ShmProducer {
    fn is_of_this_process(&self) -> bool {
        self.tx.map.is_of_this_process()
    }

    fn consumer_lives(&self, slot: usize) -> bool {
        self.link.consumer_lives(slot)
    }
}

/// What a reader of a shared link keeps.
struct ShmConsumer {
    /// `rx.N`, and `tx.N` unless the link is for a group. `None`: an observer.
    _files: Option<(Owned, Option<Mapping>)>,
    /// The files that it reads.
    link: Arc<ShmLink>,
}

impl ConsumerClaim for ShmConsumer {
    fn is_of_this_process(&self) -> bool {
        self.link.tx_map.is_of_this_process()
    }

    fn producer_lives(&self) -> bool {
        lock::is_held(&self.link.tx)
    }

    fn is_named(&self) -> bool {
        self.link.is_named()
    }

    #[cfg(feature = "async")]
    fn memory(&self) -> Arc<dyn crate::consumer::LinkMemory> {
        self.link.clone()
    }
}

#[cfg(feature = "async")]
impl crate::consumer::LinkMemory for ShmLink {
    fn producer_lives(&self) -> bool {
        lock::is_held(&self.tx)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;
    use crate::error::LinkErrorKind;

    #[test]
    fn a_file_that_replaces_a_hot_slot_is_not_used() {
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

    /// Readers change to hot slots by policy.
    #[cfg(not(no_hints))]
    mod by_policy {
        use super::*;

        /// Polls in vain for some time, publishes a fragment, and takes it. Returns the address of the hot slot
        /// that had the fragment, or `None` if it was taken from the ring.
        fn taken_from(tx: &Producer<'_>, rx: &mut Consumer<'_>) -> Option<usize> {
            (0..10).for_each(|_| assert!(rx.poll().unwrap().is_none()));
            let n = tx.publish(&[7; 24], 0, 0, 0).unwrap().seq;
            let (hot_slot, ring) = (rx.hot_slot_address(), rx.parts.ring.line(n).room.as_ptr().addr());
            let fragment = rx.poll().unwrap().unwrap();
            assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (n, &[7; 24][..]));
            (fragment.payload.as_slice().as_ptr().addr() != ring).then_some(hot_slot)
        }

        /// The hot slot that a consumer reads once it has settled on one.
        fn settled(tx: &Producer<'_>, rx: &mut Consumer<'_>, mut other: Option<&mut Consumer<'_>>) -> usize {
            let mut turn = || {
                let hot_slot = taken_from(tx, rx);
                other.iter_mut().for_each(|other| assert!(other.poll().unwrap().is_some()));
                hot_slot
            };
            let hot_slots: Vec<_> = (0..20).map(|_| turn()).collect();
            assert!(hot_slots[10..].iter().all(|at| at.is_some() && *at == hot_slots[10]), "{hot_slots:?}");
            hot_slots[10].unwrap()
        }

        fn drain(rx: &mut Consumer<'_>) {
            while rx.poll().unwrap().is_some() {}
        }

        #[test]
        fn a_single_waiting_consumer_reads_its_private_hot_slot() {
            let scratch = Scratch::new();
            let builder = crate::Link::builder().depth(1024).mtu(24).consumers(2).dir(scratch.path());
            let link = builder.create("quotes").unwrap();
            let tx = link.producer().unwrap();
            let mut first = link.consumer().unwrap();
            let shared = std::ptr::from_ref(&first.parts.head.hot_slot).addr();
            let first_own = settled(&tx, &mut first, None);
            assert_ne!(first_own, shared);
            // Also next to readers that do not wait, and before the producer refreshes its credits.
            let mut second = link.consumer().unwrap();
            let mut observer = link.observer().unwrap();
            assert_eq!(settled(&tx, &mut first, Some(&mut second)), first_own);
            drain(&mut observer);
            assert_eq!(settled(&tx, &mut observer, None), shared, "other readers find the fragment as well");
            // Two consumers that wait both read the shared one.
            drain(&mut first);
            drain(&mut second);
            assert_eq!(settled(&tx, &mut second, None), shared);
            drain(&mut first);
            assert_eq!(settled(&tx, &mut first, None), shared);
            drop(first);
            drain(&mut second);
            let second_own = settled(&tx, &mut second, None);
            assert!(second_own != shared && second_own != first_own);
            // The next producer uses the shared one at first.
            drop(tx);
            let tx = link.producer().unwrap();
            assert_eq!(settled(&tx, &mut second, None), second_own);
        }
    }
}
