//! Who was cut off while a link ended and was removed learns it later.

use std::collections::BTreeSet;

use rust_tango::{Link, LinkBuilder};
use tango_bridge::wire::{EndCause, GapCause, Origin};

use super::setup::{Got, Setup, all, gaps, pieces, publish};

fn small() -> LinkBuilder {
    Link::builder().depth(64).mtu(64).start(10)
}

impl Setup {
    /// The next of the messages that are told again of a link that was removed. Nothing else comes meanwhile.
    fn told_again(&mut self) -> (u64, Vec<EndCause>) {
        while !matches!(self.next(), Got::LastState(..)) {}
        let (mut ends, mut last) = (Vec::new(), None);
        loop {
            match self.next() {
                Got::End(_, next, cause) => {
                    assert_eq!(*last.get_or_insert(next), next);
                    ends.push(cause);
                }
                Got::LastState(_, next, description) => {
                    assert_eq!((Some(next), &*description.name), (last, "quotes"));
                    return (next, ends);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn origin(&mut self) -> Origin {
        self.state().0
    }
}

#[test]
fn the_last_number_and_the_end_are_told_again_and_answered_until_a_link_comes() {
    let mut setup = Setup::new();
    setup.start(all());
    let link = setup.create("quotes", small());
    let tx = link.producer().unwrap();
    let origin = setup.origin();
    (0..5).for_each(|_| _ = publish(&tx, 64));
    setup.until(10, 15);
    drop(tx);
    assert_eq!(setup.end().2, EndCause::Closed);
    link.remove().unwrap();
    drop(link);
    setup.next_of(|got| matches!(got, Got::End(_, 15, EndCause::Removed)));
    for _ in 0..4 {
        assert_eq!(setup.told_again(), (15, vec![EndCause::Closed, EndCause::Removed]));
    }
    let state = setup.ask("quotes", "state");
    assert!(matches!(&state[..], [Ok(Got::LastState(of, 15, _))] if *of == origin), "{state:?}");
    let gap = |first, count| vec![Ok(Got::Gap(origin, first, count, GapCause::Overrun))];
    assert_eq!(setup.ask("quotes", "first=12;count=50"), gap(12, 3));
    assert_eq!(setup.ask("quotes", "first=12;count=2"), gap(12, 2));
    assert_eq!(setup.ask("quotes", "first=15;count=2"), []);

    // Another one of this name: from then on, nothing is told of the first.
    let second = setup.create("quotes", small().start(50));
    let tx = second.producer().unwrap();
    let new = setup.origin();
    assert_ne!(new.link, origin.link);
    publish(&tx, 64);
    assert_eq!(pieces(&setup.until(50, 51)).len(), 1);
    assert!(gaps(&[setup.ask("quotes", "first=50;count=1").remove(0).unwrap()]).is_empty());
    for _ in 0..3 {
        let got = setup.next();
        assert!(matches!(&got, Got::State(of, ..) if of.link == new.link), "{got:?}");
    }
    Link::remove_named(&setup.folder, "quotes").unwrap();
    drop(tx);
    setup.next_of(|got| matches!(got, Got::End(_, 51, EndCause::Removed)));
    for _ in 0..3 {
        assert_eq!(setup.told_again().0, 51);
    }
}

#[test]
fn the_end_is_heard_by_who_was_cut_off_when_the_link_was_removed() {
    let mut setup = Setup::new();
    setup.start(all());
    let links = (0..30).map(|at| setup.create(&format!("quotes.{at}"), small())).collect::<Vec<_>>();
    (0..30).for_each(|_| _ = setup.origin());
    for link in links {
        let tx = link.producer().unwrap();
        publish(&tx, 64);
        drop(tx);
        link.remove().unwrap();
    }
    // Twice the time for which a name without a link is kept.
    std::thread::sleep(std::time::Duration::from_secs(2));
    // A program that has heard nothing so far.
    setup.forget();
    let mut heard = BTreeSet::new();
    while heard.len() < 30 {
        if let Got::LastState(_, next, description) = setup.next() {
            assert_eq!(next, 11);
            heard.insert(description.name);
        }
    }
}

#[test]
fn a_producer_that_ends_and_removes_its_link_at_once_has_ended_in_good_order() {
    for _ in 0..3 {
        let mut setup = Setup::new();
        let link = setup.create("quotes", Link::builder().depth(1 << 16).mtu(64).start(0));
        let tx = link.producer().unwrap();
        setup.start(all());
        setup.origin();
        (0..60_000).for_each(|_| _ = publish(&tx, 64));
        drop(tx);
        link.remove().unwrap();
        setup.until(0, 60_000);
        assert_eq!(setup.end().2, EndCause::Closed);
        let removed = setup.next_of(|got| matches!(got, Got::End(_, _, EndCause::Removed)));
        assert!(matches!(removed, Got::End(_, 60_000, _)), "{removed:?}");
    }
}
