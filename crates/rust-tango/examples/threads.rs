//! A link between two threads: made at run time, owned halves that move into their threads.
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
        // `wait` returns `None` once the producer has gone and everything has been read.
        while let Some(fragment) = rx.wait()? {
            let number: [u8; 8] = fragment.payload.as_slice()[..8].try_into().expect("64 bytes each");
            sum = sum.wrapping_add(u64::from_le_bytes(number));
            count += 1;
        }
        Ok::<_, rust_tango::TangoError>((count, sum))
    });
    let mut payload = [0; 64];
    for number in 0..COUNT {
        payload[..8].copy_from_slice(&number.to_le_bytes());
        tx.send(&payload)?; // waits if the reader is a whole ring behind
    }
    drop(tx);
    let (count, sum) = reader.join().expect("the reader does not panic")?;
    let seconds = begin.elapsed().as_secs_f64();

    println!(
        "{count} messages of 64 bytes in {seconds:.3} s: {:.1} million a second",
        count as f64 / seconds / 1e6
    );
    println!("their sum is {sum}, as it should be");
    assert_eq!((count, sum), (COUNT, COUNT * (COUNT - 1) / 2));
    Ok(())
}
