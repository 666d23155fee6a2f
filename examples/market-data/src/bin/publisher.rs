//! Publishes the quotes of a file on the link `quotes`, at the pace that they have in the file, or SPEED times as fast.
//! docs/tutorial.md runs it:
//!
//! cargo run --release --bin publisher -- quotes.csv SPEED

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use market_data::{LINK, Quote, read};
use rust_tango::{Link, Meta, timestamp};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publisher: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(String, f64)> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next()?;
    let speed = arguments.next().map_or(Some(1.0), |speed| speed.parse().ok())?;
    (arguments.next().is_none() && (0.001..=1e6).contains(&speed)).then_some((file, speed))
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some((file, speed)) = arguments() else {
        return Err("usage: publisher FILE [SPEED], where SPEED is from 0.001 to 1000000".into());
    };
    let quotes = read(&file)?;

    // A new link, or the one that a killed publisher has left, with the readers that are attached to it.
    let link = Link::builder()
        .depth(64)
        .consumers(4)
        .remove_on_drop(true)
        .of::<Quote>()
        .create_or_take_over(LINK)?;
    let tx = link.producer()?;
    let done = tx.producer().next_seq().wrapping_sub(link.link().geometry().start) as usize;
    let Some(rest) = quotes.get(done..) else {
        return Err(format!("{done} quotes were published, and {file} has {}", quotes.len()).into());
    };

    println!("waiting for a reader");
    if !tx.producer().wait_for_consumers(1, None) {
        return Err(format!("link {LINK} was stopped").into());
    }
    println!("publishing from quote {} on", done + 1);
    let begin = Instant::now();
    for quote in rest {
        let due = Duration::from_nanos(quote.time - rest[0].time).div_f64(speed);
        thread::sleep(due.saturating_sub(begin.elapsed()));
        let now = timestamp::compress(timestamp::now());
        tx.publish_blocking_with(quote, Meta::new().ts(now))?; // waits if a reader is 64 quotes behind
    }
    println!("published {} quotes", rest.len());
    Ok(()) // drops the producer, which closes the link, and then the link, which removes it
}
