//! [`Arrived`]: a network message on its way to the thread of its far link.

use std::time::Instant;

use super::order::{Content, Span};
use crate::wire::{Description, EndCause, Message, Origin, decode};

/// A network message that was checked, and when it arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) origin: Origin,
    pub(super) at: Instant,
    pub(super) span: Span,
    pub(super) body: Body,
    /// It says that the link at the origin was removed.
    pub(super) is_of_removed: bool,
    /// What it takes of a queue, in bytes.
    pub(super) size: usize,
}

/// What a message has beside its numbers.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing: a gap, or the place of messages that were dropped.
    Nothing,
    /// The bytes of a message with fragments.
    Fragments(Vec<u8>),
    /// What the link is.
    State(Box<Description>),
    /// Nothing follows for now.
    End(EndCause),
}

/// What the queue counts for a message, beside its bytes.
pub(super) const OVERHEAD: usize = 256;

impl Arrived {
    /// Checks a network message.
    ///
    /// # Errors
    ///
    /// Why it is not right.
    pub(super) fn new(bytes: Vec<u8>, at: Instant) -> Result<Self, String> {
        const MOST: u64 = 1 << 62;
        let size = bytes.len().saturating_add(OVERHEAD);
        let (header, content, description, end) = match decode(&bytes) {
            Err(error) => return Err(error.to_string()),
            Ok(Message::Fragments(fragments)) => (*fragments.header(), Content::Fragments, None, None),
            Ok(Message::Gap(header, cause)) => (header, Content::Lost(cause), None, None),
            Ok(Message::State(header, description)) => {
                (header, Content::Fragments, Some(Box::new(description)), None)
            }
            Ok(Message::End(header, cause)) => (header, Content::Fragments, None, Some(cause)),
        };
        let body = match (description, end, content) {
            (Some(description), _, _) => Body::State(description),
            (_, Some(cause), _) => Body::End(cause),
            (_, _, Content::Fragments) => Body::Fragments(bytes),
            _ => Body::Nothing,
        };
        // A state and an end have no numbers, whatever their header says.
        let count = if matches!(body, Body::State(_) | Body::End(_)) { 0 } else { header.count };
        if count >= MOST {
            return Err(format!("it leaves out {count} numbers, and at most {} are possible", MOST - 1));
        }
        let span = Span { first: header.first, count, content };
        Ok(Self { origin: header.origin, at, span, body, is_of_removed: header.is_of_removed(), size })
    }

    /// Whether it has fragments.
    pub(super) fn is_fragments(&self) -> bool {
        matches!(self.body, Body::Fragments(_))
    }

    /// Whether it says what became of numbers.
    pub(super) fn is_about_numbers(&self) -> bool {
        matches!(self.body, Body::Fragments(_) | Body::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{GapCause, encode_end, encode_gap};

    const ORIGIN: Origin = Origin { bridge: 1, link: 2, producer: 3 };

    #[test]
    fn a_gap_of_all_numbers_is_refused() {
        let now = Instant::now();
        let gap = |count| Arrived::new(encode_gap(ORIGIN, 7, count, GapCause::Evicted), now);
        let found = gap((1 << 62) - 1).unwrap();
        assert_eq!((found.span.first, found.span.count), (7, (1 << 62) - 1));
        assert_eq!(found.span.content, Content::Lost(GapCause::Evicted));
        for count in [1 << 62, u64::MAX] {
            let error = gap(count).unwrap_err();
            assert!(error.starts_with(&format!("it leaves out {count} numbers")), "{error}");
        }
    }

    #[test]
    fn an_end_has_no_numbers() {
        let mut end = encode_end(ORIGIN, 7, EndCause::Closed);
        end[40] = 9;
        let found = Arrived::new(end, Instant::now()).unwrap();
        assert_eq!((found.span.first, found.span.count), (7, 0));
        assert!(matches!(found.body, Body::End(EndCause::Closed)));
        assert!(Arrived::new(b"hello".to_vec(), Instant::now()).unwrap_err().contains("TNGB"));
    }
}
