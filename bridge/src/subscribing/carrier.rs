//! [`Carrier`]: brings the numbers of messages into the far link, as [`Order`] says.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use zenoh::key_expr::KeyExpr;

use super::arrived::{Arrived, Body};
use super::asking::{self, Question};
use super::far::{Far, Fault, Found};
use super::maker::{From, Halt, Maker};
use super::order::{Loss, Order, Step};
use super::queue::Queue;
use super::report::Report;
use super::shared::Shared;
use crate::counts::Counts;
use crate::numbers::distance;
use crate::wire::{Batch, Description, EndCause, GapCause, Message, Origin, decode};

/// More numbers than this are not left out one by one, which would take minutes: the far link is made anew behind them.
const MOST_LEFT_OUT: u64 = 1 << 30;
/// A thread that waits for replies looks as often whether the bridge ends.
const SLICE: Duration = Duration::from_millis(50);
/// A link that is refused is looked at again after this time: another may have given its name back.
const REFUSED: Duration = Duration::from_secs(1);
/// What a link is, is asked as often until it is known.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(super) struct Carrier {
    pub(super) shared: Arc<Shared>,
    key: KeyExpr<'static>,
    pub(super) queue: Arc<Queue>,
    pub(super) report: Report,
    /// What is known of the link at the origin, with its identity.
    pub(super) description: Option<(u64, Description)>,
    pub(super) maker: Option<Maker>,
    pub(super) refused_at: Option<Instant>,
    /// `None`: nothing has begun.
    pub(super) order: Option<Order>,
    /// `None`: nothing has begun, or the origin has ended.
    pub(super) far: Option<Far>,
    /// The far link is not made yet, as it is not known where it begins. What was gone before is no loss.
    pub(super) is_fresh: bool,
    /// The far link that comes next follows one that the origin has replaced.
    pub(super) follows: bool,
    /// The same, and that is not said yet.
    follows_removed: bool,
    /// Ends that were heard, and are repeated: of which origin, at which number, and why.
    pub(super) ends: Vec<(Origin, u64, EndCause)>,
    pub(super) removal: Removal,
    /// The link at the origin whose numbers are counted while this bridge ends, and the next one.
    pub(super) leaving: Option<(u64, u64)>,
}

/// What follows of the removal of the link at the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was not removed.
    Not,
    /// The far link is closed, and is removed at this time.
    Due(Instant),
    /// The far link of the link with this identity is removed.
    Done(u64),
}

impl Carrier {
    pub(super) fn new(shared: Arc<Shared>, key: KeyExpr<'static>, queue: Arc<Queue>, follows: bool) -> Self {
        let report = Report::new(&shared.context, key.as_str());
        queue.set_may_wait(true);
        Self {
            shared,
            key,
            queue,
            report,
            description: None,
            maker: None,
            refused_at: None,
            order: None,
            far: None,
            is_fresh: false,
            follows: false,
            follows_removed: follows,
            ends: Vec::new(),
            removal: Removal::Not,
            leaving: None,
        }
    }

    /// Whether there is a far link that needs this.
    pub(super) fn has_far_link(&self) -> bool {
        self.far.is_some() || matches!(self.removal, Removal::Due(_))
    }

    /// The far link with its producer, if there is one.
    pub(super) fn into_far_link(self) -> Option<Far> {
        self.far
    }

    pub(super) fn count_made_anew(&mut self) {
        Counts::add(&self.report.counts.links_made_anew, 1);
        self.report.note("link_made_anew", "the link at the origin was made anew, and so is the far link");
    }

    pub(super) fn give_up_far_link(&mut self, remove: bool) {
        match (self.far.take(), &self.maker) {
            // If it cannot be removed, the next one cannot be made, and that is said then.
            (Some(far), _) => _ = far.end(remove),
            (None, Some(maker)) if self.order.is_some() => maker.end(&self.shared, remove),
            (None, _) => {}
        }
    }

    /// Takes the numbers of a message. `is_other_producer`: it is the first one of another producer.
    pub(super) fn carry(&mut self, arrived: &Arrived, is_other_producer: bool) -> Result<(), Halt> {
        if let Body::State(description) = &arrived.body {
            self.describe(arrived.origin.link, description);
        }
        if !self.has_begun(arrived)? {
            return Ok(());
        }
        let span = &arrived.span;
        let end = span.first.wrapping_add(span.count);
        let next = self.order.as_ref().map_or(end, Order::next);
        if self.far.is_none() && !self.is_fresh {
            if distance(next, end) <= 0 && !is_other_producer {
                // The origin has ended, and this is no news.
                return Ok(());
            }
            self.open(From::Exactly(next))?;
        }
        if arrived.is_fragments() {
            Counts::add(&self.report.counts.messages, 1);
        }
        if arrived.is_fragments() || is_other_producer {
            self.ends.clear();
        }
        loop {
            let Some(order) = &mut self.order else { return Ok(()) };
            match order.step(span) {
                Step::Done => break,
                Step::Publish { skip, count } => self.publish(arrived, skip, count)?,
                Step::LeaveOut { count, loss } => self.leave_out(count, loss)?,
                Step::Ask { first, count } => self.ask(first, count)?,
            }
        }
        if self.is_fresh {
            self.open_here()?;
        }
        Ok(())
    }

    /// The bridge at the origin has said what its link is.
    fn describe(&mut self, link: u64, description: &Description) {
        if self.description.as_ref().is_none_or(|(of, known)| (*of, known) != (link, description)) {
            (self.refused_at, self.maker) = (None, None);
            self.description = Some((link, description.clone()));
            if let Some(order) = &mut self.order {
                set_history(order, description, self.shared.settings.queue);
            }
        }
    }

    /// Whether numbers can be taken. Begins with this message, if that is possible.
    fn has_begun(&mut self, arrived: &Arrived) -> Result<bool, Halt> {
        let link = arrived.origin.link;
        if self.description.as_ref().is_none_or(|(of, _)| *of != link) {
            let Some(description) = self.wait_for_description(link)? else { return Ok(false) };
            self.describe(link, &description);
        }
        if self.maker.is_none() && !self.may_make(link) {
            return Ok(false);
        }
        let (None, Some(maker)) = (&self.order, &self.maker) else { return Ok(self.maker.is_some()) };
        let found = maker.find(&self.shared);
        // Nothing begins with a link that is gone, nor with an end: a state comes with it.
        if found != Found::Same && (arrived.is_of_removed || matches!(arrived.body, Body::End(_))) {
            return Ok(false);
        }
        if self.follows_removed || found == Found::Another && !self.follows {
            // That was while this bridge was away, or had nothing to do with this key.
            self.count_made_anew();
            (self.follows, self.follows_removed) = (true, false);
        }
        let Some((_, description)) = &self.description else { return Ok(false) };
        let (first, queue) = (arrived.span.first, self.shared.settings.queue);
        let mut order = Order::new(first);
        set_history(&mut order, description, queue);
        let from_oldest = self.shared.settings.from_oldest || self.follows;
        if from_oldest && found != Found::Same && order.history() > 0 {
            order = Order::new(first.wrapping_sub(order.history()));
            set_history(&mut order, description, queue);
            (self.order, self.is_fresh) = (Some(order), true);
            return Ok(true);
        }
        self.order = Some(order);
        self.open(From::NewOrContinued(first)).inspect_err(|_| self.order = None)?;
        Ok(true)
    }

    /// Checks the description, if that was not done just now.
    fn may_make(&mut self, link: u64) -> bool {
        let now = Instant::now();
        if self.refused_at.is_some_and(|at| now.saturating_duration_since(at) < REFUSED) {
            return false;
        }
        let Some((_, description)) = &self.description else { return false };
        match Maker::new(&self.shared, self.key.as_str(), link, description) {
            Ok(maker) => {
                self.report.set_link(&self.shared.context, maker.name());
                self.queue.count_in(self.report.counts.clone());
                (self.maker, self.refused_at) = (Some(maker), None);
                true
            }
            Err((event, why)) => {
                self.report.note_once(event, why);
                self.refused_at = Some(now);
                false
            }
        }
    }

    /// What the link with this identity is. `None`: nobody says so.
    fn wait_for_description(&mut self, link: u64) -> Result<Option<Description>, Halt> {
        let until = Instant::now() + 2 * asking::PATIENCE;
        self.queue.set_may_wait(false);
        let mut found = None;
        while found.is_none() && Instant::now() < until {
            let answer = asking::ask(
                &self.shared.context.session,
                &self.key,
                Question::State,
                self.shared.settings.queue,
            );
            let asked_at = Instant::now();
            while found.is_none() && asked_at.elapsed() < ASK_AGAIN {
                found = self.queue.description(link);
                match answer.replies.take(SLICE) {
                    Some(Arrived { origin, body: Body::State(description), .. }) if origin.link == link => {
                        found = Some(*description);
                    }
                    Some(_) => {}
                    // A closed queue does not wait.
                    None if self.shared.context.stop.wait(SLICE) => return Err(Halt::Stopping),
                    None => {}
                }
            }
        }
        self.queue.set_may_wait(true);
        Ok(found)
    }

    /// Opens the far link.
    fn open(&mut self, from: From) -> Result<(), Halt> {
        let Some(maker) = self.maker.clone() else { return Err(Halt::NoLink) };
        let opened = maker.open(&self.shared, from, &self.queue, &mut self.report);
        if matches!(opened, Err(Halt::NoLink)) {
            (self.maker, self.refused_at) = (None, Some(Instant::now()));
        }
        let far = opened?;
        let (next, name) = (far.next(), maker.name());
        let continues = from != From::NewOrContinued(next) && from != From::Exactly(next);
        if continues {
            self.report.note("continued", format!("the far link {name} continues with number {next}"));
        } else {
            self.report.note("made", format!("the far link {name} is there, and begins with number {next}"));
        }
        (self.far, self.removal) = (Some(far), Removal::Not);
        (self.is_fresh, self.follows) = (false, false);
        match (&mut self.order, &self.description) {
            (Some(order), Some((_, description))) if order.next() != next => {
                *order = Order::new(next);
                set_history(order, description, self.shared.settings.queue);
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens the far link where it has come to.
    fn open_here(&mut self) -> Result<(), Halt> {
        match &self.order {
            Some(order) => self.open(From::Exactly(order.next())),
            None => Err(Halt::NoLink),
        }
    }

    /// The far link was stopped or removed here.
    fn far_link_is_gone(&mut self) -> Result<(), Halt> {
        self.report.note("far_link_gone", "the far link was stopped or removed here, and is made again");
        self.far = None;
        self.open_here()
    }

    /// Publishes `count` fragments of a message, without the first `skip`.
    fn publish(&mut self, arrived: &Arrived, skip: u64, count: u64) -> Result<(), Halt> {
        let Body::Fragments(bytes) = &arrived.body else { return Ok(()) };
        let Ok(Message::Fragments(fragments)) = decode(bytes) else { return Ok(()) };
        let (skip, count) = (skip as usize, count as usize);
        let (mut done, mut size) = (0, 0);
        let mut result = Ok(());
        for fragment in fragments.iter().skip(skip).take(count) {
            result = self.publish_one(&fragment).map(|is_published| {
                if is_published {
                    done += 1;
                    size += fragment.payload.len() as u64;
                }
            });
            if result.is_err() {
                break;
            }
        }
        Counts::add(&self.report.counts.fragments, done);
        Counts::add(&self.report.counts.bytes, size);
        result
    }

    /// Publishes the next fragment. False: it does not fit, and its number is left out.
    fn publish_one(&mut self, fragment: &crate::wire::Fragment<'_>) -> Result<bool, Halt> {
        loop {
            let Some(far) = &self.far else {
                self.open_here()?;
                continue;
            };
            match far.publish(fragment, &self.shared.context.stop) {
                Ok(()) => {
                    if let Some(order) = &mut self.order {
                        order.advance(1);
                    }
                    return Ok(true);
                }
                Err(Fault::Stopping) => return Err(Halt::Stopping),
                Err(Fault::Gone) => self.far_link_is_gone()?,
                Err(Fault::TooLarge) => {
                    self.leave_out(1, Loss::Origin(GapCause::Corrupt))?;
                    return Ok(false);
                }
            }
        }
    }

    /// Leaves out the next `count` numbers.
    fn leave_out(&mut self, count: u64, loss: Loss) -> Result<(), Halt> {
        let mut left = count;
        while left > 0 {
            let Some(order) = &mut self.order else { return Ok(()) };
            let first = order.next();
            if self.is_fresh {
                order.advance(left);
                return Ok(());
            }
            if left > MOST_LEFT_OUT {
                order.advance(left);
                let next = order.next();
                self.report.lost(first, left, loss);
                self.report.note(
                    "numbers_jump",
                    format!("the numbers jump from {first} to {next}: the far link is made anew"),
                );
                self.give_up_far_link(true);
                return self.open(From::Exactly(next));
            }
            let Some(far) = &self.far else {
                self.open_here()?;
                continue;
            };
            let (done, result) = far.leave_out(left, &self.shared.context.stop);
            order.advance(done);
            left -= done;
            if done > 0 {
                self.report.lost(first, done, loss);
            }
            match result {
                Ok(()) => {}
                Err(Fault::Stopping) => return Err(Halt::Stopping),
                Err(Fault::Gone | Fault::TooLarge) => self.far_link_is_gone()?,
            }
        }
        Ok(())
    }

    /// Asks the other bridge for fragments that are missing, and takes its replies. A question that nobody hears, because the
    /// connection is interrupted or just back, is asked again.
    fn ask(&mut self, first: u64, count: u64) -> Result<(), Halt> {
        let begun = Instant::now();
        self.queue.set_may_wait(false);
        loop {
            let before = self.order.as_ref().map(Order::next);
            let (is_heard, is_refused) = self.ask_once(first, count)?;
            // An answer that was refused after some replies is one: what is missing of it is asked for again.
            let is_refused = is_refused && self.order.as_ref().map(Order::next) == before;
            let now = Instant::now();
            let is_long = now - begun >= asking::PATIENCE;
            let is_alive = is_long && self.queue.alive_for(now) >= asking::PATIENCE;
            let is_over = is_heard || is_alive || is_long && self.queue.has_removal();
            if is_over && !is_refused || now - begun >= asking::PERSISTENCE {
                break;
            }
            let pause = if is_refused { asking::pause_of_refused() } else { asking::PAUSE };
            if self.shared.context.stop.wait(pause) {
                return Err(Halt::Stopping);
            }
        }
        self.queue.set_may_wait(true);
        if let Some(order) = &mut self.order {
            order.answered();
        }
        Ok(())
    }

    /// Whether there was a reply, and whether the other bridge has said that it does not answer now.
    fn ask_once(&mut self, first: u64, count: u64) -> Result<(bool, bool), Halt> {
        let Shared { context, settings, waiting, .. } = &*self.shared.clone();
        if context.stop.is_set() {
            return Err(Halt::Stopping);
        }
        let question = Question::Fragments { first, count };
        let answer = asking::ask(&context.session, &self.key, question, settings.queue);
        let (replies, mut is_heard, mut heard) = (&answer.replies, false, Instant::now());
        loop {
            match replies.take(SLICE) {
                Some(reply) => {
                    self.take_reply(&reply)?;
                    // A state says only that the answer follows.
                    is_heard |= reply.is_about_numbers();
                    heard = Instant::now();
                }
                None if replies.is_closed() => break,
                None if context.stop.is_set() => return Err(Halt::Stopping),
                // The connection is held up: the replies may be behind it.
                None if waiting.load(Relaxed) > 0 => heard = Instant::now(),
                None if heard.elapsed() >= asking::PATIENCE => break,
                None => {}
            }
        }
        replies.close();
        Ok((is_heard, answer.is_refused.load(Relaxed)))
    }

    fn take_reply(&mut self, reply: &Arrived) -> Result<(), Halt> {
        let is_of_link = self.description.as_ref().is_some_and(|(link, _)| *link == reply.origin.link);
        if !is_of_link || !reply.is_about_numbers() {
            return Ok(());
        }
        loop {
            let Some(order) = &mut self.order else { return Ok(()) };
            let first = order.next();
            match order.step_of_reply(&reply.span) {
                Step::Publish { skip, count } => {
                    let result = self.publish(reply, skip, count);
                    let next = self.order.as_ref().map_or(first, Order::next);
                    if next != first && !self.is_fresh {
                        self.report.recovered(first, next.wrapping_sub(first));
                    }
                    result?;
                }
                Step::LeaveOut { count, loss } => self.leave_out(count, loss)?,
                Step::Done | Step::Ask { .. } => return Ok(()),
            }
        }
    }
}

/// What can be asked for, so that the replies fit a queue of so many bytes.
fn set_history(order: &mut Order, description: &Description, queue: usize) {
    // A ring has no more than its depth.
    let history = description.history.min(description.depth as u64);
    let piece = queue / Batch::bytes_of(description.mtu.min(queue));
    order.set_history(history, piece as u64);
}
