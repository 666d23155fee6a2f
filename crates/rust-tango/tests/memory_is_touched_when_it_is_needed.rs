//! Making a link, or opening one, touches little of its memory, unless the maker wishes otherwise. In shared memory,
//! the space is reserved in both cases. (One test, because it measures the memory of the whole process.)
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::os::unix::fs::MetadataExt;

use common::process::TestFolder;
use rust_tango::{Link, LinkBuilder};

/// Bytes of this process in memory.
fn resident() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

/// By how many bytes the memory of this process grows.
fn growth<T>(make: impl FnOnce() -> T) -> (T, i64) {
    let before = resident();
    let made = make();
    (made, resident() - before)
}

const RING: i64 = 64 << 20;
const REGION: i64 = 64 << 20;

fn builder() -> LinkBuilder {
    Link::builder().depth(1 << 19).mtu(4096).region(REGION as usize)
}

#[test]
fn memory_is_touched_when_it_is_needed() {
    let folder = TestFolder::new();
    let all = RING + REGION;
    for prefault in [false, true] {
        let is_right = |growth: i64, what: &str| {
            let (least, most) = if prefault { (all, all + all / 8) } else { (0, all / 8) };
            // The kernel counts in steps, so a few pages may be missing.
            let (least, most) = (least - all / 8, most);
            assert!((least..most).contains(&growth), "{what} took {growth} bytes, prefault {prefault}");
        };
        let builder = || builder().prefault(prefault);
        let (heap, grown) = growth(|| {
            let link = builder().build().unwrap();
            (link.producer().unwrap(), link.consumer().unwrap(), link)
        });
        is_right(grown, "a link on the heap");
        drop(heap);

        let (made, grown) = growth(|| {
            let link = builder().dir(folder.path()).create("quotes").unwrap();
            (link.producer().unwrap(), link)
        });
        // The process has two mappings of the memory, one to write and one to read.
        is_right(grown / 2, "making a link in shared memory");
        let tx = std::fs::metadata(folder.path().join("quotes/tx")).unwrap();
        assert!(tx.len() >= all as u64 && tx.blocks() * 512 >= tx.len(), "{tx:?}");
        let (opened, grown) = growth(|| {
            let link = Link::open_in(folder.path(), "quotes").unwrap();
            (link.consumer().unwrap(), link.observer().unwrap(), link)
        });
        is_right(grown, "joining a link in shared memory");
        drop((made, opened));
    }
}
