//! Producers and consumers on borrowed storage.

use super::dcache::DCache;
use super::fctl::Fctl;
use super::fseq::Fseq;
use super::mcache::MCache;
use crate::consumer::payload::Scratch;
use crate::consumer::{Attachment, Consumer, Mode, Start};
use crate::credits::seat::Seat;
use crate::credits::watched::Slots;
use crate::error::TangoError;
use crate::memory::hints::Hints;
use crate::memory::parts::Parts;
use crate::producer::{Begin, Claim, Producer};

/// On borrowed storage: [`MCache`], [`DCache`], [`Fseq`] and [`Fctl`].
impl<'a> Producer<'a> {
    /// A producer without flow control, on borrowed storage. It never waits, and overwrites what slow
    /// readers have not read.
    ///
    /// All readers of such storage are observers ([`Consumer::new`]): they copy, and get an error with the
    /// number of fragments that they missed. If the storage had a producer before, this one continues with
    /// the next sequence number.
    ///
    /// # Panics
    ///
    /// With the error that [`Producer::try_new`] returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, DCache, Fseq, MCache, Producer};
    ///
    /// static MCACHE: MCache<64> = MCache::new();
    /// static DCACHE: DCache<64, 256> = DCache::new();
    /// static FSEQ: Fseq = Fseq::new(1);
    ///
    /// let producer = Producer::new(&MCACHE, &DCACHE, &FSEQ);
    /// let mut observer = Consumer::new(&MCACHE, &DCACHE, 1);
    /// producer.publish(b"hello", 0, 0, 0)?;
    /// assert_eq!(observer.poll()?.unwrap().payload.as_slice(), b"hello");
    /// # Ok::<(), rust_tango::TangoError>(())
    /// ```
    pub fn new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
    ) -> Self {
        Self::try_new(mcache, dcache, fseq).unwrap_or_else(|error| panic!("Producer::new: {error}"))
    }

    /// [`Producer::new`], which see for an example, without the panic.
    ///
    /// Another thread may take the producer of the same storage at any time before this call does.
    ///
    /// # Errors
    ///
    /// - [`TangoError::ProducerTaken`] if the storage has a producer.
    /// - [`TangoError::FlowControlMismatch`] if the storage has a consumer with flow control.
    /// - [`TangoError::BoundElsewhere`] if a part has been used with other storage.
    /// - [`TangoError::TooFewChunks`] if `COUNT` is less than `DEPTH`.
    pub fn try_new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
    ) -> Result<Self, TangoError> {
        Self::on_storage(mcache, dcache, fseq, None)
    }

    /// A producer on borrowed storage that waits for the consumer of `fctl`.
    ///
    /// It has as many credits as [`Fctl::new`] was given, but at most `DEPTH`.
    ///
    /// # Panics
    ///
    /// With the error that [`Producer::try_with_flow_control`] returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer};
    ///
    /// let (mcache, dcache) = (MCache::<4>::new(), DCache::<4, 64>::new());
    /// let (fseq, fctl) = (Fseq::new(1), Fctl::new(2));
    /// let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    /// let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    ///
    /// assert_eq!(producer.publish_batch(&[b"1", b"2", b"3"], 0, 0), 2); // two credits
    /// drop(consumer.poll()?);
    /// producer.publish(b"3", 0, 0, 0)?; // the consumer has given one back
    /// # Ok::<(), rust_tango::TangoError>(())
    /// ```
    pub fn with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fseq: &'a Fseq,
        fctl: &'a Fctl,
    ) -> Self {
        Self::try_with_flow_control(mcache, dcache, fseq, fctl)
            .unwrap_or_else(|error| panic!("Producer::with_flow_control: {error}"))
    }

    /// [`Producer::with_flow_control`], which see for an example, without the panic.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_new`], but a consumer with flow control on the same `fctl` is no obstacle.
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
            mcache.bind(dcache.identity(), fctl.map(Fctl::identity), Some(fseq.identity()), |occupants| {
                occupants.enter_producer(fctl.is_some()).map(|()| Claim::Borrowed(occupants))
            })?;
        let depth = parts.ring.depth();
        let credits = fctl.map_or(depth, |fctl| fctl.credits().min(depth));
        let slots = Slots::awaiting(fctl.map(Fctl::slot));
        let begin = Begin { credits, ample: true, first: fseq.current(), claim };
        let producer = Self::attach(parts, slots, begin);
        let oldest = producer.oldest();
        Ok(producer.reporting_to(fseq.word(), fctl.map(|fctl| fctl.producer_word(oldest))))
    }
}

/// On borrowed storage: [`MCache`], [`DCache`], [`Fseq`] and [`Fctl`].
impl<'a> Consumer<'a> {
    /// An observer on borrowed storage that starts with fragment `initial_seq`. See [`Producer::new`] for
    /// an example.
    ///
    /// It reads what it can, by validated copy, and the producer does not wait for it. There can be any
    /// number of observers. Allocates room for one fragment; without an allocator, use
    /// [`Consumer::observing`].
    ///
    /// # Panics
    ///
    /// With the error that [`Consumer::try_new`] returns.
    #[cfg(feature = "alloc")]
    pub fn new<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        initial_seq: u64,
    ) -> Self {
        Self::try_new(mcache, dcache, initial_seq).unwrap_or_else(|error| panic!("Consumer::new: {error}"))
    }

    /// [`Consumer::new`] without the panic. See [`Producer::new`] for an example.
    ///
    /// # Errors
    ///
    /// [`TangoError::BoundElsewhere`] if a part has been used with other storage,
    /// [`TangoError::TooFewChunks`] if `COUNT` is less than `DEPTH`.
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

    /// [`Consumer::new`] with a buffer of the caller in place of an allocation.
    ///
    /// The buffer has 4 words of 8 bytes, and as many more as `SIZE` bytes take. Up to 3 of them may be left unused at
    /// its beginning, so that payloads are aligned ([`Payload::ALIGNMENT`](crate::Payload)).
    ///
    /// # Panics
    ///
    /// With the error that [`Consumer::try_observing`] returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, DCache, Fseq, MCache, Producer};
    ///
    /// let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1));
    /// let producer = Producer::new(&mcache, &dcache, &fseq);
    /// let mut buffer = [0_u64; 4 + 64 / 8];
    /// let mut observer = Consumer::observing(&mcache, &dcache, &mut buffer, 1);
    /// producer.publish(b"no allocation", 0, 0, 0)?;
    /// assert_eq!(observer.poll()?.unwrap().payload.as_slice(), b"no allocation");
    /// # Ok::<(), rust_tango::TangoError>(())
    /// ```
    pub fn observing<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        scratch: &'a mut [u64],
        initial_seq: u64,
    ) -> Self {
        Self::try_observing(mcache, dcache, scratch, initial_seq)
            .unwrap_or_else(|error| panic!("Consumer::observing: {error}"))
    }

    /// [`Consumer::observing`], which see for an example, without the panic.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_new`]; also [`TangoError::ScratchTooSmall`].
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
        let mode = Mode::Observing(Scratch::borrowed(scratch));
        Ok(Self::attach(parts, mode, Start::At(initial_seq), Attachment::None))
    }

    /// The reliable consumer of `fctl`, on borrowed storage. See [`Producer::with_flow_control`] for an
    /// example.
    ///
    /// It starts with fragment `initial_seq`, or with the first one that the producer may not overwrite
    /// yet. In the second case, the first read reports how many were lost ([`TangoError::Overrun`]). It
    /// reads every later fragment, in place.
    ///
    /// # Panics
    ///
    /// With the error that [`Consumer::try_with_flow_control`] returns.
    pub fn with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fctl: &'a Fctl,
        initial_seq: u64,
    ) -> Self {
        Self::try_with_flow_control(mcache, dcache, fctl, initial_seq)
            .unwrap_or_else(|error| panic!("Consumer::with_flow_control: {error}"))
    }

    /// [`Consumer::with_flow_control`] without the panic. See [`Producer::with_flow_control`] for an example.
    ///
    /// # Errors
    ///
    /// [`TangoError::ConsumerTaken`] if the storage has a consumer with flow control,
    /// [`TangoError::FlowControlMismatch`] if it has a producer without; otherwise as
    /// [`Consumer::try_new`].
    pub fn try_with_flow_control<const DEPTH: usize, const COUNT: usize, const SIZE: usize>(
        mcache: &'a MCache<DEPTH>,
        dcache: &'a DCache<COUNT, SIZE>,
        fctl: &'a Fctl,
        initial_seq: u64,
    ) -> Result<Self, TangoError> {
        let parts = Parts::of_storage(mcache, dcache)?;
        let attachment = mcache.bind(dcache.identity(), Some(fctl.identity()), None, |occupants| {
            occupants.enter_consumer().map(|()| Attachment::Borrowed(occupants))
        })?;
        let seat = Seat::new(fctl.slot(), &mcache.head().eventcount);
        Ok(Self::attach(parts, Mode::Reliable(seat), Start::At(initial_seq), attachment))
    }
}

impl<'a> Parts<'a> {
    /// The parts of borrowed storage. The caller calls [`MCache::bind`] next.
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
            hot_slot: mcache.hot_slot(),
            stop: mcache.stop_word(),
            mtu: SIZE,
            observers: true,
            hints: Hints::of_this_processor(),
        })
    }
}
