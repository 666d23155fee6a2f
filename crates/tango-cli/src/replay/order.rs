//! [`InOrder`]: the fragments of several links in the order of their times. A file has them in the order in which the
//! threads of the recorder handed over their blocks, each of which is of one link and of up to some 20 milliseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::failure::Failure;

/// How far the times in a file can be out of order, in nanoseconds, with a margin.
const DISORDER: u64 = 250_000_000;
/// Most memory that is taken to bring them in order, in bytes.
const MOST: usize = 64 << 20;

/// A fragment that waits for its turn.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) time: u64,
    pub(super) channel: u16,
    pub(super) data: Vec<u8>,
}

/// Messages by time. Those of the same time keep their order.
pub(super) struct InOrder {
    is_needed: bool,
    waiting: BinaryHeap<Reverse<(u64, u64, Message)>>,
    bytes: usize,
    count: u64,
    latest: u64,
}

impl InOrder {
    /// The fragments of one link are in order already.
    pub(super) fn new(is_needed: bool) -> Self {
        Self { is_needed, waiting: BinaryHeap::new(), bytes: 0, count: 0, latest: 0 }
    }

    /// Takes a message, or returns it at once if it need not wait.
    pub(super) fn pass<'d>(&mut self, channel: u16, time: u64, data: &'d [u8]) -> Option<&'d [u8]> {
        if !self.is_needed {
            return Some(data);
        }
        self.latest = self.latest.max(time);
        self.bytes += data.len();
        self.count += 1;
        let message = Message { time, channel, data: data.to_vec() };
        self.waiting.push(Reverse((time, self.count, message)));
        None
    }

    /// Hands out those whose turn has come, or all.
    pub(super) fn drain(
        &mut self,
        all: bool,
        mut each: impl FnMut(Message) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while let Some(Reverse((time, ..))) = self.waiting.peek() {
            if !all && self.bytes < MOST && self.latest.saturating_sub(*time) < DISORDER {
                break;
            }
            let Some(Reverse((_, _, message))) = self.waiting.pop() else { break };
            self.bytes -= message.data.len();
            each(message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_brought_in_order() {
        let mut in_order = InOrder::new(true);
        let mut found = Vec::new();
        for (time, name) in [(30, b"d"), (10, b"a"), (30, b"e"), (20, b"b"), (20, b"c")] {
            assert!(in_order.pass(2, time, name).is_none());
            in_order.drain(false, |_| panic!("it is not its turn")).unwrap();
        }
        assert!(in_order.pass(3, 20 + DISORDER, b"f").is_none());
        let mut each = |message: Message| {
            found.extend(message.data);
            Ok(())
        };
        in_order.drain(false, &mut each).unwrap();
        in_order.drain(true, &mut each).unwrap();
        assert_eq!(found, b"abcdef");
    }

    #[test]
    fn one_link_is_passed_on() {
        assert_eq!(InOrder::new(false).pass(2, 7, b"a"), Some(&b"a"[..]));
    }
}
