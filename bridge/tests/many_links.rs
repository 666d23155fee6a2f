//! A hundred links by one pattern: all arrive, each by itself, also the ones that are made later; and what is denied does not.

mod support;

use rust_tango::{Link, Start};
use support::bridge::{Bridge, Folder, PATIENCE, free_port};
use support::traffic::{Found, Traffic, read_until};

const LINKS: usize = 100;
const EACH: u64 = 1000;

#[test]
fn a_hundred_links_by_a_pattern() {
    let (near, far) = (Folder::new(), Folder::new());
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let make = |name: &str| {
        Link::builder().start(0).depth(1024).mtu(64).consumers(2).dir(near.links()).create(name).unwrap()
    };
    let name = |at: usize| format!("quotes.{at}");
    let traffic = |at: usize| Traffic { seed: at as u64, largest: 64, equal: false };
    // A half of them is there before the bridge.
    let mut links: Vec<Link> = (0..LINKS / 2).map(|at| make(&name(at))).collect();
    let (_secret, _other) = (make("quotes.secret"), make("other"));
    let _publish = Bridge::start(
        &near,
        &format!("publish quotes.* --deny quotes.secret --as many/{{link}} --listen {endpoint}"),
    );
    let subscribe = Bridge::start(&far, &format!("subscribe many/* copy.{{link}} --connect {endpoint}"));
    links.extend((LINKS / 2..LINKS).map(|at| make(&name(at))));

    let producers: Vec<_> = links.iter().map(|link| link.producer().unwrap()).collect();
    let mut consumers: Vec<_> = (0..LINKS)
        .map(|at| {
            let copy = format!("copy.{}", name(at));
            let link = Link::open_wait_in(far.links(), &copy, Some(PATIENCE))
                .unwrap_or_else(|error| panic!("{copy}: {error}\n{}", subscribe.said()));
            link.consumer_from(Start::Oldest).unwrap()
        })
        .collect();
    // All links a little, and so on, so that all are busy at the same time.
    for part in 1..=10 {
        for (at, producer) in producers.iter().enumerate() {
            traffic(at).publish(producer, EACH / 10);
        }
        for (at, consumer) in consumers.iter_mut().enumerate() {
            let found = read_until(consumer, &traffic(at), part * EACH / 10);
            assert_eq!(found, Found { read: EACH / 10, gaps: vec![] }, "link {at}");
        }
    }
    let mut names = Link::list(far.links()).unwrap();
    names.sort_unstable();
    let mut expected: Vec<String> = (0..LINKS).map(|at| format!("copy.{}", name(at))).collect();
    expected.sort_unstable();
    assert_eq!(names, expected, "no link that was denied, or did not match");
    let (status, said) = subscribe.finish();
    assert_eq!(status.code(), Some(0), "{said}");
}
