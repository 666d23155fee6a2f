//! A program that knows zenoh, and nothing of rust_tango: it prints what a `tango-bridge publish` sends.
//!
//! ```text
//! plain_subscriber ENDPOINT KEY [COUNT]     plain_subscriber tcp/127.0.0.1:7448 'tango/**' 5
//!
//! tango/quotes: link quotes, next fragment 7
//! tango/quotes: fragment 7, sig 1, ctl 0, ts 0: 68656c6c6f
//! tango/quotes: missing 3 fragments from 8 on
//! tango/quotes: end
//! ```
//!
//! It ends after COUNT fragments, if there is a COUNT. The encoding is described in `src/wire/mod.rs`. This file reads it by
//! hand, to show how little that takes. `plain_subscriber.py` is the same program in Python.

use std::collections::HashMap;
use std::error::Error;

use zenoh::{Config, Wait};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const HEADER: usize = 48;
const RECORD: usize = 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, key, ..] = &arguments[..] else {
        return Err("usage: plain_subscriber ENDPOINT KEY [COUNT]".into());
    };
    let mut left: u64 = arguments.get(2).map_or(Ok(u64::MAX), |count| count.parse())?;
    let mut config = Config::default();
    config.insert_json5("mode", "\"client\"")?;
    config.insert_json5("scouting/multicast/enabled", "false")?;
    config.insert_json5("connect/endpoints", &format!("[\"{endpoint}\"]"))?;
    let session = zenoh::open(config).wait()?;
    let subscriber = session.declare_subscriber(key.as_str()).wait()?;
    // What links there are. Later changes come by themselves, and so does the state of each link, every second.
    let mut next = HashMap::new();
    for reply in session.get(format!("{key}?state")).wait()? {
        if let Ok(sample) = reply.result() {
            left -= print(sample.key_expr().as_str(), &sample.payload().to_bytes(), &mut next, left)?;
        }
    }
    while left > 0 {
        let sample = subscriber.recv()?;
        left -= print(sample.key_expr().as_str(), &sample.payload().to_bytes(), &mut next, left)?;
    }
    session.close().wait()
}

/// An unsigned number, little-endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Prints a message. `next` has the number that is expected under each key. Returns how many fragments it has printed, at
/// most `left`.
fn print(key: &str, message: &[u8], next: &mut HashMap<String, u64>, left: u64) -> Result<u64> {
    if message.len() < HEADER || !message.starts_with(b"TNGB\x01") {
        return Err(format!("{key}: not a message of a tango-bridge").into());
    }
    let (header, body) = message.split_at(HEADER);
    let (kind, first, count) = (header[5], number(&header[32..40]), number(&header[40..48]));
    let mut printed = 0;
    match kind {
        1 => {
            if let Some(expected) = next.get(key).filter(|expected| **expected != first) {
                // It could be asked for: `?first=EXPECTED;count=N` after the key.
                println!("{key}: missing {} fragments from {expected} on", first.wrapping_sub(*expected));
            }
            let mut records = body;
            for at in 0..count.min(left) {
                let (record, rest) = records.split_at_checked(RECORD).ok_or("a record is cut")?;
                let (sig, ts, ctl) = (number(&record[..8]), number(&record[8..12]), number(&record[12..14]));
                let (payload, rest) =
                    rest.split_at_checked(number(&record[16..]) as usize).ok_or("a payload is cut")?;
                let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
                println!("{key}: fragment {}, sig {sig}, ctl {ctl}, ts {ts}: {hex}", first.wrapping_add(at));
                records = rest;
                printed += 1;
            }
            next.insert(key.to_owned(), first.wrapping_add(count));
        }
        2 => {
            let description: serde_json::Value = serde_json::from_slice(body)?;
            if !next.contains_key(key) {
                println!(
                    "{key}: link {}, next fragment {first}",
                    description["name"].as_str().unwrap_or_default()
                );
            }
        }
        3 => {
            println!("{key}: missing {count} fragments from {first} on");
            next.insert(key.to_owned(), first.wrapping_add(count));
        }
        4 => println!("{key}: end"),
        // Of a later version.
        _ => {}
    }
    Ok(printed)
}
