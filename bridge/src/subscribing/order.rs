//! [`Order`]: what to do with the numbers of a message, given the number that the far link needs next. It decides, and does
//! nothing itself.
//!
//! ```text
//!   numbers of a message      before `next`:   published already, or left out: nothing to do
//!                             at `next`:       publish them; leave them out, if the message says that they are lost
//!                             after `next`:    those in between are missing: ask the other bridge for them, publish what
//!                                              comes, and leave out the rest
//! ```
//!
//! The caller asks for the next [`Step`] of a message until there is none, does what it says, and tells [`Order::advance`].
//! So each number is published or left out exactly once, whatever arrives. Numbers wrap around: of two numbers, the one that
//! is less than 2^63 ahead is the later one.

use crate::numbers::{distance, later};
use crate::wire::GapCause;

/// Why a number is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Loss {
    /// The other bridge has said so, and why.
    Origin(GapCause),
    /// The queue of the far link was full.
    Queue,
    /// It did not arrive, and the other bridge could not send it again.
    Network,
    /// It waited when the bridge ended.
    Leaving,
    /// It was missing when the bridge ended.
    NotAsked,
}

/// What a message has for its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Their fragments.
    Fragments,
    /// That they are lost.
    Lost(GapCause),
    /// Nothing: their fragments arrived, and were dropped here.
    Dropped,
}

/// The numbers of a message: `count` from `first` on. A message that only says which number is next has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    /// Less than 2^62.
    pub(super) count: u64,
    pub(super) content: Content,
}

impl Span {
    fn end(&self) -> u64 {
        self.first.wrapping_add(self.count)
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing more: turn to the next message.
    Done,
    /// Publish `count` fragments of this message, without the first `skip` of it.
    Publish { skip: u64, count: u64 },
    /// Leave out the next `count` numbers.
    LeaveOut { count: u64, loss: Loss },
    /// Ask the other bridge for `count` fragments from `first` on. Then do the [`Order::step_of_reply`] of each reply, and
    /// end with [`Order::answered`].
    Ask { first: u64, count: u64 },
}

/// A question to the other bridge.
#[derive(Debug, Clone, Copy)]
struct Asked {
    first: u64,
    /// The number after the last that was asked for.
    end: u64,
    /// The number after the last one that is missing: it may take several questions to ask for all of them.
    missing_end: u64,
    /// A reply was missing: the rest of the answer is no use.
    broken: bool,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Order {
    next: u64,
    /// How many numbers back the other bridge can send again.
    history: u64,
    /// The most fragments that are asked for at a time: at least 1.
    piece: u64,
    /// Numbers before this one are not asked for, as nobody answers. Never before `next`.
    given_up: u64,
    asked: Option<Asked>,
}

impl Order {
    /// The far link needs number `next`. Nothing can be asked for yet.
    pub(super) fn new(next: u64) -> Self {
        Self { next, history: 0, piece: 1, given_up: next, asked: None }
    }

    /// The number that the far link needs next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The other bridge can send the newest `history` fragments again. `piece` of them are asked for at a time.
    pub(super) fn set_history(&mut self, history: u64, piece: u64) {
        // More than any ring has, and far from where numbers wrap around.
        const MOST: u64 = 1 << 40;
        (self.history, self.piece) = (history.min(MOST), piece.clamp(1, MOST));
    }

    /// How many numbers before `next` the other bridge can send again.
    pub(super) fn history(&self) -> u64 {
        self.history
    }

    /// The next `count` numbers were published or left out.
    pub(super) fn advance(&mut self, count: u64) {
        self.next = self.next.wrapping_add(count);
        self.given_up = later(self.given_up, self.next);
    }

    /// What is to be done next with a message.
    pub(super) fn step(&mut self, span: &Span) -> Step {
        // What is missing ends here.
        let missing_end = if span.content == Content::Dropped { span.end() } else { span.first };
        if distance(self.next, missing_end) > 0 {
            return self.missing(span, missing_end);
        }
        let count = distance(self.next, span.end());
        if count <= 0 {
            return Step::Done;
        }
        self.take(span, count as u64)
    }

    /// The numbers up to `end` are missing.
    fn missing(&mut self, span: &Span, end: u64) -> Step {
        let from = later(self.given_up, end.wrapping_sub(self.history));
        if from == self.next {
            let (first, missing) = (self.next, end.wrapping_sub(self.next));
            let count = missing.min(self.piece);
            self.asked =
                Some(Asked { first, end: first.wrapping_add(count), missing_end: end, broken: false });
            return Step::Ask { first, count };
        }
        // Nobody has the numbers before `from`.
        let upto = if distance(from, end) > 0 { from } else { end };
        let (upto, loss) = if distance(self.next, span.first) > 0 {
            (if distance(upto, span.first) > 0 { upto } else { span.first }, Loss::Network)
        } else {
            (upto, Loss::Queue)
        };
        Step::LeaveOut { count: upto.wrapping_sub(self.next), loss }
    }

    /// `count` numbers of the message come next.
    fn take(&self, span: &Span, count: u64) -> Step {
        match span.content {
            Content::Fragments => Step::Publish { skip: self.next.wrapping_sub(span.first), count },
            Content::Lost(cause) => Step::LeaveOut { count, loss: Loss::Origin(cause) },
            Content::Dropped => Step::Done,
        }
    }

    /// What is to be done next with a reply to [`Step::Ask`].
    pub(super) fn step_of_reply(&mut self, span: &Span) -> Step {
        let Some(Asked { first, end: asked_end, broken: false, .. }) = self.asked else { return Step::Done };
        let end = if distance(asked_end, span.end()) > 0 { asked_end } else { span.end() };
        let (ahead, count) = (distance(self.next, span.first), distance(self.next, end));
        if count <= 0 || distance(span.first, asked_end) <= 0 {
            return Step::Done;
        }
        match (ahead > 0, self.next == first, span.content) {
            // An answer begins with the oldest fragment that there is.
            (true, true, _) => Step::LeaveOut { count: ahead as u64, loss: Loss::Network },
            // A reply is missing. What is still needed is asked for again.
            (true, false, _) => {
                if let Some(asked) = &mut self.asked {
                    asked.broken = true;
                }
                Step::Done
            }
            // It was sent, or was lost before with its message. It can not be sent now.
            (false, _, Content::Lost(_)) => Step::LeaveOut { count: count as u64, loss: Loss::Network },
            (false, _, _) => self.take(span, count as u64),
        }
    }

    /// The answer to [`Step::Ask`] has ended. If it has brought nothing, what is missing is not asked for again.
    pub(super) fn answered(&mut self) {
        if let Some(asked) = self.asked.take()
            && asked.first == self.next
        {
            self.given_up = later(self.given_up, asked.missing_end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, count: u64, content: Content) -> Span {
        Span { first, count, content }
    }

    fn fragments(first: u64, count: u64) -> Span {
        span(first, count, Content::Fragments)
    }

    /// Does the steps of a message, of which none asks. Returns them.
    fn steps(order: &mut Order, span: &Span) -> Vec<Step> {
        let mut done = Vec::new();
        loop {
            let step = order.step(span);
            match step {
                Step::Done => return done,
                Step::Publish { count, .. } | Step::LeaveOut { count, .. } => order.advance(count),
                Step::Ask { .. } => panic!("{done:?}, then {step:?}"),
            }
            done.push(step);
        }
    }

    #[test]
    fn what_is_there_already_is_left_and_what_overlaps_is_taken_from_where_it_is_new() {
        let mut order = Order::new(u64::MAX - 1);
        assert_eq!(
            steps(&mut order, &fragments(u64::MAX - 4, 5)),
            [Step::Publish { skip: 3, count: 2 }],
            "up to the last number"
        );
        assert_eq!(order.next(), 0);
        assert_eq!(steps(&mut order, &fragments(u64::MAX - 4, 5)), []);
        assert_eq!(steps(&mut order, &fragments(u64::MAX, 3)), [Step::Publish { skip: 1, count: 2 }]);
        let lost = span(0, 7, Content::Lost(GapCause::Evicted));
        let loss = Loss::Origin(GapCause::Evicted);
        assert_eq!(steps(&mut order, &lost), [Step::LeaveOut { count: 5, loss }]);
        assert_eq!((order.next(), steps(&mut order, &fragments(7, 0))), (7, vec![]));
    }

    #[test]
    fn without_history_what_is_missing_is_left_out() {
        let mut order = Order::new(1);
        let loss = Loss::Network;
        assert_eq!(
            steps(&mut order, &fragments(5, 1)),
            [Step::LeaveOut { count: 4, loss }, Step::Publish { skip: 0, count: 1 }]
        );
        // What says only which number is next leaves a gap, too.
        assert_eq!(steps(&mut order, &fragments(9, 0)), [Step::LeaveOut { count: 3, loss }]);
        assert_eq!(
            steps(&mut order, &span(11, 2, Content::Dropped)),
            [Step::LeaveOut { count: 2, loss }, Step::LeaveOut { count: 2, loss: Loss::Queue }]
        );
        assert_eq!(order.next(), 13);
    }

    #[test]
    fn what_the_other_bridge_has_is_asked_for_in_pieces_and_the_rest_is_not() {
        let mut order = Order::new(1);
        order.set_history(10, 4);
        let message = fragments(20, 1);
        // 1 to 9 are gone.
        assert_eq!(order.step(&message), Step::LeaveOut { count: 9, loss: Loss::Network });
        order.advance(9);
        assert_eq!(order.step(&message), Step::Ask { first: 10, count: 4 });
        // The answer begins later, and ends early.
        assert_eq!(order.step_of_reply(&fragments(12, 1)), Step::LeaveOut { count: 2, loss: Loss::Network });
        order.advance(2);
        assert_eq!(order.step_of_reply(&fragments(12, 1)), Step::Publish { skip: 0, count: 1 });
        order.advance(1);
        assert_eq!(order.step_of_reply(&fragments(12, 1)), Step::Done);
        order.answered();
        assert_eq!(
            order.step(&message),
            Step::Ask { first: 13, count: 4 },
            "as the answer has brought something"
        );
        // More than was asked for is cut off, also of what is said to be lost.
        let lost = span(0, 1000, Content::Lost(GapCause::Overrun));
        assert_eq!(order.step_of_reply(&lost), Step::LeaveOut { count: 4, loss: Loss::Network });
        assert_eq!(order.step_of_reply(&fragments(10, 100)), Step::Publish { skip: 3, count: 4 });
        order.advance(4);
        assert_eq!(order.step_of_reply(&fragments(17, 1)), Step::Done);
        order.answered();
        assert_eq!(order.step(&message), Step::Ask { first: 17, count: 3 });
        order.answered();
        // Nobody has answered.
        assert_eq!(order.step(&message), Step::LeaveOut { count: 3, loss: Loss::Network });
        order.advance(3);
        assert_eq!(order.step(&message), Step::Publish { skip: 0, count: 1 });
        order.advance(1);
        // The next gap is another matter.
        assert_eq!(order.step(&fragments(22, 1)), Step::Ask { first: 21, count: 1 });
    }

    #[test]
    fn after_a_reply_that_is_missing_the_rest_is_asked_for_again() {
        let mut order = Order::new(1);
        order.set_history(100, 100);
        let message = fragments(10, 1);
        assert_eq!(order.step(&message), Step::Ask { first: 1, count: 9 });
        assert_eq!(order.step_of_reply(&fragments(1, 2)), Step::Publish { skip: 0, count: 2 });
        order.advance(2);
        assert_eq!(order.step_of_reply(&fragments(4, 2)), Step::Done);
        assert_eq!(order.step_of_reply(&fragments(3, 1)), Step::Done, "of an answer that is broken");
        order.answered();
        assert_eq!(order.step(&message), Step::Ask { first: 3, count: 7 });
    }

    #[test]
    fn what_was_dropped_here_is_asked_for() {
        let mut order = Order::new(1);
        order.set_history(100, 100);
        let dropped = span(3, 4, Content::Dropped);
        assert_eq!(order.step(&dropped), Step::Ask { first: 1, count: 6 });
        order.answered();
        assert_eq!(order.step(&dropped), Step::LeaveOut { count: 2, loss: Loss::Network });
        order.advance(2);
        assert_eq!(order.step(&dropped), Step::LeaveOut { count: 4, loss: Loss::Queue });
        order.advance(4);
        assert_eq!(order.step(&dropped), Step::Done);
    }
}
