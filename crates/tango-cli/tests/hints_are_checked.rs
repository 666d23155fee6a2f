//! `TANGO_HINTS` sets what links do for speed. A word that is not known is an error that names it, and no link is made.

mod common;

use common::{TestFolder, wait_until};
use nix::sys::signal::Signal;

#[test]
fn unknown_hints_are_an_error() {
    let folder = TestFolder::new();
    let send = |hints: &str| folder.start_in_shell(&format!("TANGO_HINTS='{hints}' exec \"$0\" send quotes"));
    for hints in ["fast", "prefetch=0", "none,evict"] {
        send(hints).finish().assert_failed(2, &["TANGO_HINTS", hints, "hot-slot"]);
        assert_eq!(folder.list(), Vec::<String>::new(), "{hints}");
    }
    for hints in ["", "none", "prefetch=4,hot-slot"] {
        let sender = send(hints);
        wait_until("a link", || !folder.list().is_empty());
        sender.signal(Signal::SIGTERM);
        assert_eq!(sender.wait().code(), 128 + Signal::SIGTERM as i32, "{hints:?}");
    }
}
