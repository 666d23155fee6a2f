//! A link between two processes: the parent makes it in shared memory, a child opens it by name.
//!
//! The child is this program again. In real life it would be another one, and they would agree on nothing
//! but the name.
//!
//! cargo run --release -p rust-tango --example processes

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use rust_tango::Link;

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
    let link = Link::builder().depth(1024).mtu(64).create(&name)?;
    println!("parent: made {}", link.path().ok_or("a shared link has a path")?.display());
    let tx = link.producer()?;
    let mut child = Command::new(std::env::current_exe()?).args(["consume", &name]).spawn()?;

    // What is published before the child has joined would be lost to it. Ask now and then whether it
    // has failed instead of joining.
    let result = (|| {
        while !tx.wait_for_consumers(1, Some(Duration::from_millis(100))) {
            if child.try_wait()?.is_some() {
                return Err("the child has ended too early".into());
            }
        }
        for number in 0..COUNT {
            tx.send(&number.to_le_bytes())?;
        }
        println!("parent: published {COUNT} messages");
        drop(tx); // the child drains the link and ends
        if child.wait()?.success() { Ok(()) } else { Err("the child has failed".into()) }
    })();
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    link.remove()?;
    result
}

fn consume(name: &str) -> Result<(), Box<dyn Error>> {
    // Before the first reader, `link.map_writable()?` would trade protection by the page tables for speed.
    let link = Link::open(name)?;
    let mut rx = link.consumer()?;
    println!("child:  process {} has joined", std::process::id());
    let mut expected = 0;
    while let Some(fragment) = rx.wait()? {
        // Read where the parent has written them: one copy of the bytes for both processes.
        if fragment.payload.as_slice() != u64::to_le_bytes(expected) {
            return Err(format!("message {expected} is wrong").into());
        }
        expected += 1;
    }
    println!("child:  received {expected} messages, each right and in its place");
    if expected == COUNT { Ok(()) } else { Err("messages are missing".into()) }
}
