//! The calls that are named as in std's channels: `send`, `try_send`, `recv`, `try_recv`, `recv_timeout`. The reader
//! is a type with a method that skips fragments, and lends the next quote to its caller.
//!
//! cargo run --release -p rust-tango --example recv

use std::error::Error;
use std::thread;
use std::time::Duration;

use rust_tango::{Consumer, Link, Meta, Received, RecvError, TrySendError};

const QUOTE: Meta = Meta::new().sig(1);
const TRADE: Meta = Meta::new().sig(2);
const QUOTES: u64 = 100_000;

/// The quotes of a link. Trades are counted, and skipped.
struct Quotes {
    rx: Consumer<'static>,
    trades: u64,
}

impl Quotes {
    fn next(&mut self) -> Result<Received<'_>, RecvError> {
        loop {
            match self.rx.recv_timeout(Duration::from_secs(10)) {
                Ok(quote) if quote.meta.sig == 1 => return Ok(quote),
                Ok(_) => self.trades += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let link = Link::builder().depth(1024).mtu(64).build()?;
    let tx = link.producer()?;
    let mut quotes = Quotes { rx: link.consumer()?, trades: 0 };

    let reader = thread::spawn(move || {
        let (mut count, mut bytes) = (0, 0);
        let end = loop {
            match quotes.next() {
                Ok(quote) => {
                    count += 1;
                    bytes += quote.payload.len();
                }
                // Each reason to stop has a name. `Lost` and `Corrupt` would not be one.
                Err(end @ (RecvError::Closed | RecvError::ProducerGone | RecvError::Timeout)) => break end,
                Err(error) => eprintln!("{error}"),
            }
        };
        (count, bytes, quotes.trades, end)
    });

    let mut full = 0_u64;
    for number in 0..QUOTES {
        tx.publish_blocking_with(&number.to_le_bytes(), QUOTE.ts_now())?;
        match tx.publish_with(b"a trade, if there is room", TRADE) {
            Ok(_) => {}
            Err(_) => full += 1,
        }
    }
    // One more, by the short call.
    let mut last = tx.try_send(b"neither a quote nor a trade");
    while last == Err(TrySendError::Full) {
        thread::yield_now();
        last = tx.try_send(b"neither a quote nor a trade");
    }
    last?;
    drop(tx); // closes the link

    let (count, bytes, skipped, end) = reader.join().expect("the reader does not panic");
    println!("{count} quotes of {bytes} bytes; {skipped} others were skipped; then: {end}");
    assert_eq!((count, bytes as u64, end), (QUOTES, 8 * QUOTES, RecvError::Closed));
    assert_eq!(skipped, QUOTES - full + 1);
    Ok(())
}
