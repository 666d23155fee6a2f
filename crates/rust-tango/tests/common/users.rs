//! Other users, whom a child process of a test can become. Only root can.

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// Users that need no entry anywhere. Each has a group of the same number.
pub(crate) const OWNER: u32 = 61_001;
pub(crate) const MEMBER: u32 = 61_002;
pub(crate) const STRANGER: u32 = 61_003;
pub(crate) const HOSTILE: u32 = 61_004;
/// An additional group of all but `STRANGER`.
pub(crate) const GROUP: u32 = 61_500;

/// Becomes another user for the rest of this process. Root stays root.
pub(crate) fn become_user(user: u32) {
    if user == 0 {
        return;
    }
    let groups: &[Gid] = if user == STRANGER { &[] } else { &[Gid::from_raw(GROUP)] };
    setgroups(groups).unwrap();
    setgid(Gid::from_raw(user)).unwrap();
    setuid(Uid::from_raw(user)).unwrap();
    assert!(setuid(Uid::from_raw(0)).is_err(), "root cannot be regained");
}
