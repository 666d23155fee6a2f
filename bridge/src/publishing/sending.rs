//! [`Sender`]: the thread that gives network messages of one key to zenoh, and repeats once a second what the link is, and
//! whether it has ended.

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

/// The link that is read, or the last one that was.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Link(Link, Arc<About>),
    /// It was removed. `next` is the number after its last one.
    Removed {
        about: Arc<About>,
        next: u64,
    },
}

/// What the threads of one key share: the one that reads, the one that sends, and those that answer queries.
#[derive(Debug)]
pub(super) struct Shared {
    /// The name of the link.
    pub(super) name: String,
    pub(super) key: String,
    pub(super) counts: Arc<Counts>,
    pub(super) queue: Queue,
    /// The link of this name, if there was one.
    known: Mutex<Option<Known>>,
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
            known: Mutex::default(),
            next: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        // No thread panics while it holds it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link that is read now.
    pub(super) fn set_link(&self, link: Link, about: Arc<About>) {
        *self.lock() = Some(Known::Link(link, about));
    }

    /// The link was removed. `next` is the number after its last one.
    pub(super) fn set_removed(&self, next: u64) {
        let mut known = self.lock();
        if let Some(Known::Link(_, about)) = &*known {
            let about = about.clone();
            *known = Some(Known::Removed { about, next });
        }
    }

    /// The bridge ends.
    pub(super) fn set_unknown(&self) {
        *self.lock() = None;
    }

    /// The link that is read, or the last one that was. `None`: there was none.
    pub(super) fn known(&self) -> Option<Known> {
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

    /// A link has come after the sender has ended: it will be started again.
    pub(super) fn begin_again(&self) {
        self.queue.open();
        self.is_done.store(false, Relaxed);
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
    /// Why nothing follows, in the order in which it was said.
    ended: Vec<EndCause>,
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
        Ok(Self { shared, context, publisher, about: None, ended: Vec::new(), has_failed: false })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether the last link was removed, and its end was sent.
    pub(super) fn is_removed(&self) -> bool {
        self.ended.contains(&EndCause::Removed)
    }

    /// Sends until the queue is closed and empty.
    pub(super) fn run(mut self) -> Self {
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
        self
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
                self.ended.clear();
            }
            Kind::End(cause) => {
                if !self.ended.contains(&cause) {
                    self.ended.push(cause);
                }
            }
        }
    }

    /// Says what the link is, and whether it has ended, to those that have not heard it.
    pub(super) fn repeat(&mut self) {
        let Some(about) = self.about.clone() else { return };
        let next = self.shared.next();
        self.put(if self.is_removed() { about.last_state(next) } else { about.state(next) });
        for at in 0..self.ended.len() {
            self.put(encode_end(about.origin, next, self.ended[at]));
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
