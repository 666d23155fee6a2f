//! [`check`]: what is wrong with settings whose single values could be read. Nothing is started with such settings.

use std::fmt;
use std::time::Duration;

use zenoh::config::EndPoint;
use zenoh::key_expr::{KeyExpr, OwnedKeyExpr};

use super::types::{Publish, Settings, Subscribe};
use crate::pattern::{Pattern, Patterns};

/// What stands for the name of a link.
const LINK: &str = "{link}";
/// The longest name of a link.
const NAME_MAX: usize = 200;
/// The most slots of a ring, and the most consumers of a link, that the library makes.
const MAX_DEPTH: usize = 1 << 28;
const MAX_CONSUMERS: usize = 256;
/// The bytes of a batch: at least a header and a small fragment, at most what a receiver should have to hold.
const BATCH: std::ops::RangeInclusive<usize> = 256..=16 << 20;
/// The longest time, in seconds, that a fragment waits for others.
const MAX_DELAY: u64 = 10;
/// The longest time that a link stays whose origin was removed.
const MAX_LINGER: Duration = Duration::from_secs(3600);

/// One mistake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where it is.
    pub(super) place: Place,
    /// The setting, by its name in a file.
    pub(super) setting: &'static str,
    /// Its value, if it has one.
    pub(super) value: Option<String>,
    /// What would be right.
    pub(super) expected: String,
}

/// A part of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    Network,
    Publish(usize),
    Subscribe(usize),
}

impl Place {
    fn wrong<T>(
        self,
        setting: &'static str,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Result<T, Mistake> {
        Err(Mistake { place: self, setting, value: Some(value.to_string()), expected: expected.into() })
    }

    fn missing<T>(self, setting: &'static str, expected: impl Into<String>) -> Result<T, Mistake> {
        Err(Mistake { place: self, setting, value: None, expected: expected.into() })
    }
}

/// Finds the first mistake.
pub(super) fn check(settings: &Settings) -> Result<(), Mistake> {
    for (setting, endpoints) in [("listen", &settings.network.listen), ("connect", &settings.network.connect)]
    {
        for text in endpoints {
            check_endpoint(setting, text)?;
        }
    }
    for (index, publish) in settings.publish.iter().enumerate() {
        check_publish(Place::Publish(index), publish)?;
    }
    for (index, subscribe) in settings.subscribe.iter().enumerate() {
        check_subscribe(Place::Subscribe(index), subscribe)?;
    }
    if settings.publish.is_empty() && settings.subscribe.is_empty() {
        return Place::Top
            .missing("publish", "there is nothing to do: name links in [[publish]] or [[subscribe]]");
    }
    check_twice(settings)?;
    check_circles(settings)
}

fn check_endpoint(setting: &'static str, text: &str) -> Result<(), Mistake> {
    let is_known = text.parse::<EndPoint>().is_ok_and(|endpoint| {
        let (protocol, address) = (endpoint.protocol(), endpoint.address());
        let port = address.as_str().rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        matches!(protocol.as_str(), "tcp" | "tls") && matches!(port, Some(Ok(_)))
    });
    let expected = "expected a protocol (tcp or tls), an address and a port, such as tcp/192.0.2.7:7448";
    if is_known { Ok(()) } else { Place::Network.wrong(setting, text, expected) }
}

fn check_publish(place: Place, publish: &Publish) -> Result<(), Mistake> {
    if publish.links.is_empty() {
        return place.missing("links", "expected the name of a link, or a pattern such as 'quotes.*'");
    }
    check_patterns(place, "links", &publish.links)?;
    check_patterns(place, "deny", &publish.deny)?;
    let key = with_name(place, "as", &publish.key, "x")?;
    if let Err(why) = check_key(&key) {
        return place.wrong("as", &publish.key, why);
    }
    if KeyExpr::new(key).is_ok_and(|key| key.is_wild()) {
        return place.wrong("as", &publish.key, "expected a key without '*': fragments are sent under it");
    }
    let many = publish.links.len() > 1 || publish.links.iter().any(|link| Pattern::new(link).is_wild());
    if many && !publish.key.contains(LINK) {
        let why =
            format!("expected a key with {LINK}, as several links may be sent: each needs a key of its own");
        return place.wrong("as", &publish.key, why);
    }
    if !BATCH.contains(&publish.batch) {
        return place.wrong(
            "batch",
            publish.batch,
            format!("expected {} to {} bytes", BATCH.start(), BATCH.end()),
        );
    }
    if publish.queue < publish.batch {
        let why = format!("expected room for a batch at least ({} bytes)", publish.batch);
        return place.wrong("queue", publish.queue, why);
    }
    if publish.delay.as_secs() >= MAX_DELAY {
        return place.wrong(
            "delay",
            format!("{:?}", publish.delay),
            format!("expected less than {MAX_DELAY} seconds"),
        );
    }
    Ok(())
}

fn check_subscribe(place: Place, subscribe: &Subscribe) -> Result<(), Mistake> {
    let Subscribe { key, link, .. } = subscribe;
    if key.is_empty() {
        return place.missing("key", "expected a key, such as 'tango/quotes' or 'tango/**'");
    }
    if let Err(why) = check_key(key) {
        return place.wrong("key", key, why);
    }
    if link.is_empty() {
        return place.missing(
            "link",
            format!("expected the name of a link to make, such as '{LINK}' or 'far.{LINK}'"),
        );
    }
    if !is_name(&with_name(place, "link", link, "x")?, "") {
        return place.wrong("link", link, format!("expected the name of a link: {NAME}, and {LINK}"));
    }
    if key.contains('*') && !link.contains(LINK) {
        let why = format!(
            "expected a name with {LINK}, as several links may come under this key: each needs a name of its own"
        );
        return place.wrong("link", link, why);
    }
    check_patterns(place, "allow", &subscribe.allow)?;
    check_patterns(place, "deny", &subscribe.deny)?;
    let is_depth = |depth: &usize| depth.is_power_of_two() && (2..=MAX_DEPTH).contains(depth);
    if let Some(depth) = subscribe.depth.filter(|depth| !is_depth(depth)) {
        return place.wrong("depth", depth, format!("expected a power of two from 2 to {MAX_DEPTH}"));
    }
    if let Some(consumers) = subscribe.consumers.filter(|consumers| *consumers > MAX_CONSUMERS) {
        return place.wrong("consumers", consumers, format!("expected {MAX_CONSUMERS} at most"));
    }
    if subscribe.patience.is_some_and(|patience| patience.is_zero()) {
        return place.wrong("patience", 0, "expected a time over 0");
    }
    if subscribe.linger > MAX_LINGER {
        let value = format!("{:?}", subscribe.linger);
        return place.wrong("linger", value, format!("expected {} seconds at most", MAX_LINGER.as_secs()));
    }
    if subscribe.max_links == 0 {
        return place.wrong("max-links", 0, "expected 1 or more");
    }
    Ok(())
}

/// What a name is made of.
const NAME: &str = "up to 200 letters (a-z, A-Z), digits, '-', '_' and '.', not beginning with '.' or '-'";

fn is_name(name: &str, and: &str) -> bool {
    let is_allowed =
        |symbol: char| symbol.is_ascii_alphanumeric() || "-_.".contains(symbol) || and.contains(symbol);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_allowed) && !name.starts_with(['.', '-'])
}

fn check_patterns(place: Place, setting: &'static str, patterns: &[String]) -> Result<(), Mistake> {
    match patterns.iter().find(|pattern| !is_name(pattern, "*?")) {
        Some(pattern) => place.wrong(
            setting,
            pattern,
            format!("expected the name of a link ({NAME}) or a pattern of names with '*' and '?'"),
        ),
        None => Ok(()),
    }
}

/// Puts a name in the place of `{link}`. Other braces are mistakes.
fn with_name(place: Place, setting: &'static str, text: &str, name: &str) -> Result<String, Mistake> {
    let filled = text.replace(LINK, name);
    if filled.contains(['{', '}']) {
        return place.wrong(setting, text, format!("the only thing in braces can be {LINK}"));
    }
    Ok(filled)
}

fn check_key(key: &str) -> Result<(), String> {
    let invalid = key.is_empty()
        || key.contains(['?', '#', '$'])
        || key.split('/').any(|part| {
            part.is_empty() || part.starts_with('@') || (part.contains('*') && !matches!(part, "*" | "**"))
        });
    if invalid {
        return Err("expected names with '/' between them, not at an end, such as 'tango/quotes'; '*' stands for one of them, '**' for any number".to_owned());
    }
    KeyExpr::new(key).map(drop).map_err(|error| {
        format!("expected a key of zenoh: {}", error.to_string().split(" at /").next().unwrap_or_default())
    })
}

/// A link that is named in one part, and that another part would send under the same key, would be sent twice; and two parts
/// cannot make the same link.
fn check_twice(settings: &Settings) -> Result<(), Mistake> {
    for (index, publish) in settings.publish.iter().enumerate() {
        let chosen = Patterns::new(&publish.links, &publish.deny);
        for name in chosen.names().filter(|name| chosen.allow(name)) {
            let is_same = |other: &Publish| {
                Patterns::new(&other.links, &other.deny).allow(&name)
                    && other.key.replace(LINK, &name) == publish.key.replace(LINK, &name)
            };
            let twice = publish.links.iter().filter(|link| **link == name).count() > 1;
            if twice || settings.publish.iter().enumerate().any(|(at, other)| at != index && is_same(other)) {
                let why = "the link would be sent twice under the same key: name it once, or deny it in the other part";
                return Place::Publish(index).wrong("links", name, why);
            }
        }
    }
    for (index, subscribe) in settings.subscribe.iter().enumerate() {
        let before = &settings.subscribe[..index];
        if !subscribe.link.contains(LINK) && before.iter().any(|other| other.link == subscribe.link) {
            let why = "two parts cannot make the same link: give them different names";
            return Place::Subscribe(index).wrong("link", &subscribe.link, why);
        }
    }
    Ok(())
}

/// What a part receives must not be sent again under a key that it receives.
fn check_circles(settings: &Settings) -> Result<(), Mistake> {
    for subscribe in &settings.subscribe {
        let Ok(receives) = OwnedKeyExpr::autocanonize(subscribe.key.clone()) else { continue };
        let makes = subscribe.link.replace(LINK, "*");
        for (index, publish) in settings.publish.iter().enumerate() {
            let is_denied = publish.deny.iter().chain(&subscribe.deny).any(|deny| covers(deny, &makes));
            let is_sent =
                publish.links.iter().any(|link| Pattern::new(link).intersects(&Pattern::new(&makes)));
            let under = OwnedKeyExpr::autocanonize(publish.key.replace(LINK, "$*"));
            if !is_denied && is_sent && under.is_ok_and(|under| under.intersects(&receives)) {
                let why = format!(
                    "links that are received from '{}' would be sent back there: deny '{makes}', or send under other keys",
                    subscribe.key
                );
                return Place::Publish(index).wrong("links", publish.links.join(" "), why);
            }
        }
    }
    Ok(())
}

/// Whether `pattern` matches all names that `other` matches. It may say no although it does.
fn covers(pattern: &str, other: &str) -> bool {
    // A star of `other` is one more character to a star of `pattern`, and to nothing else.
    pattern == other || (!pattern.contains('?') && Pattern::new(pattern).matches(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(change: impl FnOnce(&mut Publish)) -> Settings {
        let mut publish = Publish { links: vec!["quotes.*".to_owned()], ..Publish::default() };
        change(&mut publish);
        Settings { publish: vec![publish], ..Settings::default() }
    }

    fn subscribe(key: &str, link: &str, change: impl FnOnce(&mut Subscribe)) -> Settings {
        let mut subscribe = Subscribe { key: key.to_owned(), link: link.to_owned(), ..Subscribe::default() };
        change(&mut subscribe);
        Settings { subscribe: vec![subscribe], ..Settings::default() }
    }

    fn mistake(settings: &Settings) -> (&'static str, String) {
        let found = check(settings).expect_err("no mistake found");
        (found.setting, found.expected)
    }

    #[test]
    fn each_mistake_is_found_and_named() {
        assert_eq!(check(&publish(|_| {})), Ok(()));
        assert_eq!(check(&subscribe("tango/**", "{link}", |_| {})), Ok(()));
        assert_eq!(check(&subscribe("tango/quotes", "far", |_| {})), Ok(()));
        let named = |settings: Settings, setting: &str, part: &str| {
            let found = mistake(&settings);
            assert!(found.0 == setting && found.1.contains(part), "{setting}: {found:?}");
        };
        named(Settings::default(), "publish", "nothing to do");
        named(publish(|it| it.links.clear()), "links", "name of a link");
        named(publish(|it| it.links = vec!["a/b".to_owned()]), "links", "pattern");
        named(publish(|it| it.deny = vec!["-x".to_owned()]), "deny", "pattern");
        named(publish(|it| it.key = "tango".to_owned()), "as", "{link}");
        named(publish(|it| it.key = "tango/{name}".to_owned()), "as", "braces");
        named(publish(|it| it.key = "/tango/{link}".to_owned()), "as", "not at an end");
        named(publish(|it| it.key = "tango/*/{link}".to_owned()), "as", "without '*'");
        named(publish(|it| it.batch = 100), "batch", "256");
        named(publish(|it| it.queue = 1024), "queue", "61440");
        named(publish(|it| it.delay = std::time::Duration::from_secs(10)), "delay", "10 seconds");
        named(subscribe("", "x", |_| {}), "key", "expected a key");
        named(subscribe("a//b", "x", |_| {}), "key", "not at an end");
        named(subscribe("tango/x*", "x", |_| {}), "key", "stands for one");
        named(subscribe("tango/x", "", |_| {}), "link", "far.{link}");
        named(subscribe("tango/*", "far", |_| {}), "link", "with {link}");
        named(subscribe("tango/x", "../far", |_| {}), "link", "letters");
        named(subscribe("tango/x", "far", |it| it.depth = Some(1000)), "depth", "power of two");
        named(subscribe("tango/x", "far", |it| it.consumers = Some(257)), "consumers", "256");
        named(
            subscribe("tango/x", "far", |it| it.linger = Duration::from_secs(3601)),
            "linger",
            "3600 seconds at most",
        );
        named(subscribe("tango/x", "far", |it| it.max_links = 0), "max-links", "1 or more");
        for endpoint in ["127.0.0.1:7448", "tcp/127.0.0.1", "udp/127.0.0.1:1", "tcp/:port", ""] {
            let mut settings = publish(|_| {});
            settings.network.connect = vec![endpoint.to_owned()];
            named(settings, "connect", "tcp/192.0.2.7:7448");
        }
    }

    #[test]
    fn nothing_is_sent_twice_or_in_a_circle() {
        let mut twice = publish(|_| {});
        twice.publish.push(Publish { links: vec!["quotes.eur".to_owned()], ..Publish::default() });
        assert_eq!(mistake(&twice).0, "links");
        twice.publish[0].deny = vec!["quotes.e*".to_owned()];
        assert_eq!(check(&twice), Ok(()));
        let mut circle = publish(|it| it.links = vec!["*".to_owned()]);
        circle.subscribe = subscribe("tango/**", "far.{link}", |_| {}).subscribe;
        assert!(mistake(&circle).1.contains("deny 'far.*'"));
        circle.publish[0].deny = vec!["far.*".to_owned()];
        assert_eq!(check(&circle), Ok(()));
        circle.publish[0].deny.clear();
        circle.publish[0].key = "here/{link}".to_owned();
        assert_eq!(check(&circle), Ok(()));
    }
}
