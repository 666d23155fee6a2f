//! A link between two threads: its producer and its consumer own their share of the memory, and move into their threads.
//!
//! cargo run --release -p rust-tango --example threads

use std::error::Error;
use std::thread;
use std::time::Instant;

use rust_tango::Link;

const COUNT: u64 = 500_000;

fn main() -> Result<(), Box<dyn Error>> {
    let link = Link::builder().depth(1024).mtu(64).build()?;
    let tx = link.producer()?;
    let mut rx = link.consumer()?;

    let begin = Instant::now();
    let reader = thread::spawn(move || {
        let (mut count, mut sum) = (0, 0_u64);
        // `None`: the producer has closed the link, and everything was read. If the producer panics, `wait` returns
        // `TangoError::ProducerGone` instead, after all that was published.
        while let Some(fragment) = rx.wait()? {
            let number: [u8; 8] =
                fragment.payload.as_slice()[..8].try_into().expect("payloads have 64 bytes");
            sum = sum.wrapping_add(u64::from_le_bytes(number));
            count += 1;
        }
        Ok::<_, rust_tango::TangoError>((count, sum))
    });
    let mut payload = [0; 64];
    for number in 0..COUNT {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        tx.send(&payload)?; // waits if the reader is a full ring behind
    }
    drop(tx); // closes the link
    let (count, sum) = reader.join().expect("the reader does not panic")?;
    let seconds = begin.elapsed().as_secs_f64();

    println!(
        "{count} messages of 64 bytes in {seconds:.3} s: {:.1} million a second",
        count as f64 / seconds / 1e6
    );
    assert_eq!((count, sum), (COUNT, COUNT * (COUNT - 1) / 2));
    println!("their sum is {sum}, which is right");
    Ok(())
}
