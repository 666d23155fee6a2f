//! The settings, and what they are if nothing is said. Their names in a file are those of the fields, with `-` in the place
//! of `_`, unless an attribute gives another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::values::in_file;
use crate::journal::Format;

/// All that one process does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The folder of links. `None`: the default one.
    #[serde(rename = "dir")]
    pub folder: Option<PathBuf>,
    /// How the process takes part in the network.
    pub network: Network,
    /// Where metrics are served, if anywhere.
    #[serde(deserialize_with = "in_file::address")]
    pub metrics: Option<SocketAddr>,
    /// In which form events are written.
    #[serde(skip)]
    pub journal: Format,
    /// Links that are sent.
    pub publish: Vec<Publish>,
    /// Links that are received.
    pub subscribe: Vec<Subscribe>,
}

/// How the process takes part in the network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Endpoints to listen on, such as `tcp/127.0.0.1:7447`.
    pub listen: Vec<String>,
    /// Endpoints to connect to.
    pub connect: Vec<String>,
    /// A configuration file of zenoh: certificates, users, and whatever else it can do. The two lists above replace its own.
    #[serde(rename = "zenoh-config")]
    pub config: Option<PathBuf>,
}

/// How the bridge reads a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// As an evictable consumer: the producer waits for it for as long as its patience. The default.
    #[default]
    Evictable,
    /// As a reliable consumer: the producer waits.
    Reliable,
    /// As an observer: the producer does not know of it.
    Observer,
}

/// What happens when the next stage takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// Wait.
    Block,
    /// Drop, count, and say so.
    #[default]
    Drop,
}

/// Links that are sent to the network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Publish {
    /// Names of links, or patterns with `*` and `?`.
    pub links: Vec<String>,
    /// Patterns of links that are not sent.
    pub deny: Vec<String>,
    /// The key of each, with `{link}` for its name.
    #[serde(rename = "as")]
    pub key: String,
    /// How they are read.
    pub read: Reading,
    /// What happens when the network takes no more.
    pub congestion: Congestion,
    /// How many bytes may wait for the network.
    #[serde(deserialize_with = "in_file::size")]
    pub queue: usize,
    /// The most bytes of one network message. A single fragment may be larger.
    #[serde(deserialize_with = "in_file::size")]
    pub batch: usize,
    /// How long a fragment may wait for others to share its network message.
    #[serde(deserialize_with = "in_file::time")]
    pub delay: Duration,
    /// How many fragments back are sent again on request, as far as the ring still has them.
    #[serde(deserialize_with = "in_file::history")]
    pub history: u64,
}

/// Links that are received from the network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Subscribe {
    /// A key, or a key expression of zenoh with `*` and `**`.
    pub key: String,
    /// The name of the link that is made, with `{link}` for the name of the link at the origin.
    pub link: String,
    /// Patterns of names of links here that may be made. Empty: all.
    pub allow: Vec<String>,
    /// Patterns of names of links here that are not made.
    pub deny: Vec<String>,
    /// Where to begin if the far link is new: with the oldest fragment that the origin can send again, or with the next.
    #[serde(rename = "from", deserialize_with = "in_file::from_oldest")]
    pub from_oldest: bool,
    /// Slots of the far link's ring. `None`: as at the origin.
    #[serde(deserialize_with = "in_file::maybe_count")]
    pub depth: Option<usize>,
    /// Slots for consumers of the far link. `None`: as at the origin.
    #[serde(deserialize_with = "in_file::maybe_count")]
    pub consumers: Option<usize>,
    /// What happens when the far link's consumers are too slow.
    pub congestion: Congestion,
    /// How many bytes may wait for one far link.
    #[serde(deserialize_with = "in_file::size")]
    pub queue: usize,
    /// How long the far link's producer waits for an evictable consumer before it evicts it.
    #[serde(deserialize_with = "in_file::maybe_time")]
    pub patience: Option<Duration>,
    /// How long a far link keeps its name after the link at the origin was removed.
    #[serde(deserialize_with = "in_file::time")]
    pub linger: Duration,
    /// The largest link that is made, in bytes of its ring and region. What a description of another machine asks for beyond
    /// that is refused.
    #[serde(deserialize_with = "in_file::size")]
    pub max_link_bytes: usize,
    /// The most links that are made.
    pub max_links: usize,
}

/// The key of links that are sent, unless another is given.
pub const DEFAULT_KEY: &str = "tango/{link}";

/// Where a bridge that sends listens, and one that only receives connects to, unless something else is given.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7448";

impl Settings {
    /// Fills in where to listen or to connect to, if nothing is said about it.
    pub(super) fn with_default_endpoint(mut self) -> Self {
        let Network { listen, connect, config } = &mut self.network;
        if listen.is_empty() && connect.is_empty() && config.is_none() {
            let endpoints = if self.publish.is_empty() { connect } else { listen };
            endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        self
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            deny: Vec::new(),
            key: DEFAULT_KEY.to_owned(),
            read: Reading::default(),
            congestion: Congestion::default(),
            queue: 16 << 20,
            batch: 60 << 10,
            delay: Duration::ZERO,
            history: u64::MAX,
        }
    }
}

impl Default for Subscribe {
    fn default() -> Self {
        Self {
            key: String::new(),
            link: String::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            from_oldest: false,
            depth: None,
            consumers: None,
            congestion: Congestion::default(),
            queue: 64 << 20,
            patience: None,
            linger: Duration::from_secs(2),
            max_link_bytes: 1 << 30,
            max_links: 256,
        }
    }
}
