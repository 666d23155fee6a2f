//! The far link is made where that is possible, and nothing that another program has made is touched.

use std::time::Duration;

use rust_tango::{Link, Start};
use tango_bridge::settings::Subscribe;

use super::peer::{Far, Next, Peer, pair, read, sessions, subscribe, until};

/// Sends states until there is an event of this kind. Returns its message.
fn state_until(peer: &Peer, far: &Far, kind: &str) -> String {
    until(kind, || {
        peer.state();
        std::thread::sleep(Duration::from_millis(50));
        far.events().into_iter().find(|event| event.event == kind).map(|event| event.message)
    })
}

#[test]
fn a_link_of_another_process_is_never_taken_over() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "taken").with_history(64);
    let far = Far::new(here, subscribe());
    let builder =
        || Link::builder().dir(&far.context.folder).depth(64).mtu(64).slot(128).consumers(4).start(9);
    let theirs = builder().create("far.taken").unwrap();
    let producer = theirs.producer().unwrap();
    // With numbers that would fit, and without a fragment so far.
    let message = state_until(&peer, &far, "far_link_failed");
    assert!(message.contains("tries again") && message.contains("in use"), "{message}");
    producer.send(b"theirs").unwrap();
    drop((producer, theirs));
    // Its producer has ended, and it still belongs to somebody else.
    let message = until("another reason", || {
        far.events()
            .into_iter()
            .map(|event| event.message)
            .find(|message| message.contains("no bridge has made"))
    });
    assert!(message.contains("tango rm far.taken"), "{message}");
    peer.send(3);
    let theirs = Link::open_in(&far.context.folder, "far.taken").unwrap();
    assert_eq!((theirs.status().producers, theirs.status().next), (1, 10));
    theirs.remove().unwrap();
    far.event("made");
    let link = far.open(&peer);
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 1, 4), [Next::Fragments(1, 3)]);
}

#[test]
fn a_far_link_of_other_sizes_is_in_the_way_until_it_is_removed() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "sizes").with_history(64);
    let mut far = Far::new(here.clone(), subscribe());
    let before = far.meet(&peer);
    peer.send(2);
    far.until_count(&peer, "fragments", 2);
    far.stop();
    let settings = Subscribe { depth: Some(128), consumers: Some(7), ..subscribe() };
    let again = Far::after(here, settings, &far);
    let message = state_until(&peer, &again, "far_link_failed");
    assert!(message.contains("depth 64 instead of 128"), "{message}");
    before.remove().unwrap();
    again.event("made");
    let geometry = again.open(&peer).geometry();
    assert_eq!((geometry.depth, geometry.consumers, geometry.mtu), (128, 7, 64));
    // What was there before is there again, as far as it can be sent again.
    peer.send(1);
    again.until_count(&peer, "fragments", 1);
}

#[test]
fn it_is_made_as_soon_as_the_folder_takes_it() {
    let (there, here) = sessions();
    let peer = Peer::new(&there, "folder");
    let far = Far::new(here, subscribe());
    // A file in the place of the folder: as little space as a full one has.
    std::fs::write(&far.context.folder, b"in the way").unwrap();
    let message = state_until(&peer, &far, "far_link_failed");
    assert!(message.contains(far.context.folder.to_str().unwrap()), "{message}");
    peer.send(2);
    std::fs::remove_file(&far.context.folder).unwrap();
    far.event("made");
    let mut reader = far.open(&peer).consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 1, 3), [Next::Fragments(1, 2)]);
}

#[test]
fn one_that_is_stopped_or_removed_here_is_made_again() {
    let (peer, far) = pair("gone", 64);
    let link = far.meet(&peer);
    peer.send(2);
    far.until_count(&peer, "fragments", 2);
    link.stop().unwrap();
    peer.send(2);
    far.event("far_link_gone");
    far.nth_event("made", 1);
    let link = far.open(&peer);
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 3, 5), [Next::Fragments(3, 2)]);
    far.until_counts(&peer, ["fragments", "lost_in_network"], [4, 0]);
    drop(reader);
    std::fs::remove_dir_all(link.path().unwrap()).unwrap();
    // It takes the library about a second to see that.
    until("another link", || {
        peer.send(1);
        std::thread::sleep(Duration::from_millis(100));
        (far.kinds().iter().filter(|kind| **kind == "made").count() == 3).then_some(())
    });
}

#[test]
fn one_that_could_not_be_made_gives_way_to_the_next_one() {
    let (there, here) = sessions();
    let far = Far::new(here, subscribe());
    // Of a size that no link has, and then one that is not possible here because of a link in the way.
    let peer = Peer::new(&there, "next").with_history(64).with_description(|of| of.depth = 63);
    assert!(state_until(&peer, &far, "refused").contains("a depth of 63"));
    let in_the_way = Link::builder().dir(&far.context.folder).create("far.next").unwrap();
    let peer = peer.with_description(|of| of.depth = 32);
    peer.set_origin(|origin| origin.link += 1);
    state_until(&peer, &far, "far_link_failed");
    let peer = peer.with_description(|of| of.depth = 16);
    peer.set_origin(|origin| origin.link += 1);
    peer.set_next(100);
    state_until(&peer, &far, "link_made_anew");
    drop(in_the_way);
    Link::remove_named(&far.context.folder, "far.next").unwrap();
    peer.send(2);
    state_until(&peer, &far, "made");
    let link = far.open(&peer);
    assert_eq!(link.geometry().depth, 16);
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 100, 102), [Next::Fragments(100, 2)]);
}

#[test]
fn of_two_keys_with_one_name_the_first_has_it() {
    let (there, here) = sessions();
    let far = Far::new(here, Subscribe { link: "one".to_owned(), ..subscribe() });
    let (first, second) = (Peer::new(&there, "first"), Peer::new(&there, "second"));
    state_until(&first, &far, "made");
    let message = state_until(&second, &far, "name_taken");
    assert!(message.contains("the far link one belongs to the key tango/first already"), "{message}");
    second.again(1, 5);
    first.send(1);
    let link = Link::open_in(&far.context.folder, "one").unwrap();
    let mut reader = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(read(&mut reader, 1, 2), [Next::Fragments(1, 1)]);
    assert_eq!(Link::list(&far.context.folder).unwrap(), ["one"]);
}

#[test]
fn no_more_links_are_made_than_allowed() {
    let (there, here) = sessions();
    let settings = Subscribe { max_links: 2, deny: vec!["*.b".to_owned()], ..subscribe() };
    let far = Far::new(here, settings);
    let peers = ["a", "b", "c"].map(|name| Peer::new(&there, name));
    far.meet(&peers[0]);
    let message = state_until(&peers[1], &far, "refused");
    assert!(message.contains("the settings do not allow a link of the name far.b"), "{message}");
    let message = state_until(&peers[2], &far, "rejected");
    assert!(message.contains("there are 2 already, which is the limit"), "{message}");
    assert_eq!(Link::list(&far.context.folder).unwrap(), ["far.a"]);
}
