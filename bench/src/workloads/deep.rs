//! A ring that no cache holds. What the kernel sizes has no row.

use std::rc::Rc;

use super::{Contest, DEEP, Rows, There, Unit, throughput};
use crate::peers::unread;
use crate::process::Folder;
use crate::raw;

pub(super) fn deep(folder: &Rc<Folder>) -> Contest {
    let rows = Rows::<There, 64, DEEP> { unsized_too: false, batches: true, ..Rows::new(folder) };
    Contest {
        key: "deep".into(),
        workload: "deep",
        title: format!("Throughput, 64 bytes, ring of {DEEP}, which leaves the cache"),
        unit: Unit::MillionPerSecond,
        at: DEEP as f64,
        rows: rows
            .limit("raw: tango's producer, nobody reads", |plan| unread::<64, DEEP>(plan, 0))
            .extra("raw: a copy into a ring, nobody reads", |plan| raw::copy::<64>(plan, DEEP))
            .extra(throughput::COPY, |plan| raw::copy_across::<64>(plan, DEEP))
            .everyone()
            .rows,
    }
}
