//! The borrowed API: producers and consumers on [`MCache`], [`DCache`], [`Fseq`] and [`Fctl`], which may be
//! `static`, and need no allocator.

pub(crate) mod identity;

pub(crate) mod mcache;

pub(crate) mod dcache;

pub(crate) mod fseq;

pub(crate) mod fctl;

#[cfg(feature = "alloc")]
pub(crate) mod channel;

use crate::borrowed::dcache::DCache;
use crate::borrowed::fctl::Fctl;
use crate::borrowed::fseq::Fseq;
use crate::borrowed::mcache::MCache;
use crate::consumer::payload::Scratch;
use crate::consumer::{Attachment, Consumer, Mode, Start};
use crate::credits::floor::Slots;
use crate::credits::seat::Seat;
use crate::error::TangoError;
use crate::memory::parts::Parts;
use crate::producer::{Claim, Producer};

impl<'a> Producer<'a> {
    /// A producer without flow control: it never waits, and laps readers that are too slow. All readers
    /// of such a link observe (they copy, and are told of what they missed).
    ///
    /// # Panics
    /// With the message of the error that [`Producer::try_new`] returns.
    pub fn new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
    ) -> Self {
        Self::try_new(mcache, dcache, fseq).unwrap_or_else(|error| panic!("Producer::new: {error}"))
    }

    /// [`Producer::new`] without the panic.
    ///
    /// # Errors
    /// [`TangoError::ProducerTaken`] if one lives on this storage, [`TangoError::FlowControlMismatch`] if
    /// a consumer with flow control does, [`TangoError::BoundElsewhere`] if the parts have been used with
    /// others, [`TangoError::TooFewChunks`] if `COUNT` is below `DEPTH`.
    pub fn try_new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
    ) -> Result<Self, TangoError> {
        Self::on_storage(mcache, dcache, fseq, None)
    }

    /// A producer that waits for the consumer of `fctl`: credits are `min(Fctl::new(n), DEPTH)`.
    ///
    /// # Panics
    /// With the message of the error that [`Producer::try_with_flow_control`] returns.
    pub fn with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
        fctl: &'a Fctl,
    ) -> Self {
        Self::try_with_flow_control(mcache, dcache, fseq, fctl)
            .unwrap_or_else(|error| panic!("Producer::with_flow_control: {error}"))
    }

    /// [`Producer::with_flow_control`] without the panic.
    ///
    /// # Errors
    /// As [`Producer::try_new`].
    pub fn try_with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
        fctl: &'a Fctl,
    ) -> Result<Self, TangoError> {
        Self::on_storage(mcache, dcache, fseq, Some(fctl))
    }

    fn on_storage<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
        fctl: Option<&'a Fctl>,
    ) -> Result<Self, TangoError> {
        let parts = Parts::of_storage(mcache, dcache)?;
        let claim =
            mcache.bind(dcache.identity(), fctl.map(Fctl::identity), Some(fseq.identity()), |seats| {
                seats.enter_producer(fctl.is_some()).map(|()| Claim::Borrowed(seats))
            })?;
        let depth = parts.ring.depth();
        let credits = fctl.map_or(depth, |fctl| fctl.credits().min(depth));
        let slots = Slots::awaiting(fctl.map(Fctl::slot));
        let producer = Self::attach(parts, slots, credits, true, fseq.current(), claim);
        let oldest = producer.oldest();
        Ok(producer.followed_by(fseq.word(), fctl.map(|fctl| fctl.producer_word(oldest))))
    }
}

impl<'a> Consumer<'a> {
    /// An observer that starts with fragment `initial_seq`: it reads what it can, by copy, and the
    /// producer does not wait for it. Allocates room for one fragment; where there is no allocator, see
    /// [`Consumer::observing`].
    ///
    /// # Panics
    /// With the message of the error that [`Consumer::try_new`] returns.
    #[cfg(feature = "alloc")]
    pub fn new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        initial_seq: u64,
    ) -> Self {
        Self::try_new(mcache, dcache, initial_seq).unwrap_or_else(|error| panic!("Consumer::new: {error}"))
    }

    /// [`Consumer::new`] without the panic.
    ///
    /// # Errors
    /// [`TangoError::BoundElsewhere`] if the parts have been used with others,
    /// [`TangoError::TooFewChunks`] if `COUNT` is below `DEPTH`.
    #[cfg(feature = "alloc")]
    pub fn try_new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        initial_seq: u64,
    ) -> Result<Self, TangoError> {
        let parts = Parts::of_storage(mcache, dcache)?;
        mcache.bind(dcache.identity(), None, None, |_| Ok(()))?;
        let mode = Mode::Observing(Scratch::boxed(SIZE));
        Ok(Self::attach(parts, mode, Start::At(initial_seq), Attachment::None))
    }

    /// [`Consumer::new`] with a scratch buffer of the caller's: at least 4 words, and `SIZE` bytes.
    ///
    /// # Panics
    /// With the message of the error that [`Consumer::try_observing`] returns.
    pub fn observing<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        scratch: &'a mut [u64],
        initial_seq: u64,
    ) -> Self {
        Self::try_observing(mcache, dcache, scratch, initial_seq)
            .unwrap_or_else(|error| panic!("Consumer::observing: {error}"))
    }

    /// [`Consumer::observing`] without the panic.
    ///
    /// # Errors
    /// As [`Consumer::try_new`], and [`TangoError::ScratchTooSmall`].
    pub fn try_observing<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        scratch: &'a mut [u64],
        initial_seq: u64,
    ) -> Result<Self, TangoError> {
        let parts = Parts::of_storage(mcache, dcache)?;
        let need = Scratch::need(SIZE);
        if scratch.len() < need {
            return Err(TangoError::ScratchTooSmall { words: scratch.len(), need });
        }
        mcache.bind(dcache.identity(), None, None, |_| Ok(()))?;
        let mode = Mode::Observing(Scratch::Borrowed(scratch));
        Ok(Self::attach(parts, mode, Start::At(initial_seq), Attachment::None))
    }

    /// The reliable consumer of `fctl`, starting with fragment `initial_seq`, or with the first one that
    /// is not given up yet (the first read then says how many were lost).
    ///
    /// # Panics
    /// With the message of the error that [`Consumer::try_with_flow_control`] returns.
    pub fn with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fctl: &'a Fctl,
        initial_seq: u64,
    ) -> Self {
        Self::try_with_flow_control(mcache, dcache, fctl, initial_seq)
            .unwrap_or_else(|error| panic!("Consumer::with_flow_control: {error}"))
    }

    /// [`Consumer::with_flow_control`] without the panic.
    ///
    /// # Errors
    /// [`TangoError::ConsumerTaken`] if another one lives, [`TangoError::FlowControlMismatch`] if a
    /// producer without flow control does; otherwise as [`Consumer::try_new`].
    pub fn try_with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fctl: &'a Fctl,
        initial_seq: u64,
    ) -> Result<Self, TangoError> {
        let parts = Parts::of_storage(mcache, dcache)?;
        let attachment = mcache.bind(dcache.identity(), Some(fctl.identity()), None, |seats| {
            seats.enter_consumer().map(|()| Attachment::Borrowed(seats))
        })?;
        let seat = Seat::new(fctl.slot(), None, &mcache.head().eventcount);
        Ok(Self::attach(parts, Mode::Reliable(seat), Start::At(initial_seq), attachment))
    }
}

impl<'a> Parts<'a> {
    /// The parts of borrowed storage; `MCache::bind` must follow.
    pub(crate) fn of_storage<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
    ) -> Result<Self, TangoError> {
        if COUNT < DEPTH {
            return Err(TangoError::TooFewChunks { chunks: COUNT, depth: DEPTH });
        }
        Ok(Self {
            ring: mcache.ring(),
            granules: dcache.granules(),
            head: mcache.head(),
            stop: mcache.stop_word(),
            mtu: SIZE,
            observers: true,
        })
    }
}
