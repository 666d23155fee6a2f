//! Large payloads: one that is written straight into the ring (`loan`), and a message that is longer than
//! any fragment, which travels in parts and is put together again.
//!
//! cargo run -p rust-tango --example large_message

use std::error::Error;
use std::io::Write;
use std::thread;

use rust_tango::{Assembler, Link};

fn main() -> Result<(), Box<dyn Error>> {
    // Fragments of up to 64 KiB, and a megabyte for all that are under way: a ring of 64 lines does
    // not have to reserve 64 times 64 KiB.
    let link = Link::builder().depth(64).mtu(64 * 1024).region(1 << 20).build()?;
    let mut tx = link.producer()?;
    let mut rx = link.consumer()?;

    // In place: no buffer of one's own, no copy. Not committed, it would never have been.
    let mut loan = tx.loan(50_000)?;
    let mut written = 0;
    for line in 0..500 {
        let text = format!("line {line} of a report that is written where it is read\n");
        loan.write_all(text.as_bytes())?;
        written += text.len();
    }
    loan.truncate(written);
    loan.commit(1, 0, 0);
    let fragment = rx.poll()?.ok_or("the report is there")?;
    let report = String::from_utf8_lossy(fragment.payload.as_slice());
    println!("a loan of {} bytes begins: {}", fragment.payload.len(), report.lines().next().unwrap_or("?"));
    drop(fragment);

    // In parts: ten megabytes through one megabyte.
    let message: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = message.clone();
    let sender = thread::spawn(move || tx.send_message(&message, 2)); // then `tx` is dropped
    let mut assembler = Assembler::new(16 << 20);
    let mut whole = 0;
    while let Some(fragment) = rx.wait()? {
        if let Some(message) = assembler.push(&fragment)? {
            assert!(message == expected, "every byte is what it was");
            whole += 1;
            println!("a message of {} bytes came whole", message.len());
        }
    }
    let fragments = sender.join().expect("the sender does not panic")?;
    println!("it took {fragments} fragments");
    assert_eq!((whole, assembler.dropped()), (1, 0));
    Ok(())
}
