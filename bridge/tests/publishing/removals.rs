//! What is told of a link that was removed.

use rust_tango::Link;
use tango_bridge::wire::EndCause;

use super::setup::{Got, Setup, all, publish};

#[test]
fn a_producer_that_ends_and_removes_its_link_at_once_has_ended_in_good_order() {
    for _ in 0..3 {
        let mut setup = Setup::new();
        let link = setup.create("quotes", Link::builder().depth(1 << 16).mtu(64).start(0));
        let tx = link.producer().unwrap();
        setup.start(all());
        setup.state();
        (0..60_000).for_each(|_| _ = publish(&tx, 64));
        drop(tx);
        link.remove().unwrap();
        setup.until(0, 60_000);
        assert_eq!(setup.end().2, EndCause::Closed);
        let removed = setup.next_of(|got| matches!(got, Got::End(_, _, EndCause::Removed)));
        assert!(matches!(removed, Got::End(_, 60_000, _)), "{removed:?}");
    }
}
