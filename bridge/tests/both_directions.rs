//! One process sends and receives, as a file says. It does not receive what it sends itself.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use rust_tango::Link;
use support::bridge::{Bridge, Folder, PATIENCE, free_port};

/// Publishes into `from` until a reader of the link `far` in the folder gets a fragment.
fn carries(name: &str, from: &Folder, far: &str, to: &Folder) {
    let link = Link::builder().dir(from.links()).depth(64).consumers(1).create(name).unwrap();
    let producer = link.producer().unwrap();
    let (begin, mut reader) = (Instant::now(), None);
    loop {
        _ = producer.publish(name.as_bytes(), 7, 0, 0);
        reader = reader.take().or_else(|| Link::open_in(to.links(), far).ok()?.observer().ok());
        let found = reader.as_mut().and_then(|reader| Some(reader.poll().ok()??.payload.as_slice().to_vec()));
        if found.is_some_and(|found| found == name.as_bytes()) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{name} does not arrive as {far}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_file_says_what_is_carried_in_both_directions() {
    let (paris, tokyo) = (Folder::new(), Folder::new());
    let port = free_port();
    let settings = |network: &str| {
        format!(
            "[network]\n{network} = ['tcp/127.0.0.1:{port}']\n[[publish]]\nlinks = ['*']\ndeny = ['far.*']\n\
             [[subscribe]]\nkey = 'tango/*'\nlink = 'far.{{link}}'\nfrom = 'next'\n"
        )
    };
    let start = |folder: &Folder, network: &str| {
        let file = folder.file("bridge.toml", &settings(network));
        Bridge::start(folder, &format!("run {}", file.display()))
    };
    let bridges = [start(&paris, "listen"), start(&tokyo, "connect")];
    carries("eur", &paris, "far.eur", &tokyo);
    carries("jpy", &tokyo, "far.jpy", &paris);
    // Each was sent before the other one had arrived.
    assert_eq!(Link::list(paris.links()).unwrap(), ["eur", "far.jpy"]);
    assert_eq!(Link::list(tokyo.links()).unwrap(), ["far.eur", "jpy"]);
    for bridge in bridges {
        let (status, said) = bridge.finish();
        assert!(status.success(), "{status}: {said}");
    }
}
