//! What a link says of itself.
#![allow(unsafe_code)] // names that the linker sees

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;

use rust_tango::PayloadType;

use crate::error::{self, guard};
use crate::link::{link, tango_link};
use crate::memory;
use crate::status::*;

/// The sizes of a link. They never change. See tango_options for what they are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_geometry {
    /// Slots of the ring.
    pub depth: usize,
    /// The largest payload of one fragment, in bytes.
    pub mtu: usize,
    /// Size of a slot, in bytes.
    pub slot: usize,
    /// Size of the region, in bytes. 0 if every payload fits a slot.
    pub region: usize,
    /// Slots for consumers.
    pub consumers: usize,
    /// How many fragments may be published and not yet consumed.
    pub credits: u64,
    /// The first sequence number.
    pub start: u64,
    /// 1: observers and evictable consumers may attach.
    pub observers: u64,
}

/// A report on a link. Each number was right at some moment of the call, but two may not fit together.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_report {
    /// 1: a producer is attached and lives.
    pub producer: u64,
    /// 1: the last producer has closed the link, and no other has attached since.
    pub closed: u64,
    /// 1: the link was stopped, or its name was lost. It has ended for good.
    pub stopped: u64,
    /// 1: it was stopped because its name leads to it no longer.
    pub name_lost: u64,
    /// The last value of tango_producer_beat(), in the producer's unit.
    pub heartbeat: u64,
    /// The first sequence number.
    pub start: u64,
    /// The sequence number of the next fragment.
    pub next: u64,
    /// The oldest fragment that observers can still read.
    pub oldest: u64,
    /// How many fragments had to wait for credits.
    pub backpressure: u64,
    /// The slot of the consumer that the producer waits for or waited for last. UINT64_MAX: none.
    pub held_by: u64,
    /// How many consumers died and no longer hold the producer back.
    pub reaped: u64,
    /// How many consumers were evicted.
    pub evicted: u64,
    /// How many producers have attached so far.
    pub producers: u64,
    /// How many of them took over from one that died.
    pub takeovers: u64,
    /// How many consumers are attached, or died without detaching: see tango_link_consumers().
    pub consumers: u64,
}

/// A report on one consumer of a link, reliable or evictable.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tango_consumer_report {
    /// Its slot, from 0.
    pub slot: u64,
    /// 1: it is evictable.
    pub evictable: u64,
    /// 1: it sleeps in the kernel.
    pub asleep: u64,
    /// 1: it lives.
    pub alive: u64,
    /// The first fragment that it has not finished with.
    pub next: u64,
    /// How many fragments, with the numbers that were left out, it has not finished with.
    pub lag: u64,
    /// How many fragments it has finished with.
    pub consumed: u64,
    /// How many times it lost fragments, or came to numbers that were left out.
    pub overruns: u64,
    /// How many fragments it lost, with the numbers that were left out.
    pub lost: u64,
}

/// The sizes of a link. size: sizeof(tango_geometry).
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_geometry(
    link: tango_link,
    geometry: *mut tango_geometry,
    size: usize,
) -> tango_status {
    guard(|| {
        let of = self::link(link)?.geometry();
        let value = tango_geometry {
            depth: of.depth,
            mtu: of.mtu,
            slot: of.slot,
            region: of.region,
            consumers: of.consumers,
            credits: of.credits,
            start: of.start,
            observers: of.observers.into(),
        };
        memory::put_sized(geometry, size, value, "geometry")
    })
}

/// A report on a link. It changes nothing, and delays nobody. size: sizeof(tango_report).
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_report(
    link: tango_link,
    report: *mut tango_report,
    size: usize,
) -> tango_status {
    guard(|| {
        let of = self::link(link)?.status();
        let value = tango_report {
            producer: of.producer.into(),
            closed: of.closed.into(),
            stopped: of.stopped.into(),
            name_lost: of.name_lost.into(),
            heartbeat: of.heartbeat,
            start: of.start,
            next: of.next,
            oldest: of.oldest,
            backpressure: of.backpressure,
            held_by: of.held_by.map_or(u64::MAX, |slot| slot as u64),
            reaped: of.reaped,
            evicted: of.evicted,
            producers: of.producers,
            takeovers: of.takeovers,
            consumers: of.consumers.len() as u64,
        };
        memory::put_sized(report, size, value, "report")
    })
}

/// Reports on the consumers of a link: on the first `room` of them, in the order of their slots. count: how many there are,
/// which may be more.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_consumers(
    link: tango_link,
    reports: *mut tango_consumer_report,
    room: usize,
    count: *mut usize,
) -> tango_status {
    guard(|| {
        let (to, count) = (memory::room(reports, room, "reports")?, memory::place(count, "count")?);
        let consumers = self::link(link)?.status().consumers;
        for (at, of) in consumers.iter().enumerate() {
            let value = tango_consumer_report {
                slot: of.slot as u64,
                evictable: of.evictable.into(),
                asleep: of.asleep.into(),
                alive: of.alive.into(),
                next: of.next,
                lag: of.lag,
                consumed: of.consumed,
                overruns: of.overruns,
                lost: of.lost,
            };
            to.put(at, value);
        }
        count.put(consumers.len());
        Ok(())
    })
}

/// The name of a link in shared memory; "" on the heap.
///
/// Copies as much of it as fits `size` bytes with a zero at the end. len: its length without the zero, which may be more;
/// may be NULL. With size 0, only the length is returned.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_name(
    link: tango_link,
    buffer: *mut c_char,
    size: usize,
    len: *mut usize,
) -> tango_status {
    guard(|| {
        let link = self::link(link)?;
        memory::put_text(link.name().unwrap_or_default().as_bytes(), buffer, size, len)
    })
}

/// The folder of a link in shared memory, where it was when the link was opened; "" on the heap. As tango_link_name().
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_path(
    link: tango_link,
    buffer: *mut c_char,
    size: usize,
    len: *mut usize,
) -> tango_status {
    guard(|| {
        let link = self::link(link)?;
        let path = link.path().map_or(&b""[..], |path| path.as_os_str().as_bytes());
        memory::put_text(path, buffer, size, len)
    })
}

/// Whether the name of the link still leads to it. 1 on the heap.
///
/// Errors: TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_is_named(link: tango_link, is_named: *mut u8) -> tango_status {
    guard(|| {
        let to = memory::place(is_named, "is_named")?;
        to.put(self::link(link)?.is_named().into());
        Ok(())
    })
}

/// The name of the type of the payloads; "" if they have none. As tango_link_name(). A program that reads values in place
/// compares name, size and alignment with those of its own type first.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_type_name(
    link: tango_link,
    buffer: *mut c_char,
    size: usize,
    len: *mut usize,
) -> tango_status {
    guard(|| {
        let link = self::link(link)?;
        let name = link.payload_type().map_or("", PayloadType::name);
        memory::put_text(name.as_bytes(), buffer, size, len)
    })
}

/// The size of a value of the type of the payloads, in bytes.
///
/// Errors: TANGO_NOT_FOUND if the payloads have no type; TANGO_BAD_HANDLE, TANGO_INVALID.
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_type_size(link: tango_link, size: *mut usize) -> tango_status {
    number_of_type(link, size, "size", PayloadType::size)
}

/// The alignment of a value of the type of the payloads, in bytes. As tango_link_type_size().
#[unsafe(no_mangle)]
pub extern "C" fn tango_link_type_align(link: tango_link, align: *mut usize) -> tango_status {
    number_of_type(link, align, "align", PayloadType::align)
}

fn number_of_type(
    link: tango_link,
    to: *mut usize,
    what: &str,
    number: fn(&PayloadType) -> usize,
) -> tango_status {
    guard(|| {
        let (to, link) = (memory::place(to, what)?, self::link(link)?);
        let none = || error::wrong(TANGO_NOT_FOUND, "the payloads of this link have no type");
        to.put(number(link.payload_type().ok_or_else(none)?));
        Ok(())
    })
}
