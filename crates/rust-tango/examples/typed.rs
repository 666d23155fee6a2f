//! Typed messages: a link that carries values of one type, which readers read in place.
//!
//! cargo run --release -p rust-tango --features zerocopy --example typed

use std::error::Error;
use std::thread;

use rust_tango::{Link, TangoError, TypeName};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Its fields are at the same places in all programs (`repr(C)`), and it has no padding, which `IntoBytes` checks.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Quote {
    instrument: u64,
    bid: f64,
    ask: f64,
}

/// Programs recognise the type by its name, `Quote`, its size and its alignment.
impl TypeName for Quote {}

const COUNT: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    // `create(name)` instead of `build()` makes it for processes. Another process opens it by
    // `Link::open(name)?.of::<Quote>()?`.
    let link = Link::builder().depth(1024).of::<Quote>().build()?;
    let (tx, mut rx) = (link.producer()?, link.consumer()?);

    let reader = thread::spawn(move || {
        let mut spread = 0.0;
        while let Some(quote) = rx.wait()? {
            spread += quote.ask - quote.bid; // in place
        }
        Ok::<f64, TangoError>(spread)
    });
    for instrument in 0..COUNT {
        let bid = 100.0 + (instrument % 8) as f64;
        tx.send(&Quote { instrument, bid, ask: bid + 0.25 })?;
    }
    drop(tx); // closes the link
    let spread = reader.join().expect("the reader does not panic")?;
    println!("{COUNT} quotes with a spread of {spread} in all");
    assert_eq!(spread, COUNT as f64 * 0.25);

    // A program that expects another type finds out before it reads.
    let Err(error) = link.link().of::<[f64; 2]>() else { return Err("another type was accepted".into()) };
    println!("as another type: {error}");
    Ok(())
}
