//! A producer and two readers in tokio, on one thread with a timer. The producer awaits credits. One reader awaits
//! fragments, and the other watches its descriptor. Each of them could be in another process, and use no async runtime.
//!
//! cargo run --release -p rust-tango --features async --example tokio

use std::time::Duration;

use rust_tango::{AsyncConsumer, AsyncProducer, Link, TangoError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{interval, sleep, timeout};

const BURSTS: u64 = 5;
const IN_A_BURST: u64 = 20_000;
const COUNT: u64 = BURSTS * IN_A_BURST;

fn main() -> Result<(), BoxedError> {
    let name = format!("example-{}", std::process::id());
    let link = Link::builder().depth(1024).mtu(64).consumers(2).create(&name)?;
    let tx = link.producer()?.into_async()?;
    let readers = (link.consumer()?.into_async()?, link.consumer()?.into_async()?);
    link.remove()?; // all readers are attached, so the name is not needed any more

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ticks = tokio::spawn(async {
            let mut timer = interval(Duration::from_millis(50));
            for tick in 0_u64.. {
                timer.tick().await;
                println!("{} ms", tick * 50);
            }
        });
        let publishing = tokio::spawn(publishes(tx));
        let awaiting = tokio::spawn(awaits(readers.0));
        let watching = tokio::spawn(watches(readers.1));
        let (awaiting, watching) = (awaiting.await??, watching.await??);
        publishing.await??;
        ticks.abort();
        println!("awaited: {awaiting} messages, watched: {watching}");
        Ok::<_, BoxedError>(())
    })?;
    Ok(())
}

/// Publishes the messages, in bursts that are longer than the ring.
async fn publishes(mut tx: AsyncProducer) -> Result<(), TangoError> {
    for number in 0..COUNT {
        if number % IN_A_BURST == 0 {
            sleep(Duration::from_millis(50)).await;
        }
        tx.send(&number.to_le_bytes()).await?; // awaits the readers when the ring is full
    }
    Ok(()) // `tx` is dropped here, which closes the link
}

/// Awaits the messages, each for 20 ms at most before it says so and awaits it again.
async fn awaits(mut rx: AsyncConsumer) -> Result<u64, BoxedError> {
    let mut count = 0;
    loop {
        match timeout(Duration::from_millis(20), rx.recv()).await {
            Ok(Ok(Some(fragment))) => {
                check(fragment.payload.as_slice(), count)?;
                count += 1;
            }
            Ok(Ok(None)) => break, // closed, and everything was read
            Ok(Err(error)) => return Err(error.into()), // the producer has died, for one
            Err(_) => println!("nothing for 20 ms, after {count} messages"),
        }
    }
    complete(count)
}

/// Lets tokio watch the descriptor, and polls when it is readable.
async fn watches(rx: AsyncConsumer) -> Result<u64, BoxedError> {
    // SAFETY: an `AsyncConsumer` always has the same descriptor, and closes it only when it is dropped.
    let mut rx = unsafe { AsyncFd::register_with_interest(rx, Interest::READABLE) }?;
    let mut count = 0;
    loop {
        let mut guard = rx.readable_mut().await?;
        while let Some(fragment) = guard.get_inner_mut().poll()? {
            check(fragment.payload.as_slice(), count)?;
            count += 1;
        }
        if guard.get_inner().is_closed() {
            return complete(count);
        }
        // `poll` has found nothing, so the descriptor is not readable before there is a fragment.
        guard.clear_ready();
    }
}

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

fn check(bytes: &[u8], expected: u64) -> Result<(), BoxedError> {
    if bytes == expected.to_le_bytes() { Ok(()) } else { Err(format!("message {expected} is wrong").into()) }
}

fn complete(count: u64) -> Result<u64, BoxedError> {
    if count == COUNT { Ok(count) } else { Err(format!("{count} of {COUNT} messages").into()) }
}
