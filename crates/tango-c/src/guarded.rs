//! No panic crosses the border: each exported function that returns a code is called while [`guard`](crate::error::guard)
//! panics where the function's own code would run.
use std::collections::BTreeSet;
use std::ptr::{null, null_mut};

use crate::consumer::tango_consumer;
use crate::error::fault;
use crate::link::tango_link;
use crate::producer::tango_producer;
use crate::status::*;
use crate::*;

const LINK: tango_link = tango_link { handle: 0 };
const TX: tango_producer = tango_producer { handle: 0 };
const RX: tango_consumer = tango_consumer { handle: 0 };

macro_rules! calls {
    ($($module:ident::$function:ident($($argument:expr),*);)*) => {
        /// Each function, and a call of it that would change nothing.
        const CALLS: &[(&str, fn() -> tango_status)] =
            &[$((stringify!($function), || $module::$function($($argument),*)),)*];
    };
}

#[rustfmt::skip] // one a line
calls! {
    options::tango_options_default(null_mut(), 0);
    link::tango_link_build(null(), null_mut());
    link::tango_link_create(null(), null(), null_mut());
    link::tango_link_create_or_take_over(null(), null(), null_mut());
    link::tango_link_open(null(), null(), null_mut());
    link::tango_link_open_wait(null(), null(), 0, null_mut());
    link::tango_link_close(LINK);
    link::tango_link_stop(LINK);
    link::tango_link_remove(LINK);
    link::tango_remove(null(), null());
    link::tango_link_check_trust(LINK);
    report::tango_link_geometry(LINK, null_mut(), 0);
    report::tango_link_report(LINK, null_mut(), 0);
    report::tango_link_consumers(LINK, null_mut(), 0, null_mut());
    report::tango_link_name(LINK, null_mut(), 0, null_mut());
    report::tango_link_path(LINK, null_mut(), 0, null_mut());
    report::tango_link_is_named(LINK, null_mut());
    report::tango_link_type_name(LINK, null_mut(), 0, null_mut());
    report::tango_link_type_size(LINK, null_mut());
    report::tango_link_type_align(LINK, null_mut());
    metrics::tango_link_metrics(LINK, null_mut(), 0);
    metrics::tango_link_consumer_metrics(LINK, null_mut(), 0, null_mut());
    producer::tango_producer_open(LINK, null_mut());
    producer::tango_producer_close(TX);
    producer::tango_producer_set_wait(TX, 0, 0);
    producer::tango_producer_set_patience(TX, 0);
    producer::tango_producer_next_seq(TX, null_mut());
    producer::tango_producer_mtu(TX, null_mut());
    producer::tango_producer_consumers(TX, null_mut());
    producer::tango_producer_held_by(TX, null_mut());
    producer::tango_producer_is_stopped(TX, null_mut());
    producer::tango_producer_beat(TX, 0);
    producer::tango_producer_wait_for_consumers(TX, 0, 0);
    producer::tango_producer_wait_until_drained(TX, 0);
    publish::tango_publish(TX, null(), 0, 0, 0, 0);
    publish::tango_send(TX, null(), 0, 0, 0, 0, 0);
    publish::tango_publish_batch(TX, null(), 0, 0, 0, 0, null_mut());
    publish::tango_skip(TX, 0, 0, null_mut());
    publish::tango_send_message(TX, null(), 0, 0, null_mut());
    loan::tango_loan(TX, 0);
    loan::tango_loan_write(TX, 0, null(), 0);
    loan::tango_loan_data(TX, null_mut());
    loan::tango_loan_truncate(TX, 0);
    loan::tango_loan_commit(TX, 0, 0, 0);
    loan::tango_loan_abandon(TX);
    consumer::tango_consumer_open(LINK, 0, 0, null_mut());
    consumer::tango_evictable_open(LINK, 0, 0, null_mut());
    consumer::tango_observer_open(LINK, 0, 0, null_mut());
    consumer::tango_consumer_close(RX);
    consumer::tango_consumer_set_wait(RX, 0, 0);
    consumer::tango_consumer_set_throughput(RX, 0);
    consumer::tango_consumer_next_seq(RX, null_mut());
    consumer::tango_consumer_is_closed(RX, null_mut());
    consumer::tango_consumer_wait_for_producer(RX, 0);
    read::tango_poll(RX, null_mut());
    read::tango_recv(RX, 0, null_mut());
    read::tango_fragment_release(RX, null_mut());
    read::tango_last_loss(null_mut(), null_mut());
    batch::tango_poll_batch(RX, null_mut(), 0, null_mut());
    batch::tango_batch_release(RX);
    descriptor::tango_consumer_descriptor(RX, null_mut());
}

#[test]
fn no_panic_leaves_a_function() {
    for (name, call) in CALLS {
        let code = fault::in_each_body(call);
        assert_eq!(code, TANGO_PANIC, "{name}: its body is not inside of the guard");
    }
    assert_ne!(CALLS[0].1(), TANGO_PANIC, "without the fault there is no panic");
}

/// The functions that return something else than a code cannot panic, and are not in `CALLS`.
#[test]
fn all_functions_of_the_header_are_called() {
    let header = include_str!("../include/tango.h");
    let code = header.lines().filter_map(|line| line.strip_prefix("enum tango_status "));
    let exported: BTreeSet<_> = code.filter_map(|rest| rest.split('(').next()).collect();
    let called: BTreeSet<_> = CALLS.iter().map(|(name, _)| *name).collect();
    assert_eq!(called, exported);
}
