//! Links, producers and names that come and go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;

use rust_tango::{Link, LinkBuilder, Producer};
use tango_bridge::settings::{Publish, Reading};
use tango_bridge::wire::EndCause;

use super::setup::{Got, Setup, all, eventually, gaps, pieces, publish};

fn small() -> LinkBuilder {
    Link::builder().depth(64).mtu(64).start(10)
}

/// Ends a producer as if its process had been killed.
fn kill(tx: Producer<'static>) {
    let died = catch_unwind(AssertUnwindSafe(move || {
        let _tx = tx;
        panic!("the producer dies");
    }));
    assert!(died.is_err());
}

#[test]
fn a_link_that_appears_later_is_sent_from_its_first_fragment_on() {
    let mut setup = Setup::new();
    setup.start(Publish { deny: vec!["*.test".to_owned()], ..all() });
    // Nothing is there when the bridge begins.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let denied = setup.create("quotes.test", small()).producer().unwrap();
    publish(&denied, 64);
    let tx = setup.create("quotes", small()).producer().unwrap();
    (0..5).for_each(|_| _ = publish(&tx, 64));
    let (_, next, description) = setup.state();
    assert_eq!((next, &*description.name), (10, "quotes"));
    assert_eq!(pieces(&setup.until(10, 15)).len(), 5);
    let names = setup.context.register.all().into_iter().map(|entry| entry.link).collect::<Vec<_>>();
    assert_eq!(names, ["quotes"]);
}

#[test]
fn what_was_gone_when_the_bridge_found_a_new_link_is_said() {
    let mut setup = Setup::new();
    setup.start(all());
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Its name leads to it when fragments were overwritten already.
    let elsewhere = setup.folder.with_extension("elsewhere");
    let link = small().dir(&elsewhere).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    (0..100).for_each(|_| _ = publish(&tx, 64));
    std::fs::create_dir_all(&setup.folder).unwrap();
    std::fs::rename(elsewhere.join("quotes"), setup.folder.join("quotes")).unwrap();
    std::fs::remove_dir_all(&elsewhere).unwrap();
    assert_eq!(setup.state().1, 10);
    let got = setup.until(10, 110);
    assert_eq!(gaps(&got).len(), 1);
    assert_eq!(setup.counts("quotes").lost_at_origin.load(SeqCst), gaps(&got)[0].1);
}

#[test]
fn a_link_that_is_there_before_is_sent_from_the_next_fragment_on() {
    let mut setup = Setup::new();
    let tx = setup.create("quotes", small()).producer().unwrap();
    (0..5).for_each(|_| _ = publish(&tx, 64));
    setup.start(all());
    assert_eq!(setup.state().1, 15);
    publish(&tx, 64);
    assert_eq!(pieces(&setup.until(15, 16)).len(), 1);
}

#[test]
fn producers_that_end_and_come_are_told_in_order_with_the_fragments() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small());
    setup.start(all());
    let (unused, next, _) = setup.state();
    assert_eq!((unused.producer, next), (0, 10));
    let mut at = 10;
    for producer in 1..4 {
        let tx = link.producer().unwrap();
        (0..5).for_each(|_| _ = publish(&tx, 64));
        drop(tx);
        let (mut told, mut next) = (false, at);
        while next != at + 5 {
            match setup.next() {
                Got::State(origin, first, _) if origin.producer == producer => {
                    assert!(told || first == at, "{first}");
                    told = true;
                }
                Got::Fragments(_, pieces) => {
                    assert!(
                        told || producer == 1,
                        "the state comes before the fragments of producer {producer}"
                    );
                    next += pieces.len() as u64;
                }
                _ => {}
            }
        }
        at += 5;
        let (_, next, cause) = setup.end_of(producer);
        assert_eq!((next, cause), (at, EndCause::Closed));
    }
    // It is said again, to those that have not heard it.
    assert_eq!(setup.end_of(3).2, EndCause::Closed);
    assert_eq!(setup.counts("quotes").producer_restarts.load(SeqCst), 2);
    link.stop().unwrap();
}

impl Setup {
    /// The next end with this producer, or the first one if it was not told when that came.
    fn end_of(&mut self, producer: u64) -> (tango_bridge::wire::Origin, u64, EndCause) {
        loop {
            let end = self.end();
            if end.0.producer == producer {
                return end;
            }
        }
    }
}

#[test]
fn a_producer_that_dies_and_is_replaced_is_told_with_each_kind_of_reader() {
    for read in [Reading::Evictable, Reading::Reliable, Reading::Observer] {
        let mut setup = Setup::new();
        let link = setup.create("quotes", small());
        let tx = link.producer().unwrap();
        setup.start(Publish { read, ..all() });
        assert_eq!(setup.state().1, 10);
        (0..5).for_each(|_| _ = publish(&tx, 64));
        kill(tx);
        assert_eq!(pieces(&setup.until(10, 15)).len(), 5);
        let (origin, next, cause) = setup.end();
        assert_eq!((origin.producer, next, cause), (1, 15, EndCause::ProducerGone));
        let tx = link.producer().unwrap();
        (0..5).for_each(|_| _ = publish(&tx, 64));
        let state = setup.next_of(|got| matches!(got, Got::State(of, ..) if of.producer == 2));
        assert!(matches!(state, Got::State(of, 15, _) if of.link == origin.link), "{read:?}: {state:?}");
        let got = setup.until(15, 20);
        assert!(gaps(&got).is_empty() && matches!(got[0], Got::Fragments(of, _) if of.producer == 2));
        assert_eq!(setup.counts("quotes").producer_restarts.load(SeqCst), 1);
        assert!(setup.has_event("ended") && setup.has_event("producer_restarted"));
    }
}

#[test]
fn a_producer_that_is_replaced_at_once_is_told_soon_after_its_first_fragment() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small());
    let tx = link.producer().unwrap();
    setup.start(all());
    assert_eq!(setup.state().1, 10);
    (0..5).for_each(|_| _ = publish(&tx, 64));
    kill(tx);
    let tx = link.producer().unwrap();
    (0..5).for_each(|_| _ = publish(&tx, 64));
    let (mut next, mut producer) = (10, 1);
    while next != 20 || producer != 2 {
        match setup.next() {
            Got::State(origin, first, _) => {
                assert!(first == next && origin.producer >= producer, "{origin:?}, {first}");
                assert!(origin.producer == 1 || first >= 15, "not before its first fragment");
                producer = origin.producer;
            }
            Got::Fragments(origin, pieces) => {
                assert_eq!((origin.producer, pieces[0].seq), (producer, next));
                next += pieces.len() as u64;
            }
            _ => {}
        }
    }
}

#[test]
fn a_link_that_is_stopped_is_told() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small());
    let tx = link.producer().unwrap();
    setup.start(all());
    setup.state();
    publish(&tx, 64);
    setup.until(10, 11);
    link.stop().unwrap();
    let (origin, next, cause) = setup.end();
    assert_eq!((next, cause), (11, EndCause::Stopped));
    drop(tx);
    link.remove().unwrap();
    let removed = setup.next_of(|got| matches!(got, Got::End(_, _, EndCause::Removed)));
    assert_eq!(removed, Got::End(origin, 11, EndCause::Removed));
}

#[test]
fn a_link_that_is_removed_and_made_anew_is_another_link() {
    for read in [Reading::Evictable, Reading::Reliable, Reading::Observer] {
        let mut setup = Setup::new();
        let link = setup.create("quotes", small());
        let tx = link.producer().unwrap();
        setup.start(Publish { read, ..all() });
        let (origin, ..) = setup.state();
        publish(&tx, 64);
        setup.until(10, 11);
        // By another program, with all its readers and its producer attached.
        Link::remove_named(&setup.folder, "quotes").unwrap();
        let second = setup.create("quotes", small().start(5000));
        let tx = second.producer().unwrap();
        publish(&tx, 64);
        assert_eq!(setup.end(), (origin, 11, EndCause::Removed), "{read:?}");
        let (new, next, _) = setup.state();
        assert!(new.link != origin.link && next == 5000, "{new:?}, {next}");
        assert_eq!(pieces(&setup.until(5000, 5001)).len(), 1);
        assert_eq!(setup.counts("quotes").links_made_anew.load(SeqCst), 1);
        assert!(setup.has_event("link_made_anew"));
        // Gone for so long that the bridge has forgotten it.
        drop(tx);
        drop(link);
        second.remove().unwrap();
        setup.next_of(|got| matches!(got, Got::End(_, _, EndCause::Removed)));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let third = setup.create("quotes", small().start(7));
        assert_eq!(setup.state().1, 7);
        eventually("it is counted", || setup.counts("quotes").links_made_anew.load(SeqCst) == 2);
        drop(third);
    }
}

#[test]
fn a_link_that_goes_on_without_its_name_is_sent_until_another_one_has_the_name() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small());
    let tx = link.producer().unwrap();
    setup.start(all());
    setup.state();
    // In the process of the producer: both ends go on.
    link.remove().unwrap();
    for seq in 10..13 {
        std::thread::sleep(std::time::Duration::from_millis(700));
        publish(&tx, 64);
        assert_eq!(pieces(&setup.until(seq, seq + 1)).len(), 1);
    }
    let _second = setup.create("quotes", small().start(50)).producer().unwrap();
    let (_, next, cause) = setup.end();
    assert_eq!((next, cause), (13, EndCause::Removed));
    assert_eq!(setup.state().1, 50);
}

#[test]
fn the_identity_of_a_link_stays_when_the_bridge_or_the_producer_is_started_again() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small());
    drop(link.producer().unwrap());
    setup.start(all());
    let (origin, ..) = setup.state();
    setup.stop();
    setup.context.stop = Default::default();
    let again = small().dir(&setup.folder).create_or_take_over("quotes").unwrap();
    let tx = again.producer().unwrap();
    setup.start(all());
    publish(&tx, 64);
    let (new, ..) = match setup.next_of(|got| matches!(got, Got::State(of, ..) if of.producer == 2)) {
        Got::State(origin, next, _) => (origin, next),
        _ => unreachable!(),
    };
    assert_eq!(new.link, origin.link);
}

#[test]
fn a_link_on_which_nothing_happened_for_long_is_still_watched() {
    let long = || std::thread::sleep(std::time::Duration::from_millis(1500));
    for read in [Reading::Evictable, Reading::Reliable, Reading::Observer] {
        let mut setup = Setup::new();
        let link = setup.create("quotes", small());
        let tx = link.producer().unwrap();
        setup.start(Publish { read, ..all() });
        assert_eq!(setup.state().1, 10);
        for seq in 10..12 {
            long();
            publish(&tx, 64);
            assert_eq!(pieces(&setup.until(seq, seq + 1)).len(), 1);
        }
        long();
        kill(tx);
        assert_eq!(setup.end().2, EndCause::ProducerGone);
        let tx = link.producer().unwrap();
        publish(&tx, 64);
        assert_eq!(pieces(&setup.until(12, 13)).len(), 1);
        long();
        drop(tx);
        let closed = setup.next_of(|got| matches!(got, Got::End(_, _, EndCause::Closed)));
        assert!(matches!(closed, Got::End(_, 13, _)), "{closed:?}");
        let tx = link.producer().unwrap();
        publish(&tx, 64);
        assert_eq!(pieces(&setup.until(13, 14)).len(), 1);
        long();
        Link::remove_named(&setup.folder, "quotes").unwrap();
        setup.next_of(|got| matches!(got, Got::End(_, 14, EndCause::Removed)));
        let _third = setup.create("quotes", small().start(50)).producer().unwrap();
        while setup.state().1 != 50 {}
        long();
        setup.stop();
        setup.next_of(|got| matches!(got, Got::End(_, 50, EndCause::BridgeLeft)));
    }
}

#[test]
fn a_link_that_cannot_be_read_is_said_once_and_read_when_it_can_be() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", small().consumers(1));
    let tx = link.producer().unwrap();
    let other = link.consumer().unwrap();
    setup.start(all());
    eventually("it is said", || setup.has_event("refused"));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let refused = |setup: &Setup| {
        let events = setup.events.lock().unwrap();
        events.iter().filter(|of| of.event == "refused").map(|of| of.message.clone()).collect::<Vec<_>>()
    };
    assert!(
        refused(&setup).len() == 1 && refused(&setup)[0].contains("more consumers"),
        "{:?}",
        refused(&setup)
    );
    drop(other);
    setup.state();
    publish(&tx, 64);
    setup.until(10, 11);
}

#[test]
fn two_links_of_one_key_are_refused() {
    let mut setup = Setup::new();
    let _links = ["a", "b"].map(|name| setup.create(name, small()));
    setup.start(Publish { key: "tango/same".to_owned(), ..all() });
    eventually("it is said", || setup.has_event("refused"));
    let events = setup.events.lock().unwrap();
    let refused = events.iter().find(|of| of.event == "refused").unwrap();
    assert!(refused.link.as_deref() == Some("b") && refused.message.contains("{link}"), "{refused}");
}
