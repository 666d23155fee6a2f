//! [`Worker`]: the thread of one far link. It says what has changed at the origin, and hands the numbers on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use zenoh::key_expr::KeyExpr;

use super::arrived::{Arrived, Body};
use super::carrier::Carrier;
use super::far::Far;
use super::maker::Halt;
use super::queue::Queue;
use super::shared::Shared;
use super::source::{Changes, Source, Verdict};
use crate::counts::Counts;

/// How often the thread looks around while nothing arrives.
const TICK: Duration = Duration::from_millis(100);
/// The thread ends when nothing has arrived for so long, if it has no far link.
const IDLE: Duration = Duration::from_secs(60);

/// When the bridge ends, threads of the network that have waited for room put what they have within this time.
const LAST_ONES: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(super) struct Worker {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    source: Source,
    carrier: Carrier,
    /// Messages of another bridge, while it is not known whether the first one is dead.
    held: Held,
}

/// Messages that are held back, up to a number of bytes.
#[derive(Debug, Default)]
struct Held {
    messages: Vec<Arrived>,
    bytes: usize,
}

impl Held {
    /// Holds a message. Those of one bridge are held at a time.
    fn push(&mut self, arrived: Arrived, limit: usize) {
        if self.messages.first().is_some_and(|first| first.origin.bridge != arrived.origin.bridge) {
            self.take();
        }
        // What is not held is missing later, and is asked for.
        if self.bytes.saturating_add(arrived.size) <= limit {
            self.bytes += arrived.size;
            self.messages.push(arrived);
        }
    }

    fn take(&mut self) -> Vec<Arrived> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }
}

impl Worker {
    /// `follows`: a link at the origin that was removed had this key until now.
    pub(super) fn new(shared: Arc<Shared>, key: KeyExpr<'static>, queue: Arc<Queue>, follows: bool) -> Self {
        let carrier = Carrier::new(shared.clone(), key, queue.clone(), follows);
        Self { shared, queue, source: Source::default(), carrier, held: Held::default() }
    }

    /// Takes messages until the bridge ends, or until `retire` lets it go. That is asked after nothing has arrived for long, or
    /// with the identity of a link at the origin that was removed. Returns the far link.
    pub(super) fn run(mut self, retire: impl Fn(Option<u64>) -> bool) -> Option<Far> {
        let mut heard = Instant::now();
        loop {
            let is_stopping = self.shared.context.stop.is_set();
            match self.queue.take(if is_stopping { Duration::ZERO } else { TICK }) {
                Some(arrived) => {
                    heard = arrived.at;
                    if self.hear(arrived) == Err(Halt::Stopping) {
                        break;
                    }
                }
                None if is_stopping => break,
                None => self.look_around(),
            }
            let now = Instant::now();
            self.carrier.report.say_if_due(now);
            let removed = self.carrier.remove_if_due(now);
            let is_idle = !self.carrier.has_far_link() && heard.elapsed() >= IDLE;
            if (removed.is_some() || is_idle) && retire(removed) {
                break;
            }
        }
        self.leave();
        self.carrier.report.say();
        self.carrier.report.counts.up.store(0, Relaxed);
        self.carrier.into_far_link()
    }

    /// Counts what waits and is not published.
    fn leave(&mut self) {
        let begun = Instant::now();
        let Shared { context, waiting, .. } = &*self.shared;
        while context.stop.is_set() && waiting.load(Relaxed) > 0 && begun.elapsed() < LAST_ONES {
            thread::sleep(LAST_ONES / 100);
        }
        self.queue.close();
        while let Some(arrived) = self.queue.take(Duration::ZERO) {
            if let Verdict::Take(_) = self.source.hear(arrived.origin, arrived.at) {
                self.carrier.leave_behind(&arrived);
            }
        }
        self.carrier.leave();
    }

    /// Nothing has arrived for a while.
    fn look_around(&mut self) {
        if self.source.is_newly_cut(Instant::now()) {
            self.show_up();
            self.carrier.report.note("cut", "nothing arrives from the bridge at the origin any more");
        }
    }

    fn show_up(&self) {
        self.carrier.report.counts.up.store(u64::from(self.source.is_up()), Relaxed);
    }

    fn hear(&mut self, arrived: Arrived) -> Result<(), Halt> {
        let changes = match self.source.hear(arrived.origin, arrived.at) {
            Verdict::Take(changes) => changes,
            Verdict::Reject => {
                Counts::add(&self.carrier.report.counts.rejected, 1);
                return Ok(());
            }
            Verdict::Wait => {
                self.held.push(arrived, self.shared.settings.queue);
                return Ok(());
            }
            Verdict::Late => return Ok(()),
        };
        let before = self.carrier.report.odd_ones();
        self.say_first(&changes);
        let mut held = self.held.take();
        let of_link = |arrived: &Arrived| (arrived.origin.bridge, arrived.origin.link);
        held.retain(|held| of_link(held) == of_link(&arrived));
        let mut result = Ok(());
        for held in held.iter().chain([&arrived]) {
            // Changes among those that were held show with the next message.
            result = self.carry(held, changes.is_other_producer && held.origin == arrived.origin);
            if result == Err(Halt::Stopping) {
                break;
            }
        }
        if result == Err(Halt::Stopping) {
            // Of those that were taken, nothing is left.
            held.iter().chain([&arrived]).for_each(|held| self.carrier.leave_behind(held));
            return result;
        }
        if result.is_ok() {
            self.say_last(&changes, before);
        }
        if let Body::End(cause) = arrived.body {
            self.source.ended(cause);
        }
        self.show_up();
        result
    }

    fn carry(&mut self, arrived: &Arrived, is_other_producer: bool) -> Result<(), Halt> {
        self.carrier.carry(arrived, is_other_producer)?;
        if let Body::End(cause) = arrived.body {
            self.carrier.end(arrived, cause);
        }
        Ok(())
    }

    /// Says what is known before the numbers of a message are.
    fn say_first(&mut self, changes: &Changes) {
        let report = &mut self.carrier.report;
        if let Some(rejected) = changes.second_bridge {
            Counts::add(&report.counts.rejected, rejected);
            let message = "a second bridge sends under this key: what it sends is rejected as long as the first one is there";
            report.note("second_bridge", message);
        }
        if changes.producer_restarted {
            Counts::add(&report.counts.producer_restarts, 1);
            report.note("producer_restarted", "the link at the origin has another producer");
        }
        if changes.link_made_anew {
            self.carrier.link_made_anew();
        }
    }

    /// Says what is known after the numbers of a message were taken.
    fn say_last(&mut self, changes: &Changes, before: (u64, u64)) {
        let report = &mut self.carrier.report;
        let (lost, recovered) = report.odd_ones();
        let (lost, recovered) = (lost.saturating_sub(before.0), recovered.saturating_sub(before.1));
        let missing = if lost == 0 && recovered == 0 {
            "no fragments are missing so far".to_owned()
        } else {
            format!("{recovered} fragments were sent again, and {lost} are lost")
        };
        if let Some(silence) = changes.reconnected {
            Counts::add(&report.counts.cuts, 1);
            let seconds = silence.as_secs_f64();
            report.note(
                "reconnected",
                format!("the bridge at the origin is back after {seconds:.1} seconds: {missing}"),
            );
        }
        if let Some(silence) = changes.bridge_restarted {
            Counts::add(&report.counts.bridge_restarts, 1);
            let seconds = silence.as_secs_f64();
            report.note(
                "bridge_restarted",
                format!("the bridge at the origin is another one, after {seconds:.1} seconds: {missing}"),
            );
        }
    }
}
