//! Reads the link `quotes`, and prints what came in each 10 seconds of it. docs/tutorial.md runs it:
//!
//! cargo run --release --bin reader

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use market_data::{LINK, Quote};
use rust_tango::{Link, TangoError, TypedFragment, timestamp};

/// Nanoseconds that are summed up in one line.
const PERIOD: u64 = 10_000_000_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reader: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    println!("waiting for link {LINK}");
    let link = Link::open_wait(LINK, None)?.of::<Quote>()?;
    let mut rx = link.consumer()?;
    println!("  time  symbol  quotes      mid  average  spread    latency");
    let mut table = Table::default();
    loop {
        let error = match rx.wait() {
            Ok(Some(quote)) => {
                let now = timestamp::now();
                let sent = timestamp::expand(TypedFragment::meta(&quote).ts, now);
                table.add(&quote, now.saturating_sub(sent)); // read in place
                continue;
            }
            Ok(None) => break, // closed, and everything was read
            Err(error) => error,
        };
        match error {
            TangoError::ProducerGone => {
                println!("the publisher has died after quote {}; waiting for the next one", table.count);
                rx.consumer_mut().wait_for_producer(None);
            }
            TangoError::ProducerReplaced { .. } => println!("a new publisher goes on"),
            error => return Err(error.into()),
        }
    }
    table.print();
    println!("read {} quotes, and the link is closed", table.count);
    Ok(())
}

/// What came of each symbol in this period.
#[derive(Default)]
struct Table {
    count: u64,
    period: u64,
    symbols: BTreeMap<[u8; 8], Symbol>,
}

#[derive(Default)]
struct Symbol {
    mid: f64,
    sum_of_mids: f64,
    sum_of_spreads: f64,
    latencies: Vec<u64>,
}

impl Table {
    fn add(&mut self, quote: &Quote, latency: u64) {
        let period = quote.time / PERIOD;
        if period != self.period {
            self.print();
            self.period = period;
            self.symbols.clear();
        }
        self.count += 1;
        let symbol = self.symbols.entry(quote.symbol).or_default();
        symbol.mid = (quote.bid + quote.ask) / 2.0;
        symbol.sum_of_mids += symbol.mid;
        symbol.sum_of_spreads += quote.ask - quote.bid;
        symbol.latencies.push(latency);
    }

    fn print(&mut self) {
        let until = (self.period + 1) * PERIOD / 1_000_000_000;
        for (name, symbol) in &mut self.symbols {
            let name = String::from_utf8_lossy(name);
            let quotes = symbol.latencies.len();
            let average = symbol.sum_of_mids / quotes as f64;
            let spread = symbol.sum_of_spreads / quotes as f64;
            let (_, median, _) = symbol.latencies.select_nth_unstable(quotes / 2);
            println!(
                "{until:>4} s  {:<6}  {quotes:>6}  {:>7.3}  {average:>7.3}  {spread:>6.3}  {:>6} us",
                name.trim_end_matches('\0'),
                symbol.mid,
                *median / 1000,
            );
        }
    }
}
