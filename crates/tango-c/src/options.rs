//! The settings of a new link.
#![allow(unsafe_code)] // names that the linker sees

use std::ffi::c_char;

use rust_tango::{Link, LinkBuilder, PayloadType};

use crate::memory;
use crate::status::*;

/// A size that the library chooses. The header has it from `cbindgen.toml`: cbindgen cannot spell the value.
/// cbindgen:ignore
pub const TANGO_DEFAULT: usize = usize::MAX;

/// The settings of a new link. Fill it in with tango_options_default(), and then change what you need.
///
/// Programs that were compiled with an older header have a shorter struct, which `size` tells. The settings that they do
/// not know keep their defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_options {
    /// Size of this struct in bytes.
    pub size: usize,
    /// Slots of the ring: how many fragments can be under way. A power of two from 2 to 2^28. Default: 1024.
    pub depth: usize,
    /// The largest payload of one fragment, in bytes: 0 to 2 GiB. Default: type_size, or 256 if there is no type.
    pub mtu: usize,
    /// Size of a slot, in bytes: a multiple of 64, up to 1 MiB. 32 of it are metadata; a payload that does not fit the
    /// rest goes to the region, which is slower. Default: the smallest that fits the MTU, if at most 512; otherwise 128.
    pub slot: usize,
    /// Size of the region for payloads that do not fit a slot, in bytes: at least the MTU, and less than 256 GiB.
    /// Default: room for depth + 1 payloads of the MTU, with limits; 0 if every payload fits a slot.
    pub region: usize,
    /// How many consumers (reliable or evictable) can be attached at a time: 0 to 256. Default: 1.
    pub consumers: usize,
    /// How many fragments may be published and not yet consumed: 1 to depth. TANGO_DEFAULT: depth.
    pub credits: u64,
    /// The first sequence number. Default: 1.
    pub start: u64,
    /// 0: observers and evictable consumers cannot attach, and tango_loan_data() works. Default: 1.
    pub observers: u8,
    /// 1: touches all memory of the link when it is made, so that no later call does. Default: 0.
    pub prefault: u8,
    /// 1: the link is removed when this process has closed it and all that was opened from it. Default: 0.
    pub remove_on_drop: u8,
    /// Must be 0.
    pub reserved: u8,
    /// Permissions of the files of the link: 0600, with 0040 (the group reads) or 0004 (every user reads) or both.
    /// Default: 0600.
    pub mode: u32,
    /// The number of a group of this user whose members can be consumers; -1: none. Default: -1.
    pub group: i64,
    /// The folder of links. NULL: $TANGO_DIR, or /dev/shm/tango-UID. Default: NULL.
    pub dir: *const c_char,
    /// The name of the type of all payloads: 1 to 256 bytes of UTF-8, without characters that a terminal does not show. NULL:
    /// payloads have no type. The link remembers it: see tango_link_type_name(). Default: NULL.
    pub type_name: *const c_char,
    /// The size of a value of the type, in bytes. Used if type_name is not NULL. Default: 0.
    pub type_size: usize,
    /// The alignment of a value of the type, in bytes: a power of two up to 32. Default: 1.
    pub type_align: usize,
}

const DEFAULT: tango_options = tango_options {
    size: size_of::<tango_options>(),
    depth: 1024,
    mtu: TANGO_DEFAULT,
    slot: TANGO_DEFAULT,
    region: TANGO_DEFAULT,
    consumers: 1,
    credits: u64::MAX,
    start: 1,
    observers: 1,
    prefault: 0,
    remove_on_drop: 0,
    reserved: 0,
    mode: 0o600,
    group: -1,
    dir: std::ptr::null(),
    type_name: std::ptr::null(),
    type_size: 0,
    type_align: 1,
};

/// Fills in the defaults. size: sizeof(tango_options).
#[unsafe(no_mangle)]
pub extern "C" fn tango_options_default(options: *mut tango_options, size: usize) -> tango_status {
    crate::error::guard(|| memory::put_sized(options, size, tango_options { size, ..DEFAULT }, "options"))
}

/// A builder with the caller's settings. NULL: all defaults.
pub(crate) fn builder(options: *const tango_options) -> Result<LinkBuilder, tango_status> {
    // SAFETY: the struct begins with its size, and has numbers and pointers only.
    let of = unsafe { memory::sized(options, DEFAULT, "options") }?;
    if of.reserved != 0 {
        return Err(crate::error::wrong(TANGO_INVALID, "options->reserved must be 0"));
    }
    let mut builder = Link::builder()
        .depth(of.depth)
        .consumers(of.consumers)
        .start(of.start)
        .observers(of.observers != 0)
        .prefault(of.prefault != 0)
        .remove_on_drop(of.remove_on_drop != 0)
        .mode(of.mode);
    if of.mtu != TANGO_DEFAULT {
        builder = builder.mtu(of.mtu);
    }
    if of.slot != TANGO_DEFAULT {
        builder = builder.slot(of.slot);
    }
    if of.region != TANGO_DEFAULT {
        builder = builder.region(of.region);
    }
    if of.credits != u64::MAX {
        builder = builder.credits(of.credits);
    }
    if of.group != -1 {
        let Ok(group) = u32::try_from(of.group) else {
            let text =
                format!("options->group is {}, which is not the number of a group: -1 for none", of.group);
            return Err(crate::error::wrong(TANGO_INVALID, text));
        };
        builder = builder.consumer_group(group);
    }
    if let Some(dir) = memory::folder(of.dir) {
        builder = builder.dir(dir);
    }
    if !of.type_name.is_null() {
        let name = memory::text(of.type_name, "options->type_name")?.to_owned();
        builder = builder.payload_type(PayloadType::new(name, of.type_size, of.type_align));
    }
    Ok(builder)
}
