//! Large payloads: one that is written in place (`loan`), and a message that is longer than the MTU, which travels in
//! several fragments (`send_message`) and is put together by an `Assembler`.
//!
//! cargo run -p rust-tango --example large_message

use std::error::Error;
use std::io::Write;
use std::thread;

use rust_tango::{Assembler, Link};

fn main() -> Result<(), Box<dyn Error>> {
    // Fragments of up to 64 KiB, and 1 MiB for all that are not consumed yet. Without `region`, the link would take
    // 64 times 64 KiB.
    let link = Link::builder().depth(64).mtu(64 * 1024).region(1 << 20).build()?;
    let mut tx = link.producer()?;
    let mut rx = link.consumer()?;

    // The text is written where the consumer reads it. A loan that is dropped without `commit` publishes nothing.
    let mut loan = tx.loan(50_000)?;
    let mut written = 0;
    for line in 0..500 {
        let text = format!("line {line} of a report that is written where it is read\n");
        loan.write_all(text.as_bytes())?;
        written += text.len();
    }
    loan.truncate(written);
    loan.commit(1, 0, 0)?;
    let fragment = rx.poll()?.ok_or("the report was not published")?;
    let report = String::from_utf8_lossy(fragment.payload.as_slice());
    println!("a loan of {} bytes begins: {}", fragment.payload.len(), report.lines().next().unwrap_or("?"));
    drop(fragment);

    // Ten megabytes, through a region of one.
    let message: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = message.clone();
    let sender = thread::spawn(move || tx.send_message(&message, 2)); // then `tx` is dropped: the link is closed
    let mut assembler = Assembler::new(16 << 20);
    let mut whole = 0;
    // A sender that dies half way is an error of `wait`: the part of its message that came is not taken for a whole one.
    while let Some(fragment) = rx.wait()? {
        if let Some(message) = assembler.push(&fragment)? {
            assert!(message == expected, "a byte has changed");
            whole += 1;
            println!("received a message of {} bytes", message.len());
        }
    }
    let fragments = sender.join().expect("the sender does not panic")?;
    println!("it was sent in {fragments} fragments");
    assert_eq!((whole, assembler.dropped()), (1, 0));
    Ok(())
}
