//! What a program may do with a link whose state it does not know. Tests and fuzz targets use it.

use rust_tango::{Consumer, Link, Start, TangoError};

/// Reads everything by every reading method and passes every byte to `look`. The files do not change
/// meanwhile, so after a bounded number of calls there must be nothing left to read. The bound has some
/// slack: now and then a reader asks whether its producer lives and then polls again, which may fall into the
/// last calls.
#[track_caller]
pub(crate) fn comes_to_rest(reader: &mut Consumer<'_>, depth: usize, mut look: impl FnMut(&[u8])) {
    let calls = 40 * depth;
    let mut rest = 0;
    for call in 0..2 * calls {
        if call >= calls && rest >= 8 {
            break;
        }
        let found = match call % 4 {
            0 | 1 => reader.poll().map(|found| {
                found.is_some_and(|fragment| {
                    look(fragment.payload.as_slice());
                    true
                })
            }),
            2 => reader.poll_batch(usize::MAX).map(|batch| {
                batch.iter().for_each(|fragment| look(fragment.payload.as_slice()));
                !batch.is_empty()
            }),
            _ => reader.poll_if(|sig| sig % 3 == 0).map(|found| {
                found.is_some_and(|fragment| {
                    look(fragment.payload.as_slice());
                    true
                })
            }),
        };
        let _ = reader.is_closed();
        rest = match found {
            Ok(false) | Err(TangoError::ProducerGone) => rest + 1,
            Ok(true) | Err(_) => 0,
        };
    }
    assert!(
        rest >= 8,
        "after {} calls {reader:?} still returns something; idle calls at the end: {rest}",
        2 * calls
    );
}

/// Makes every call that a program can make without knowing the state of the link. Each must return.
pub(crate) fn use_it_all(link: &Link, look: impl Fn(&[u8])) {
    let geometry = link.geometry();
    let depth = geometry.depth;
    let _ = link.status();
    for start in [Start::Oldest, Start::Next, Start::At(3), Start::At(u64::MAX)] {
        let mut readers = Vec::new();
        readers.extend(link.observer_from(start));
        readers.extend(link.evictable_consumer(start));
        readers.extend(link.consumer_from(start));
        for reader in &mut readers {
            comes_to_rest(reader, depth, &look);
        }
        let _ = link.status();
    }
    let mut readers = [link.observer_from(Start::Oldest), link.evictable_consumer(Start::Oldest)];
    let Ok(mut tx) = link.producer() else { return };
    for round in 0..3 * depth {
        let _ = tx.publish(&vec![round as u8; round * 37 % (geometry.mtu + 1)], round as u64, 0, 0);
        if let Ok(mut loan) = tx.loan(1 + round * 9) {
            loan.write_at(0, &[round as u8]);
            let _ = loan.commit(round as u64, 0, 0);
        }
        let _ = (tx.consumers(), tx.held_by(), tx.is_drained(), link.status());
        for reader in readers.iter_mut().flatten() {
            if let Ok(Some(fragment)) = reader.poll() {
                look(fragment.payload.as_slice());
            }
        }
    }
    drop(tx);
    for reader in readers.iter_mut().flatten() {
        comes_to_rest(reader, depth, &look);
    }
}
