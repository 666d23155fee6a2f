//! The native half of the Python package `rust_tango`. What users import is `rust_tango/__init__.py`.
//!
//! ```text
//!   Link --- producer() ---> Producer --- loan() --------> Loan      writable buffers until it is committed
//!     `----- consumer() ---> Consumer --- recv(), next --> Fragment  read-only buffers until it is released
//!                                `------- batch() -------> Batch --> Fragment, ...
//! ```
//!
//! In Rust, a fragment borrows its consumer. In Python nothing borrows, so `lease` checks at run time what the borrow
//! checker would check: it has all the code that is unsafe for this reason, and the proof.
//!
//! Reading order: `errors`, `waiting` (without the interpreter's lock, and with signals), `bytes` (arguments that are
//! buffers), `lease`, `fragment` and `loan` (what is lent), `consumer`, `producer`, `options`, `link`.
#![deny(unsafe_code)]

mod errors;

mod waiting;

mod bytes;

mod lease;

mod fragment;
mod loan;

mod consumer;
mod producer;

mod options;

mod link;

/// Links between threads and processes. Import `rust_tango`, which has the documentation.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::consumer::Consumer;
    #[pymodule_export]
    use crate::fragment::{Batch, BatchIterator, Fragment};
    #[pymodule_export]
    use crate::link::Link;
    #[pymodule_export]
    use crate::loan::Loan;
    #[pymodule_export]
    use crate::producer::Producer;
}
