//! [`Sender`]: the thread that gives network messages of one key to zenoh, and repeats once a second what the link is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rust_tango::Link;
use zenoh::Wait;
use zenoh::qos::CongestionControl;

use super::about::About;
use super::queue::{Kind, Outgoing, Popped, Queue};
use crate::context::Context;
use crate::counts::Counts;
use crate::failure::Failure;
use crate::journal::Event;
use crate::wire::{EndCause, encode_end};

/// Time between two messages that say what the link is.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// What the threads of one key share: the one that reads, the one that sends, and those that answer queries.
#[derive(Debug)]
pub(super) struct Shared {
    /// The name of the link.
    pub(super) name: String,
    pub(super) key: String,
    pub(super) counts: Arc<Counts>,
    pub(super) queue: Queue,
    /// The link that is read, if there is one.
    link: Mutex<Option<(Link, Arc<About>)>>,
    /// The number of the next fragment that will be sent.
    next: AtomicU64,
    /// All messages were sent, or cannot be.
    is_done: AtomicBool,
}

impl Shared {
    pub(super) fn new(name: &str, key: &str, counts: Arc<Counts>, capacity: usize) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_owned(),
            queue: Queue::new(capacity, counts.clone()),
            counts,
            link: Mutex::default(),
            next: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Link, Arc<About>)>> {
        // No thread panics while it holds it.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link that is read now, or none.
    pub(super) fn set_link(&self, link: Option<(Link, Arc<About>)>) {
        *self.lock() = link;
    }

    /// The link that is read, and what there is to say of it.
    pub(super) fn link(&self) -> Option<(Link, Arc<About>)> {
        self.lock().clone()
    }

    /// The number of the next fragment that will be sent.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// Whether the sender has ended.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Relaxed)
    }

    /// An event of this link.
    pub(super) fn event(&self, event: &'static str, message: impl Into<String>) -> Event {
        Event::new(event, message).of_link(&self.name).of_key(&self.key)
    }
}

/// Sends what is in the queue.
pub(super) struct Sender {
    shared: Arc<Shared>,
    context: Context,
    publisher: zenoh::pubsub::Publisher<'static>,
    about: Option<Arc<About>>,
    ended: Option<EndCause>,
    /// It was said that the session takes no messages.
    has_failed: bool,
}

impl Sender {
    /// # Errors
    ///
    /// The key is no key of zenoh, or the session is closed.
    pub(super) fn new(shared: Arc<Shared>, context: &Context) -> Result<Self, Failure> {
        let publisher = context.session.declare_publisher(shared.key.clone());
        // Zenoh must not drop in silence. Batches are complete, so that waiting for more would only delay them.
        let publisher = publisher.congestion_control(CongestionControl::Block).express(true).wait();
        let publisher = publisher.map_err(|error| {
            Failure::new(format!("cannot publish link {} as {:?}: {error}", shared.name, shared.key))
        })?;
        let context = context.clone();
        Ok(Self { shared, context, publisher, about: None, ended: None, has_failed: false })
    }

    /// Sends until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut due = Instant::now() + STATE_EVERY;
        loop {
            let popped = self.shared.queue.pop(due);
            match popped {
                Popped::Message(message) => self.send(message),
                Popped::Nothing => {}
                Popped::Closed => break,
            }
            let now = Instant::now();
            if now >= due {
                due = now + STATE_EVERY;
                self.repeat();
            }
        }
        self.shared.is_done.store(true, Relaxed);
    }

    fn send(&mut self, message: Outgoing) {
        let is_sent = self.put(message.bytes);
        self.shared.next.store(message.next, Relaxed);
        let counts = &self.shared.counts;
        match message.kind {
            Kind::Fragments(count, payload) if is_sent => {
                Counts::add(&counts.fragments, count);
                Counts::add(&counts.bytes, payload);
                Counts::add(&counts.messages, 1);
            }
            Kind::Fragments(count, _) => Counts::add(&counts.dropped, count),
            Kind::Gap => {}
            Kind::State(about) => {
                self.about = Some(about);
                self.ended = None;
            }
            Kind::End(cause) => {
                self.ended = Some(cause);
                if cause == EndCause::Removed {
                    // There is nothing to say of it any more.
                    (self.about, self.ended) = (None, None);
                }
            }
        }
    }

    /// Says what the link is, and whether it has ended, to those that have not heard it.
    fn repeat(&mut self) {
        let Some(about) = self.about.clone() else { return };
        let next = self.shared.next();
        self.put(about.state(next));
        if let Some(cause) = self.ended {
            self.put(encode_end(about.origin, next, cause));
        }
    }

    /// Waits while the network takes no more.
    fn put(&mut self, bytes: Vec<u8>) -> bool {
        let Err(error) = self.publisher.put(bytes).wait() else { return true };
        if !std::mem::replace(&mut self.has_failed, true) {
            let event =
                self.shared.event("failed", format!("the network session takes no messages: {error}"));
            self.context.journal.note(event);
        }
        false
    }
}
