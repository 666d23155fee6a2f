//! Links: making, opening, ending.
#![allow(unsafe_code)] // names that the linker sees

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::{PoisonError, RwLock};

use rust_tango::{Link, LinkError};

use crate::error::{self, guard};
use crate::memory::{self, Place};
use crate::options::{builder, tango_options};
use crate::status::*;

/// A link. Any thread may use it, and several at the same time. Make one with {0}, which is never open.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tango_link {
    /// Of use to the library only.
    pub handle: u64,
}

/// All open links. They are found under a lock: no call for a fragment needs one.
static LINKS: RwLock<Links> = RwLock::new(Links { open: BTreeMap::new(), count: 0 });

struct Links {
    open: BTreeMap<u64, Link>,
    /// How many were opened so far. No handle is used twice.
    count: u64,
}

/// A share of the link.
pub(crate) fn link(of: tango_link) -> Result<Link, tango_status> {
    let links = LINKS.read().unwrap_or_else(PoisonError::into_inner);
    links.open.get(&of.handle).cloned().ok_or_else(|| bad(of))
}

fn bad(of: tango_link) -> tango_status {
    let text = format!("{:#x} is not the handle of an open link: it was closed, or was never one", of.handle);
    error::wrong(TANGO_BAD_HANDLE, text)
}

fn keep(made: Result<Link, LinkError>, to: &Place<'_, tango_link>) -> Result<(), tango_status> {
    let made = made.map_err(|error| error::link(&error))?;
    let mut links = LINKS.write().unwrap_or_else(PoisonError::into_inner);
    links.count += 1;
    let handle = links.count;
    links.open.insert(handle, made);
    to.put(tango_link { handle });
    Ok(())
}

/// A place for a handle, which is zero until the call has succeeded.
fn place<'c>(to: *mut tango_link) -> Result<Place<'c, tango_link>, tango_status> {
    let place = memory::place(to, "link")?;
    place.put(tango_link { handle: 0 });
    Ok(place)
}

/// Makes a link on the heap, for threads of this process. options: NULL for the defaults.
///
/// Errors: TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_build(options: *const tango_options, link: *mut tango_link) -> tango_status {
    guard(|| {
        let to = place(link)?;
        keep(builder(options)?.build(), &to)
    })
}

/// Creates a link in shared memory, for processes of this machine.
///
/// A name has 1 to 200 ASCII letters, digits, '-', '_' and '.', and does not begin with '-' or '.'. A link of that name
/// that no process holds is replaced.
///
/// Errors: TANGO_INVALID, TANGO_IN_USE, TANGO_UNTRUSTED, TANGO_INCOMPATIBLE, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_create(
    name: *const c_char,
    options: *const tango_options,
    link: *mut tango_link,
) -> tango_status {
    guard(|| {
        let to = place(link)?;
        keep(builder(options)?.create(memory::text(name, "name")?), &to)
    })
}

/// As tango_link_create(), but continues a link of that name and these sizes if it has no living producer: its consumers stay
/// attached.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_create_or_take_over(
    name: *const c_char,
    options: *const tango_options,
    link: *mut tango_link,
) -> tango_status {
    guard(|| {
        let to = place(link)?;
        keep(builder(options)?.create_or_take_over(memory::text(name, "name")?), &to)
    })
}

/// Opens a link in shared memory. dir: the folder of links, NULL for the default one.
///
/// Errors: TANGO_NOT_FOUND if there is no such link (yet), TANGO_INVALID, TANGO_INCOMPATIBLE, TANGO_DAMAGED,
/// TANGO_UNTRUSTED, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_open(
    dir: *const c_char,
    name: *const c_char,
    link: *mut tango_link,
) -> tango_status {
    guard(|| {
        let to = place(link)?;
        let name = memory::text(name, "name")?;
        keep(memory::folder(dir).map_or_else(|| Link::open(name), |dir| Link::open_in(dir, name)), &to)
    })
}

/// tango_link_open() that waits until there is a link of this name, for timeout_ns nanoseconds at most; negative: without a
/// limit. It looks for the link every 50 milliseconds at least. The link need not have a producer (yet).
///
/// Errors: TANGO_TIMEOUT if there was none in time. Otherwise as tango_link_open(), at once.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_open_wait(
    dir: *const c_char,
    name: *const c_char,
    timeout_ns: i64,
    link: *mut tango_link,
) -> tango_status {
    guard(|| {
        let to = place(link)?;
        let (name, timeout) = (memory::text(name, "name")?, memory::duration(timeout_ns));
        let opened = match memory::folder(dir) {
            None => Link::open_wait(name, timeout),
            Some(dir) => Link::open_wait_in(dir, name, timeout),
        };
        let is_late = matches!(&opened, Err(error) if error.is_not_found());
        keep(opened, &to).map_err(|code| if is_late { TANGO_TIMEOUT } else { code })
    })
}

/// Closes a link. Producers and consumers that were opened from it go on: each has a share of its memory. The files of a
/// link in shared memory stay, unless remove_on_drop says otherwise.
///
/// Errors: TANGO_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_close(link: tango_link) -> tango_status {
    guard(|| {
        // Dropped after the lock: this may remove the link, or free much memory.
        let taken = LINKS.write().unwrap_or_else(PoisonError::into_inner).open.remove(&link.handle);
        taken.map(drop).ok_or_else(|| bad(link))
    })
}

/// Ends a link for good, from any process: publishing returns TANGO_CLOSED, readers read what is there and then get
/// TANGO_CLOSED. Threads that wait are woken.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_SYSTEM if this user may not.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_stop(link: tango_link) -> tango_status {
    guard(|| self::link(link)?.stop().map_err(|error| error::link(&error)))
}

/// Removes the name and the files of this link, and never those of a later link of that name. If its producer is in this
/// process, all that are attached go on; otherwise the link ends. On the heap, nothing happens.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_NOT_FOUND if it was removed already, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_remove(link: tango_link) -> tango_status {
    guard(|| self::link(link)?.remove().map_err(|error| error::link(&error)))
}

/// Removes the link of this name, whatever state it is in. If it has a living producer, the link ends within about a second.
/// dir: as in tango_link_open().
///
/// Errors: TANGO_NOT_FOUND, TANGO_INVALID, TANGO_INCOMPATIBLE, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_remove(dir: *const c_char, name: *const c_char) -> tango_status {
    guard(|| {
        let name = memory::text(name, "name")?;
        let folder = memory::folder(dir).map_or_else(Link::folder_of_links, std::path::Path::to_owned);
        Link::remove_named(folder, name).map_err(|error| error::link(&error))
    })
}

/// Whether a reliable consumer of this user may join: the check that tango_consumer_open() makes.
///
/// Errors: TANGO_UNTRUSTED, with a text that says what is wrong and what mends it; TANGO_BAD_HANDLE, TANGO_SYSTEM.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_check_trust(link: tango_link) -> tango_status {
    guard(|| self::link(link)?.check_trust().map_err(|error| error::link(&error)))
}
