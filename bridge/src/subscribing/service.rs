//! [`Subscribing`]: what arrives, handed to one thread for each key.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Locality, Sample, SampleKind};

use super::arrived::Arrived;
use super::far::Far;
use super::queue::Queue;
use super::shared::Shared;
use super::worker::Worker;
use crate::context::{Context, Direction};
use crate::counts::Counts;
use crate::failure::Failure;
use crate::journal::Event;
use crate::settings::{Congestion, Subscribe};

/// Keys without a far link whose messages are counted, and of which something is said. Others are counted together.
const MOST_OTHER_KEYS: usize = 64;
/// The bridge at the origin says for about a minute that a link was removed. This is remembered for longer, so that nothing is
/// made of it again.
const REMEMBERED: Duration = Duration::from_secs(120);
/// So many links that were removed are remembered.
const MOST_REMOVED: usize = 1 << 12;

/// The links of one [`Subscribe`], and the threads that publish into them.
#[derive(Debug)]
pub struct Subscribing {
    arrivals: Arc<Arrivals>,
    /// Ends the arrival of messages when it is dropped.
    subscriber: Subscriber<()>,
}

/// What threads of the network use.
struct Arrivals {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<String, Key>,
    /// How many of the keys have a thread.
    links: usize,
    threads: Vec<JoinHandle<Option<Far>>>,
    /// Links at the origin that were removed, by key: their identities, and when that was.
    removed: HashMap<String, (u64, Instant)>,
    /// It was said that something is wrong on a key that is not among those above.
    is_said: bool,
}

/// What is known of a key.
#[derive(Debug, Default)]
struct Key {
    /// Of the thread of its far link.
    queue: Option<Arc<Queue>>,
    /// It was said that something on it is wrong.
    is_said: bool,
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Subscribing {
    /// Subscribes to the key, and begins to make links for what arrives.
    ///
    /// # Errors
    ///
    /// The key is invalid, or the network refuses.
    pub fn start(context: &Context, subscribe: Subscribe) -> Result<Self, Failure> {
        let key = KeyExpr::try_from(subscribe.key.clone())
            .map_err(|error| Failure::usage(format!("{:?} is no valid key: {error}", subscribe.key)))?;
        let shared = Arc::new(Shared::new(context, subscribe));
        let arrivals = Arc::new(Arrivals { shared, state: Mutex::default() });
        let of_callback = arrivals.clone();
        let subscriber = context
            .session
            .declare_subscriber(&key)
            // What this process sends itself needs no far link here.
            .allowed_origin(Locality::Remote)
            .callback(move |sample| of_callback.arrive(&sample))
            .wait()
            .map_err(|error| Failure::new(format!("cannot subscribe to {key}: {error}")))?;
        Ok(Self { arrivals, subscriber })
    }

    /// Waits for the threads. They end after [`Stop::set`](crate::context::Stop::set), when they have published what had
    /// arrived, as far as that is possible without waiting.
    ///
    /// At the origin, nothing has ended. So the far links are not closed. When this process ends, their readers find that
    /// the producer is gone, and can wait for the next one. Until then, no other bridge can continue them.
    pub fn join(self) {
        // Their memory is freed by the end of the process.
        self.ended().into_iter().for_each(std::mem::forget);
    }

    /// As [`Self::join`], but closes the far links: their readers see the end, and another bridge of this process can continue
    /// them.
    pub fn close(self) {
        drop(self.ended());
    }

    /// The far links, when their threads have ended.
    fn ended(self) -> Vec<Far> {
        // An error means that the session is closed.
        _ = self.subscriber.undeclare().wait();
        let mut left = Vec::new();
        loop {
            let threads = std::mem::take(&mut self.arrivals.lock().threads);
            if threads.is_empty() {
                return left;
            }
            // A thread that has panicked has said so.
            left.extend(threads.into_iter().filter_map(|thread| thread.join().ok().flatten()));
        }
    }
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds this.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by threads of the network.
    fn arrive(self: &Arc<Self>, sample: &Sample) {
        let at = Instant::now();
        let key = sample.key_expr();
        if key.is_wild() || key.as_str().contains(char::is_control) {
            // It would be a key of many links, or a text that misleads in a log.
            return self.reject(None, "a message came under a key that is no key of one link");
        }
        if sample.kind() != SampleKind::Put {
            return self
                .reject(Some(key.as_str()), "a message is rejected: it deletes, which means nothing here");
        }
        match Arrived::new(sample.payload().to_bytes().into_owned(), at) {
            Ok(arrived) => self.hand_over(key, arrived),
            Err(why) => self.reject(Some(key.as_str()), &format!("a message is rejected: {why}")),
        }
    }

    fn hand_over(self: &Arc<Self>, key: &KeyExpr<'_>, mut arrived: Arrived) {
        let Shared { context, settings, waiting, .. } = &*self.shared;
        while !context.stop.is_set() {
            let queue = match self.queue_of(key, &arrived) {
                Ok(Some(queue)) => queue,
                Ok(None) => return,
                Err(why) => {
                    return self.reject(Some(key.as_str()), &format!("no link is made for it: {why}"));
                }
            };
            let waits = settings.congestion == Congestion::Block && queue.would_wait(arrived.size);
            if waits {
                waiting.fetch_add(1, Relaxed);
                queue.wait_for_room(arrived.size, &context.stop);
            }
            let result = queue.put(arrived);
            if waits {
                waiting.fetch_sub(1, Relaxed);
            }
            match result {
                Ok(()) => return,
                // Its thread has ended just now. There will be another one.
                Err(back) => arrived = back,
            }
        }
    }

    /// The queue of a key, with a new thread if it has none. `None`: the message is of a link that was removed.
    fn queue_of(
        self: &Arc<Self>,
        key: &KeyExpr<'_>,
        arrived: &Arrived,
    ) -> Result<Option<Arc<Queue>>, String> {
        let mut state = self.lock();
        if let Some(Key { queue: Some(queue), .. }) = state.keys.get(key.as_str()) {
            return Ok(Some(queue.clone()));
        }
        let removed = state.removed.get(key.as_str()).filter(|(_, since)| since.elapsed() < REMEMBERED);
        if removed.is_some_and(|(link, _)| *link == arrived.origin.link) {
            return Ok(None);
        }
        let follows = removed.is_some();
        let Shared { settings, .. } = &*self.shared;
        if state.links >= settings.max_links {
            return Err(format!("there are {} already, which is the limit", settings.max_links));
        }
        let queue = Arc::new(Queue::new(settings.queue));
        let worker = Worker::new(self.shared.clone(), key.clone().into_owned(), queue.clone(), follows);
        let (arrivals, of_thread, name) = (self.clone(), queue.clone(), key.as_str().to_owned());
        let thread = std::thread::Builder::new()
            .name("bridge-far".to_owned())
            .spawn(move || worker.run(|removed| arrivals.retires(&name, &of_thread, removed)))
            .map_err(|error| format!("there is no thread to be had ({error})"))?;
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        state.links += 1;
        state.keys.entry(key.as_str().to_owned()).or_default().queue = Some(queue.clone());
        Ok(Some(queue))
    }

    /// Whether the thread of this key may end. It has nothing to do then, and there will be another one when more arrives. If the
    /// link at the origin was removed, only for another one.
    fn retires(&self, key: &str, queue: &Queue, removed: Option<u64>) -> bool {
        let mut state = self.lock();
        let retires = queue.close_if_empty();
        if retires {
            state.keys.remove(key);
            state.links -= 1;
            self.shared.give_name_back(key);
            state.removed.retain(|_, (_, since)| since.elapsed() < REMEMBERED);
            if let Some(link) = removed
                && state.removed.len() < MOST_REMOVED
            {
                state.removed.insert(key.to_owned(), (link, Instant::now()));
            }
        }
        retires
    }

    /// Counts a message that is not taken, and says why, once for each key.
    fn reject(&self, key: Option<&str>, why: &str) {
        let Shared { context, settings, .. } = &*self.shared;
        let mut state = self.lock();
        let others = state.keys.len() - state.links;
        let is_known = |key: &&str| state.keys.contains_key(*key) || others < MOST_OTHER_KEYS;
        let (key, was_said) = match key.filter(is_known) {
            Some(key) => (key, &mut state.keys.entry(key.to_owned()).or_default().is_said),
            // One sum for all of these.
            None => (&*settings.key, &mut state.is_said),
        };
        let was_said = std::mem::replace(was_said, true);
        drop(state);
        let counts = context.register.counts(Direction::Subscribe, &self.shared.name_of(key), key);
        Counts::add(&counts.rejected, 1);
        if !was_said {
            context.journal.note(Event::new("rejected", why).of_key(key));
        }
    }
}
