//! [`Inspection`]: all that is known of a link, for its operator. Nothing here writes to the files of a
//! link, or takes a lock of one.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use super::base::base_dir;
use super::folder;
use super::holders::{Held, Holders};
use super::layout::rx_name;
use super::link::MappedLink;
use crate::error::LinkError;
use crate::memory::counts::LinkMetrics;
use crate::memory::geometry::Geometry;
use crate::memory::payload_type::PayloadType;
use crate::memory::status::LinkStatus;

/// A report on a link in shared memory and on the processes that use it, from [`Link::inspect`](crate::Link::inspect)
/// and [`Link::inspect_all`](crate::Link::inspect_all).
///
/// Its values are read one after the other, while the ends of the link change them. So each was right at some moment of
/// the call, but two may not fit together. [`Link::status`](crate::Link::status) and
/// [`Link::metrics`](crate::Link::metrics) are much cheaper if the processes are not needed.
///
/// [`Display`](fmt::Display) writes some lines for people, without a line break at the end. The words may change. With the
/// feature `serde`, programs get the fields by their names.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, Party};
/// # let folder = std::env::temp_dir().join(format!("tango-inspect-{}", std::process::id()));
///
/// let link = Link::builder().depth(8).mtu(64).consumers(2).dir(&folder).create("quotes")?;
/// let (tx, _rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"unread")?;
///
/// let found = Link::open_in(&folder, "quotes")?.inspect()?;
/// assert_eq!((found.name.as_str(), found.metrics.published), ("quotes", 1));
/// assert_eq!((found.credits_left, found.slowest), (7, Some(0)));
/// for holder in found.holders.iter() {
///     println!("{:?}: {:?}", holder.party, holder.processes);
/// }
/// println!("{found}"); // the same and more, for people
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Inspection {
    /// The name of the link.
    pub name: String,
    /// Its folder, as of when it was opened. In JSON, what is not UTF-8 is replaced.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub path: PathBuf,
    /// Whether the name leads to the link ([`Link::is_named`](crate::Link::is_named)).
    pub named: bool,
    /// Its sizes.
    pub geometry: Geometry,
    /// The type of its payloads, if it has one.
    pub payload_type: Option<PayloadType>,
    /// The state of both ends.
    pub status: LinkStatus,
    /// What both ends have counted.
    pub metrics: LinkMetrics,
    /// How many fragments the producer can publish before it has to wait for a consumer: `geometry.credits` less the lag
    /// of the slowest consumer, and at least 0. A consumer that died counts until it is reaped, and an evictable one until
    /// it is evicted.
    pub credits_left: u64,
    /// The slot of the consumer that is most fragments behind. `None` if no consumer is behind.
    /// [`LinkStatus::held_by`] is the consumer that the producer has waited for.
    pub slowest: Option<usize>,
    /// The size of its files, in bytes, as their lengths say.
    pub bytes: u64,
    /// The memory that its files take, in bytes. More than `bytes` with huge pages.
    pub allocated: u64,
    /// The number of the user that owns the file of the producer.
    pub user: u32,
    /// The number of the group of that file.
    pub group: u32,
    /// The permissions of that file, from 0 to 0o7777. Consumers of a group have others: see
    /// `LinkBuilder::consumer_group`.
    pub mode: u32,
    /// The processes that hold its files: as far as this process may see them.
    pub holders: Holders,
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

impl MappedLink {
    /// Looks at the link and at all processes.
    ///
    /// # Errors
    ///
    /// `System`; `Invalid` in a forked child.
    pub(crate) fn inspect(&self) -> Result<Inspection, LinkError> {
        let (mut inspection, held) = self.inspect_link()?;
        inspection.holders = held.holders();
        Ok(inspection)
    }

    /// Looks at the link, and at its processes not yet.
    fn inspect_link(&self) -> Result<(Inspection, Held), LinkError> {
        self.check_process()?;
        let geometry = self.geometry();
        let names =
            || (0..geometry.consumers).map(rx_name).chain(["tx", "ctl"].into_iter().map(String::from));
        let held = Held::of_files(&self.folder, names())?;
        let found = self.tx.metadata().map_err(|error| {
            LinkError::system(format!("cannot examine {}", self.path().join("tx").display()), error)
        })?;
        let sizes = names().filter_map(|name| self.folder.sizes(&name));
        let (bytes, allocated) = sizes.fold((0_u64, 0_u64), |(bytes, allocated), file| {
            (bytes.saturating_add(file.0), allocated.saturating_add(file.1))
        });
        let (metrics, status) = (self.metrics(), self.status());
        let slowest = status.consumers.iter().filter(|consumer| consumer.lag > 0);
        let slowest = slowest.max_by_key(|consumer| consumer.lag);
        let inspection = Inspection {
            name: self.name().into(),
            path: self.path().into(),
            named: self.is_named(),
            geometry,
            payload_type: self.payload_type().cloned(),
            credits_left: geometry.credits.saturating_sub(slowest.map_or(0, |consumer| consumer.lag)),
            slowest: slowest.map(|consumer| consumer.slot),
            status,
            metrics,
            bytes,
            allocated,
            user: found.uid(),
            group: found.gid(),
            mode: found.mode() & 0o7777,
            holders: Holders::default(),
        };
        Ok((inspection, held))
    }
}

/// Looks at all links in a folder, one after the other, and then once at all processes.
#[allow(clippy::type_complexity)]
pub(crate) fn inspect_all(folder: &Path) -> Result<Vec<(String, Result<Inspection, LinkError>)>, LinkError> {
    let base = base_dir(Some(folder));
    let mut found = Vec::new();
    for name in folder::list(&base)? {
        // Opened one at a time: a link takes some descriptors.
        match MappedLink::open(Some(&base), &name).and_then(|link| link.inspect_link()) {
            Err(error) if error.is_not_found() => {} // removed since the list was read
            result => found.push((name, result)),
        }
    }
    let held = found.iter().filter_map(|(_, result)| result.as_ref().ok()).map(|(_, held)| held);
    let mut holders = Holders::of_all(held).into_iter();
    let mut complete = |(mut inspection, _): (Inspection, Held)| {
        inspection.holders = holders.next().unwrap_or_default();
        inspection
    };
    Ok(found.into_iter().map(|(name, result)| (name, result.map(&mut complete))).collect())
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, path, geometry, status, bytes, allocated, user, mode, holders, .. } = self;
        let Geometry { depth, mtu, consumers, credits, .. } = geometry;
        writeln!(f, "link {name} in {}", path.display())?;
        write!(f, "depth {depth}, MTU {mtu}, {consumers} consumer slots, ")?;
        write!(f, "{} of {credits} credits left", self.credits_left)?;
        if let Some(payload_type) = &self.payload_type {
            write!(f, ", payload type {payload_type}")?;
        }
        writeln!(f, "\n{bytes} bytes, {allocated} allocated, of user {user}, mode {mode:04o}")?;
        write!(f, "held by {holders}\n{status}")
    }
}
