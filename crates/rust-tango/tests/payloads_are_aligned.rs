//! Every payload begins at a multiple of `Payload::ALIGNMENT`: in the ring, in the region, and in each kind of copy;
//! in borrowed storage, on the heap and in shared memory; whatever its length, and the MTU of its link.
#![cfg(feature = "alloc")]

mod common;

use common::{assert_is, bytes, few, payload, publish, sig};
use rust_tango::{Consumer, DCache, Fctl, Fragment, Fseq, MCache, Payload, Producer};

/// More empty polls than any reader makes in the ring before it switches to the hot slot.
const EMPTY_POLLS: usize = 20;

#[track_caller]
fn assert_aligned(bytes: &[u8], what: &str) {
    let offset = bytes.as_ptr() as usize % Payload::ALIGNMENT;
    assert_eq!(offset, 0, "{what}: a payload of {} bytes", bytes.len());
}

/// Whether the fragment is `seq`, aligned, and whole.
#[track_caller]
fn check(fragment: &Fragment<'_>, seq: u64, mtu: usize, what: &str) {
    assert_aligned(fragment.payload.as_slice(), what);
    assert_is(fragment, seq, mtu);
}

/// Fragments in every way in which `rx` reads: those that were there, one that it has waited for, and batches.
fn read_in_all_ways(tx: &Producer<'_>, rx: &mut Consumer<'_>, mtu: usize, what: &str) {
    for turn in 0..if cfg!(miri) { 8 } else { 40 } {
        let seq = tx.next_seq();
        match turn % 4 {
            // One that is there.
            0 => {
                publish(tx, mtu).unwrap();
                check(&rx.poll().unwrap().unwrap(), seq, mtu, what);
            }
            // One that it has waited for: from the hot slot, if it is small.
            1 => {
                for _ in 0..EMPTY_POLLS {
                    assert!(rx.poll().unwrap().is_none());
                }
                publish(tx, mtu).unwrap();
                check(&rx.poll().unwrap().unwrap(), seq, mtu, what);
            }
            2 => {
                publish(tx, mtu).unwrap();
                check(&rx.poll_if(|tag| tag == sig(seq)).unwrap().unwrap(), seq, mtu, what);
            }
            // Batches: as many as are there, or as a buffer for copies has room for.
            _ => {
                let published = 1 + turn / 4 % 4;
                (0..published).for_each(|_| _ = publish(tx, mtu).unwrap());
                let mut expected = seq..seq + published;
                while !expected.is_empty() {
                    let batch = rx.poll_batch(8).unwrap();
                    assert!(!batch.is_empty(), "{what}: a buffer has room for one fragment");
                    for fragment in &batch {
                        check(&fragment, expected.next().unwrap(), mtu, what);
                    }
                }
            }
        }
    }
}

/// A reader on borrowed storage, with a buffer that begins at any word.
fn on_borrowed_storage<const SIZE: usize>() {
    for skipped in 0..4 {
        let mut buffer = vec![0_u64; 4 + SIZE.div_ceil(8) + skipped];
        let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, SIZE>::boxed(), Fseq::new(1));
        let tx = Producer::new(&mcache, &dcache, &fseq);
        let mut rx = Consumer::observing(&mcache, &dcache, &mut buffer[skipped..], 1);
        read_in_all_ways(&tx, &mut rx, SIZE, "an observer with a buffer of the caller");
    }
    let (mcache, dcache) = (MCache::<8>::boxed(), DCache::<8, SIZE>::new());
    let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
    let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
    let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
    read_in_all_ways(&tx, &mut rx, SIZE, "a consumer on borrowed storage");
    let mut observer = Consumer::new(&mcache, &dcache, tx.next_seq());
    drop(rx);
    let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, tx.next_seq());
    for _ in 0..few(20) {
        let seq = publish(&tx, SIZE).unwrap().seq;
        check(&rx.poll().unwrap().unwrap(), seq, SIZE, "a second consumer");
        check(&observer.poll().unwrap().unwrap(), seq, SIZE, "an observer on borrowed storage");
    }
}

#[test]
fn on_borrowed_storage_of_any_size() {
    on_borrowed_storage::<0>();
    on_borrowed_storage::<300>();
    if !cfg!(miri) {
        on_borrowed_storage::<1>();
        on_borrowed_storage::<24>();
        on_borrowed_storage::<88>();
        on_borrowed_storage::<96>();
        on_borrowed_storage::<97>();
        on_borrowed_storage::<1000>();
    }
}

mod links {
    use super::*;
    use rust_tango::{Link, LinkBuilder, Start};

    /// Around the limits of the hot slot, of slots and of granules, and far beyond.
    const MTUS: &[usize] =
        if cfg!(miri) { &[33, 300] } else { &[0, 1, 8, 31, 33, 64, 88, 97, 300, 1000, 4097, 20_000] };

    fn builder(mtu: usize) -> LinkBuilder {
        Link::builder().depth(8).mtu(mtu).consumers(2)
    }

    fn read(link: &Link, mtu: usize, memory: &str) {
        let tx = link.producer().unwrap();
        // Several times, in boxes: a copy that is aligned by chance is not aligned in all of them.
        for _ in 0..if cfg!(miri) { 1 } else { 4 } {
            let mut in_place = Box::new(link.consumer().unwrap());
            read_in_all_ways(&tx, &mut in_place, mtu, &format!("{memory}, a consumer"));
            drop(in_place);
            let mut evictable = Box::new(link.evictable_consumer(Start::Next).unwrap());
            read_in_all_ways(&tx, &mut evictable, mtu, &format!("{memory}, an evictable consumer"));
            drop(evictable);
            let mut observer = Box::new(link.observer().unwrap());
            read_in_all_ways(&tx, &mut observer, mtu, &format!("{memory}, an observer"));
        }
    }

    fn lend(link: &Link, mtu: usize, memory: &str) {
        let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        for len in [0, 1, 40, 97, 500, mtu].into_iter().filter(|len| *len <= mtu) {
            let seq = tx.next_seq();
            let mut loan = tx.loan(len).unwrap();
            let slice = loan.as_mut_slice().unwrap();
            assert_aligned(slice, &format!("{memory}, a loan"));
            slice.copy_from_slice(&bytes(seq, len));
            loan.commit(0, 0, 0).unwrap();
            let fragment = rx.poll().unwrap().unwrap();
            assert_aligned(fragment.payload.as_slice(), &format!("{memory}, what was lent"));
            assert_eq!(fragment.payload.as_slice(), bytes(seq, len));
        }
    }

    #[test]
    fn on_the_heap() {
        for &mtu in MTUS {
            read(&builder(mtu).build().unwrap(), mtu, "heap");
            read(&builder(mtu).slot(128).build().unwrap(), mtu, "heap, small slots");
            lend(&builder(mtu).observers(false).build().unwrap(), mtu, "heap");
        }
    }

    /// A region that is no multiple of the payloads, so that they begin at every granule.
    #[test]
    fn in_a_small_region() {
        let link = builder(300).region(1024).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let mut observer = link.observer().unwrap();
        for _ in 0..few(100) {
            let seq = publish(&tx, 300).unwrap().seq;
            check(&rx.poll().unwrap().unwrap(), seq, 300, "a consumer");
            check(&observer.poll().unwrap().unwrap(), seq, 300, "an observer");
        }
    }

    /// A batch in one call.
    #[test]
    fn in_published_batches() {
        for &mtu in MTUS {
            let link = builder(mtu).build().unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
            let payloads: Vec<_> = (1..=5).map(|n| payload(n, mtu)).collect();
            let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            assert_eq!(tx.publish_batch(&slices, 0, 0), 5);
            let batch = rx.poll_batch(8).unwrap();
            assert_eq!(batch.len(), 5);
            for (fragment, payload) in batch.iter().zip(&payloads) {
                assert_aligned(fragment.payload.as_slice(), "a fragment of a batch");
                assert_eq!(fragment.payload.as_slice(), payload);
            }
        }
    }

    #[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
    #[test]
    fn in_shared_memory() {
        use super::common::process::TestFolder;
        use std::os::unix::fs::PermissionsExt;

        let folder = TestFolder::new();
        for &mtu in MTUS {
            read(&builder(mtu).dir(folder.path()).create("quotes").unwrap(), mtu, "shared memory");
            let small = builder(mtu).slot(128).dir(folder.path()).create("quotes").unwrap();
            read(&small, mtu, "shared memory, small slots");
            drop(small);
            let lending = builder(mtu).observers(false).dir(folder.path()).create("quotes").unwrap();
            lend(&lending, mtu, "shared memory");
        }
        // A member of a group reads by copy, and the producer waits for it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o710)).unwrap();
        let group = nix::unistd::Gid::effective().as_raw();
        for &mtu in MTUS {
            let link = builder(mtu).consumer_group(group).dir(folder.path()).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            for _ in 0..4 {
                let mut member = Box::new(link.consumer().unwrap());
                assert!(member.is_reliable());
                read_in_all_ways(&tx, &mut member, mtu, "a member of a group");
            }
        }
    }

    #[cfg(all(feature = "async", target_os = "linux", not(miri)))]
    #[test]
    fn of_async_readers() {
        use super::common::executor::{KINDS, block_on};

        for (kind, mtu) in KINDS.into_iter().flat_map(|kind| MTUS.iter().map(move |mtu| (kind, *mtu))) {
            let link = builder(mtu).build().unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), kind(&link).unwrap().into_async().unwrap());
            for _ in 0..10 {
                let seq = publish(&tx, mtu).unwrap().seq;
                block_on(async {
                    check(&rx.recv().await.unwrap().unwrap(), seq, mtu, "an async reader");
                });
            }
        }
    }
}
