//! The producer, the consumers and the observers of a link in shared memory: which files each of them keeps.
//!
//! | | writes, and so keeps locked | reads |
//! |---|---|---|
//! | producer | `tx`; `ctl`, if the name of the link is lost | `ctl`, every `rx.N` |
//! | consumer in slot N | `rx.N` | `tx`, `ctl` |
//! | observer | nothing | `tx`, `ctl` |
//!
//! The producer also keeps a read lock of the link's folder. It proves that the producer lives where `tx` was
//! deleted ([`Vacant`](super::holders::Vacant)).
#![allow(unsafe_code)]

use std::fs::File;

use super::layout::{self, Kind, SMALL_FILE, rx_name};
use super::link::{MappedLink, Reading, ShmLink};
use super::lock;
use super::map::Pages;
use super::name_watch::Watched;
use super::owned::Owned;
use crate::consumer::payload::Scratch;
use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::credits::seat::Seat;
use crate::credits::watched::Slots;
use crate::error::{LinkError, TangoError};
use crate::memory::geometry::Geometry;
#[cfg(feature = "async")]
use crate::memory::share::LinkMemory;
use crate::producer::{Begin, Claim, Producer, ProducerClaim};
use crate::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "async")]
use crate::waiting::direct::NotifierId;

/// The files that a producer writes.
#[derive(Debug)]
pub(super) struct ProducerFiles {
    tx: Owned,
    ctl: File,
}

impl ProducerFiles {
    /// All files of the producer that has the lock of `tx`.
    pub(super) fn of(link: &MappedLink, tx: Owned) -> Result<Self, LinkError> {
        link.keep_consumer_files()?;
        Ok(Self { tx, ctl: link.folder.open_file("ctl", true)? })
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
                let tx = Owned::take(file, len, &path, this.pages, in_child)?;
                let tx = tx.ok_or(TangoError::ProducerTaken)?;
                ShmProducer::new(this, ProducerFiles::of(this, tx)?)?
            }
        };
        let kept = MappedLink::kept(this.mapped());
        // SAFETY: the mapping is in the claim, which the producer drops last.
        let tx = unsafe { claim.tx.map.words_for() };
        let slots = Slots::watching(kept.consumer_slots());
        let mut parts = layout::parts(tx, kept.ctl_map.words(), &this.geometry);
        // If another user can write to the files, `Loan::as_mut_slice` must not lend them.
        parts.observers |= this.check_writers().is_err();
        parts.hints = this.hints;
        let Geometry { credits, start, .. } = this.geometry;
        let claim = Claim::Owned(Box::new(claim));
        let begin = Begin { credits, ample: this.geometry.is_ample(), first: start, claim };
        Ok(Producer::attach(parts, slots, begin))
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
            let in_child = layout::ZEROS_IN_CHILD;
            let Some(own) = Owned::take(file, SMALL_FILE, &path, Pages::AtOnce, in_child)? else { continue };
            layout::check_header(own.map.words(), Kind::Consumer, &path)?;
            // SAFETY: the mapping moves into the claim, which the consumer drops last.
            let rx = unsafe { own.map.words_for() };
            let parts = MappedLink::kept(this.mapped()).reader_parts();
            let seat = Seat::new(layout::consumer_slot(rx), &parts.head.eventcount);
            let claim = ShmConsumer {
                _rx: Some(own),
                #[cfg(feature = "tracing")]
                slot: Some(slot),
                link: this.clone(),
            };
            return Ok(Consumer::attach(parts, mode(seat), start, Attachment::Owned(Box::new(claim))));
        }
        Err(TangoError::ConsumerTaken.into())
    }

    pub(crate) fn observer(
        this: &Arc<Self>,
        mode: Mode<'static>,
        start: Start,
    ) -> Result<Consumer<'static>, LinkError> {
        this.check_process()?;
        let claim = ShmConsumer {
            _rx: None,
            #[cfg(feature = "tracing")]
            slot: None,
            link: this.clone(),
        };
        let parts = MappedLink::kept(this.mapped()).reader_parts();
        Ok(Consumer::attach(parts, mode, start, Attachment::Owned(Box::new(claim))))
    }
}

/// What the producer of a shared link keeps.
#[derive(Debug)]
struct ShmProducer {
    /// Dropped first: once `tx` is unlocked, another process may remove the link, and that is no loss.
    _watched: Watched,
    tx: Owned,
    /// The files that it reads. Dropped last.
    link: Arc<ShmLink>,
}

impl ShmProducer {
    fn new(link: &Arc<ShmLink>, files: ProducerFiles) -> Result<Self, LinkError> {
        let ProducerFiles { tx, ctl } = files;
        let watched = Watched::new(link.mapped(), ctl)?;
        // Some filesystems have no locks of folders. Nothing but the answer to a question about a damaged link
        // depends on this one.
        let _ = lock::share(&link.folder.dir);
        Ok(Self { _watched: watched, tx, link: link.clone() })
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

    #[cfg(feature = "tracing")]
    fn link_name(&self) -> Option<&str> {
        Some(self.link.name())
    }

    #[cfg(feature = "async")]
    fn memory(&self) -> Option<Arc<dyn LinkMemory>> {
        Some(self.link.mapped().clone())
    }

    #[cfg(feature = "async")]
    fn notifier(&self) -> Option<NotifierId> {
        Some(self.link.notifier())
    }
}

/// What a reader of a shared link keeps.
struct ShmConsumer {
    /// `rx.N`. `None`: an observer.
    _rx: Option<Owned>,
    /// N.
    #[cfg(feature = "tracing")]
    slot: Option<usize>,
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

    #[cfg(feature = "tracing")]
    fn link_name(&self) -> Option<&str> {
        Some(self.link.name())
    }

    #[cfg(feature = "tracing")]
    fn slot(&self) -> Option<usize> {
        self.slot
    }

    #[cfg(feature = "async")]
    fn memory(&self) -> Arc<dyn LinkMemory> {
        self.link.mapped().clone()
    }
}

#[cfg(feature = "async")]
impl LinkMemory for MappedLink {
    fn producer_lives(&self) -> bool {
        lock::is_held(&self.tx)
    }

    fn consumer_lives(&self, slot: usize) -> bool {
        self.consumer_lives(slot)
    }

    fn notifier(&self) -> Option<NotifierId> {
        Some(self.notifier())
    }
}

/// Readers change to the hot slot by policy.
#[cfg(all(test, not(miri), not(no_hints)))]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// Polls in vain for some time, publishes a fragment, and takes it. Returns whether it was a copy from the hot
    /// slot.
    fn is_from_hot_slot(tx: &Producer<'_>, rx: &mut Consumer<'_>) -> bool {
        (0..10).for_each(|_| assert!(rx.poll().unwrap().is_none()));
        let n = tx.publish(&[7; 24], 0, 0, 0).unwrap().seq;
        let ring = rx.reader().parts.ring.line(n).room.as_ptr().addr();
        let copies = !rx.is_reliable();
        assert_eq!(rx.hot_slot_address(), std::ptr::from_ref(rx.reader().parts.hot_slot).addr());
        let fragment = rx.poll().unwrap().unwrap();
        assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (n, &[7; 24][..]));
        let taken_from = fragment.payload.as_slice().as_ptr().addr();
        copies || taken_from != ring
    }

    #[test]
    fn each_waiting_reader_reads_the_hot_slot() {
        let scratch = Scratch::new();
        let builder = crate::Link::builder().depth(1024).mtu(24).consumers(2).dir(scratch.path());
        let link = builder.create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let (mut first, mut second) = (link.consumer().unwrap(), link.consumer().unwrap());
        let settled = |tx: &Producer<'_>, rx: &mut Consumer<'_>, other: &mut Consumer<'_>| {
            let mut turn = || {
                let found = is_from_hot_slot(tx, rx);
                assert!(other.poll().unwrap().is_some());
                found
            };
            let found: Vec<_> = (0..20).map(|_| turn()).collect();
            assert!(found[10..].iter().all(|found| *found), "{found:?}");
        };
        settled(&tx, &mut first, &mut second);
        settled(&tx, &mut second, &mut first);
        // The next producer mirrors, too.
        drop(tx);
        let tx = link.producer().unwrap();
        settled(&tx, &mut first, &mut second);
    }
}
