//! The other side of the links in the tests of the Python package.
//!
//!   tango-peer ROLE FOLDER LINK [COUNT]
//!
//! It says "ready" when the other side can go on. Message `i` has the tag `i`, and `8 + i % 600` bytes: `i` in eight bytes,
//! and then its lowest byte, again and again. Some fit a slot, and some do not.

use std::error::Error;
use std::time::Duration;

use rust_tango::{Link, Meta, TangoError, TypeName};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Quote {
    instrument: u64,
    bid: f64,
    ask: f64,
}

impl TypeName for Quote {}

fn message(i: u64) -> Vec<u8> {
    let mut bytes = i.to_le_bytes().to_vec();
    bytes.resize(8 + (i % 600) as usize, i as u8);
    bytes
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, folder, name, rest @ ..] = &arguments[..] else { return Err("ROLE FOLDER LINK".into()) };
    let count = rest.first().map_or(Ok(u64::MAX), |count| count.parse())?;
    let new = || Link::builder().dir(folder).depth(64).mtu(1024).consumers(4);
    match role.as_str() {
        // Publishes messages to a reliable consumer, and closes the link.
        "produce" => {
            let tx = new().create(name)?.producer()?;
            println!("ready");
            if !tx.wait_for_consumers(1, Some(Duration::from_secs(60))) {
                return Err("no consumer has come".into());
            }
            for i in 0..count {
                tx.publish_blocking_with(&message(i), Meta::new().sig(i))?;
            }
            tx.wait_until_drained(Some(Duration::from_secs(60)));
        }
        // Continues a link whose producer has died, with one message, and stays until its standard input ends.
        "take-over" => {
            let tx = new().create_or_take_over(name)?.producer()?;
            tx.publish_blocking_with(b"the next producer", Meta::new().sig(7))?;
            println!("ready");
            std::io::stdin().lines().count();
        }
        // Reads and checks messages until the link is closed.
        "consume" => {
            let mut rx = Link::open_in(folder, name)?.consumer()?;
            println!("ready");
            let mut read = 0;
            loop {
                match rx.wait() {
                    Ok(Some(fragment)) => {
                        let i = fragment.meta.sig;
                        if i != read || fragment.payload.as_slice() != message(i) {
                            return Err(format!("message {read} is wrong").into());
                        }
                        read += 1;
                    }
                    Ok(None) => break println!("{read} messages"),
                    Err(TangoError::ProducerGone) => break println!("{read} messages, producer gone"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // Keeps the first message, until it is killed.
        "hold" => {
            let mut rx = Link::open_in(folder, name)?.consumer()?;
            println!("ready");
            let held = rx.wait()?;
            println!("held");
            std::thread::sleep(Duration::from_secs(60));
            drop(held);
        }
        "produce-quotes" => {
            let tx = new().of::<Quote>().create(name)?.link().producer()?;
            println!("ready");
            tx.wait_for_consumers(1, Some(Duration::from_secs(60)));
            for i in 0..count {
                let quote = Quote { instrument: i, bid: i as f64 + 0.25, ask: i as f64 + 0.5 };
                tx.publish_blocking(quote.as_bytes(), 0, 0, 0)?;
            }
            tx.wait_until_drained(Some(Duration::from_secs(60)));
        }
        "consume-quotes" => {
            let mut rx = Link::open_in(folder, name)?.of::<Quote>()?.consumer()?;
            println!("ready");
            while let Some(quote) = rx.wait()? {
                println!("{} {} {}", quote.instrument, quote.bid, quote.ask);
            }
        }
        _ => return Err(format!("no role {role}").into()),
    }
    Ok(())
}
