//! The command `tango-bridge`. The code is in the library of this package.

fn main() {}
