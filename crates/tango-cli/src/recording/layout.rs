//! A fragment as a message, and what the metadata of a channel says about its link.
//!
//! The data of a message are the 32 bytes of metadata as they lie in a link (`docs/layout.md`), little endian, and the
//! payload:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `seq` |
//! | 8 | 8 | `sig` |
//! | 16 | 4 | `0xffffffff`: the payload follows the metadata |
//! | 20 | 4 | `size` of the payload |
//! | 24 | 2 | `ctl` |
//! | 26 | 2 | 0 |
//! | 28 | 4 | `ts` |
//! | 32 | `size` | payload |

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::str::FromStr;

use rust_tango::{FragmentMetadata, Geometry, LinkBuilder, PayloadType};

/// The `message_encoding` of a channel of fragments. The number changes with the layout.
pub(crate) const FRAGMENT_ENCODING: &str = "tango.fragment.1";
/// What every version of it begins with.
const ANY_FRAGMENT_ENCODING: &str = "tango.fragment.";
/// The name of the schema of fragments. It has no content: MCAP knows no encoding for such a layout.
pub(super) const FRAGMENT_SCHEMA: &str = "tango.Fragment";
/// The size of the metadata before each payload, in bytes.
pub(super) const META: usize = 32;

/// The metadata as it is recorded.
pub(super) fn encode_meta(meta: &FragmentMetadata) -> [u8; META] {
    let mut bytes = [0; META];
    bytes[..8].copy_from_slice(&meta.seq.to_le_bytes());
    bytes[8..16].copy_from_slice(&meta.sig.to_le_bytes());
    bytes[16..20].copy_from_slice(&FragmentMetadata::IN_SLOT.to_le_bytes());
    bytes[20..24].copy_from_slice(&meta.size.to_le_bytes());
    bytes[24..26].copy_from_slice(&meta.ctl.to_le_bytes());
    bytes[28..].copy_from_slice(&meta.ts.to_le_bytes());
    bytes
}

/// The metadata and the payload of a recorded fragment.
///
/// # Errors
/// What is wrong, if the message is too short, or its payload has another size than its metadata says.
pub(crate) fn decode_fragment(message: &[u8]) -> Result<(FragmentMetadata, &[u8]), String> {
    let Some((head, payload)) = message.split_first_chunk::<META>() else {
        return Err(format!("a fragment of {} bytes has no complete metadata", message.len()));
    };
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let meta = FragmentMetadata {
        seq: word(0),
        sig: word(8),
        chunk: half(16),
        size: half(20),
        ctl: half(24) as u16,
        ts: half(28),
        ..FragmentMetadata::default()
    };
    if meta.size as usize != payload.len() {
        return Err(format!(
            "fragment {} should have a payload of {} bytes, and has {}",
            meta.seq,
            meta.size,
            payload.len()
        ));
    }
    Ok((meta, payload))
}

/// What a channel says about its link: all that is needed to make the link again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    /// The name of the link, which is the topic of the channel.
    pub(crate) name: String,
    pub(crate) geometry: Geometry,
    pub(crate) payload_type: Option<PayloadType>,
    /// How many links of this name the recording has met so far, from 1.
    pub(crate) generation: u64,
    /// How the link was read: `observer`, `evictable` or `reliable`.
    pub(crate) reader: String,
}

impl LinkFacts {
    /// As metadata of a channel. With facts about this machine, for programs that interpret payloads.
    pub(super) fn to_metadata(&self) -> BTreeMap<String, String> {
        let Geometry { depth, mtu, slot, region, consumers, observers, credits, start } = self.geometry;
        let mut metadata: BTreeMap<String, String> = [
            ("depth", depth.to_string()),
            ("mtu", mtu.to_string()),
            ("slot", slot.to_string()),
            ("region", region.to_string()),
            ("consumers", consumers.to_string()),
            ("observers", observers.to_string()),
            ("credits", credits.to_string()),
            ("start", start.to_string()),
            ("generation", self.generation.to_string()),
            ("reader", self.reader.clone()),
            ("byte_order", if cfg!(target_endian = "little") { "little" } else { "big" }.to_owned()),
            ("machine", ARCH.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        if let Some(of) = &self.payload_type {
            metadata.insert("payload_type".into(), of.name().into());
            metadata.insert("payload_type_size".into(), of.size().to_string());
            metadata.insert("payload_type_align".into(), of.align().to_string());
        }
        metadata
    }

    /// The facts that a channel has. `None` if it is no channel of fragments.
    ///
    /// # Errors
    /// What is wrong, if it is of another version, or a fact is missing.
    pub(crate) fn of_channel(channel: &mcap::records::Channel) -> Result<Option<Self>, String> {
        let (name, encoding) = (&channel.topic, &channel.message_encoding);
        if !encoding.starts_with(ANY_FRAGMENT_ENCODING) {
            return Ok(None);
        }
        if encoding != FRAGMENT_ENCODING {
            return Err(format!(
                "link {name} is recorded as {encoding}, and this program knows {FRAGMENT_ENCODING} only"
            ));
        }
        let metadata = &channel.metadata;
        let geometry = Geometry {
            depth: fact(name, metadata, "depth")?,
            mtu: fact(name, metadata, "mtu")?,
            slot: fact(name, metadata, "slot")?,
            region: fact(name, metadata, "region")?,
            consumers: fact(name, metadata, "consumers")?,
            observers: fact(name, metadata, "observers")?,
            credits: fact(name, metadata, "credits")?,
            start: fact(name, metadata, "start")?,
        };
        let payload_type = match metadata.get("payload_type") {
            None => None,
            Some(of) => {
                let size = fact(name, metadata, "payload_type_size")?;
                Some(PayloadType::new(of.clone(), size, fact(name, metadata, "payload_type_align")?))
            }
        };
        Ok(Some(Self {
            name: name.clone(),
            geometry,
            payload_type,
            generation: fact(name, metadata, "generation")?,
            reader: metadata.get("reader").cloned().unwrap_or_default(),
        }))
    }

    /// Settings for a link of these sizes, whose first number is `start`.
    pub(crate) fn settings(&self, builder: LinkBuilder, start: u64) -> LinkBuilder {
        let Geometry { depth, mtu, slot, region, consumers, observers, credits, start: _ } = self.geometry;
        let mut builder = builder
            .depth(depth)
            .mtu(mtu)
            .slot(slot)
            .consumers(consumers)
            .observers(observers)
            .credits(credits)
            .start(start);
        if region > 0 {
            builder = builder.region(region);
        }
        match &self.payload_type {
            None => builder,
            Some(of) => builder.payload_type(of.clone()),
        }
    }
}

fn fact<T: FromStr>(link: &str, metadata: &BTreeMap<String, String>, key: &str) -> Result<T, String> {
    let value =
        metadata.get(key).ok_or_else(|| format!("the recording does not say the {key} of link {link}"))?;
    value.parse().map_err(|_| format!("the {key} of link {link} is {value:?} in the recording"))
}

/// Facts about the whole recording, for the metadata record of each file.
pub(super) fn recording_facts(started: u64, part: u32) -> BTreeMap<String, String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    [
        ("started", started.to_string()),
        ("part", part.to_string()),
        (
            "clock",
            "log_time: CLOCK_REALTIME when the recording began, and the time since by CLOCK_MONOTONIC"
                .to_owned(),
        ),
        ("host", host.trim().to_owned()),
        ("machine", ARCH.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(payload_type: Option<PayloadType>) -> LinkFacts {
        let geometry = Geometry {
            depth: 1024,
            mtu: 300,
            slot: 128,
            region: 4 << 20,
            consumers: 3,
            observers: true,
            credits: 512,
            start: u64::MAX,
        };
        LinkFacts { name: "quotes".into(), geometry, payload_type, generation: 2, reader: "observer".into() }
    }

    fn channel(facts: &LinkFacts) -> mcap::records::Channel {
        mcap::records::Channel {
            id: 3,
            schema_id: 1,
            topic: facts.name.clone(),
            message_encoding: FRAGMENT_ENCODING.into(),
            metadata: facts.to_metadata(),
        }
    }

    #[test]
    fn fragments_come_back_whole() {
        let meta = FragmentMetadata {
            seq: u64::MAX - 1,
            sig: 0x0102_0304_0506_0708,
            chunk: 77,
            size: 5,
            ctl: 0xa5c3,
            ts: 0xdead_beef,
            ..FragmentMetadata::default()
        };
        let mut message = encode_meta(&meta).to_vec();
        message.extend_from_slice(b"bytes");
        let (found, payload) = decode_fragment(&message).unwrap();
        assert_eq!(
            (found, payload),
            (FragmentMetadata { chunk: FragmentMetadata::IN_SLOT, ..meta }, &b"bytes"[..])
        );
        assert!(decode_fragment(&message[..31]).unwrap_err().contains("31 bytes"));
        assert!(decode_fragment(&message[..36]).unwrap_err().contains("payload of 5 bytes, and has 4"));
    }

    #[test]
    fn facts_come_back_whole() {
        for facts in [facts(None), facts(Some(PayloadType::new("Quote", 24, 8)))] {
            assert_eq!(LinkFacts::of_channel(&channel(&facts)), Ok(Some(facts)));
        }
    }

    #[test]
    fn unknown_and_incomplete_channels_are_named() {
        let mut other = channel(&facts(None));
        other.message_encoding = "json".into();
        assert_eq!(LinkFacts::of_channel(&other), Ok(None));
        other.message_encoding = "tango.fragment.2".into();
        assert!(LinkFacts::of_channel(&other).unwrap_err().contains("tango.fragment.2"));
        other.message_encoding = FRAGMENT_ENCODING.into();
        other.metadata.insert("depth".into(), "many".into());
        assert!(LinkFacts::of_channel(&other).unwrap_err().contains("depth of link quotes is \"many\""));
        other.metadata.remove("depth");
        assert!(LinkFacts::of_channel(&other).unwrap_err().contains("does not say the depth of link quotes"));
    }
}
