//! `iceoryx2`: a publish-subscribe service. Samples are loaned, written, and sent; a publisher waits for
//! subscribers whose buffers are full (`RetryUntilDelivered`, and no overflow). It has no batch calls. For readers
//! that sleep, its documentation adds an event service: a notification after each sample, and a listener that
//! waits when there is no sample.
//!
//! Its files are in the folder of the channel; its shared memory segments carry a prefix of this run.

use std::path::Path;

use iceoryx2::port::{
    listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber,
    update_connections::UpdateConnections,
};
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe::PortFactory};

use crate::channel::{About, ProcessChannel, peer, receiver, sender};
use crate::message::Message;

const ABOUT: About = About::package("iceoryx2");

peer!(Iceoryx2, ABOUT);
peer!(
    /// With an event service beside it.
    Iceoryx2Event,
    About { variant: Some("event"), spins: false, ..ABOUT }
);

// SAFETY: an array of bytes, without references, padding or a destructor.
#[allow(unsafe_code)]
unsafe impl<const N: usize> ZeroCopySend for Message<N> {}

type Service = ipc::Service;

/// A port and what has to live as long as it.
pub(crate) struct Port<P, const N: usize> {
    port: P,
    node: Node<Service>,
    _service: PortFactory<Service, Message<N>, ()>,
}

type Writer<const N: usize> = Port<Publisher<Service, Message<N>, ()>, N>;
type Reader<const N: usize> = Port<Subscriber<Service, Message<N>, ()>, N>;

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Iceoryx2 {
    type Sender = Writer<N>;
    type Receiver = Reader<N>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
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
        let publisher =
            service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Port { port: publisher.create().expect("the only publisher"), node, _service: service }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let node = node(folder);
        let service = node
            .service_builder(&name())
            .publish_subscribe::<Message<N>>()
            .open()
            .expect("the publisher has made it");
        let subscriber = service.subscriber_builder().create().expect("room for each subscriber");
        Port { port: subscriber, node, _service: service }
    }

    fn connect(tx: &mut Self::Sender) {
        // Looks for subscribers, which it would otherwise do with the first sample.
        tx.port.update_connections().expect("they live");
    }
}

/// A half with its side of the event service.
pub(crate) struct WithEvents<H, E> {
    half: H,
    events: E,
    _service: event::PortFactory<Service>,
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Iceoryx2Event {
    type Sender = WithEvents<Writer<N>, Notifier<Service>>;
    type Receiver = WithEvents<Reader<N>, Listener<Service>>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        let half = <Iceoryx2 as ProcessChannel<N, D>>::create(folder, readers);
        let service = half.node.service_builder(&name()).event().create().expect("an event service");
        let events = service.notifier_builder().create().expect("the only notifier");
        WithEvents { half, events, _service: service }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let half = <Iceoryx2 as ProcessChannel<N, D>>::attach(folder);
        let service = half.node.service_builder(&name()).event().open().expect("the publisher has made it");
        let events = service.listener_builder().create().expect("room for each listener");
        WithEvents { half, events, _service: service }
    }

    fn connect(tx: &mut Self::Sender) {
        <Iceoryx2 as ProcessChannel<N, D>>::connect(&mut tx.half);
    }
}

fn name() -> ServiceName {
    "tango-bench".try_into().expect("a name for a service")
}

fn node(folder: &Path) -> Node<Service> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let path = folder.to_str().expect("the folder's name is UTF-8");
    config.global.set_root_path(&path.try_into().expect("a path"));
    config.global.prefix = prefix(folder).as_str().try_into().expect("a short name");
    NodeBuilder::new().config(&config).create().expect("a node")
}

/// The prefix of shared memory segments: the path of the folder from the folder of the run on, so that both sides
/// agree on it and runs do not share segments.
fn prefix(folder: &Path) -> String {
    let parts: Vec<_> = folder.iter().skip(3).map(|part| part.to_string_lossy()).collect();
    format!("{}_", parts.join("_"))
}

/// Removes the shared memory segments of a run that was killed, given the name of its folder.
pub(crate) fn remove_segments(run: &str) {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
    let prefix = format!("{run}_");
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            // A file that stays costs some memory; there is nobody to tell.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

sender!(Writer<N>, |tx, message| {
    let sample = tx.port.loan_uninit().expect("a sample to write into");
    let readers = sample.write_payload(*message).send().expect("the service lives");
    assert!(readers > 0, "iceoryx2: nobody is subscribed");
    true
});

receiver!(Reader<N>, |rx, read| {
    let sample = rx.port.receive().expect("the service lives")?;
    Some(read(&sample.0))
});

sender!(WithEvents<Writer<N>, Notifier<Service>>, |tx, message| {
    tx.half.try_send(message);
    tx.events.notify().expect("the listeners live");
    true
});

receiver!(WithEvents<Reader<N>, Listener<Service>>, |rx, read| loop {
    if let Some(value) = rx.half.try_receive(&mut read) {
        return Some(value);
    }
    rx.events.blocking_wait(|_| {}).expect("the service lives");
});
