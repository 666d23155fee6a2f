//! Which users may use a link: the permissions and the group of its files.
//!
//! | | by default | with `mode` 0o640 | for a group |
//! |---|---|---|---|
//! | folder | 0700 | 0750 | 0750 |
//! | `tx`, `ctl` | 0600 | 0640 | 0640 |
//! | `rx.N` | 0600 | 0640 | 0660 |
//!
//! A member of the group can be a consumer, because that needs to write to one `rx.N`. Nothing that a
//! producer publishes is in such a file.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, fchown};

use crate::error::LinkError;

const GROUP_READS: u32 = 0o040;
const GROUP_WRITES: u32 = 0o020;

/// Which users may use a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// The permissions of a file that only the producer writes.
    mode: u32,
    /// The group whose members can be consumers.
    group: Option<u32>,
}

impl Access {
    /// `mode`: the permissions of the files. `group`: the group whose members can be consumers.
    pub(crate) fn new(mode: u32, group: Option<u32>) -> Self {
        Self { mode: if group.is_some() { mode | GROUP_READS } else { mode }, group }
    }

    pub(super) fn group(&self) -> Option<u32> {
        self.group
    }

    /// The permissions of a file of the link.
    pub(super) fn of_file(&self, file: &str) -> u32 {
        let is_for_consumers = self.group.is_some() && file.starts_with("rx.");
        self.mode | if is_for_consumers { GROUP_WRITES } else { 0 }
    }

    /// The permissions of the folder of the link: users that may read the files may also enter it.
    pub(super) fn of_folder(&self) -> u32 {
        self.mode | 0o100 | ((self.mode & 0o044) >> 2)
    }

    /// Sets the group, and then the permissions, of a file or folder that was made for its owner alone.
    /// They are not set when it is made, because the umask would restrict them.
    ///
    /// # Errors
    ///
    /// `System`. `what` is for the message: "create /dev/shm/...".
    pub(super) fn give(&self, entry: impl AsFd, mode: u32, what: &str) -> Result<(), LinkError> {
        if let Some(group) = self.group {
            fchown(&entry, None, Some(Gid::from_raw(group))).map_err(|error| match error {
                Errno::EPERM => LinkError::system(
                    format!(
                        "cannot {what} for group {group}: only its members and root can give files to it"
                    ),
                    error,
                ),
                _ => LinkError::system(format!("cannot {what} for group {group}"), error),
            })?;
        }
        fchmod(entry, Mode::from_bits_truncate(mode))
            .map_err(|error| LinkError::system(format!("cannot {what}"), error))
    }

    /// The group whose members can be consumers of a link, from the permissions of an `rx.N`.
    pub(super) fn group_of(mode: u32, group: u32) -> Option<u32> {
        (mode & GROUP_WRITES != 0).then_some(group)
    }
}

/// For this user alone.
#[cfg(all(test, not(miri)))]
pub(super) const OWNER: Access = Access { mode: 0o600, group: None };
