//! The borrowed API: the program owns the memory of the link (here, on the stack), and nothing is allocated. One
//! consumer reads what one producer publishes.
//!
//! cargo run -p rust-tango --example basic

use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};

fn main() -> Result<(), TangoError> {
    let mcache = MCache::<64>::new(); // a ring of 64 slots
    let dcache = DCache::<64, 256>::new(); // room for 64 payloads of up to 256 bytes
    let fseq = Fseq::new(1); // the first sequence number
    let fctl = Fctl::new(64); // credits: up to 64 fragments that are not consumed yet
    let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);

    for (text, price) in [("bid", 10_125), ("ask", 10_150), ("trade", 10_150)] {
        // The payload; `sig`, a tag of your choice (here the price); `ctl`, 0 for a whole message; `ts`, a timestamp.
        let meta = producer.publish(text.as_bytes(), price, 0, 0)?;
        println!("published fragment {}: {text} {price}", meta.seq);
    }
    let mut count = 0;
    // `?` reports a producer that has died, which `while let Ok(Some(..))` would not.
    while let Some(fragment) = consumer.poll()? {
        // The bytes are in the ring itself. The producer does not overwrite them until `fragment` is dropped.
        let text = String::from_utf8_lossy(fragment.payload.as_slice());
        println!("received fragment {}: {text} {}", fragment.meta.seq, fragment.meta.sig);
        count += 1;
    }
    assert_eq!(count, 3);
    println!("poll() has found nothing more; it never waits");
    Ok(())
}
