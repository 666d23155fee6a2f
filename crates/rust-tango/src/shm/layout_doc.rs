//! Compares `docs/layout.md` with the code: every offset, size, limit and magic number in its tables.
//!
//! Fields that are private to other modules are found by their content. Each `u32` of a test file holds its
//! own offset, so a field tells by its value where it lies.

use std::fmt::Debug;
use std::fs::{self, File};
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{self, Kind};
use super::map::{Mapping, Pages};
use super::scratch::Scratch;
use crate::credits::slot::{ACTIVE, ConsumerSlot, EVICTABLE};
use crate::memory::cnc::CncState;
use crate::memory::geometry::{self, Geometry};
use crate::memory::head::{Head, Lifecycle};
use crate::memory::payload_type::PayloadType;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::{META_WORDS, NEAR, PAYLOAD_ALIGNMENT};
use crate::ring::metadata::{Control, FragmentMetadata, Place};
use crate::ring::region::GRANULE;
use crate::ring::slots::SMALLEST;

/// The text, and its tables.
struct Text {
    /// With one space between words, however it is wrapped.
    whole: String,
    tables: Vec<Table>,
}

struct Table {
    section: String,
    title: String,
    rows: Vec<Vec<String>>,
}

impl Text {
    /// `None` if this is a packaged crate, which has no folder `docs`.
    fn read() -> Option<Self> {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        if !docs.is_dir() {
            eprintln!("skipped: no folder docs here, so this is a packaged crate without docs/layout.md");
            return None;
        }
        let whole = fs::read_to_string(docs.join("layout.md")).unwrap();
        let (mut tables, mut section): (Vec<Table>, _) = (Vec::new(), String::new());
        let mut in_table = false;
        for line in whole.lines() {
            if let Some(heading) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
                section = heading.replace('`', "");
            }
            let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|')) else {
                in_table &= line.starts_with("|---");
                continue;
            };
            if in_table {
                let cells = row.split(" |").map(|cell| cell.trim().replace('`', ""));
                tables.last_mut().unwrap().rows.push(cells.collect());
            } else {
                tables.push(Table { section: section.clone(), title: row.trim().into(), rows: Vec::new() });
                in_table = true;
            }
        }
        let whole = whole.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(Self { whole, tables })
    }

    /// The first cells of the rows of one table: as many as `N`.
    #[track_caller]
    fn table<const N: usize>(&self, section: &str, title: &str) -> Vec<[String; N]> {
        let is_wanted = |table: &&Table| table.section == section && table.title.starts_with(title);
        let found: Vec<_> = self.tables.iter().filter(is_wanted).collect();
        assert_eq!(found.len(), 1, "tables {title:?} in section {section:?}");
        found[0].rows.iter().map(|row| row[..N].to_vec().try_into().unwrap()).collect()
    }

    /// The rows of a table of offsets: offset, bytes, field.
    #[track_caller]
    fn offsets(&self, section: &str) -> Vec<[String; 3]> {
        self.table(section, "offset | bytes | field | content")
    }
}

fn row<const N: usize>(cells: [impl ToString; N]) -> [String; N] {
    cells.map(|cell| cell.to_string())
}

/// A row for a field.
fn at(offset: usize, bytes: usize, field: &str) -> [String; 3] {
    [offset.to_string(), bytes.to_string(), field.to_owned()]
}

/// A file in which each `u32` holds its own offset.
fn numbered(scratch: &Scratch, name: &str, len: usize) -> Mapping {
    let file = scratch.file(name, len as u64);
    let bytes: Vec<u8> = (0..len as u32).step_by(4).flat_map(u32::to_ne_bytes).collect();
    file.write_all_at(&bytes, 0).unwrap();
    let found = file.metadata().unwrap();
    Mapping::read_only(&file, &found, len, Pages::AtOnce, layout::ZEROS_IN_CHILD).unwrap()
}

fn writable(file: &File, len: usize) -> Mapping {
    let found = file.metadata().unwrap();
    Mapping::read_write(file, &found, len, Pages::AtOnce, layout::ZEROS_IN_CHILD).unwrap()
}

/// Where the fields of a structure lie that was read from a [`numbered`] file. An array is one row.
fn fields(structure: &impl Debug, without: &[&str]) -> Vec<[String; 3]> {
    let mut found: Vec<(usize, usize, String)> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    for line in format!("{structure:#?}").lines().map(|line| line.trim().trim_end_matches(',')) {
        if let Some(opened) = line.strip_suffix(['{', '[', '(']) {
            path.push(opened.split_once(':').map_or("", |(name, _)| name).to_owned());
        } else if line.starts_with(['}', ']', ')']) {
            path.pop();
        } else {
            let (name, value) =
                line.split_once(": ").map_or((None, line), |(name, value)| (Some(name), value));
            let names = path.iter().map(String::as_str).filter(|name| !name.is_empty()).chain(name);
            let field = names.collect::<Vec<_>>().join(".");
            if without.contains(&field.as_str()) {
                continue;
            }
            let value: u64 = value.parse().unwrap_or_else(|_| panic!("{field} is {value}"));
            // Two offsets in a field of eight bytes, one in a field of four. None of them is 0.
            let (low, high) = (value as u32, (value >> 32) as u32);
            let (offset, bytes) = if high == 0 { (low, 4) } else { (low.min(high), 8) };
            match found.last_mut().filter(|(_, _, last)| *last == field) {
                Some((first, known, _)) => {
                    assert_eq!(*first + *known, offset as usize, "elements of {field}");
                    *known += bytes;
                }
                None => found.push((offset as usize, bytes, field)),
            }
        }
    }
    found.into_iter().map(|(offset, bytes, field)| at(offset, bytes, &field)).collect()
}

const GEOMETRY: Geometry = Geometry {
    depth: 8,
    mtu: 1001,
    slot: 256,
    region: 16 << 10,
    consumers: 3,
    observers: true,
    credits: 7,
    start: 1000,
};

#[test]
fn headers() {
    let Some(text) = Text::read() else { return };
    let version = layout::VERSION;
    assert!(text.whole.contains(&format!("**layout version {version}**")));
    let rows: Vec<[String; 4]> = text.table("Headers", "offset | bytes | field | content");
    assert!(rows[1][3].ends_with(&format!("version: {version}")), "{rows:?}");
    let files = [("tx", Kind::Producer), ("rx.N", Kind::Consumer), ("ctl", Kind::Control)];
    let magics = files.map(|(file, kind)| row([file.to_owned(), format!("{:#018x}", layout::magic(kind))]));
    assert_eq!(text.table::<2>("Headers", "file | magic"), magics);
    // What is written where.
    let scratch = Scratch::new();
    let map = writable(&scratch.file("tx", 4096), 4096);
    let find = |value: u64, field: &str| {
        let mut all = map.words().iter().enumerate();
        let found = all.find(|(_, word)| word.load(crate::sync::Relaxed) == value);
        at(found.unwrap_or_else(|| panic!("no {field}")).0 * 8, 8, field)
    };
    let payload_type = PayloadType::new("seventeen letters", 99, 32);
    let write = |geometry: &Geometry, pages| {
        let fields = layout::producer_fields(geometry, pages, Some(&payload_type));
        layout::write_header(map.words(), Kind::Producer, &fields);
    };
    // Two fields can be 1, so each is looked for while the other is 0.
    write(&Geometry { observers: false, ..GEOMETRY }, Pages::AtOnce);
    let prefault = find(1, "prefault");
    write(&GEOMETRY, Pages::WhenTouched);
    let common = [find(layout::magic(Kind::Producer), "magic"), find(version, "version")];
    assert_eq!(text.offsets("Headers"), common);
    let Geometry { depth, mtu, slot, region, consumers, observers, credits, start } = GEOMETRY;
    let sizes = [
        (depth as u64, "depth"),
        (mtu as u64, "mtu"),
        (slot as u64, "slot"),
        (region as u64, "region"),
        (consumers as u64, "consumers"),
        (observers.into(), "observers"),
        (credits, "credits"),
        (start, "start"),
    ];
    let sizes = sizes.map(|(value, field)| find(value, field));
    let of_type = [(99, "payload_size"), (32, "payload_align"), (17, "payload_name")];
    let of_type = of_type.map(|(value, field)| find(value, field));
    assert_eq!(text.offsets("Header of tx"), [&sizes[..], &[prefault], &of_type].concat());
    layout::write_type_name(map.words(), Some(&payload_type));
    assert_eq!(find(u64::from_ne_bytes(*b"seventee"), "name")[0], layout::TYPE_NAME.to_string());
    layout::write_header(map.words(), Kind::Consumer, &[77]);
    assert_eq!(text.offsets("Header of rx.N"), [find(77, "number")]);
}

#[test]
fn limits() {
    let Some(text) = Text::read() else { return };
    let limits = [
        ("depth", 2, geometry::MAX_DEPTH.to_string()),
        ("mtu", 0, geometry::MAX_MTU.to_string()),
        ("slot", SMALLEST, geometry::MAX_SLOT.to_string()),
        ("region", 0, geometry::MAX_REGION.to_string()),
        ("consumers", 0, geometry::MAX_CONSUMERS.to_string()),
        ("credits", 1, "depth".to_owned()),
        ("payload_size", 0, "mtu".to_owned()),
        ("payload_align", 0, PAYLOAD_ALIGNMENT.to_string()),
        ("payload_name", 0, PayloadType::MAX_NAME.to_string()),
    ];
    let limits = limits.map(|(field, least, most)| row([field.to_owned(), least.to_string(), most]));
    assert_eq!(text.table::<3>("Header of tx", "field | least | most"), limits);
    // Each is really one: its neighbour is refused.
    let base = Geometry { mtu: 0, region: 0, credits: 1, ..GEOMETRY };
    let check = |geometry: Geometry| geometry.check().is_ok();
    assert!(check(Geometry { depth: 2, ..base }) && !check(Geometry { depth: 1, ..base }));
    assert!(check(Geometry { slot: SMALLEST, ..base }) && !check(Geometry { slot: SMALLEST / 2, ..base }));
    assert!(!check(Geometry { credits: 0, ..base }) && !check(Geometry { credits: 9, ..base }));
    let in_slot = base.slot - META_WORDS * 8;
    assert!(check(Geometry { mtu: in_slot, ..base }) && !check(Geometry { mtu: in_slot + 1, ..base }));
    assert!(!check(Geometry { mtu: in_slot, region: GRANULE, ..base }));
    let section = text.tables.iter().find(|table| table.title.starts_with("field | least")).unwrap();
    let region = section.rows.iter().find(|row| row[0] == "region").unwrap()[3].clone();
    assert!(region.contains(&format!("a multiple of {GRANULE}")), "{region}");
    assert!(region.contains(&format!("mtu ≤ slot - {}", META_WORDS * 8)), "{region}");
}

#[test]
fn files_and_structures() {
    let Some(text) = Text::read() else { return };
    let small = layout::SMALL_FILE;
    assert_eq!(
        text.table::<2>("The folder", "file | bytes"),
        [
            row(["tx".to_owned(), format!("{} + depth × slot + region", layout::RING)]),
            row(["rx.N".to_owned(), small.to_string()]),
            row(["ctl".to_owned(), small.to_string()]),
        ]
    );
    let Geometry { depth, slot, region, .. } = GEOMETRY;
    assert_eq!(layout::producer_len(&GEOMETRY), layout::RING + depth * slot + region);
    assert_eq!(layout::rx_name(7), "rx.N".replace('N', "7"));
    let structures = [
        row(["header", "every file", "0", &layout::HEADER.to_string()]),
        row(["words of the producer", "tx", &layout::HEAD.to_string(), &size_of::<Head>().to_string()]),
        row([
            "name of the payload type",
            "tx",
            &layout::TYPE_NAME.to_string(),
            &PayloadType::MAX_NAME.to_string(),
        ]),
        row(["hot slot", "tx", &layout::HOT_SLOT.to_string(), &size_of::<HotSlot>().to_string()]),
        row(["ring", "tx", &layout::RING.to_string(), "depth × slot"]),
        row(["region", "tx", &format!("{} + depth × slot", layout::RING), "region"]),
        row([
            "words of a consumer",
            "rx.N",
            &layout::CONSUMER_SLOT.to_string(),
            &size_of::<ConsumerSlot>().to_string(),
        ]),
        row(["command word", "ctl", &layout::COMMAND.to_string(), "8"]),
    ];
    assert_eq!(text.table::<4>("The folder", "structure | file | offset | bytes"), structures);
    let command = format!("-j {} -N {}", layout::HEAD, size_of::<Head>());
    assert!(text.whole.contains(&command), "{command}");
    let names: Vec<[String; 1]> = text.table("The folder", "name |");
    let length = format!("1 to {} of the characters", super::folder::NAME_MAX);
    assert!(text.whole.contains(&length), "{length}");
    let hidden = [super::leftovers::NEW, super::leftovers::OLD].map(|name| format!("{name}-PID-RANDOM"));
    let workspace = format!("{}UID", super::leftovers::WORKSPACE);
    let [lock, space] = [super::base_lock::LOCK_FILE, super::base_lock::SPACE_FILE];
    assert_eq!(names[1..].concat(), [lock, space, &workspace, &hidden[0], &hidden[1]]);
}

#[test]
fn words_of_the_producer() {
    let Some(text) = Text::read() else { return };
    let scratch = Scratch::new();
    let tx = numbered(&scratch, "tx", layout::producer_len(&GEOMETRY));
    let ctl = numbered(&scratch, "ctl", layout::SMALL_FILE);
    let parts = layout::parts(tx.words(), ctl.words(), &GEOMETRY);
    // The state says what it means instead of its number.
    let state = layout::HEAD + offset_of!(Head, lifecycle) + offset_of!(Lifecycle, cnc);
    let mut expected = vec![at(state, 8, "lifecycle.cnc.state")];
    expected.extend(fields(parts.head, &["lifecycle.cnc.state"]));
    assert_eq!(text.offsets("Words of the producer, in tx"), expected);
    let states = [CncState::Boot, CncState::Run, CncState::Halt, CncState::Fail];
    let states = states.map(|state| row([(state as u64).to_string(), state.to_string()]));
    assert_eq!(text.table::<2>("Words of the producer, in tx", "state | name"), states);
    let command = ctl.words().iter().position(|word| std::ptr::eq(word, parts.stop)).unwrap() * 8;
    assert_eq!(text.offsets("The command word, in ctl"), [at(command, 8, "command")]);
    // Where the ring and the region begin.
    let place = |word: &crate::sync::AtomicU64| {
        tx.words().iter().position(|other| std::ptr::eq(word, other)).unwrap() * 8
    };
    let Geometry { depth, slot, .. } = GEOMETRY;
    assert_eq!(place(&parts.ring.line(13).meta[0]), layout::RING + 13 % depth * slot);
    let granule = &parts.granules.payload(3, 1).unwrap()[0];
    assert_eq!(place(granule), layout::RING + depth * slot + 3 * GRANULE);
    let formula = format!("{} + (`n` mod `depth`) × `slot`", layout::RING);
    assert!(text.whole.contains(&formula), "{formula}");
}

#[test]
fn slots_of_the_ring() {
    let Some(text) = Text::read() else { return };
    let (seq, sig, chunk, size) =
        (0x0102_0304_0506_0708, 0x1112_1314_1516_1718, 0x2122_2324_u32, 0x3132_3334_u32);
    let (ctl, reserved, ts) = (0x4142_u16, 0x5152_u16, 0x6162_6364_u32);
    let (place, control) = FragmentMetadata { seq, sig, chunk, size, ctl, reserved, ts }.pack();
    // A publish stores the words in this order.
    let scratch = Scratch::new();
    let len = layout::producer_len(&GEOMETRY);
    let tx = writable(&scratch.file("tx", len as u64), len);
    let line = layout::parts(tx.words(), tx.words(), &GEOMETRY).ring.line(0);
    line.publish(&FragmentMetadata { seq, sig, chunk, size, ctl, reserved, ts });
    let stored: Vec<u64> = line.meta.iter().map(|word| word.load(crate::sync::Relaxed)).collect();
    assert_eq!(stored, [seq, sig, place, control]);
    let bytes: Vec<u8> = stored.iter().flat_map(|word| word.to_le_bytes()).collect();
    let find = |field: &str, value: &[u8]| {
        at(bytes.windows(value.len()).position(|found| found == value).unwrap(), value.len(), field)
    };
    let payload = META_WORDS * 8;
    let expected = [
        find("seq", &seq.to_le_bytes()),
        find("sig", &sig.to_le_bytes()),
        find("chunk", &chunk.to_le_bytes()),
        find("size", &size.to_le_bytes()),
        find("ctl", &ctl.to_le_bytes()),
        find("reserved", &reserved.to_le_bytes()),
        find("ts", &ts.to_le_bytes()),
        row([payload.to_string(), format!("slot - {payload}"), "payload".to_owned()]),
    ];
    assert_eq!(text.offsets("The ring and the region, in tx"), expected);
    assert_eq!(text.whole.matches(&FragmentMetadata::IN_SLOT.to_string()).count(), 2);
    assert!(text.whole.contains(&format!("`chunk` × {GRANULE}")));
    let below = |value: u32| format!("2^32 - {}", (1_u64 << 32) - u64::from(value));
    let Place { chunk, size } = Place::LEFT_OUT;
    let left_out = format!("If `chunk` is {} and `size` is {}, the slot", below(chunk), below(size));
    assert!(text.whole.contains(&left_out), "{left_out}");
    let bit = |flag: u16| flag.trailing_zeros();
    let ctl = format!(
        "bit {}: continues a message; bit {}: more follows; bit {}: damaged; bits {} to {}: origin",
        bit(Control::CONTINUES),
        bit(Control::MORE),
        bit(Control::ERROR),
        bit(Control::new(1).bits()),
        Control::new(Control::MAX_ORIGIN).bits().ilog2(),
    );
    assert!(text.whole.contains(&ctl), "{ctl}");
}

#[test]
fn hot_slot() {
    let Some(text) = Text::read() else { return };
    let scratch = Scratch::new();
    let (tx, ctl) = (
        numbered(&scratch, "tx", layout::producer_len(&GEOMETRY)),
        numbered(&scratch, "ctl", layout::SMALL_FILE),
    );
    let expected = fields(layout::parts(tx.words(), ctl.words(), &GEOMETRY).hot_slot, &[]);
    assert_eq!(text.offsets("The hot slot, in tx"), expected);
    let [_, room, _] = expected.try_into().unwrap();
    let (size, near) = (format!("`size` is at most {}", room[1]), format!("first {NEAR} bytes of `room`"));
    assert!(text.whole.contains(&size) && text.whole.contains(&near), "{size}, {near}");
    assert!(text.whole.contains(&format!("more than {NEAR} bytes, `begun`")));
    // Where the page begins that readers may map writable, and how long it is.
    let page = format!("the {} bytes from {} on", layout::HOT_PAGE, layout::HOT_SLOT);
    assert!(text.whole.contains(&page), "{page}");
}

#[test]
fn words_of_a_consumer() {
    let Some(text) = Text::read() else { return };
    let scratch = Scratch::new();
    let rx = numbered(&scratch, "rx.0", layout::SMALL_FILE);
    let expected = fields(layout::consumer_slot(rx.words()), &[]);
    assert_eq!(text.offsets("Words of a consumer, in rx.N"), expected);
    let bit = |flag: u64| flag.trailing_zeros();
    let state = format!("bit {}: attached; bit {}: evictable;", bit(ACTIVE), bit(EVICTABLE));
    assert!(text.whole.contains(&state), "{state}");
}

/// Each table of the text is compared by one of the tests above, or has no numbers of the layout.
#[test]
fn no_table_is_left_out() {
    let Some(text) = Text::read() else { return };
    let offsets = text.tables.iter().filter(|table| table.title.contains("offset")).count();
    assert_eq!(offsets, 9, "a new table of offsets has to be added to a test");
    assert_eq!(text.tables.len(), 15, "a new table has to be added to a test, if it has numbers");
    assert!(text.whole.contains("`shm/layout_doc.rs`"), "the text names this file");
}
