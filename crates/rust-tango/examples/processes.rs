//! A link between two processes: the parent makes it in shared memory, and a child opens it by its name.
//!
//! The child is this program again. It could be any other program that knows the name.
//!
//! cargo run --release -p rust-tango --example processes

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use rust_tango::{Link, TangoError};

const COUNT: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("consume"), Some(name)) => consume(&name),
        _ => produce(),
    }
}

fn produce() -> Result<(), Box<dyn Error>> {
    let name = format!("example-{}", std::process::id());
    // However this function ends, it drops `link`, which removes it.
    let link = Link::builder().depth(1024).mtu(64).remove_on_drop(true).create(&name)?;
    println!("parent: made {}", link.path().ok_or("a link in shared memory has a path")?.display());
    let tx = link.producer()?;
    let mut child = Command::new(std::env::current_exe()?).args(["consume", &name]).spawn()?;

    let result = (|| {
        // The child would miss what is published before it has joined. It might also fail and never join.
        while !tx.wait_for_consumers(1, Some(Duration::from_millis(100))) {
            if child.try_wait()?.is_some() {
                return Err("the child has ended before it joined".into());
            }
        }
        for number in 0..COUNT {
            tx.send(&number.to_le_bytes())?;
        }
        println!("parent: published {COUNT} messages");
        drop(tx); // closes the link: the child reads the rest, and ends
        if child.wait()?.success() { Ok(()) } else { Err("the child has failed".into()) }
    })();
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn consume(name: &str) -> Result<(), Box<dyn Error>> {
    // As soon as the link exists. Here it does already, but two services may start in any order.
    let link = Link::open_wait(name, Some(Duration::from_secs(10)))?;
    let mut rx = link.consumer()?;
    println!("child:  process {} has joined", std::process::id());
    let mut expected = 0;
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                // Read in place: the bytes lie where the parent has written them. (Small fragments that the consumer had
                // to wait for are copied out of the hot slot.)
                if fragment.payload.as_slice() != u64::to_le_bytes(expected) {
                    return Err(format!("message {expected} is wrong").into());
                }
                expected += 1;
            }
            Ok(None) => break, // closed, and everything was read
            // Everything that the parent has published was read. `wait_for_producer` would wait for a new one.
            Err(TangoError::ProducerGone) => {
                return Err(format!("the parent has died after {expected} messages").into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    println!("child:  received {expected} messages, each right and in its place");
    if expected == COUNT { Ok(()) } else { Err("messages are missing".into()) }
}
