//! A link, the bridge beside it, and the bridge on the other side that makes the far link.

use std::process::ExitStatus;

use rust_tango::{Consumer, Link, LinkBuilder, Start};

use super::bridge::{Bridge, Folder, PATIENCE, free_port};
use super::wire::{ADDRESSES, Network};

/// Names on both sides, and the key between.
pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";
pub(crate) const KEY: &str = "test/link";

/// Two bridges, and the link at the origin. Either bridge may be absent for a while.
pub(crate) struct Pair<'a> {
    // They are dropped in this order: processes before their folders.
    pub(crate) publish: Option<Bridge>,
    pub(crate) subscribe: Option<Bridge>,
    pub(crate) link: Link,
    pub(crate) near: Folder,
    pub(crate) far: Folder,
    network: Option<&'a Network>,
    endpoint: String,
    options: [String; 2],
}

impl<'a> Pair<'a> {
    /// Starts both bridges, with further options for each, and waits for the far link. They are on the loopback device, or
    /// on the two hosts of the network.
    pub(crate) fn start(
        builder: LinkBuilder,
        network: Option<&'a Network>,
        publish: &str,
        subscribe: &str,
    ) -> Self {
        let (near, far) = (Folder::new(), Folder::new());
        let link = builder.dir(near.links()).create(NEAR).unwrap();
        let endpoint = match network {
            Some(_) => format!("tcp/{}:7448", ADDRESSES[0]),
            None => format!("tcp/127.0.0.1:{}", free_port()),
        };
        let options = [publish.to_owned(), subscribe.to_owned()];
        let (publish, subscribe) = (None, None);
        let mut pair = Self { near, far, link, publish, subscribe, network, endpoint, options };
        pair.start_publish();
        pair.start_subscribe();
        Link::open_wait_in(pair.far.links(), FAR, Some(PATIENCE)).unwrap_or_else(|error| {
            panic!(
                "no far link: {error}\n{}\n{}",
                pair.publish.as_ref().unwrap().said(),
                pair.subscribe.as_ref().unwrap().said()
            )
        });
        pair
    }

    /// Starts the bridge beside the link.
    pub(crate) fn start_publish(&mut self) {
        let arguments = format!("publish {NEAR} --as {KEY} --listen {} {}", self.endpoint, self.options[0]);
        self.publish = Some(match self.network {
            Some(network) => Bridge::start_on(&network.hosts[0], &self.near, &arguments),
            None => Bridge::start(&self.near, &arguments),
        });
    }

    /// Starts the bridge that makes the far link.
    pub(crate) fn start_subscribe(&mut self) {
        let arguments = format!("subscribe {KEY} {FAR} --connect {} {}", self.endpoint, self.options[1]);
        self.subscribe = Some(match self.network {
            Some(network) => Bridge::start_on(&network.hosts[1], &self.far, &arguments),
            None => Bridge::start(&self.far, &arguments),
        });
    }

    /// The bridge beside the link. It is running.
    pub(crate) fn publish(&mut self) -> &mut Bridge {
        self.publish.as_mut().expect("it was started")
    }

    /// The bridge that makes the far link. It is running.
    pub(crate) fn subscribe(&mut self) -> &mut Bridge {
        self.subscribe.as_mut().expect("it was started")
    }

    /// The far link.
    pub(crate) fn far_link(&self) -> Link {
        Link::open_wait_in(self.far.links(), FAR, Some(PATIENCE)).unwrap()
    }

    /// A reliable consumer of the far link.
    pub(crate) fn consumer(&self) -> Consumer<'static> {
        self.far_link().consumer_from(Start::Oldest).unwrap()
    }

    /// Ends both bridges. Returns how each has ended, and what it has said.
    pub(crate) fn finish(mut self) -> [(ExitStatus, String); 2] {
        let subscribe = self.subscribe.take().expect("it was started").finish();
        [self.publish.take().expect("it was started").finish(), subscribe]
    }
}
