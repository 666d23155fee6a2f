//! [`Watcher`]: the thread that waits in the place of async ends of links, and its state.
//!
//! ```text
//!   locked     check what is due: announcements, naps, slices      -.
//!   unlocked   wake tasks, order, check peers, free memory          | again, if there was anything to do
//!   locked     choose the words, and until when to sleep           -'
//!   unlocked   sleep on the notifiers' eventcounts and on `control`
//! ```
//!
//! Most naps end with nothing but that they are over. Then the watcher looks once at each link, and sleeps on the
//! words that it has already chosen ([`State::rests`]).
//!
//! One lock protects the state. No thread holds it while it sleeps in the kernel, calls a waker, asks for a
//! lock of a file, or frees memory.
//!
//! A thread that changes the state wakes the watcher by `control`, unless the watcher finds out by itself. A
//! kernel without `futex_waitv` (before Linux 5.16) lets a thread sleep on one word only. There, a watcher
//! that sleeps on a producer's eventcount does not listen to `control`, and has no other link and no reader
//! that needs naps. So nobody needs to wake it, unless its last reader leaves.

use std::collections::BTreeMap;
use std::task::Waker;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::awaited::{LinkId, Watch};
use super::watched::{Pending, ToCheck, Todo, Waiter, WatchedLink};
use crate::error::LinkError;
use crate::memory::share::LinkMemory;
use crate::shm::thread;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use crate::waiting::direct::{self, Answered};
use crate::waiting::eventcount::{Eventcount, SLICE};
use crate::waiting::kernel;
use crate::waiting::wait::LONGEST_NAP;

/// A slice ends early by so much if the watcher is awake anyway.
const EARLY: Duration = Duration::from_millis(5);

/// Time between two attempts to wake a thread that sleeps on a producer's eventcount, so that it ends. One
/// attempt is not enough, because it may come just before the thread falls asleep.
const WAKE_AGAIN_AFTER: Duration = Duration::from_micros(50);

/// Which readers a watcher takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// All, as long as their links are not too many to sleep on.
    All,
    /// Those with a slot of one link.
    OneLink,
    /// Those that nobody can wake.
    Nappers,
}

impl Takes {
    /// What a new watcher takes, so that it takes a reader with a slot, or an end that nobody can wake.
    pub(super) fn for_end(is_woken: bool) -> Self {
        match (kernel::can_sleep_on_all(), is_woken) {
            (true, _) => Self::All,
            (false, true) => Self::OneLink,
            (false, false) => Self::Nappers,
        }
    }
}

/// A thread that waits for readers, and what it shares with them.
pub(super) struct Watcher {
    takes: Takes,
    state: Mutex<State>,
    /// Wakes the watcher. `advance` is called under the lock.
    control: Eventcount,
    /// `None` once it is being joined, and before it has started.
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    links: BTreeMap<LinkId, WatchedLink>,
    /// Links whose other side was found dead.
    dead: Vec<LinkId>,
    /// Memory of links without readers, on whose words the watcher may still sleep.
    unused: Vec<Arc<dyn LinkMemory>>,
    /// When the next request is due for which the watcher naps.
    nap_due: Option<Instant>,
    /// When the current slice ends.
    slice_ends: Option<Instant>,
    /// No other thread has had the lock since the watcher chose on what to sleep.
    is_settled: bool,
    /// The watcher sleeps, or is about to.
    sleeps: bool,
    /// It sleeps, can be woken by `control`, and nobody has done so yet.
    listens: bool,
    /// It is calling wakers, which may take long, or wait for something that another thread holds.
    calls_wakers: bool,
    /// It has to end.
    ends: bool,
}

/// An end of a link, as its watcher finds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    link: LinkId,
    id: usize,
    /// Whether somebody can wake the watcher for it.
    is_woken: bool,
}

/// What is left after a reader was removed, to be dropped without a lock.
pub(super) struct Removed {
    task: Option<Waker>,
    /// The memory of the link, if this was its last reader.
    memory: Option<Arc<dyn LinkMemory>>,
    must_wake: bool,
    /// The watcher has no reader any more.
    pub(super) is_last: bool,
    calls_wakers: bool,
    /// The watcher sleeps on this only.
    sleeps_on: Option<&'static Eventcount>,
}

/// The reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The request is pending.
    Accepted,
    /// Not accepted: there is news already.
    PollAgain,
    /// Not accepted: check first whether the other side lives, and then poll again.
    CheckPeer,
    /// Not accepted: this is a forked child, where no thread would answer.
    Forked,
}

impl Watcher {
    pub(super) fn start(takes: Takes) -> Result<Arc<Self>, LinkError> {
        let state = State {
            links: BTreeMap::new(),
            dead: Vec::new(),
            unused: Vec::new(),
            nap_due: None,
            slice_ends: None,
            is_settled: false,
            sleeps: false,
            listens: false,
            calls_wakers: false,
            ends: false,
        };
        let (state, control) = (Mutex::new(state), Eventcount::new());
        control.set_private();
        let this = Arc::new(Self { takes, state, control, thread: Mutex::new(None) });
        let watcher = this.clone();
        let thread = thread::spawn("tango-watcher", Builder::new(), move || watcher.run())
            .map_err(|error| LinkError::system("cannot start a thread", error))?;
        *this.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(this)
    }

    /// The state, for the thread of the watcher.
    fn lock_here(&self) -> MutexGuard<'_, State> {
        // No panic under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for other threads.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock_here();
        state.is_settled = false;
        state
    }

    /// Answers requests of a link, on a thread of its notifier. None if another thread has the lock.
    pub(super) fn answer(&self, link: LinkId, answered: &mut Answered) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        state.is_settled = false;
        if let Some(link) = state.links.get_mut(&link) {
            link.answer_sleepers(answered);
        }
    }

    /// Whether this watcher sleeps for ends of this link.
    pub(super) fn has_sleepers_of(&self, link: LinkId) -> bool {
        self.lock().links.get(&link).is_some_and(|link| link.sleepers != 0)
    }

    /// Whether this watcher can take an end of another link.
    pub(super) fn has_room(&self, is_woken: bool) -> bool {
        match self.takes {
            Takes::OneLink => false,
            Takes::Nappers => !is_woken,
            // One word is `control`.
            Takes::All if is_woken => {
                let sleepers = |link: &&WatchedLink| link.sleepers != 0;
                self.lock().links.values().filter(sleepers).count() < kernel::MOST_AT_ONCE - 1
            }
            Takes::All => true,
        }
    }

    /// Adds an end that waits for what `watch` shows from now on. `memory` is what the link lies in.
    pub(super) fn add(&self, watch: &Watch, memory: Option<Arc<dyn LinkMemory>>, waiter: Waiter) -> Place {
        let mut state = self.lock();
        let (link, is_woken) = (watch.id(), watch.is_woken());
        let watched = state.links.entry(link).or_insert_with(|| WatchedLink::new(watch, memory));
        Place { link, id: watched.add(waiter, is_woken), is_woken }
    }

    /// Requests an answer when `watch` has news: wakes `task`, or, with `None`, makes the descriptor
    /// readable. Replaces the pending request of this end.
    pub(super) fn request(&self, place: Place, watch: Watch, task: Option<&Waker>) -> Reply {
        let mut task = task.cloned();
        let mut state = self.lock();
        let link = state.links.get_mut(&place.link);
        let pending = link.and_then(|link| link.request(place.id, watch, &mut task));
        let Some(Pending { serial, announced, due, must_wake, replaced }) = pending else {
            return Reply::CheckPeer;
        };
        let must_wake = must_wake | due.is_some_and(|due| state.naps_until(due));
        let must_wake = must_wake && self.call(&mut state);
        drop(state);
        let (mut reply, mut cancelled) = (Reply::Accepted, None);
        if announced.is_some_and(|announced| !announced.order()) {
            self.nap_instead(place);
        } else if watch.has_news() {
            cancelled =
                self.lock().links.get_mut(&place.link).and_then(|link| link.cancel(place.id, Some(serial)));
            reply = Reply::PollAgain;
        }
        if must_wake {
            self.control.wake_all();
        }
        // Foreign code, which may take long or panic.
        drop((replaced, cancelled));
        reply
    }

    /// Takes the pending request of an end back, if there is one.
    pub(super) fn cancel(&self, place: Place) {
        let task = self.lock().links.get_mut(&place.link).and_then(|link| link.cancel(place.id, None));
        drop(task);
    }

    /// The watcher cannot sleep for this end, so it naps.
    fn nap_instead(&self, place: Place) {
        let mut state = self.lock();
        let due =
            state.links.get_mut(&place.link).and_then(|link| link.nap_instead(place.id, Instant::now()));
        let must_wake = due.is_some_and(|due| state.naps_until(due)) && self.call(&mut state);
        drop(state);
        if must_wake {
            self.control.wake_all();
        }
    }

    /// The first half of waking the watcher. True: the caller has to call `wake_all` of `control`, without
    /// the lock.
    fn call(&self, state: &mut State) -> bool {
        let listens = std::mem::take(&mut state.listens);
        if listens {
            self.control.advance();
        }
        listens
    }

    /// Removes an end. From then on, the watcher does not access what belongs to it.
    pub(super) fn remove(&self, place: Place) -> Removed {
        let mut state = self.lock();
        let mut removed = Removed {
            task: None,
            memory: None,
            must_wake: false,
            is_last: false,
            calls_wakers: state.calls_wakers,
            sleeps_on: None,
        };
        let Some(link) = state.links.get_mut(&place.link) else { return removed };
        removed.task = link.remove(place.id, place.is_woken);
        if !link.is_empty() {
            return removed;
        }
        let notifier = link.sleep.notifier();
        removed.memory = state.links.remove(&place.link).and_then(WatchedLink::into_memory);
        removed.is_last = state.links.is_empty();
        state.ends = removed.is_last;
        if state.sleeps {
            // The kernel may still read the link's word. The watcher frees the memory when it is awake.
            state.unused.extend(removed.memory.clone());
            removed.sleeps_on = (self.takes == Takes::OneLink).then_some(notifier);
            removed.must_wake = self.call(&mut state);
        }
        removed
    }

    /// Does what is left to do after the removal of a reader. After the removal of the last one, waits for the
    /// end of the thread, unless the thread is calling a waker.
    pub(super) fn clean_up(&self, mut removed: Removed) {
        if removed.must_wake {
            self.control.wake_all();
        }
        drop(removed.task.take());
        if !removed.is_last {
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If it calls a waker, or a subscriber that is here, to join it could deadlock: that may be dropping the reader,
        // or may wait for something that this thread holds. The thread ends as soon as it returns.
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == std::thread::current().id();
        let Some(thread) = thread.filter(|thread| !removed.calls_wakers && !is_here(thread)) else { return };
        while removed.sleeps_on.is_some() && !thread.is_finished() {
            // `removed` has a share of the memory.
            removed.sleeps_on.inspect(|notifier| notifier.wake_all());
            sleep(WAKE_AGAIN_AFTER);
        }
        // The thread catches panics of wakers and of subscribers, so it does not panic.
        let _ = thread.join();
    }

    /// The body of the thread.
    fn run(&self) {
        let mut words = Vec::new();
        let mut state = self.lock_here();
        loop {
            (state.sleeps, state.listens) = (false, false);
            let now = Instant::now();
            if !state.rests(now) {
                state.is_settled = false;
                let todo = state.check(now);
                if !todo.is_empty() {
                    state = self.act(state, todo);
                    continue;
                }
                if state.ends {
                    return;
                }
                state.settle(now, &mut words);
            }
            state = self.sleep(state, now, &words);
        }
    }

    /// Does what is to be done without the lock.
    fn act<'s>(&'s self, mut state: MutexGuard<'s, State>, todo: Todo) -> MutexGuard<'s, State> {
        state.calls_wakers = !todo.tasks.is_empty();
        drop(state);
        let done = Done::of(todo);
        state = self.lock_here();
        state.calls_wakers = false;
        if !done.is_ordered {
            state.nap_instead();
        }
        state.dead = done.dead;
        state
    }

    /// Sleeps until there is something to do.
    fn sleep<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        now: Instant,
        words: &[(&'static Eventcount, u32)],
    ) -> MutexGuard<'s, State> {
        let longest = state.next_due().map(|due| due.saturating_duration_since(now));
        let alone = match words {
            [alone, ..] if self.takes == Takes::OneLink && state.nap_due.is_none() => Some(*alone),
            _ => None,
        };
        (state.sleeps, state.listens) = (true, alone.is_none());
        let control = (&self.control, self.control.count());
        drop(state);
        if let Some((notifier, count)) = alone {
            notifier.sleep_while(count, longest.unwrap_or(SLICE));
        } else if words.is_empty() {
            control.0.sleep_while(control.1, longest.unwrap_or(Duration::MAX));
        } else {
            let all = std::iter::once(control).chain(words.iter().copied());
            if self.takes != Takes::All || !Eventcount::sleep_while_all(all, longest) {
                control.0.sleep_while(control.1, longest.unwrap_or(SLICE).min(LONGEST_NAP));
            }
        }
        self.lock_here()
    }
}

impl State {
    /// The watcher naps until `due` at the latest. True: it has to be woken for that.
    fn naps_until(&mut self, due: Instant) -> bool {
        let until = self.next_due();
        self.nap_due = Some(self.nap_due.map_or(due, |nap_due| nap_due.min(due)));
        until.is_none_or(|until| due < until)
    }

    /// When the watcher has to be awake next: at the end of a nap, or of the slice.
    fn next_due(&self) -> Option<Instant> {
        match (self.slice_ends, self.nap_due) {
            (Some(slice), Some(nap)) => Some(if nap < slice { nap } else { slice }),
            (due, None) | (None, due) => due,
        }
    }

    /// Whether nothing is due but the naps, and they have nothing to show. The next one is due later then, and the
    /// watcher goes on sleeping on the words that it has chosen.
    ///
    /// Plain loops, because the code is cold after each nap: in a debug build, they take a quarter of the instructions
    /// that a complete check takes.
    fn rests(&mut self, now: Instant) -> bool {
        let slice_is_due = match self.slice_ends {
            Some(ends) => ends <= now + EARLY,
            None => false,
        };
        if !self.is_settled || slice_is_due {
            return false;
        }
        let mut next = now + LONGEST_NAP;
        for link in self.links.values() {
            if !link.rests(now) {
                return false;
            }
            next = link.due.map_or(next, |due| next.min(due));
        }
        if let Some(due) = self.nap_due {
            if due <= now {
                self.nap_due = Some(next);
            }
        }
        true
    }

    /// Nothing is left to do: chooses the `words` on which the watcher sleeps, and how long a slice lasts.
    fn settle(&mut self, now: Instant, words: &mut Vec<(&'static Eventcount, u32)>) {
        words.clear();
        let mut has_requests = false;
        for link in self.links.values() {
            has_requests |= link.has_requests();
            if link.sleep.listens() {
                words.push((link.sleep.notifier(), link.sleep.count()));
            }
        }
        if words.is_empty() && !has_requests {
            (self.slice_ends, self.nap_due) = (None, None);
        } else {
            self.slice_ends.get_or_insert(now + SLICE);
        }
        self.is_settled = true;
    }

    /// Checks everything that is due.
    fn check(&mut self, now: Instant) -> Todo {
        let mut todo = Todo::default();
        std::mem::swap(&mut todo.unused, &mut self.unused);
        for id in std::mem::take(&mut self.dead) {
            if let Some(link) = self.links.get_mut(&id) {
                link.peer_seems_dead(&mut todo);
            }
        }
        let slice = self.slice_ends.is_some_and(|ends| ends <= now + EARLY);
        let nap = self.nap_due.is_some_and(|due| due <= now);
        let mut next_nap: Option<Instant> = None;
        for (id, link) in &mut self.links {
            link.check_sleepers(slice, now, &mut todo);
            if nap || slice {
                let due = link.check_nappers(slice, now, &mut todo);
                next_nap = [next_nap, due].into_iter().flatten().min();
            }
            if slice {
                todo.to_check.extend(link.to_check(*id));
            }
        }
        if nap || slice {
            self.nap_due = next_nap;
        }
        if slice {
            self.slice_ends = None;
        }
        todo
    }

    /// No announced sleep is certain to be ordered, so the watcher naps for all readers.
    fn nap_instead(&mut self) {
        let now = Instant::now();
        let due = self.links.values_mut().filter_map(|link| link.all_nap_instead(now)).min();
        self.nap_due = [self.nap_due, due].into_iter().flatten().min();
    }
}

/// The result of what the watcher did without the lock.
struct Done {
    is_ordered: bool,
    dead: Vec<LinkId>,
}

impl Done {
    fn of(todo: Todo) -> Self {
        todo.tasks.into_iter().for_each(direct::wake);
        let is_ordered = todo.announced.iter().all(|announced| announced.order());
        let dead = |ToCheck { link, peer, memory }: ToCheck| (!peer.lives(&*memory)).then_some(link);
        Self { is_ordered, dead: todo.to_check.into_iter().filter_map(dead).collect() }
    }
}
