//! [`Event`]: what happens to a link beside its fragments. Events are messages of a channel of their own, in JSON.

use serde::{Deserialize, Serialize};

/// The topic of the events. No link has such a name.
pub(super) const TOPIC: &str = "tango/events";
/// The channel of the events, in every file. The channels of links come after it.
pub(super) const CHANNEL: u16 = 1;
/// The name of their schema.
pub(super) const SCHEMA: &str = "tango.Event";
/// Their schema, for programs that show JSON.
pub(super) const SCHEMA_TEXT: &str = r#"{
  "type": "object",
  "required": ["link", "channel", "event"],
  "properties": {
    "link": {"type": "string"},
    "channel": {"type": "integer"},
    "event": {"enum": ["joined", "gap", "producer_gone", "producer_replaced", "producer_attached", "closed", "stopped", "left"]},
    "next": {"type": "integer"},
    "first": {"type": "integer"},
    "last": {"type": "integer"},
    "lost": {"type": "integer"},
    "cause": {"enum": ["late", "overrun", "evicted", "corrupt"]}
  }
}
"#;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The recorder has joined the link.
    Joined,
    /// Fragments were lost: `lost` of them, from `first` to `last`.
    Gap,
    /// The producer died.
    ProducerGone,
    /// A producer has taken over from one that died. Its first fragment is `first`.
    ProducerReplaced,
    /// A producer has attached after the link was closed, or after the recorder has found the producer dead.
    ProducerAttached,
    /// The producer has ended in good order.
    Closed,
    /// The link has ended for good: it was stopped, or has lost its name.
    Stopped,
    /// The recorder has left while the link went on.
    Left,
    /// Something that this program does not know.
    #[serde(other)]
    Unknown,
}

/// Why fragments are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// They were overwritten before the recorder joined.
    Late,
    /// The recorder was too slow, or the producer left the numbers out.
    Overrun,
    /// The producer did not wait longer for the recorder.
    Evicted,
    /// The metadata of the fragment was wrong.
    Corrupt,
    /// Something that this program does not know.
    #[serde(other)]
    Unknown,
}

/// One message of the channel of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// The name of the link.
    pub(crate) link: String,
    /// The channel of its fragments.
    pub(crate) channel: u16,
    pub(crate) event: Kind,
    /// The number of the next fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
}

impl Event {
    /// An event at the place of fragment `next`.
    pub(super) fn at(link: &str, channel: u16, event: Kind, next: u64) -> Self {
        let link = link.to_owned();
        Self { link, channel, event, next: Some(next), first: None, last: None, lost: None, cause: None }
    }

    /// `lost` fragments are missing before fragment `next`.
    pub(super) fn gap(link: &str, channel: u16, cause: Cause, lost: u64, next: u64) -> Self {
        Self {
            first: Some(next.wrapping_sub(lost)),
            last: Some(next.wrapping_sub(1)),
            lost: Some(lost),
            cause: Some(cause),
            ..Self::at(link, channel, Kind::Gap, next)
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // It fails for maps whose keys are no strings, and there are none.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// What is wrong, if the bytes are no event.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("an event cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_flat_json() {
        let gap = Event::gap("quotes", 2, Cause::Overrun, 5, 3);
        let text = r#"{"link":"quotes","channel":2,"event":"gap","next":3,"first":18446744073709551614,"last":2,"lost":5,"cause":"overrun"}"#;
        assert_eq!(String::from_utf8(gap.encode()).unwrap(), text);
        assert_eq!(Event::decode(text.as_bytes()), Ok(gap));
        let joined = Event::at("quotes", 2, Kind::Joined, 1);
        assert_eq!(joined.encode(), br#"{"link":"quotes","channel":2,"event":"joined","next":1}"#);
    }

    #[test]
    fn events_of_later_versions_are_read() {
        let later = br#"{"link":"x","channel":2,"event":"paused","since":7}"#;
        assert_eq!(Event::decode(later).unwrap().event, Kind::Unknown);
        assert!(Event::decode(b"{}").unwrap_err().contains("link"));
    }

    /// The schema names every event and cause that is written.
    #[test]
    fn the_schema_is_json_that_names_all() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA_TEXT).unwrap();
        let names = |of: &str| schema["properties"][of]["enum"].as_array().unwrap().clone();
        for kind in [
            Kind::Joined,
            Kind::Gap,
            Kind::ProducerGone,
            Kind::ProducerReplaced,
            Kind::ProducerAttached,
            Kind::Closed,
            Kind::Stopped,
            Kind::Left,
        ] {
            assert!(names("event").contains(&serde_json::to_value(kind).unwrap()), "{kind:?}");
        }
        for cause in [Cause::Late, Cause::Overrun, Cause::Evicted, Cause::Corrupt] {
            assert!(names("cause").contains(&serde_json::to_value(cause).unwrap()), "{cause:?}");
        }
    }
}
