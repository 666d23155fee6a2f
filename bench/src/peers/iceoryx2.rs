//! `iceoryx2`: a publish-subscribe service. Samples are loaned, written, and sent; a publisher waits for
//! subscribers whose buffers are full (`RetryUntilDelivered`, and no overflow). It has no batch calls. For
//! readers that sleep, its documentation adds an event service: a notification after each sample, and a
//! listener that waits when there is no sample.
//!
//! Its files are in the folder of the channel; its segments of shared memory carry a prefix of this run.

use std::path::Path;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::event;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use super::{About, Peer, ProcessChannel, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Iceoryx2;

/// With an event service beside it.
pub(crate) struct Iceoryx2Event;

const ABOUT: About = About::new("iceoryx2", Some("iceoryx2"));

impl Peer for Iceoryx2 {
    const ABOUT: About = ABOUT;
}

impl Peer for Iceoryx2Event {
    const ABOUT: About = ABOUT.variant("event").sleeps();
}

// SAFETY: an array of bytes, without references, padding or a destructor.
#[allow(unsafe_code)]
unsafe impl<const N: usize> ZeroCopySend for Message<N> {}

type Service = ipc::Service;
type Factory<const N: usize> = PortFactory<Service, Message<N>, ()>;

/// What has to live as long as the ports.
struct Home<const N: usize> {
    node: Node<Service>,
    service: Factory<N>,
}

pub(crate) struct Writer<const N: usize> {
    publisher: Publisher<Service, Message<N>, ()>,
    home: Home<N>,
}

pub(crate) struct Reader<const N: usize> {
    subscriber: Subscriber<Service, Message<N>, ()>,
    home: Home<N>,
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Iceoryx2 {
    type Pending = Writer<N>;
    type Sender = Writer<N>;
    type Receiver = Reader<N>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        let node = node(folder);
        let service = node
            .service_builder(&name())
            .publish_subscribe::<Message<N>>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(D)
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(readers)
            .create()
            .expect("a service");
        let publisher = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("the only publisher");
        Writer { publisher, home: Home { node, service } }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let node = node(folder);
        let service = node
            .service_builder(&name())
            .publish_subscribe::<Message<N>>()
            .open()
            .expect("the publisher has made it");
        let home = Home { node, service };
        let subscriber = home.service.subscriber_builder().create().expect("room for each subscriber");
        Reader { subscriber, home }
    }

    fn connect(pending: Self::Pending) -> Self::Sender {
        // Learns of the subscribers, which it would do with the first sample too.
        pending.publisher.update_connections().expect("they live");
        pending
    }
}

pub(crate) struct Notifying<const N: usize> {
    writer: Writer<N>,
    notifier: Notifier<Service>,
    _event: event::PortFactory<Service>,
}

pub(crate) struct Listening<const N: usize> {
    reader: Reader<N>,
    listener: Listener<Service>,
    _event: event::PortFactory<Service>,
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Iceoryx2Event {
    type Pending = Notifying<N>;
    type Sender = Notifying<N>;
    type Receiver = Listening<N>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        let writer = <Iceoryx2 as ProcessChannel<N, D>>::create(folder, readers);
        let event = writer.home.node.service_builder(&name()).event().create().expect("an event service");
        let notifier = event.notifier_builder().create().expect("the only notifier");
        Notifying { writer, notifier, _event: event }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let reader = <Iceoryx2 as ProcessChannel<N, D>>::attach(folder);
        let event =
            reader.home.node.service_builder(&name()).event().open().expect("the publisher has made it");
        let listener = event.listener_builder().create().expect("room for each listener");
        Listening { reader, listener, _event: event }
    }

    fn connect(pending: Self::Pending) -> Self::Sender {
        let writer = <Iceoryx2 as ProcessChannel<N, D>>::connect(pending.writer);
        Notifying { writer, ..pending }
    }
}

impl<const N: usize> Sender<N> for Notifying<N> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.writer.try_send(message);
        self.notifier.notify().expect("the listeners live");
        true
    }
}

impl<const N: usize> Receiver<N> for Listening<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        loop {
            if let Some(value) = self.reader.try_receive(&mut read) {
                return Some(value);
            }
            self.listener.blocking_wait(|_| {}).expect("the service lives");
        }
    }
}

fn name() -> ServiceName {
    "tango-bench".try_into().expect("a name for a service")
}

fn node(folder: &Path) -> Node<Service> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let path = folder.to_str().expect("the folder has a plain name");
    config.global.set_root_path(&path.try_into().expect("a path"));
    config.global.prefix = prefix(folder).as_str().try_into().expect("a short name");
    NodeBuilder::new().config(&config).create().expect("a node")
}

/// Of the segments in shared memory: the folder's name and those above it from the folder of the run on, so
/// that both sides agree and runs do not meet.
fn prefix(folder: &Path) -> String {
    let parts: Vec<_> = folder.iter().skip(3).map(|part| part.to_string_lossy()).collect();
    format!("{}_", parts.join("_"))
}

/// Removes what a run that was ended left in shared memory, given the name of its folder.
pub(crate) fn remove_segments(run: &str) {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!("{run}_")));
        if ours {
            // Nothing is lost if it stays but some memory; there is nobody to tell.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl<const N: usize> Sender<N> for Writer<N> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        let sample = self.publisher.loan_uninit().expect("a sample to write into");
        let readers = sample.write_payload(*message).send().expect("the service lives");
        assert!(readers > 0, "iceoryx2: nobody is subscribed");
        true
    }
}

impl<const N: usize> Receiver<N> for Reader<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        let sample = self.subscriber.receive().expect("the service lives")?;
        Some(read(&sample.0))
    }
}
