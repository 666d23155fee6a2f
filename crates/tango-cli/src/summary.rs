//! [`Tally`]: what a command has sent or received so far, and what it says of that at the end (`--verbose`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::format;

/// What has gone through. One thread counts, and any thread may look.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: AtomicU64,
    fragments: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Counts a fragment with a payload of this size.
    pub(crate) fn fragment(&self, bytes: usize) {
        add(&self.fragments, 1);
        add(&self.bytes, bytes as u64);
    }

    /// Counts a message that is complete.
    pub(crate) fn message(&self) {
        add(&self.messages, 1);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(crate) fn fragments(&self) -> u64 {
        self.fragments.load(Ordering::Relaxed)
    }

    /// `received 1,000 messages in 1,000 fragments, 3.8 KiB, in 2.00 s (500 messages/s, 1.9 KiB/s)`.
    pub(crate) fn text(&self, verb: &str, time: Duration) -> String {
        let (messages, fragments) = (self.messages(), self.fragments());
        let bytes = self.bytes.load(Ordering::Relaxed) as f64;
        let a_second = |number: f64| if time.is_zero() { 0.0 } else { number / time.as_secs_f64() };
        format!(
            "{verb} {} in {}, {}, in {} ({} messages/s, {}/s)",
            many(messages, "message"),
            many(fragments, "fragment"),
            format::bytes(bytes),
            format::duration(time),
            format::short_count(a_second(messages as f64)),
            format::bytes(a_second(bytes)),
        )
    }
}

/// The only thread that counts needs no atomic addition.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A count with its noun: `1 fragment`, `2,000 fragments`.
pub(crate) fn many(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", format::count(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_whole_time() {
        let tally = Tally::default();
        for _ in 0..1000 {
            tally.fragment(4);
            tally.message();
        }
        tally.fragment(0);
        let text = "sent 1,000 messages in 1,001 fragments, 3.9 KiB, in 2.00 s (500 messages/s, 2.0 KiB/s)";
        assert_eq!(tally.text("sent", Duration::from_secs(2)), text);
        assert!(tally.text("sent", Duration::ZERO).ends_with("(0 messages/s, 0 B/s)"));
        assert_eq!([many(1, "fragment"), many(0, "message")], ["1 fragment", "0 messages"]);
    }
}
