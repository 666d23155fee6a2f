//! The borrowed API in its simplest form: the memory is yours (here, on the stack), nothing is
//! allocated, and one reader gets what one producer publishes.
//!
//! cargo run -p rust-tango --example basic

use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};

fn main() -> Result<(), TangoError> {
    // A ring of 64 lines, room for 64 payloads of up to 256 bytes, numbers from 1, up to 64 under way.
    let mcache = MCache::<64>::new();
    let dcache = DCache::<64, 256>::new();
    let fseq = Fseq::new(1);
    let fctl = Fctl::new(64);
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);

    for (text, price) in [("bid", 10_125), ("ask", 10_150), ("trade", 10_150)] {
        // Payload, a tag of your choice (here the price), control bits (0: a whole message), a timestamp.
        let meta = producer.publish(text.as_bytes(), price, 0, 0)?;
        println!("published fragment {}: {text} {price}", meta.seq);
    }
    let mut count = 0;
    while let Some(fragment) = consumer.poll()? {
        // These bytes lie in the ring itself; the producer leaves them alone until `fragment` is dropped.
        let text = String::from_utf8_lossy(fragment.payload.as_slice());
        println!("received fragment {}: {text} {}", fragment.meta.seq, fragment.meta.sig);
        count += 1;
    }
    assert_eq!(count, 3);
    println!("nothing more is there: poll() never waits");
    Ok(())
}
