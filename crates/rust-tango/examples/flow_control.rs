//! A reader that is slower than the producer. With flow control, the producer gets no credits until the reader has
//! caught up. Without, the producer laps the reader, and the reader learns how many fragments it has lost.
//!
//! cargo run -p rust-tango --example flow_control

use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};

fn main() -> Result<(), TangoError> {
    println!("With flow control, in a ring of 4:");
    {
        let (mcache, dcache) = (MCache::<4>::new(), DCache::<4, 64>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(4));
        let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        let mut published = 0;
        while producer.publish(&[published], 0, 0, 0).is_ok() {
            published += 1;
        }
        assert_eq!(published, 4);
        println!("  published {published} fragments, then: {}", TangoError::NoCredits);

        let fragment = consumer.poll()?.expect("four fragments were published");
        assert_eq!(
            (producer.publish(&[4], 0, 0, 0), producer.held_by()),
            (Err(TangoError::NoCredits), Some(0))
        );
        println!("  the consumer holds fragment {}: still no credits", fragment.meta.seq);
        drop(fragment);
        producer.publish(&[4], 0, 0, 0)?;
        println!("  the consumer has dropped it, so one more was published");

        let mut expected = 1;
        while let Some(fragment) = consumer.poll()? {
            assert_eq!(fragment.payload.as_slice(), [expected]);
            expected += 1;
        }
        assert_eq!(expected, 5);
        println!("  nothing was lost");
    }

    println!("Without, in a ring of 4:");
    let (mcache, dcache, fseq) = (MCache::<4>::new(), DCache::<4, 64>::new(), Fseq::new(1));
    let producer = Producer::new(&mcache, &dcache, &fseq);
    let mut consumer = Consumer::new(&mcache, &dcache, 1);
    for n in 1..=10 {
        producer.publish(&[n], 0, 0, 0)?;
    }
    println!("  published 10 fragments, without credits");
    let (mut read, mut missed) = (0, 0);
    loop {
        match consumer.poll() {
            Ok(Some(fragment)) => {
                assert_eq!(u64::from(fragment.payload.as_slice()[0]), fragment.meta.seq);
                println!("  the reader gets fragment {}", fragment.meta.seq);
                read += 1;
            }
            Ok(None) => break,
            Err(TangoError::Overrun { lost, next }) => {
                println!("  the reader has lost {lost}, and continues with fragment {next}");
                missed += lost;
            }
            Err(error) => return Err(error), // the producer has died, for one
        }
    }
    assert_eq!((read, missed), (4, 6));
    Ok(())
}
