//! A link remembers the type of its payloads, on the heap and in its files, where other languages can read it. A link of
//! another type is not continued, and files that say something impossible are refused.
#![cfg(feature = "alloc")]

use rust_tango::{Link, LinkErrorKind, PayloadType};

#[test]
fn the_mtu_is_at_least_the_size_of_the_type() {
    let quote = || PayloadType::new("Quote", 40, 8);
    let mtu = |builder: rust_tango::LinkBuilder| builder.build().unwrap().geometry().mtu;
    assert_eq!(mtu(Link::builder().depth(8)), 256);
    assert_eq!(mtu(Link::builder().depth(8).payload_type(quote())), 40);
    assert_eq!(mtu(Link::builder().depth(8).mtu(39).payload_type(quote())), 40);
    assert_eq!(mtu(Link::builder().depth(8).payload_type(quote()).mtu(41)), 41);
    assert_eq!(mtu(Link::builder().depth(8).payload_type(PayloadType::new("Nothing", 0, 1))), 0);
    // The other sizes follow from it.
    let large = Link::builder().depth(8).payload_type(PayloadType::new("Frame", 10_000, 16)).build().unwrap();
    assert!(large.geometry().region >= 10_000 && large.geometry().slot == 128);
}

#[test]
fn a_link_on_the_heap_remembers_it() {
    let quote = PayloadType::new("Quote", 40, 8);
    let link = Link::builder().depth(8).payload_type(quote.clone()).build().unwrap();
    assert_eq!(link.payload_type(), Some(&quote));
    assert_eq!(link.clone().payload_type(), Some(&quote));
    assert_eq!(Link::builder().depth(8).build().unwrap().payload_type(), None);
}

#[test]
fn a_type_that_no_payload_can_be_of_is_refused() {
    let refused = |name: &str, size, align, why: &str| {
        let error = Link::builder()
            .depth(8)
            .payload_type(PayloadType::new(name.to_owned(), size, align))
            .build()
            .expect_err(why);
        assert_eq!(error.kind(), LinkErrorKind::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    };
    refused("", 8, 8, "0 bytes");
    refused(&"n".repeat(257), 8, 8, "257 bytes");
    refused("two\nlines", 8, 8, "control character");
    refused("escape \u{1b}[2J", 8, 8, "control character");
    for (name, code) in [
        ("Quo\u{202e}te", "202E"),
        ("\u{2066}Quote\u{2069}", "2066"),
        ("Quote\u{200b}", "200B"),
        ("\u{feff}Quote", "FEFF"),
        ("Quo\u{ad}te", "00AD"),
        ("\u{3164}", "3164"),
        ("Quote\u{e0041}", "E0041"),
        ("no\u{a0}break", "00A0"),
        ("two\u{2028}lines", "2028"),
    ] {
        refused(name, 8, 8, &format!("U+{code}"));
    }
    refused("Quote", 8, 0, "alignment of 0");
    refused("Quote", 24, 24, "alignment of 24");
    refused("Quote", 64, 64, "alignment of 64");
    refused("Quote", 1 << 32, 8, "MTU");
    // With a letter that is composed of two characters, a letter that is written from right to left, and quotation marks.
    for name in ["Q", &"n".repeat(256), "größe [f64; 4]", "e\u{301}", "\u{5d0}", "a \"b\" \\ 'c'"] {
        for align in [1, 32] {
            let payload_type = PayloadType::new(name.to_owned(), 8, align);
            Link::builder().depth(8).payload_type(payload_type).build().unwrap();
        }
    }
}

#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
mod common;

/// The role of the child process: it says what it finds in the link of that name.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn child() {
    let Some((name, folder)) = common::process::role() else { return };
    match Link::open_in(folder, &name).unwrap().payload_type() {
        Some(found) => common::process::say(found),
        None => common::process::say("none"),
    }
}

#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
mod in_shared_memory {
    use super::common::process::{Child, TestFolder};
    use super::*;
    use rust_tango::LinkBuilder;
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    fn quote() -> PayloadType {
        PayloadType::new("Quote", 40, 8)
    }

    fn builder(folder: &TestFolder) -> LinkBuilder {
        Link::builder().depth(8).dir(folder.path())
    }

    #[test]
    fn other_processes_find_it() {
        let folder = TestFolder::new();
        let longest = PayloadType::new("\u{df}".repeat(128), 8, 32);
        let links = [("untyped", None), ("quotes", Some(quote())), ("longest", Some(longest))];
        for (name, payload_type) in links {
            let mut builder = builder(&folder);
            if let Some(of) = payload_type.clone() {
                builder = builder.payload_type(of);
            }
            let link = builder.create(name).unwrap();
            assert_eq!(link.payload_type(), payload_type.as_ref());
            let expected = payload_type.map_or("none".to_owned(), |of| of.to_string());
            let mut child = Child::start(name, &folder);
            assert_eq!(child.hear(), expected);
            child.succeeds();
        }
    }

    /// As `docs/layout.md` says.
    #[test]
    fn other_languages_find_it() {
        let folder = TestFolder::new();
        let _link = builder(&folder).payload_type(quote()).create("quotes").unwrap();
        let tx = std::fs::read(folder.path().join("quotes/tx")).unwrap();
        let word = |offset: usize| u64::from_ne_bytes(tx[offset..offset + 8].try_into().unwrap());
        assert_eq!([88, 96, 104].map(word), [40, 8, 5]);
        assert_eq!(&tx[1024..1024 + 5], b"Quote");
        assert!(tx[1024 + 5..4096].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_link_of_another_type_is_not_continued() {
        let folder = TestFolder::new();
        let others = [
            ("name", Some(PayloadType::new("Trade", 40, 8))),
            ("size", Some(PayloadType::new("Quote", 48, 8))),
            ("align", Some(PayloadType::new("Quote", 40, 4))),
            ("none", None),
        ];
        for (what, other) in others {
            let with = |of: Option<PayloadType>| {
                let builder = builder(&folder).mtu(64);
                if let Some(of) = of { builder.payload_type(of) } else { builder }
            };
            for (first, second) in [(Some(quote()), other.clone()), (other.clone(), Some(quote()))] {
                drop(with(first.clone()).create("quotes").unwrap());
                let error = with(second.clone()).create_or_take_over("quotes").expect_err(what);
                assert_eq!(error.kind(), LinkErrorKind::Incompatible);
                let name = |of: Option<PayloadType>| {
                    of.map_or("no payload type".to_owned(), |of| format!("payload type {of}"))
                };
                let expected = format!("{} instead of {}", name(first.clone()), name(second.clone()));
                assert!(error.to_string().contains(&expected), "{error}\n{expected}");
                let link = with(first.clone()).create_or_take_over("quotes").unwrap();
                assert_eq!(link.payload_type(), first.as_ref());
                drop(link);
                let link = with(second.clone()).create("quotes").unwrap();
                assert_eq!(link.payload_type(), second.as_ref());
            }
        }
    }

    #[test]
    fn impossible_types_in_a_file_are_refused() {
        let folder = TestFolder::new();
        let word = |word: u64| word.to_ne_bytes().to_vec();
        let bad = [
            (88, word(65), "larger than the MTU of 64"),
            (88, word(u64::MAX), "larger than the MTU"),
            (96, word(3), "alignment of 3"),
            (96, word(64), "alignment of 64"),
            (96, word(u64::MAX), "alignment"),
            (104, word(0), "0 bytes"),
            (104, word(257), "257 bytes is too long"),
            (104, word(u64::MAX), "too long"),
            (104, word(6), "control character"), // the name is followed by zeros
            (1024, b"\xff".to_vec(), "not UTF-8"),
            (1026, b"\x1b".to_vec(), "control character"),
            (1024, "\u{202e}".as_bytes().to_vec(), "U+202E"),
        ];
        for (offset, bytes, why) in bad {
            drop(builder(&folder).mtu(64).payload_type(quote()).create("quotes").unwrap());
            let tx = OpenOptions::new().write(true).open(folder.path().join("quotes/tx")).unwrap();
            tx.write_all_at(&bytes, offset).unwrap();
            let error = Link::open_in(folder.path(), "quotes").expect_err(why);
            assert_eq!(error.kind(), LinkErrorKind::Incompatible, "{error}");
            let message = error.to_string();
            assert!(message.contains(why) && message.contains("quotes/tx"), "{message}");
        }
        // An alignment of 0 says that there is no type, whatever the rest is.
        drop(builder(&folder).mtu(64).payload_type(quote()).create("quotes").unwrap());
        let tx = OpenOptions::new().write(true).open(folder.path().join("quotes/tx")).unwrap();
        tx.write_all_at(&word(0), 96).unwrap();
        assert_eq!(Link::open_in(folder.path(), "quotes").unwrap().payload_type(), None);
    }
}
