//! Counters of a link: a producer and a consumer count what they do, and the main thread reads the counters while both
//! run.
//!
//! cargo run -p rust-tango --example metrics

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Metrics, Producer, TangoError};

// Storage can be static, because constructors are `const`. An empty ring takes no space in the binary.
static MCACHE: MCache<256> = MCache::new();
static DCACHE: DCache<256, 128> = DCache::new();
static FSEQ: Fseq = Fseq::new(1);
static FCTL: Fctl = Fctl::new(256);
static METRICS: Metrics = Metrics::new();
static RUNNING: AtomicBool = AtomicBool::new(true);

fn main() -> Result<(), Box<dyn Error>> {
    let producer = Producer::try_with_flow_control(&MCACHE, &DCACHE, &FSEQ, &FCTL)?.with_metrics(&METRICS);
    let mut consumer = Consumer::try_with_flow_control(&MCACHE, &DCACHE, &FCTL, 1)?.with_metrics(&METRICS);

    let writer = thread::spawn(move || {
        let mut count = 0_u64;
        while RUNNING.load(Relaxed) {
            producer.publish_blocking(&[count as u8; 100], count, 0, 0)?;
            count += 1;
        }
        Ok::<_, TangoError>(count) // the producer is dropped here, which closes the link
    });
    let reader = thread::spawn(move || {
        let mut count = 0_u64;
        // Returns when the link is closed and drained; an error if the producer has died.
        consumer.for_each(|meta, bytes| {
            assert_eq!((meta.sig, bytes[0]), (count, count as u8));
            count += 1;
            if count % 512 == 0 {
                thread::sleep(Duration::from_millis(1)); // other work, for which the producer has to wait
            }
        })?;
        Ok::<_, TangoError>(count)
    });

    for _ in 0..5 {
        thread::sleep(Duration::from_millis(150));
        let now = METRICS.snapshot();
        println!(
            "published {:>7}, consumed {:>7}, lag {:>3}, {:>5} fragments waited for credits",
            now.published,
            now.consumed,
            now.lag(),
            now.backpressure_events
        );
    }
    RUNNING.store(false, Relaxed);
    let published = writer.join().expect("the writer does not panic")?;
    let consumed = reader.join().expect("the reader does not panic")?;
    println!("at the end: {}", METRICS.snapshot());
    assert!(published > 0 && published == consumed);
    Ok(())
}
