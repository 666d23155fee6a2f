//! Bounded channels that carry values: `crossbeam-channel`, `flume`, `kanal`, and `sync_channel` of the
//! standard library. Each has two rows: spinning on `try_send` and `try_recv`, and its blocking pair, which
//! parks. `flume` and `kanal` have one batch call, which drains the receiver; their senders send one by one.

use std::sync::mpsc;

use crate::channel::{About, pair, peer, receiver, sender};
use crate::message::Message;

const CROSSBEAM: About = About::package("crossbeam-channel");
const FLUME: About = About::package("flume");
const KANAL: About = About::package("kanal");
const STD: About = About::unversioned("std sync_channel");

peer!(CrossbeamTry, About { variant: Some("try_"), ..CROSSBEAM });
peer!(CrossbeamBlocking, About { variant: Some("blocking"), spins: false, ..CROSSBEAM });
peer!(KanalTry, About { variant: Some("try_"), batch: Some("drain_into"), ..KANAL });
peer!(KanalBlocking, About { variant: Some("blocking"), spins: false, ..KANAL });
peer!(FlumeTry, About { variant: Some("try_"), batch: Some("drain"), ..FLUME });
peer!(FlumeBlocking, About { variant: Some("blocking"), spins: false, ..FLUME });
peer!(SyncChannelTry, About { variant: Some("try_"), ..STD });
peer!(SyncChannelBlocking, About { variant: Some("blocking"), spins: false, ..STD });

/// A half that is used with calls that do not wait.
struct Try<T>(T);

/// A half that is used with calls that block.
struct Blocking<T>(T);

fn try_halves<T, R>((tx, rx): (T, R)) -> (Try<T>, Try<R>) {
    (Try(tx), Try(rx))
}

fn blocking_halves<T, R>((tx, rx): (T, R)) -> (Blocking<T>, Blocking<R>) {
    (Blocking(tx), Blocking(rx))
}

/// Blocking calls wait for room, and fail only if the receiver is gone.
fn sent<E: std::fmt::Debug>(result: Result<(), E>) -> bool {
    result.expect("the receiver lives");
    true
}

pair!(CrossbeamTry, try_halves(crossbeam_channel::bounded::<Message<N>>(D)));
pair!(CrossbeamBlocking, blocking_halves(crossbeam_channel::bounded::<Message<N>>(D)));
sender!(Try<crossbeam_channel::Sender<Message<N>>>, |tx, message| tx.0.try_send(*message).is_ok());
receiver!(Try<crossbeam_channel::Receiver<Message<N>>>, |rx, read| {
    rx.0.try_recv().ok().map(|message| read(&message.0))
});
sender!(Blocking<crossbeam_channel::Sender<Message<N>>>, |tx, message| sent(tx.0.send(*message)));
receiver!(Blocking<crossbeam_channel::Receiver<Message<N>>>, |rx, read| {
    rx.0.recv().ok().map(|message| read(&message.0))
});

pair!(FlumeTry, try_halves(flume::bounded::<Message<N>>(D)));
pair!(FlumeBlocking, blocking_halves(flume::bounded::<Message<N>>(D)));
sender!(Try<flume::Sender<Message<N>>>, |tx, message| tx.0.try_send(*message).is_ok());
receiver!(
    Try<flume::Receiver<Message<N>>>,
    |rx, read| rx.0.try_recv().ok().map(|message| read(&message.0)),
    |rx, _max, read| rx.0.drain().map(|message| read(&message.0)).count()
);
sender!(Blocking<flume::Sender<Message<N>>>, |tx, message| sent(tx.0.send(*message)));
receiver!(Blocking<flume::Receiver<Message<N>>>, |rx, read| rx.0.recv().ok().map(|message| read(&message.0)));

pair!(SyncChannelTry, try_halves(mpsc::sync_channel::<Message<N>>(D)));
pair!(SyncChannelBlocking, blocking_halves(mpsc::sync_channel::<Message<N>>(D)));
sender!(Try<mpsc::SyncSender<Message<N>>>, |tx, message| tx.0.try_send(*message).is_ok());
receiver!(Try<mpsc::Receiver<Message<N>>>, |rx, read| rx.0.try_recv().ok().map(|message| read(&message.0)));
sender!(Blocking<mpsc::SyncSender<Message<N>>>, |tx, message| sent(tx.0.send(*message)));
receiver!(Blocking<mpsc::Receiver<Message<N>>>, |rx, read| rx.0.recv().ok().map(|message| read(&message.0)));

pair!(KanalTry, {
    let (tx, rx) = kanal::bounded::<Message<N>>(D);
    (Try(tx), Draining { rx, drained: Vec::new() })
});
pair!(KanalBlocking, blocking_halves(kanal::bounded::<Message<N>>(D)));
sender!(Try<kanal::Sender<Message<N>>>, |tx, message| tx.0.try_send(*message).expect("the receiver lives"));
receiver!(
    Draining<N>,
    |half, read| half.rx.try_recv().ok().flatten().map(|message| read(&message.0)),
    |half, _max, read| {
        // Fails if the sender is gone and nothing is left.
        let received = half.rx.drain_into(&mut half.drained).unwrap_or(0);
        half.drained.iter().for_each(|message| read(&message.0));
        half.drained.clear();
        received
    }
);
sender!(Blocking<kanal::Sender<Message<N>>>, |tx, message| sent(tx.0.send(*message)));
receiver!(Blocking<kanal::Receiver<Message<N>>>, |rx, read| rx.0.recv().ok().map(|message| read(&message.0)));

struct Draining<const N: usize> {
    rx: kanal::Receiver<Message<N>>,
    /// Empty between calls.
    drained: Vec<Message<N>>,
}
