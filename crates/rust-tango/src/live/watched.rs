//! [`WatchedLink`]: a link, and those of its ends for which one watcher waits.
//!
//! ```text
//!             request                      request (replaces the old one)
//!   idle  --------------->  request pending  ----.
//!    ^                          |      ^_________|
//!    |  news, or the other      |
//!    '---- side seems dead -----'   answer: wake the task, or make the descriptor readable
//! ```
//!
//! A reader with a slot announces its sleep, and the watcher sleeps on the producer's eventcount
//! ([`shared_sleep`](crate::waiting::shared_sleep)). For a reader that nobody can wake, the watcher naps.
//!
//! The lock of the watcher protects everything here.

use std::task::Waker;
use std::time::Instant;

use nix::sys::eventfd::EventFd;

use super::awaited::{LinkId, Peer, Watch};
use crate::memory::share::LinkMemory;
use crate::sync::Arc;
use crate::waiting::direct::Answered;
use crate::waiting::eventcount::{Announced, Eventcount};
use crate::waiting::shared_sleep::SharedSleep;
use crate::waiting::wait::{LONGEST_NAP, Naps};

/// The watcher answers at most so many requests before it lets others have the lock.
const MOST_ANSWERS: usize = 64;

/// What the watcher has to do without the lock.
#[derive(Default)]
pub(super) struct Todo {
    /// Tasks to wake.
    pub(super) tasks: Vec<Waker>,
    /// Announcements to order.
    pub(super) announced: Vec<Announced>,
    /// What it has to check: whether the other side of a link lives.
    pub(super) to_check: Vec<ToCheck>,
    /// Memory to give back.
    pub(super) unused: Vec<Arc<dyn LinkMemory>>,
    /// How many requests were answered.
    answers: usize,
}

impl Todo {
    pub(super) fn is_empty(&self) -> bool {
        self.answers == 0 && self.announced.is_empty() && self.to_check.is_empty() && self.unused.is_empty()
    }

    fn is_full(&self) -> bool {
        self.answers >= MOST_ANSWERS
    }
}

/// The other side of a link: whether it lives has to be checked.
pub(super) struct ToCheck {
    pub(super) link: LinkId,
    pub(super) peer: Peer,
    pub(super) memory: Arc<dyn LinkMemory>,
}

/// How the watcher waits for the news of one request.
enum Waits {
    /// It sleeps. The waiter has announced that in this eventcount, its own.
    Asleep(&'static Eventcount, Announced),
    /// It checks at this time, and then after the next nap.
    Napping(Naps, Instant),
}

/// What a waiter waits for, and how to answer it.
struct Request {
    watch: Watch,
    /// The task to wake. `None`: make the descriptor readable.
    task: Option<Waker>,
    waits: Waits,
    /// Differs from the other requests of this waiter.
    serial: u64,
}

/// An end of a link, as its watcher knows it.
pub(super) struct Waiter {
    /// An eventfd. Its count is not zero exactly if `readable`. `None`: each request has a task.
    descriptor: Option<Arc<EventFd>>,
    /// False only while a request is pending that asks for the descriptor.
    readable: bool,
    request: Option<Request>,
    /// How many requests there were.
    requests: u64,
    /// The watcher has found the other side dead. The waiter has to check that itself.
    seems_dead: bool,
}

impl Waiter {
    /// `descriptor` has a count of one.
    pub(super) fn new(descriptor: Option<Arc<EventFd>>) -> Self {
        Self { descriptor, readable: true, request: None, requests: 0, seems_dead: false }
    }

    fn set_readable(&mut self, readable: bool) {
        if self.readable != readable {
            self.readable = readable;
            // A write cannot fail, because the count is 0 or 1. A read fails only if the count is 0, because
            // the program itself has read from the descriptor. Then the count is already what it has to be.
            let _ = self.descriptor.as_ref().map(|descriptor| {
                if readable { descriptor.write(1).map(drop) } else { descriptor.read().map(drop) }
            });
        }
    }

    /// Answers the pending request, of which the link no longer keeps account.
    fn answer(&mut self, todo: &mut Todo) {
        todo.answers += 1;
        todo.tasks.extend(self.answer_all_but_task());
    }

    /// [`answer`](Self::answer), but the caller has to wake this task.
    fn answer_all_but_task(&mut self) -> Option<Waker> {
        let request = self.request.take()?;
        if request.task.is_none() {
            self.set_readable(true);
        }
        request.task
    }
}

/// A request that is pending now.
pub(super) struct Pending {
    pub(super) serial: u64,
    /// `Some`: the waiter still has to order this.
    pub(super) announced: Option<Announced>,
    /// When the watcher has to check. `None`: it is woken.
    pub(super) due: Option<Instant>,
    /// The watcher does not listen to this link yet.
    pub(super) must_wake: bool,
    /// The task of the request that was replaced, to be dropped without the lock.
    pub(super) replaced: Option<Waker>,
}

pub(super) struct WatchedLink {
    /// Each at its id; `None`: that id is free. (A map would be slower to go over, which is done in each slice.)
    waiters: Vec<Option<Waiter>>,
    free: Vec<usize>,
    /// The sleep of the watcher for the waiters that can be woken.
    pub(super) sleep: SharedSleep<'static>,
    /// How many waiters can be woken.
    pub(super) sleepers: usize,
    /// How many requests wait `Asleep`.
    asleep: usize,
    /// How many requests wait `Napping`.
    napping: usize,
    /// When the first of them is due.
    nap_due: Option<Instant>,
    /// When a producer has to look in any case, if one waits.
    pub(super) due: Option<Instant>,
    /// All of them nap for the longest time, and were checked together when the link had these signs
    /// ([`Watch::signs`]).
    resting: Option<[u64; 5]>,
    /// The link was stopped when its sleepers were last checked.
    stopped: bool,
    /// For what all waiters have in common.
    watch: Watch,
    /// Dropped last, because everything else refers to it. `None`: the memory is static.
    memory: Option<Arc<dyn LinkMemory>>,
}

impl WatchedLink {
    pub(super) fn new(watch: &Watch, memory: Option<Arc<dyn LinkMemory>>) -> Self {
        Self {
            waiters: Vec::new(),
            free: Vec::new(),
            sleep: SharedSleep::new(watch.notifier()),
            sleepers: 0,
            asleep: 0,
            napping: 0,
            nap_due: None,
            due: None,
            resting: None,
            stopped: false,
            watch: *watch,
            memory,
        }
    }

    /// Adds a waiter. Returns its id.
    pub(super) fn add(&mut self, waiter: Waiter, is_woken: bool) -> usize {
        self.sleepers += usize::from(is_woken);
        let id = self.free.pop().unwrap_or(self.waiters.len());
        match self.waiters.get_mut(id) {
            Some(place) => *place = Some(waiter),
            None => self.waiters.push(Some(waiter)),
        }
        id
    }

    /// Removes a waiter. Returns the task that waited, to be dropped without the lock.
    pub(super) fn remove(&mut self, id: usize, is_woken: bool) -> Option<Waker> {
        self.sleepers -= usize::from(is_woken);
        let request = self.take(id, None);
        if self.waiters.get_mut(id).and_then(Option::take).is_some() {
            self.free.push(id);
        }
        request.and_then(|request| request.task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.len() == self.free.len()
    }

    fn waiter(&mut self, id: usize) -> Option<&mut Waiter> {
        self.waiters.get_mut(id)?.as_mut()
    }

    pub(super) fn into_memory(self) -> Option<Arc<dyn LinkMemory>> {
        self.memory
    }

    /// Whether a request is pending.
    pub(super) fn has_requests(&self) -> bool {
        self.asleep + self.napping != 0
    }

    /// A new request of a waiter. Takes `task`, and replaces the pending request. `None`: the other side seems
    /// dead, so the waiter has to check first whether it lives.
    pub(super) fn request(&mut self, id: usize, watch: Watch, task: &mut Option<Waker>) -> Option<Pending> {
        let waiter = self.waiter(id)?;
        if std::mem::take(&mut waiter.seems_dead) {
            return None;
        }
        let (old, serial) = (waiter.request.take(), waiter.requests + 1);
        let mut pending = Pending { serial, announced: None, due: None, must_wake: false, replaced: None };
        // A producer may wait for another consumer now.
        let turns = self.sleep.turn_to(watch.notifier());
        if let Watch::Credit(_) = watch {
            // It waits alone.
            self.watch = watch;
        }
        let mut kept = None;
        if let Some(Request { waits, task, .. }) = old {
            pending.replaced = task;
            if turns {
                self.leave(&waits);
            } else {
                kept = Some(waits);
            }
        }
        let waits = match (kept, watch.own()) {
            // It waits already. What the task does not find now, the watcher will.
            (Some(waits), _) => {
                // The waiter may have moved on.
                self.resting = None;
                waits
            }
            (None, Some(own)) => {
                let (announced, must_wake) = self.sleep.join(own);
                (pending.announced, pending.must_wake) = (Some(announced), must_wake);
                self.asleep += 1;
                Waits::Asleep(own, announced)
            }
            (None, None) => {
                let (waits, due) = self.begin_nap(Instant::now());
                pending.due = Some(due);
                waits
            }
        };
        self.due = watch.due();
        pending.due = [pending.due, self.due].into_iter().flatten().min();
        let waiter = self.waiter(id)?;
        waiter.set_readable(task.is_some());
        waiter.requests = serial;
        waiter.request = Some(Request { watch, task: task.take(), waits, serial });
        Some(pending)
    }

    /// Takes the pending request of a waiter back; with `serial`, only that one.
    fn take(&mut self, id: usize, serial: Option<u64>) -> Option<Request> {
        let waiter = self.waiter(id)?;
        let request =
            waiter.request.take_if(|request| serial.is_none_or(|serial| request.serial == serial))?;
        self.leave(&request.waits);
        Some(request)
    }

    /// A waiter no longer waits.
    fn leave(&mut self, waits: &Waits) {
        match waits {
            Waits::Asleep(own, _) => {
                own.wake_up();
                self.asleep -= 1;
            }
            Waits::Napping(..) => self.napping -= 1,
        }
        self.due = None;
    }

    /// Cancels a request if it is still pending; with `serial`, only that one. Returns its task, to be dropped without
    /// the lock.
    pub(super) fn cancel(&mut self, id: usize, serial: Option<u64>) -> Option<Waker> {
        let request = self.take(id, serial)?;
        self.waiter(id)?.set_readable(true);
        request.task
    }

    /// The sleep that a waiter has announced could not be ordered, so the watcher naps instead. Returns when
    /// the first nap ends.
    pub(super) fn nap_instead(&mut self, id: usize, now: Instant) -> Option<Instant> {
        let waiter = self.waiter(id)?;
        let request = waiter.request.take_if(|request| matches!(request.waits, Waits::Asleep(..)))?;
        if let Waits::Asleep(own, _) = request.waits {
            own.wake_up();
            self.asleep -= 1;
        }
        let (waits, due) = self.begin_nap(now);
        self.waiter(id)?.request = Some(Request { waits, ..request });
        Some(due)
    }

    /// [`nap_instead`](Self::nap_instead) of all waiters.
    pub(super) fn all_nap_instead(&mut self, now: Instant) -> Option<Instant> {
        (0..self.waiters.len()).filter_map(|id| self.nap_instead(id, now)).min()
    }

    /// Whether nothing shows that a waiter has news: none of those that the watcher sleeps for, and none
    /// that it naps for. False also if this cannot be said of all of them together.
    pub(super) fn rests(&self, now: Instant) -> bool {
        let has_signs = self.napping != 0 && self.resting != Some(self.watch.signs());
        !has_signs && !self.sleep.is_due() && self.watch.is_stopped() == self.stopped && !self.is_due(now)
    }

    /// Whether a producer waits that has to look in any case.
    fn is_due(&self, now: Instant) -> bool {
        match self.due {
            Some(due) => due <= now,
            None => false,
        }
    }

    /// Checks the requests for which the watcher sleeps: if the notifier has notified, if the link was stopped, if a
    /// producer is due, or if a `slice` has passed.
    pub(super) fn check_sleepers(&mut self, slice: bool, now: Instant, todo: &mut Todo) {
        let stopped = self.watch.is_stopped();
        let was_stopped = std::mem::replace(&mut self.stopped, stopped);
        if !slice && stopped == was_stopped && !self.sleep.is_due() && !self.is_due(now) {
            return;
        }
        let waits = self.asleep != 0;
        let notifier = self.sleep.notifier();
        let mut round = self.sleep.round();
        let common = self.watch.common();
        for waiter in &mut self.waiters {
            let Some(waiter) = waiter else { continue };
            let Some(Request { watch, waits: Waits::Asleep(own, announced), .. }) = &mut waiter.request
            else {
                continue;
            };
            if todo.is_full() {
                round.break_off();
                break;
            }
            if round.check(notifier, own, announced, || watch.has_news_beside(&common)) {
                (self.asleep, self.due) = (self.asleep - 1, None);
                waiter.answer(todo);
            }
        }
        todo.announced.extend(self.sleep.end(round, waits));
    }

    /// Answers requests for which the watcher sleeps and that have news now, on a thread of the notifier: see
    /// [`direct`](crate::waiting::direct). The others are left to the watcher.
    pub(super) fn answer_sleepers(&mut self, answered: &mut Answered) {
        let (mut left, common) = (self.asleep, self.watch.common());
        for waiter in self.waiters.iter_mut().flatten() {
            if left == 0 || answered.is_full() {
                return;
            }
            let Some(Request { watch, waits: Waits::Asleep(own, _), .. }) = &waiter.request else { continue };
            left -= 1;
            let (own, watch) = (*own, *watch);
            let is_answered =
                answered.check(own, || watch.has_news_beside(&common), || waiter.answer_all_but_task());
            self.asleep -= usize::from(is_answered);
        }
    }

    /// Checks the requests for which the watcher naps, if they are due now or soon. In each `slice`, it checks
    /// them one by one, otherwise only if there are signs of news. Returns when the next one is due.
    pub(super) fn check_nappers(&mut self, slice: bool, now: Instant, todo: &mut Todo) -> Option<Instant> {
        let (signs, is_due) = (self.watch.signs(), self.is_due(now));
        if self.napping == 0 {
            self.nap_due = None;
        } else if is_due {
            self.check_each_napper(now, todo);
        } else if !slice && self.nap_due.is_some_and(|due| due > now + LONGEST_NAP / 2) {
            // Not due yet.
        } else if !slice && self.resting == Some(signs) {
            self.nap_due = Some(now + LONGEST_NAP);
        } else {
            self.check_each_napper(now, todo);
            self.resting = self.nap_due.is_some_and(|due| due >= now + LONGEST_NAP).then_some(signs);
        }
        [self.nap_due, self.due].into_iter().flatten().min()
    }

    fn check_each_napper(&mut self, now: Instant, todo: &mut Todo) {
        (self.nap_due, self.resting) = (None, None);
        let (common, is_due) = (self.watch.common(), self.is_due(now));
        for waiter in &mut self.waiters {
            let Some(waiter) = waiter else { continue };
            let Some(Request { watch, waits: Waits::Napping(naps, due), .. }) = &mut waiter.request else {
                continue;
            };
            // Also those that are due a little later, so that they are checked together from now on.
            if is_due || *due <= now + naps.next() / 2 {
                if todo.is_full() {
                    self.nap_due = Some(now);
                    return;
                }
                if watch.has_news_beside(&common) {
                    (self.napping, self.due) = (self.napping - 1, None);
                    waiter.answer(todo);
                    continue;
                }
                naps.passed();
                *due = now + naps.next();
            }
            self.nap_due = Some(self.nap_due.map_or(*due, |first| first.min(*due)));
        }
    }

    /// The watcher naps for one more request.
    fn begin_nap(&mut self, now: Instant) -> (Waits, Instant) {
        let naps = Naps::new();
        let due = now + naps.next();
        self.napping += 1;
        self.resting = None;
        self.nap_due = Some(self.nap_due.map_or(due, |first| first.min(due)));
        (Waits::Napping(naps, due), due)
    }

    /// What the watcher has to check, if requests are pending: whether the other side lives.
    pub(super) fn to_check(&self, link: LinkId) -> Option<ToCheck> {
        let memory = self.memory.clone().filter(|_| self.has_requests())?;
        Some(ToCheck { link, peer: self.watch.peer()?, memory })
    }

    /// Answers all requests, because the other side seems dead.
    pub(super) fn peer_seems_dead(&mut self, todo: &mut Todo) {
        for waiter in self.waiters.iter_mut().flatten() {
            let Some(request) = &waiter.request else { continue };
            match request.waits {
                Waits::Asleep(own, _) => {
                    own.wake_up();
                    self.asleep -= 1;
                }
                Waits::Napping(..) => self.napping -= 1,
            }
            self.due = None;
            waiter.seems_dead = true;
            waiter.answer(todo);
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::Link;

    #[test]
    fn a_request_that_is_taken_back_shows_the_producer_awake() {
        let link = Link::builder().depth(2).mtu(8).consumers(2).build().unwrap();
        let (tx, readers) = (link.producer().unwrap(), [(); 2].map(|()| link.consumer().unwrap()));
        while tx.publish(&[], 0, 0, 0).is_ok() {}
        let watch = tx.credit_watch(0).unwrap();
        // Where nothing orders announcements (an emulator without `membarrier(2)`), there are none.
        let Some(own) = Watch::Credit(watch).own() else { return };
        let mut watched = WatchedLink::new(&Watch::Credit(watch), None);
        let id = watched.add(Waiter::new(None), true);
        let request = |watched: &mut WatchedLink, watch| {
            watched.request(id, Watch::Credit(watch), &mut Some(Waker::noop().clone())).unwrap()
        };
        for _ in 0..2 {
            let pending = request(&mut watched, watch);
            assert!(pending.announced.is_some() && own.asleep() % 2 == 1);
            // The same consumer again: the announcement is still good.
            let pending = request(&mut watched, watch);
            assert!(pending.announced.is_none() && watched.has_requests());
            // A time: nobody wakes the watcher.
            let due = Instant::now();
            let pending = request(&mut watched, tx.watch_until(Some(due)));
            assert!(pending.announced.is_none() && pending.due == Some(due) && own.asleep() % 2 == 0);
            let pending = request(&mut watched, watch);
            assert!(pending.announced.is_some() && pending.due.is_none() && own.asleep() % 2 == 1);
            assert!(watched.cancel(id, None).is_some() && watched.cancel(id, None).is_none());
            assert!(own.asleep() % 2 == 0 && !watched.has_requests());
        }
        drop(readers);
    }
}
