//! Storage of the borrowed API can be moved while nobody borrows it, together with everything published in
//! it. Whatever its size, readers find no byte there that nobody has written. Mostly for Miri: natively,
//! little of this can fail.
#![cfg(feature = "alloc")]

use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer};

type Storage<const SIZE: usize> = (MCache<4>, DCache<4, SIZE>, Fseq, Fctl);

fn storage<const SIZE: usize>() -> Storage<SIZE> {
    (MCache::new(), DCache::new(), Fseq::new(1), Fctl::new(4))
}

/// Byte `at` of fragment `n`.
fn byte(n: usize, at: usize) -> u8 {
    (n * 31 + at * 7 + 1) as u8
}

/// Sizes near the ends of granules. The last one is the largest possible.
fn sizes(size: usize) -> [usize; 4] {
    [size / 2 + 1, size.saturating_sub(1), size.min(97), size].map(|len| len.min(size))
}

#[inline(never)]
fn moved<T>(value: T) -> T {
    std::hint::black_box(value)
}

fn published_moved_and_read<const SIZE: usize>() {
    let storage = storage::<SIZE>();
    {
        let (mcache, dcache, fseq, fctl) = &storage;
        let tx = Producer::with_flow_control(mcache, dcache, fseq, fctl);
        for (n, len) in sizes(SIZE).into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|at| byte(n, at)).collect();
            tx.publish(&payload, 0, 0, 0).unwrap();
        }
    }
    let storage = Box::new(moved(storage));
    let (mcache, dcache, _, fctl) = &moved(*storage);
    let mut rx = Consumer::with_flow_control(mcache, dcache, fctl, 1);
    for (n, len) in sizes(SIZE).into_iter().enumerate() {
        let fragment = rx.poll().unwrap().unwrap();
        assert_eq!(fragment.payload.len(), len);
        for (at, found) in fragment.payload.as_slice().iter().enumerate() {
            assert_eq!(*found, byte(n, at), "byte {at} of {len}, SIZE is {SIZE}");
        }
    }
}

fn lent_and_written_in_part<const SIZE: usize>() {
    let (mcache, dcache, fseq, fctl) = &moved(storage::<SIZE>());
    let mut tx = Producer::with_flow_control(mcache, dcache, fseq, fctl);
    let mut rx = Consumer::with_flow_control(mcache, dcache, fctl, 1);
    // Once around the region, and a little more.
    for n in 0..7 {
        let mut loan = tx.loan(SIZE).unwrap();
        if n % 2 == 1 {
            loan.write_at(SIZE / 3, &[0xaa; 5][..5.min(SIZE - SIZE / 3)]);
        }
        loan.commit(0, 0, 0).unwrap();
        let sum: u64 =
            rx.poll().unwrap().unwrap().payload.as_slice().iter().map(|byte| u64::from(*byte)).sum();
        assert!(n > 0 || sum == 0, "a new region must be all zeros");
    }
}

fn observed_and_not_written<const SIZE: usize>() {
    let (mcache, dcache, fseq, _) = &moved(storage::<SIZE>());
    let mut tx = Producer::new(mcache, dcache, fseq);
    let mut rx = Consumer::new(mcache, dcache, 1);
    tx.loan(SIZE).unwrap().commit(0, 0, 0).unwrap();
    assert!(rx.poll().unwrap().unwrap().payload.as_slice().iter().all(|byte| *byte == 0));
}

macro_rules! of_each_size {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            // Below, at, and above whole words and granules. From 97 on, payloads lie in the region.
            super::$name::<1>();
            super::$name::<96>();
            super::$name::<97>();
            super::$name::<100>();
            super::$name::<127>();
            super::$name::<128>();
            super::$name::<129>();
            super::$name::<300>();
        }
    )*};
}

mod sized {
    of_each_size!(published_moved_and_read, lent_and_written_in_part, observed_and_not_written);
}
