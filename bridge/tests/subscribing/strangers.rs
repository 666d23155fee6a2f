//! Whatever other programs send does no harm, and is said once.

use rust_tango::{Link, Start};
use tango_bridge::settings::Subscribe;
use tango_bridge::wire::{Batch, Description, GapCause, Origin, TypeDescription, encode_gap, encode_state};
use zenoh::Wait;

use super::peer::{
    Far, Next, ORIGIN, Peer, batch, description, meta, pair, read, sessions, subscribe, until,
};

#[test]
fn wrong_bytes_are_counted_and_said_once() {
    let (peer, far) = pair("wrong", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    let mut later = batch(ORIGIN, 1, 3);
    later[4] = 2;
    let mut short = batch(ORIGIN, 1, 3);
    short.pop();
    for bytes in
        [b"hello".to_vec(), Vec::new(), later, short, encode_gap(ORIGIN, 1, u64::MAX, GapCause::Overrun)]
    {
        peer.put(bytes);
    }
    peer.session.delete(&peer.key).wait().unwrap();
    far.until_count(&peer, "rejected", 6);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 2), [Next::Fragments(1, 1)]);
    let said = far.events().into_iter().filter(|event| event.event == "rejected").collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].message.contains("not sent by a tango-bridge"), "{said:?}");
    assert_eq!(said[0].key.as_deref(), Some("tango/wrong"));
}

#[test]
fn a_message_for_many_keys_is_for_none() {
    let (peer, far) = pair("many", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    peer.session.put("tango/*", batch(ORIGIN, 1, 3)).wait().unwrap();
    far.event("rejected");
    peer.lose(3);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 5), [Next::Lost(3), Next::Fragments(4, 1)]);
}

#[test]
fn descriptions_that_no_link_can_have_are_refused() {
    let (there, here) = sessions();
    let far = Far::new(here, subscribe());
    let payload_type = |name: &str, align| Some(TypeDescription { name: name.to_owned(), size: 8, align });
    type Change = fn(&mut Description);
    let cases: [(&str, Change, &str); 9] = [
        ("path", |of| of.name = "../x".to_owned(), "is no valid name of a link"),
        ("line", |of| of.name = "a\nb".to_owned(), "is no valid name of a link"),
        ("depth", |of| of.depth = 63, "a depth of 63 is not a power of two"),
        ("deep", |of| of.depth = 1 << 60, "is over the limit of 1073741824 bytes"),
        ("slot", |of| of.slot = 100, "a slot of 100 bytes is not a multiple of 64"),
        ("mtu", |of| of.mtu = usize::MAX, "an MTU of"),
        ("region", |of| of.region = usize::MAX, "is over the limit"),
        ("small", |of| (of.mtu, of.region) = (4096, 64), "a region of 64 bytes"),
        ("consumers", |of| of.consumers = 100_000, "100000 consumer slots"),
    ];
    for (name, change, why) in cases {
        let peer = Peer::new(&there, name).with_description(change);
        check(&peer, &far, why);
    }
    for (name, of, why) in [
        ("empty", payload_type("", 8), "is not 1 to 256 bytes long"),
        ("control", payload_type("a\u{1b}[2J", 8), "contains a control character"),
        ("hidden", payload_type("a\u{202e}b", 8), "is not shown"),
        ("align", payload_type("Quote", 3), "is not a power of two"),
    ] {
        let peer = Peer::new(&there, name).with_description(|description| description.payload_type = of);
        check(&peer, &far, why);
    }
    assert!(Link::list(&far.context.folder).unwrap_or_default().is_empty());
    // They have done no harm to others.
    let peer = Peer::new(&there, "right");
    let mut reader = until("the far link", || {
        peer.state();
        Link::open_in(&far.context.folder, "far.right").ok()
    })
    .consumer()
    .unwrap();
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 2), [Next::Fragments(1, 1)]);
}

fn check(peer: &Peer, far: &Far, why: &str) {
    let message = until(&peer.key, || {
        peer.state();
        std::thread::sleep(std::time::Duration::from_millis(20));
        far.events()
            .into_iter()
            .find(|event| event.key.as_ref() == Some(&peer.key))
            .map(|event| event.message)
    });
    assert!(message.contains(why) && !message.contains(char::is_control), "{message}");
    peer.again(1, 3);
}

#[test]
fn a_fragment_that_is_too_large_is_left_out() {
    let (peer, far) = pair("large", 0);
    let mut reader = far.meet(&peer).consumer().unwrap();
    let mut large = Batch::new(ORIGIN, 1, 0);
    large.push(&meta(1), &[7; 65]);
    peer.put(large.finish());
    peer.lose(1);
    peer.send(1);
    assert_eq!(read(&mut reader, 1, 3), [Next::Lost(1), Next::Fragments(2, 1)]);
    // The reader has it a moment before it is counted.
    far.until_count(&peer, "fragments", 1);
    far.until_counts(&peer, ["fragments", "lost_at_origin"], [1, 1]);
}

#[test]
fn many_keys_cost_little() {
    let (there, here) = sessions();
    let far = Far::new(here, Subscribe { max_links: 1, ..subscribe() });
    let peer = Peer::new(&there, "one");
    far.meet(&peer);
    for n in 0..6000 {
        there.put(format!("tango/other/{n}"), "hello").wait().unwrap();
    }
    peer.send(1);
    far.until_count(&peer, "fragments", 1);
    // 64 of them, the sum of the others, and the link.
    assert_eq!(far.context.register.all().len(), 66);
    let said = far.kinds().into_iter().filter(|kind| *kind == "rejected").count();
    assert_eq!(said, 65);
}

#[test]
fn two_links_of_one_bridge_do_not_disturb_each_other() {
    let (there, here) = sessions();
    let far = Far::new(here, subscribe());
    let one = Peer::new(&there, "a");
    far.meet(&one);
    let other = Peer::new(&there, "b");
    other.set_origin(|origin| *origin = Origin { link: 2, ..ORIGIN });
    let state = encode_state(other.origin(), 50, &description("b"));
    other.put(state);
    let link = until("the other", || Link::open_in(&far.context.folder, "far.b").ok());
    other.set_next(50);
    one.send(3);
    other.send(4);
    let mut readers =
        [far.open(&one).consumer_from(Start::Oldest).unwrap(), link.consumer_from(Start::Oldest).unwrap()];
    assert_eq!(read(&mut readers[0], 1, 4), [Next::Fragments(1, 3)]);
    assert_eq!(read(&mut readers[1], 50, 54), [Next::Fragments(50, 4)]);
}
