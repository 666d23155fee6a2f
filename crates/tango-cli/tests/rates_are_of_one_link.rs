//! Rates are those of one link: another one that takes its name begins without them, however much it has counted.

mod common;

use std::fs;

use common::{Running, TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::Link;
use serde_json::Value;

/// The link, in each array that was printed so far as a whole.
fn seen(watch: &Running) -> Vec<Value> {
    let text = fs::read_to_string(&watch.out).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let arrays = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    arrays.filter_map(|array| array.get(0).cloned()).collect()
}

#[test]
fn a_replaced_link_has_no_rate_of_the_old_one() {
    let folder = TestFolder::new();
    let link = |fragments: u64| {
        let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create("x").unwrap();
        let tx = link.producer().unwrap();
        for _ in 0..fragments {
            tx.publish(b"x", 0, 0, 0).unwrap();
        }
        link
    };
    let first = link(5);
    let published = |element: &Value| element["metrics"]["published"].as_u64();
    let watch = folder.start("ls --watch 0.1 --json");
    wait_until("rates", || seen(&watch).iter().any(|element| element["rates"]["fragments"] == 0.0));
    // It looks again when the link was replaced, and not between that and what the new one publishes.
    watch.signal(Signal::SIGSTOP);
    wait_until("stop", || {
        fs::read_to_string(format!("/proc/{}/stat", watch.pid())).unwrap().contains(") T ")
    });
    drop(first);
    let _second = link(1000);
    watch.signal(Signal::SIGCONT);
    let of_second = |element: &&Value| published(element) == Some(1000);
    let rate = |element: &Value| element["rates"]["fragments"].as_f64();
    wait_until("rates of the second link", || {
        seen(&watch).iter().filter(of_second).any(|element| rate(element).is_some())
    });
    let rates: Vec<_> = seen(&watch).iter().filter(of_second).map(rate).collect();
    assert!(rates[0].is_none() && rates.iter().flatten().all(|rate| *rate == 0.0), "{rates:?}");
}
