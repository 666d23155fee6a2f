//! [`Journal`]: what happens, as lines on standard error: text for people, or JSON for programs.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

/// Something that happened to a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// A word that names the kind of event: `cut`, `gap`, `bridge_restarted` and so on. All are in docs/beyond.md.
    pub event: &'static str,
    /// The name of the link here, if one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The key on the network, if one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// The number of the first fragment concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// How many fragments are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Event {
    /// An event that concerns no certain fragments.
    pub fn new(event: &'static str, message: impl Into<String>) -> Self {
        Self { event, link: None, key: None, message: message.into(), first: None, count: None }
    }

    /// It concerns this link.
    pub fn of_link(mut self, link: &str) -> Self {
        self.link = Some(link.to_owned());
        self
    }

    /// It concerns this key.
    pub fn of_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// It concerns `count` fragments from `first` on.
    pub fn of_fragments(mut self, first: u64, count: u64) -> Self {
        (self.first, self.count) = (Some(first), Some(count));
        self
    }
}

/// `LINK: message`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.link.as_ref().or(self.key.as_ref()) {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Where events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object in a line for each event.
    Json,
}

/// Takes events from all threads.
#[derive(Clone)]
pub struct Journal(Arc<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    /// Events go to `take`.
    pub fn new(take: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Events go to standard error. Lines that cannot be written are lost: nobody reads them.
    pub fn to_standard_error(format: Format) -> Self {
        Self::new(move |event| {
            let line = match format {
                Format::Text => format!("tango-bridge: {event}\n"),
                Format::Json => serde_json::to_string(event).unwrap_or_default() + "\n",
            };
            _ = std::io::stderr().write_all(line.as_bytes());
        })
    }

    /// Writes an event.
    pub fn note(&self, event: Event) {
        (self.0)(&event);
    }
}
