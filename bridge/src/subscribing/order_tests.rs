//! Any mixture of losses, duplicates, late messages, restarts and answers: [`Order`] accounts for each number exactly once.

use proptest::prelude::*;

use super::order::{Content, Order, Span, Step};
use crate::numbers::distance;
use crate::wire::GapCause;

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Published,
    Recovered,
    LeftOut,
}

/// What happens to a message on its way.
#[derive(Debug, Clone, Copy)]
enum Way {
    Arrives,
    IsLost,
    ArrivesTwice,
    /// It arrives after as many others.
    IsLate(usize),
    IsDroppedHere,
}

/// How the other bridge answers.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// It has only the newest ones of what it is asked for: this many in 16.
    has: u64,
    /// It says so first.
    says_so: bool,
    /// Replies that are lost: those whose bit is set.
    lost: u16,
    /// Fragments in each reply.
    batch: u64,
    comes_twice: bool,
}

fn ways() -> impl Strategy<Value = Way> {
    prop_oneof![
        6 => Just(Way::Arrives),
        2 => Just(Way::IsLost),
        1 => Just(Way::ArrivesTwice),
        1 => (1_usize..5).prop_map(Way::IsLate),
        1 => Just(Way::IsDroppedHere),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    (0_u64..17, any::<bool>(), prop_oneof![2 => Just(0), 1 => any::<u16>()], 1_u64..6, any::<bool>())
        .prop_map(|(has, says_so, lost, batch, comes_twice)| Answer {
            has,
            says_so,
            lost,
            batch,
            comes_twice,
        })
}

/// The far side: what was published and left out, in order.
struct Far {
    order: Order,
    first: u64,
    fates: Vec<Fate>,
    answers: Vec<Answer>,
    asked: usize,
    history: u64,
    piece: u64,
}

impl Far {
    fn did(&mut self, count: u64, fate: Fate) {
        self.fates.extend(std::iter::repeat_n(fate, count as usize));
        self.order.advance(count);
        assert_eq!(self.order.next(), self.first.wrapping_add(self.fates.len() as u64));
    }

    fn publish(&mut self, span: &Span, skip: u64, count: u64, fate: Fate) {
        assert_eq!(span.content, Content::Fragments);
        assert_eq!(span.first.wrapping_add(skip), self.order.next(), "what is published is what comes next");
        assert!(skip + count <= span.count && count > 0);
        self.did(count, fate);
    }

    fn take(&mut self, span: &Span) {
        loop {
            match self.order.step(span) {
                Step::Done => return,
                Step::Publish { skip, count } => self.publish(span, skip, count, Fate::Published),
                Step::LeaveOut { count, .. } => {
                    assert!(count > 0);
                    self.did(count, Fate::LeftOut);
                }
                Step::Ask { first, count } => self.ask(first, count),
            }
        }
    }

    fn ask(&mut self, first: u64, count: u64) {
        assert!(first == self.order.next() && count > 0 && count <= self.piece);
        let answer = self.answers[self.asked % self.answers.len()];
        self.asked += 1;
        assert!(self.asked < 10_000, "it asks without end");
        let gone = count - count * answer.has / 16;
        let mut replies = Vec::new();
        if answer.says_so && gone > 0 {
            replies.push(Span { first, count: gone, content: Content::Lost(GapCause::Overrun) });
        }
        let mut at = gone;
        while at < count {
            let batch = answer.batch.min(count - at);
            replies.push(Span { first: first.wrapping_add(at), count: batch, content: Content::Fragments });
            at += batch;
        }
        for (at, reply) in replies.iter().enumerate() {
            if answer.lost >> (at % 16) & 1 == 1 {
                continue;
            }
            for _ in 0..=usize::from(answer.comes_twice) {
                loop {
                    match self.order.step_of_reply(reply) {
                        Step::Done => break,
                        Step::Publish { skip, count } => self.publish(reply, skip, count, Fate::Recovered),
                        Step::LeaveOut { count, .. } => self.did(count, Fate::LeftOut),
                        Step::Ask { .. } => panic!("a question about a reply"),
                    }
                }
                assert!(
                    distance(self.order.next(), first.wrapping_add(count)) >= 0,
                    "more than was asked for"
                );
            }
        }
        self.order.answered();
    }

    /// The bridge is started again, and the far link continues.
    fn restart(&mut self) {
        self.order = Order::new(self.order.next());
        self.order.set_history(self.history, self.piece);
    }
}

proptest! {
    #[test]
    fn each_number_is_accounted_for_exactly_once(
        first in prop_oneof![Just(1_u64), Just(0_u64.wrapping_sub(30)), any::<u64>()],
        history in 0_u64..60,
        piece in 1_u64..20,
        messages in prop::collection::vec((0_u64..9, prop::bool::weighted(0.15), ways(), prop::bool::weighted(0.1)), 1..60),
        answers in prop::collection::vec(answers(), 1..8),
    ) {
        let mut far = Far { order: Order::new(first), first, fates: Vec::new(), answers, asked: 0, history, piece };
        far.restart();
        let (mut next, mut late) = (first, Vec::<(usize, Span)>::new());
        let (mut sent, mut is_whole) = (Vec::new(), true);
        for (at, (count, is_gap, way, restarts)) in messages.into_iter().enumerate() {
            let content = if is_gap { Content::Lost(GapCause::Evicted) } else { Content::Fragments };
            let span = Span { first: next, count, content };
            next = next.wrapping_add(count);
            sent.extend(std::iter::repeat_n(is_gap, count as usize));
            is_whole &= matches!(way, Way::Arrives | Way::ArrivesTwice);
            match way {
                Way::Arrives => far.take(&span),
                Way::IsLost => {}
                Way::ArrivesTwice => {
                    far.take(&span);
                    far.take(&span);
                }
                Way::IsLate(by) => late.push((at + by, span)),
                Way::IsDroppedHere if is_gap => {}
                Way::IsDroppedHere => far.take(&Span { content: Content::Dropped, ..span }),
            }
            for (_, span) in late.extract_if(.., |(due, _)| *due <= at) {
                far.take(&span);
            }
            if restarts {
                far.restart();
            }
            prop_assert!(far.fates.len() <= sent.len(), "a number that was not sent yet");
        }
        for (_, span) in late {
            far.take(&span);
        }
        // A state or an end says which number is next.
        far.take(&Span { first: next, count: 0, content: Content::Fragments });
        prop_assert_eq!(far.order.next(), next);
        prop_assert_eq!(far.fates.len(), sent.len());
        if is_whole {
            for (fate, is_gap) in far.fates.iter().zip(&sent) {
                prop_assert_eq!(*fate, if *is_gap { Fate::LeftOut } else { Fate::Published });
            }
            prop_assert_eq!(far.asked, 0);
        }
    }

    #[test]
    fn with_a_history_that_has_all_nothing_is_left_out(
        first in any::<u64>(),
        piece in 1_u64..20,
        messages in prop::collection::vec((1_u64..9, ways()), 1..60),
    ) {
        let answer = Answer { has: 16, says_so: true, lost: 0, batch: 3, comes_twice: false };
        let mut far =
            Far { order: Order::new(first), first, fates: Vec::new(), answers: vec![answer], asked: 0, history: 1000, piece };
        far.restart();
        let mut next = first;
        for (count, way) in messages {
            let span = Span { first: next, count, content: Content::Fragments };
            next = next.wrapping_add(count);
            match way {
                Way::Arrives | Way::ArrivesTwice => far.take(&span),
                Way::IsDroppedHere => far.take(&Span { content: Content::Dropped, ..span }),
                Way::IsLost | Way::IsLate(_) => {}
            }
        }
        far.take(&Span { first: next, count: 0, content: Content::Fragments });
        prop_assert_eq!(far.order.next(), next);
        prop_assert!(far.fates.iter().all(|fate| *fate != Fate::LeftOut));
    }

    #[test]
    fn numbers_and_counts_of_strangers_do_no_harm(
        next in any::<u64>(),
        history in any::<u64>(),
        piece in any::<u64>(),
        spans in prop::collection::vec((any::<u64>(), 0_u64..1 << 62, 0..3), 1..20),
    ) {
        let mut order = Order::new(next);
        order.set_history(history, piece);
        for (first, count, content) in spans {
            let content = [Content::Fragments, Content::Lost(GapCause::Other), Content::Dropped][content as usize];
            let span = Span { first, count, content };
            let mut steps = 0;
            loop {
                match order.step(&span) {
                    Step::Done => break,
                    Step::Publish { count, .. } | Step::LeaveOut { count, .. } => order.advance(count),
                    Step::Ask { .. } => order.answered(),
                }
                steps += 1;
                prop_assert!(steps < 10);
            }
        }
    }
}
