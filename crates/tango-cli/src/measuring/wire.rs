//! What the two sides of a measurement tell each other, over the links that they measure. A fragment with `ctl` 0 is a
//! message that counts, or the answer to one. Every other `ctl` is a [`Word`]. Words have no payload, so that the links are
//! no larger than the messages need.
//!
//! ```text
//! side that asks          side that answers
//!   Hello(core)       -->
//!                     <--   Hello(session), Core, CanRaw     once
//!   Begin(stage)      -->
//!                     <--   Ready                            for each window of each stage
//!   messages          -->   (round trips: <-- answers)
//!   End               -->
//!                     <--   Latency ..., Got, Wrong, Nanos, OnCore, Done
//!   Bye               -->                                    once
//! ```

use rust_tango::{Consumer, Control, PayloadType, Producer, TangoError};

use crate::failure::Failure;

/// How the links of these commands are marked, so that they are not mistaken for others.
pub(crate) const TYPE: &str = "tango-ping-1";

/// The type of the payloads of these links.
pub(crate) fn payload_type() -> PayloadType {
    PayloadType::new(TYPE, 0, 1)
}

/// The way back of a link.
pub(crate) fn back_of(link: &str) -> String {
    format!("{link}.back")
}

/// What is measured in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Round trips of the raw cache line.
    Raw,
    /// Round trips over both links.
    Trips,
    /// The latency of messages that are due at a fixed rate.
    OneWay,
    /// As many messages as possible.
    Stream,
}

/// The kind of a fragment. The number is the origin in its `ctl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Word {
    /// A message that counts, or an answer.
    Message = 0,
    /// A message of the warm-up.
    WarmUp,
    /// `sig`: the number of the session, `ts`: the core of this side.
    Hello,
    /// `sig`: the core of the side that answers; `ts`: 1 if it can use the raw cache line, 2 if it spins.
    Core,
    BeginRaw,
    BeginTrips,
    BeginOneWay,
    BeginStream,
    Ready,
    End,
    /// `sig`: a latency in nanoseconds; `ts`: how often.
    Latency,
    /// `sig`: messages that have arrived, without the warm-up.
    Got,
    /// `sig`: messages with a wrong number, size or byte.
    Wrong,
    /// `sig`: nanoseconds in which they have arrived.
    Nanos,
    /// `sig`: millionths of the time in which the side that answers had a core.
    OnCore,
    Done,
    Bye,
}

const WORDS: [Word; 17] = [
    Word::Message,
    Word::WarmUp,
    Word::Hello,
    Word::Core,
    Word::BeginRaw,
    Word::BeginTrips,
    Word::BeginOneWay,
    Word::BeginStream,
    Word::Ready,
    Word::End,
    Word::Latency,
    Word::Got,
    Word::Wrong,
    Word::Nanos,
    Word::OnCore,
    Word::Done,
    Word::Bye,
];

impl Word {
    /// The `ctl` of such a fragment.
    pub(crate) const fn ctl(self) -> u16 {
        Control::new(self as u16).bits()
    }

    fn of(ctl: u16) -> Option<Self> {
        WORDS.get(usize::from(Control::from_bits(ctl).origin())).copied()
    }

    pub(crate) fn begin(stage: Stage) -> Self {
        match stage {
            Stage::Raw => Self::BeginRaw,
            Stage::Trips => Self::BeginTrips,
            Stage::OneWay => Self::BeginOneWay,
            Stage::Stream => Self::BeginStream,
        }
    }
}

/// How one side calls the other in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Other(pub(crate) &'static str);

impl Other {
    pub(crate) const ASKING: Self = Self("asking");
    pub(crate) const ANSWERING: Self = Self("answering");

    /// Why a call on one of the links has failed.
    pub(crate) fn failed(self, error: &TangoError) -> Failure {
        match error {
            TangoError::ProducerGone => Failure::new(format!("the {} side has died", self.0)),
            TangoError::Closed => self.ended(),
            error => Failure::new(format!("the link to the {} side failed: {error}", self.0)),
        }
    }

    /// It has closed its link, or stopped one.
    pub(crate) fn ended(self) -> Failure {
        Failure::new(format!("the {} side has ended before the measurement was complete", self.0))
    }

    fn confused(self, found: impl std::fmt::Debug) -> Failure {
        Failure::new(format!("the {} side sent something unexpected: {found:?}", self.0))
    }
}

/// Sends a word.
pub(crate) fn say(tx: &Producer<'_>, word: Word, sig: u64, ts: u32, other: Other) -> Result<(), Failure> {
    tx.publish_blocking(&[], sig, word.ctl(), ts).map(drop).map_err(|error| other.failed(&error))
}

/// Waits for a word. Returns it with its `sig` and `ts`.
pub(crate) fn hear(rx: &mut Consumer<'_>, other: Other) -> Result<(Word, u64, u32), Failure> {
    match rx.wait() {
        Ok(Some(fragment)) => {
            let meta = fragment.meta;
            let word = Word::of(meta.ctl).ok_or_else(|| other.confused(meta.ctl))?;
            Ok((word, meta.sig, meta.ts))
        }
        Ok(None) => Err(other.ended()),
        Err(error) => Err(other.failed(&error)),
    }
}

/// Waits for this word. Returns its `sig` and `ts`.
pub(crate) fn expect(rx: &mut Consumer<'_>, wanted: Word, other: Other) -> Result<(u64, u32), Failure> {
    match hear(rx, other)? {
        (word, sig, ts) if word == wanted => Ok((sig, ts)),
        (word, ..) => Err(other.confused(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_were_sent() {
        for word in WORDS {
            assert_eq!(Word::of(word.ctl()), Some(word));
        }
        assert_eq!((Word::Message.ctl(), Word::of(u16::MAX)), (0, None));
    }
}
