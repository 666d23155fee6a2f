//! The time of a round trip of 64 bytes between two threads, in nanoseconds, ten times: what
//! `crates/tango-c/bench/round_trip.c` measures over the C interface. `crates/tango-c/bench/compare` runs both.

use std::time::Instant;

use rust_tango::{Consumer, Link, Producer, Start};

const WARM_UP: u32 = 100_000;
const ROUNDS: u32 = 10;
const TRIPS: u32 = 200_000;

fn trips(tx: &Producer<'_>, rx: &mut Consumer<'_>, count: u32) {
    let mut payload = [0_u8; 64];
    for n in 0..count {
        payload[..4].copy_from_slice(&n.to_ne_bytes());
        tx.publish(&payload, 0, 0, 0).expect("a credit");
        loop {
            if let Some(fragment) = rx.poll().expect("the other thread lives") {
                assert_eq!(fragment.payload.as_slice(), payload);
                break;
            }
            assert!(!rx.is_closed());
        }
    }
}

fn echo(tx: &Producer<'_>, rx: &mut Consumer<'_>) {
    loop {
        if let Some(fragment) = rx.poll().expect("the other thread lives") {
            tx.publish(fragment.payload.as_slice(), 0, 0, 0).expect("a credit");
            continue;
        }
        if rx.is_closed() {
            return;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (there, back) = (Link::builder().build()?, Link::builder().build()?);
    let (mut rx, tx) = (back.consumer()?, there.producer()?);
    let (answer, mut ask) = (back.producer()?, there.consumer_from(Start::Oldest)?);
    let thread = std::thread::spawn(move || echo(&answer, &mut ask));
    trips(&tx, &mut rx, WARM_UP);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        trips(&tx, &mut rx, TRIPS);
        println!("{:.1}", begin.elapsed().as_nanos() as f64 / f64::from(TRIPS));
    }
    drop(tx);
    thread.join().expect("no panic");
    Ok(())
}
