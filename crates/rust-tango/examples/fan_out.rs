//! One producer, three readers: two consumers that get every fragment, and an observer that never holds the producer
//! back.
//!
//! cargo run --release -p rust-tango --example fan_out

use std::error::Error;
use std::thread;
use std::time::Duration;

use rust_tango::{Link, LinkError, TangoError};

const COUNT: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let link = Link::builder().depth(256).mtu(64).consumers(2).build()?;
    let tx = link.producer()?;

    let consumers: Vec<_> = ["recorder", "strategy"]
        .into_iter()
        .map(|name| {
            let mut rx = link.consumer()?;
            Ok(thread::spawn(move || {
                let (mut count, mut next) = (0_u64, rx.next_seq());
                rx.for_each(|meta, _bytes| {
                    assert_eq!(meta.seq, next, "a reliable consumer misses nothing");
                    next += 1;
                    count += 1;
                })?;
                // The link is closed. A producer that dies is an error of `for_each` instead.
                println!("{name:>8}: {count} of {COUNT}, none lost");
                Ok::<_, TangoError>(count)
            }))
        })
        .collect::<Result<_, LinkError>>()?;

    let mut ob = link.observer()?;
    let observer = thread::spawn(move || {
        let (mut seen, mut missed) = (0_u64, 0);
        loop {
            match ob.wait() {
                Ok(Some(_copy)) => seen += 1,
                Ok(None) => break,
                Err(TangoError::Overrun { lost, .. }) => missed += lost, // the next call continues behind the gap
                Err(error) => return Err(error),                         // the producer has died, for one
            }
            if seen % 1000 == 0 {
                thread::sleep(Duration::from_micros(200)); // a slow observer delays nobody
            }
        }
        println!("observer: {seen} of {COUNT}, {missed} lost");
        Ok(seen + missed)
    });

    for number in 0..COUNT {
        tx.send(&number.to_le_bytes())?; // waits for the consumers, not for the observer
    }
    drop(tx); // closes the link
    for consumer in consumers {
        assert_eq!(consumer.join().expect("consumers do not panic")?, COUNT);
    }
    assert_eq!(
        observer.join().expect("the observer does not panic")?,
        COUNT,
        "every fragment is read or reported lost"
    );
    Ok(())
}
