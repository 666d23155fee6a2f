//! What a bridge is asked to do: by the command line or by a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All that one process does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The folder of links. `None`: the default one.
    pub folder: Option<PathBuf>,
    /// How the process takes part in the network.
    pub network: Network,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Links that are sent.
    pub publish: Vec<Publish>,
    /// Links that are received.
    pub subscribe: Vec<Subscribe>,
}

/// How the process takes part in the network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Endpoints to listen on, such as `tcp/127.0.0.1:7447`.
    pub listen: Vec<String>,
    /// Endpoints to connect to.
    pub connect: Vec<String>,
    /// A configuration file of zenoh: certificates, users, and whatever else it can do. The two lists above replace its own.
    pub config: Option<PathBuf>,
}

/// How the bridge reads a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// Wait.
    Block,
    /// Drop, count, and say so.
    #[default]
    Drop,
}

/// Links that are sent to the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Names of links, or patterns with `*` and `?`.
    pub links: Vec<String>,
    /// Patterns of links that are not sent.
    pub deny: Vec<String>,
    /// The key of each, with `{link}` for its name.
    pub key: String,
    /// How they are read.
    pub read: Reading,
    /// What happens when the network takes no more.
    pub congestion: Congestion,
    /// How many bytes may wait for the network.
    pub queue: usize,
    /// The most bytes of one network message. A single fragment may be larger.
    pub batch: usize,
    /// How long a fragment may wait for others to share its network message.
    pub delay: Duration,
    /// How many fragments back are sent again on request, as far as the ring still has them.
    pub history: u64,
}

/// Links that are received from the network.
#[derive(Debug, Clone, PartialEq)]
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
    pub from_oldest: bool,
    /// Slots of the far link's ring. `None`: as at the origin.
    pub depth: Option<usize>,
    /// Slots for consumers of the far link. `None`: as at the origin.
    pub consumers: Option<usize>,
    /// What happens when the far link's consumers are too slow.
    pub congestion: Congestion,
    /// How many bytes may wait for one far link.
    pub queue: usize,
    /// How long the far link's producer waits for an evictable consumer before it evicts it.
    pub patience: Option<Duration>,
    /// The largest link that is made, in bytes of its ring and region. What a description of another machine asks for beyond
    /// that is refused.
    pub max_link_bytes: usize,
    /// The most links that are made.
    pub max_links: usize,
}

/// The key of links that are sent, unless another is given.
pub const DEFAULT_KEY: &str = "tango/{link}";

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
            max_link_bytes: 1 << 30,
            max_links: 256,
        }
    }
}
