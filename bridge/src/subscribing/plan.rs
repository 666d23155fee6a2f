//! [`Plan`]: the far link for what the other bridge says of its link. What another machine says is checked here.

use std::path::Path;

use rust_tango::{Link, LinkBuilder, PayloadType};

use crate::pattern::Patterns;
use crate::settings::Subscribe;
use crate::wire::Description;

/// What stands for the name of the link at the origin.
const NAME: &str = "{link}";

/// A far link that may be made.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Its name.
    pub(super) name: String,
    builder: LinkBuilder,
}

impl Plan {
    /// The far link for a link of this description.
    ///
    /// # Errors
    ///
    /// Why it is not made: a sentence.
    pub(super) fn new(
        description: &Description,
        settings: &Subscribe,
        names: &Patterns,
        folder: &Path,
    ) -> Result<Self, String> {
        let name = settings.link.replace(NAME, &description.name);
        if !is_name(&name) {
            return Err(format!(
                "{name:?} is no valid name of a link: a name has 1 to 200 letters (a to z, A to Z), digits, \
                 '-', '_' and '.', and begins with a letter, a digit or '_'"
            ));
        }
        if !names.allow(&name) {
            return Err(format!("the settings do not allow a link of the name {name}"));
        }
        let depth = settings.depth.unwrap_or(description.depth);
        let bytes = depth.checked_mul(description.slot).and_then(|ring| ring.checked_add(description.region));
        if bytes.is_none_or(|bytes| bytes > settings.max_link_bytes) {
            let (slot, region, most) = (description.slot, description.region, settings.max_link_bytes);
            return Err(format!(
                "a link of {depth} slots of {slot} bytes and a region of {region} bytes is over the limit of {most} bytes"
            ));
        }
        let mut builder = Link::builder()
            .dir(folder)
            .depth(depth)
            .mtu(description.mtu)
            .slot(description.slot)
            .region(description.region)
            .consumers(settings.consumers.unwrap_or(description.consumers));
        if let Some(of) = &description.payload_type {
            if of.size > description.mtu {
                let (size, mtu) = (of.size, description.mtu);
                return Err(format!("a payload type of {size} bytes does not fit an MTU of {mtu} bytes"));
            }
            builder = builder.payload_type(PayloadType::new(of.name.clone(), of.size, of.align));
        }
        Ok(Self { name, builder })
    }

    /// What makes the link, with `start` as its first number.
    pub(super) fn builder(&self, start: u64) -> LinkBuilder {
        self.builder.clone().start(start)
    }
}

/// Whether a link may have this name, by the library's rules.
pub(super) fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TypeDescription;

    fn description(name: &str) -> Description {
        Description {
            name: name.to_owned(),
            depth: 8,
            mtu: 64,
            slot: 128,
            region: 0,
            consumers: 2,
            payload_type: None,
            history: 8,
        }
    }

    fn settings(link: &str) -> Subscribe {
        Subscribe { link: link.to_owned(), max_link_bytes: 1 << 20, ..Subscribe::default() }
    }

    fn plan(description: &Description, settings: &Subscribe) -> Result<Plan, String> {
        let names = Patterns::new(&settings.allow, &settings.deny);
        Plan::new(description, settings, &names, Path::new("/nowhere"))
    }

    #[test]
    fn the_name_is_made_of_the_name_at_the_origin() {
        let name = |link, of| plan(&description(of), &settings(link)).map(|plan| plan.name);
        assert_eq!(name("far.{link}", "quotes").unwrap(), "far.quotes");
        assert_eq!(name("quotes", "anything/../at all").unwrap(), "quotes");
        for of in ["../x", "a/b", "", "a\nb", ".hidden", "-rf", "größe", &"a".repeat(201)] {
            let error = name("{link}", of).unwrap_err();
            assert!(error.contains("is no valid name of a link") && !error.contains('\n'), "{error}");
        }
        let settings = Subscribe {
            allow: vec!["far.*".to_owned()],
            deny: vec!["*.test".to_owned()],
            ..settings("far.{link}")
        };
        assert!(plan(&description("a"), &settings).is_ok());
        let error = plan(&description("a.test"), &settings).unwrap_err();
        assert_eq!(error, "the settings do not allow a link of the name far.a.test");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        for (depth, slot, region) in [
            (1 << 20, 128, 0),
            (8, 128, 2 << 20),
            (usize::MAX, 128, 0),
            (8, usize::MAX, 0),
            (8, 128, usize::MAX),
        ] {
            let large = Description { depth, slot, region, ..description("quotes") };
            let error = plan(&large, &settings("{link}")).unwrap_err();
            assert!(error.ends_with("is over the limit of 1048576 bytes"), "{error}");
        }
        let small = Subscribe { depth: Some(16), ..settings("{link}") };
        assert!(plan(&Description { depth: 1 << 30, ..description("quotes") }, &small).is_ok());
        let payload_type = TypeDescription { name: "Quote".to_owned(), size: usize::MAX, align: 8 };
        let typed = Description { payload_type: Some(payload_type), ..description("quotes") };
        let error = plan(&typed, &settings("{link}")).unwrap_err();
        assert!(error.ends_with("does not fit an MTU of 64 bytes"), "{error}");
    }
}
