//! [`read`]: settings from a TOML file. Mistakes are named by their line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::checks::{self, Mistake, Place};
use super::types::Settings;
use crate::failure::Failure;

/// Reads a file of settings, and checks it. Relative paths in it are relative to its folder.
///
/// # Errors
///
/// The file cannot be read, or has a mistake.
pub fn read(path: &Path) -> Result<Settings, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let mut settings = from_text(&text).map_err(|(line, message)| {
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        Failure::usage(format!("{}{line}: {message}", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in [&mut settings.folder, &mut settings.network.config].into_iter().flatten() {
        *path = folder.join(&*path);
    }
    Ok(settings.with_default_endpoint())
}

/// The settings in a text. An error has a line, from 1, if one is to blame.
fn from_text(text: &str) -> Result<Settings, (Option<usize>, String)> {
    let line = |span: Range<usize>| {
        1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
    };
    let settings: Settings = toml::from_str(text)
        .map_err(|error| (error.span().map(line), error.message().replace('\n', ", ")))?;
    checks::check(&settings).map_err(|mistake| (span(text, &mistake).map(line), message(&mistake)))?;
    Ok(settings)
}

fn message(Mistake { place, setting, value, expected }: &Mistake) -> String {
    let part = match place {
        Place::Publish(_) => "[[publish]]: ",
        Place::Subscribe(_) => "[[subscribe]]: ",
        Place::Top | Place::Network => "",
    };
    match value {
        Some(value) => format!("invalid value '{value}' for '{setting}': {expected}"),
        None if *place == Place::Top => expected.clone(),
        None => format!("{part}'{setting}' is missing: {expected}"),
    }
}

/// Where a mistake is: its setting, or else the part of the file that should have it.
fn span(text: &str, mistake: &Mistake) -> Option<Range<usize>> {
    fn inside<'a, 'de>(table: &'a DeTable<'de>, name: &str) -> Option<&'a Spanned<DeValue<'de>>> {
        table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }
    let tables = DeTable::parse(text).ok()?;
    let top = tables.get_ref();
    let part = match mistake.place {
        Place::Top => return None,
        Place::Network => inside(top, "network")?,
        Place::Publish(index) => inside(top, "publish")?.get_ref().as_array()?.get(index)?,
        Place::Subscribe(index) => inside(top, "subscribe")?.get_ref().as_array()?.get(index)?,
    };
    let setting = part.get_ref().as_table().and_then(|table| inside(table, mistake.setting));
    Some(setting.unwrap_or(part).span())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::types::{Congestion, Publish, Reading, Subscribe};
    use super::*;

    #[test]
    fn all_that_a_file_can_say() {
        let settings = from_text(include_str!("../../examples/bridge.toml")).unwrap();
        assert_eq!(settings.network.listen, ["tcp/127.0.0.1:7448"]);
        assert_eq!(settings.metrics, Some("127.0.0.1:9822".parse().unwrap()));
        let [quotes, orders] = &settings.publish[..] else { panic!("{settings:?}") };
        let expected = Publish {
            links: vec!["quotes.*".to_owned()],
            deny: vec!["quotes.test*".to_owned()],
            key: "tango/paris/{link}".to_owned(),
            read: Reading::Evictable,
            congestion: Congestion::Drop,
            queue: 16 << 20,
            batch: 60 << 10,
            delay: Duration::from_micros(200),
            history: u64::MAX,
        };
        assert_eq!(*quotes, expected);
        assert_eq!((orders.read, orders.congestion), (Reading::Reliable, Congestion::Block));
        let [far] = &settings.subscribe[..] else { panic!("{settings:?}") };
        let expected = Subscribe {
            key: "tango/tokyo/*".to_owned(),
            link: "tokyo.{link}".to_owned(),
            allow: vec!["tokyo.*".to_owned()],
            deny: vec!["tokyo.test*".to_owned()],
            from_oldest: true,
            depth: Some(4096),
            consumers: Some(4),
            congestion: Congestion::Drop,
            queue: 64 << 20,
            patience: Some(Duration::from_millis(10)),
            linger: Duration::from_secs(5),
            max_link_bytes: 1 << 30,
            max_links: 64,
        };
        assert_eq!(*far, expected);
    }

    #[test]
    fn mistakes_name_their_line() {
        let publish = "[[publish]]\nlinks = ['a']\n";
        for (text, line, part) in [
            ("", None, "nothing to do"),
            ("[[publish]]\nlink = ['a']\n", Some(2), "unknown field `link`, expected one of `links`"),
            ("\n\nnonsense\n", Some(3), ""),
            ("[[publish]]\nlinks = 'a'\n", Some(2), "sequence"),
            ("[[publish]]\nread = 'fast'\n", Some(2), "unknown variant `fast`, expected one of `evictable`"),
            (
                &format!("{publish}queue = '1 KB'\n"),
                Some(3),
                "invalid value '1 KB': expected a number of bytes",
            ),
            (&format!("{publish}queue = -1\n"), Some(3), "invalid value '-1': expected a number of bytes"),
            (&format!("{publish}queue = true\n"), Some(3), "a text or a number"),
            (&format!("{publish}delay = '5 parsecs'\n"), Some(3), "expected a time"),
            (&format!("{publish}batch = 100\n"), Some(3), "invalid value '100' for 'batch': expected 256"),
            (&format!("{publish}[[subscribe]]\nkey = 'a'\n"), Some(3), "[[subscribe]]: 'link' is missing"),
            (&format!("{publish}[network]\nlisten = [\n'x']\n"), Some(4), "invalid value 'x' for 'listen'"),
            (&format!("{publish}[network]\nport = 7\n"), Some(4), "unknown field `port`"),
            (&format!("metrics = '127.0.0.1'\n{publish}"), Some(1), "an IP address and a port"),
        ] {
            let (found, message) = from_text(text).expect_err(text);
            assert!(
                found == line && message.contains(part) && !message.contains('\n'),
                "{text}: {found:?} {message}"
            );
        }
    }
}
