//! [`AsyncProducer`]: a producer whose credits are awaited.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::awaited::Watch;
use super::consumer::YIELD_AFTER;
use super::watcher::Reply;
use super::watchers::Registration;
use crate::error::{LinkError, TangoError, TrySendError};
use crate::producer::{CreditWatch, Loan, Meta, Producer};
use crate::ring::metadata::FragmentMetadata;
use crate::waiting::wait::Naps;

/// A [`Producer`] whose credits are awaited. [`Producer::into_async`] makes one.
///
/// - [`send`](Self::send) and [`send_with`](Self::send_with) publish a payload. They await a credit if there is none.
/// - [`ready`](Self::ready) awaits a credit, and publishes nothing. A [`loan`](Self::loan) or a
///   [`publish_batch`](Self::publish_batch) can follow. [`poll_ready`](Self::poll_ready) is the same for hand-written
///   futures.
/// - [`wait_for_consumers`](Self::wait_for_consumers) and [`wait_until_drained`](Self::wait_until_drained) await what
///   the calls of the producer with these names wait for.
///
/// Calls with the names of calls of [`Producer`] that never block are these calls. The blocking ones are out of reach,
/// since they would block the executor. Settings, such as [`Producer::with_patience`] and [`Producer::with_metrics`],
/// are made before. [`Producer::with_wait`] has no effect.
///
/// Dropping it closes the link, as dropping the [`Producer`] does.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, TangoError};
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
///
/// let link = Link::builder().depth(2).mtu(64).build()?;
/// let (mut tx, mut rx) = (link.producer()?.into_async()?, link.consumer()?);
/// let reader = std::thread::spawn(move || -> Result<usize, TangoError> {
///     let mut count = 0;
///     while let Some(fragment) = rx.wait()? {
///         count += fragment.payload.len();
///     }
///     Ok(count)
/// });
/// # runtime.block_on(async {
/// for n in 0..100_u64 {
///     tx.send(&n.to_ne_bytes()).await?; // awaits the reader when the ring is full
/// }
/// drop(tx); // closes the link
/// # Ok::<_, TangoError>(())
/// # })?;
/// assert_eq!(reader.join().unwrap()?, 800);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancelling
///
/// A future of this type that is dropped before it is ready has published nothing, and one that was ready has published
/// its fragment. The dropped one leaves no request behind: at most a wake-up that is under way still comes. So a timeout or a
/// `select!` around [`send`](Self::send) sends nothing twice, and a payload whose future was dropped can be sent again.
///
/// The futures are `Send`. An `AsyncProducer` is `Send` too, and not `Sync`, as a [`Producer`]. A [`Loan`] is neither,
/// so a task that can move to another thread holds none while it awaits something.
///
/// # Cost and latency
///
/// A payload for which there is a credit costs the same as with [`Producer::publish`]. After many payloads in a row
/// that had one, other tasks of the executor get a turn.
///
/// To await a credit, the task leaves a request with the thread `tango-watcher`, which sleeps in its place until the
/// slowest consumer returns credits: see [`AsyncConsumer`](crate::AsyncConsumer), also for what wakers must not do.
///
/// - A dead consumer that holds the producer back is reaped within about 50 milliseconds. An evictable one is evicted
///   when the producer's patience is over. A stop of the link is noticed at once, as a rule, and within 50 milliseconds
///   at the latest.
/// - The thread sleeps for up to 127 async producers, and links with async consumers. For more of them, there are more
///   threads.
/// - Before Linux 5.16 (no `futex_waitv`, or a system call filter that forbids it), and where a filter forbids
///   `membarrier(2)` to this process, but not to that of the consumer, the thread checks for credits instead, at least
///   every twenty milliseconds.
///
/// In a forked child, a link in shared memory is stopped: each call returns [`TangoError::Closed`]. Of a link on the heap,
/// the child has a copy. There, calls that would have to await something return as if it was stopped, until
/// [`Self::into_inner`] and [`Producer::into_async`] make another producer. Dropping the `AsyncProducer` is harmless.
#[derive(Debug)]
pub struct AsyncProducer {
    /// Declared before the producer, so that it is dropped first.
    registration: Registration,
    /// Its blocking calls must not be in reach while a request may be pending: both announce sleeps.
    producer: Producer<'static>,
    /// A request may be pending.
    requested: bool,
    /// How many payloads the task has sent since other tasks last had a turn.
    streak: u32,
}

impl Producer<'static> {
    /// Makes this an [`AsyncProducer`], whose credits are awaited. [`AsyncProducer::into_inner`] undoes it.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::System`](crate::LinkErrorKind::System) if the system refuses a thread. The producer is dropped
    /// then, which closes the link.
    ///
    /// # Examples
    ///
    /// See [`AsyncProducer`].
    pub fn into_async(self) -> Result<AsyncProducer, LinkError> {
        let watch = Watch::Credit(self.watch_until(None));
        let registration = Registration::new(&watch, self.memory(), None)?;
        Ok(AsyncProducer { registration, producer: self, requested: false, streak: 0 })
    }
}

/// Calls that await.
impl AsyncProducer {
    /// Publishes a payload with `sig`, `ctl` and `ts` 0. Awaits a credit if there is none.
    ///
    /// Dropping the future before it is ready publishes nothing: see [`AsyncProducer`].
    ///
    /// # Errors
    ///
    /// - [`TangoError::Closed`]: the link was stopped, before the call or while it awaited a credit.
    /// - [`TangoError::TooLarge`]: the payload is longer than [`AsyncProducer::mtu`].
    ///
    /// In both cases nothing was published.
    ///
    /// # Deadlocks
    ///
    /// It waits forever if this task holds a [`Fragment`](crate::Fragment) of the same link, or is the task that should
    /// read it.
    ///
    /// # Examples
    ///
    /// See [`AsyncProducer`].
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), TangoError> {
        self.send_with(payload, Meta::new()).await.map(drop)
    }

    /// [`AsyncProducer::send`] with metadata. Returns the metadata of the fragment, with its sequence number.
    ///
    /// # Errors
    ///
    /// As [`AsyncProducer::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Meta, TangoError};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let mut tx = link.producer()?.into_async()?;
    /// # runtime.block_on(async {
    /// let meta = tx.send_with(b"bid 101.25", Meta::new().sig(7)).await?;
    /// assert_eq!((meta.sig, tx.next_seq()), (7, meta.seq.wrapping_add(1)));
    /// # Ok::<_, TangoError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_with(&mut self, payload: &[u8], meta: Meta) -> Result<FragmentMetadata, TangoError> {
        if self.streak >= YIELD_AFTER {
            self.yield_now().await;
        }
        self.streak += 1;
        loop {
            match self.publish_with(payload, meta) {
                Err(TangoError::NoCredits) => self.ready(payload.len()).await?,
                done => return done,
            }
        }
    }

    /// Awaits a credit for a payload of `len` bytes, and publishes nothing.
    ///
    /// If this was the last call, the next one that publishes a payload of `len` bytes is not refused with
    /// [`TangoError::NoCredits`], however much later it comes. That also holds for a [`loan`](Self::loan), and for the
    /// first payload of a [batch](Self::publish_batch).
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    ///
    /// As [`AsyncProducer::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    ///
    /// let link = Link::builder().depth(8).mtu(4096).build()?;
    /// let (mut tx, mut rx) = (link.producer()?.into_async()?, link.consumer()?);
    /// # runtime.block_on(async {
    /// tx.ready(4000).await?;
    /// let mut loan = tx.loan(4000)?; // its bytes are written where they will lie
    /// loan.write_at(0, &[1; 4000]);
    /// loan.commit(7, 0, 0)?;
    /// assert_eq!(rx.poll()?.unwrap().payload.as_slice(), [1; 4000]);
    ///
    /// let mut payloads = &[&b"one"[..], b"two", b"three"][..];
    /// while let [first, ..] = payloads {
    ///     tx.ready(first.len()).await?;
    ///     let published = tx.publish_batch(payloads, 0, 0); // one at least, unless the link was stopped
    ///     payloads = &payloads[published..];
    /// }
    /// # Ok::<_, TangoError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn ready(&mut self, len: usize) -> Result<(), TangoError> {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_ready(cx, len)).await
    }

    /// [`AsyncProducer::ready`] for hand-written futures. After `Pending`, the task is woken when it should call again.
    ///
    /// The last request stays until the task is woken, or until `poll_ready` is ready, another call awaits something, or
    /// the producer is dropped. Each call that returns `Pending` replaces it, also the waker.
    ///
    /// # Errors
    ///
    /// Ready with the errors of [`AsyncProducer::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    /// use rust_tango::{AsyncProducer, Link, TangoError};
    ///
    /// /// Publishes, or wakes the task when it should call again.
    /// fn poll_send(tx: &mut AsyncProducer, cx: &mut Context<'_>, payload: &[u8]) -> Poll<Result<(), TangoError>> {
    ///     std::task::ready!(tx.poll_ready(cx, payload.len()))?;
    ///     Poll::Ready(tx.publish(payload, 0, 0, 0).map(drop))
    /// }
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (mut tx, mut rx) = (link.producer()?.into_async()?, link.consumer()?);
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(poll_send(&mut tx, &mut cx, b"one").is_ready());
    /// assert!(poll_send(&mut tx, &mut cx, b"two").is_ready());
    /// assert!(poll_send(&mut tx, &mut cx, b"three").is_pending());
    /// drop(rx.poll()?); // the reader returns a credit
    /// assert!(poll_send(&mut tx, &mut cx, b"three").is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_ready(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), TangoError>> {
        loop {
            match self.producer.obtain_credit(len) {
                Err(TangoError::NoCredits) => {}
                done => {
                    self.cancel();
                    return Poll::Ready(done);
                }
            }
            let Some(watch) = self.producer.credit_watch(len) else { continue };
            match self.request(watch, cx.waker()) {
                Reply::Accepted => return Poll::Pending,
                Reply::Forked => return Poll::Ready(Err(TangoError::Closed)),
                Reply::PollAgain | Reply::CheckPeer => {}
            }
        }
    }

    /// Waits until at least `consumers` reliable consumers are attached and alive, so that they lose no early
    /// fragments. See [`Producer::wait_for_consumers`], also for what may be out of date.
    ///
    /// False: the link was stopped before that, or it has fewer slots than `consumers`. The task checks itself, at
    /// least every twenty milliseconds. Dropping the future has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let mut tx = link.producer()?.into_async()?;
    /// let reader = std::thread::spawn(move || link.consumer());
    /// # runtime.block_on(async {
    /// assert!(tx.wait_for_consumers(1).await);
    /// # });
    /// # drop(reader.join().unwrap()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait_for_consumers(&mut self, consumers: usize) -> bool {
        self.producer.may_have_consumers(consumers)
            && self.wait_until(|producer| producer.has_consumers(consumers)).await
    }

    /// Waits until [`AsyncProducer::is_drained`]. False: the link was stopped before that.
    ///
    /// The task checks itself, at least every twenty milliseconds. Dropping the future has no effect.
    ///
    /// # Deadlocks
    ///
    /// See [`AsyncProducer::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (mut tx, mut rx) = (link.producer()?.into_async()?, link.consumer()?);
    /// let reader = std::thread::spawn(move || rx.for_each(|_, payload| println!("{payload:?}")));
    /// # runtime.block_on(async {
    /// tx.send(b"the last one").await?;
    /// assert!(tx.wait_until_drained().await);
    /// # Ok::<_, TangoError>(())
    /// # })?;
    /// drop(tx); // closes the link, so that the reader ends
    /// reader.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait_until_drained(&mut self) -> bool {
        self.wait_until(Producer::seems_drained).await
    }

    async fn wait_until(&mut self, done: impl Fn(&Producer<'static>) -> bool) -> bool {
        let waiting = Waiting(self);
        let mut naps = Naps::new();
        let mut due = Instant::now() + naps.next();
        poll_fn(|cx| {
            let this = &mut *waiting.0;
            loop {
                if done(&this.producer) || this.producer.is_stopped() {
                    return Poll::Ready(done(&this.producer));
                }
                let now = Instant::now();
                if due <= now {
                    if naps.passed() {
                        this.producer.reap_dead();
                    }
                    due = now + naps.next();
                } else {
                    match this.request(this.producer.watch_until(Some(due)), cx.waker()) {
                        Reply::Accepted => return Poll::Pending,
                        Reply::Forked => return Poll::Ready(false),
                        Reply::PollAgain | Reply::CheckPeer => {}
                    }
                }
            }
        })
        .await
    }

    /// Other tasks of the executor get a turn.
    async fn yield_now(&mut self) {
        let streak = &mut self.streak;
        poll_fn(|cx| {
            if std::mem::take(streak) == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Requests that the watcher wake `task` when `watch` has news.
    fn request(&mut self, watch: CreditWatch<'static>, task: &Waker) -> Reply {
        self.requested = true;
        self.streak = 0;
        let reply = self.registration.request(Watch::Credit(watch), Some(task));
        if reply == Reply::CheckPeer {
            self.producer.reap_dead();
        }
        reply
    }

    /// Takes the request back, if one is pending.
    fn cancel(&mut self) {
        if std::mem::take(&mut self.requested) {
            self.registration.cancel();
        }
    }
}

/// Takes the request back when a future is dropped.
struct Waiting<'p>(&'p mut AsyncProducer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Calls that never wait, as those of [`Producer`].
impl AsyncProducer {
    /// Publishes a payload. Never waits: see [`Producer::publish`].
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    #[inline]
    pub fn publish(
        &mut self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish(payload, sig, ctl, ts)
    }

    /// [`AsyncProducer::publish`] with the metadata by name. Never waits: see [`Producer::publish_with`].
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    #[inline]
    pub fn publish_with(&mut self, payload: &[u8], meta: Meta) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish_with(payload, meta)
    }

    /// Publishes a payload with `sig`, `ctl` and `ts` 0. Never waits: see [`Producer::try_send`].
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send`].
    #[inline]
    pub fn try_send(&mut self, payload: &[u8]) -> Result<(), TrySendError> {
        self.producer.try_send(payload)
    }

    /// Publishes payloads as far as there are credits, and returns how many it has published. Never waits: see
    /// [`Producer::publish_batch`].
    pub fn publish_batch(&mut self, payloads: &[&[u8]], sig: u64, ctl: u16) -> usize {
        self.producer.publish_batch(payloads, sig, ctl)
    }

    /// [`AsyncProducer::publish_batch`] with a timestamp. Never waits: see [`Producer::publish_batch_at`].
    pub fn publish_batch_at(&mut self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        self.producer.publish_batch_at(payloads, sig, ctl, ts)
    }

    /// Leaves out sequence numbers as far as there are credits, and returns how many. Never waits: see
    /// [`Producer::skip`]. 0 may also say that the link was stopped. To wait for the credit of the next number, and to
    /// learn of the stop, await [`ready(0)`](AsyncProducer::ready).
    #[must_use = "fewer may have been left out than were asked for"]
    pub fn skip(&mut self, count: u64) -> u64 {
        self.producer.skip(count)
    }

    /// Lends the place for a payload of `len` bytes. Never waits: see [`Producer::loan`], and [`AsyncProducer::ready`]
    /// for an example.
    ///
    /// # Errors
    ///
    /// As [`Producer::loan`].
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_>, TangoError> {
        self.producer.loan(len)
    }

    /// See [`Producer::next_seq`].
    pub fn next_seq(&self) -> u64 {
        self.producer.next_seq()
    }

    /// See [`Producer::mtu`].
    pub fn mtu(&self) -> usize {
        self.producer.mtu()
    }

    /// See [`Producer::is_stopped`].
    pub fn is_stopped(&self) -> bool {
        self.producer.is_stopped()
    }

    /// See [`Producer::consumers`].
    pub fn consumers(&self) -> usize {
        self.producer.consumers()
    }

    /// See [`Producer::held_by`].
    pub fn held_by(&self) -> Option<usize> {
        self.producer.held_by()
    }

    /// See [`Producer::is_drained`].
    pub fn is_drained(&self) -> bool {
        self.producer.is_drained()
    }

    /// See [`Producer::beat`].
    pub fn beat(&self, now: u64) {
        self.producer.beat(now);
    }

    /// Returns the producer, to continue without async. The link stays open.
    pub fn into_inner(self) -> Producer<'static> {
        let Self { registration, producer, .. } = self;
        drop(registration);
        producer
    }
}
