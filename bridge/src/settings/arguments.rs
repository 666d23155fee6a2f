//! The command line: [`parse`] returns what is asked for.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::checks::{self, Mistake, Place};
use super::help;
use super::types::{Congestion, Network, Publish, Reading, Settings, Subscribe};
use super::{file, values};
use crate::failure::Failure;
use crate::journal::Format;

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Carry links.
    Run(Settings),
    /// Say what would be done.
    Check(Settings),
    /// Print this text: help, or the version.
    Print(String),
}

/// Carry the links of rust_tango to other machines, over zenoh
#[derive(Debug, Parser)]
#[command(name = "tango-bridge", version, after_help = help::TOP, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(PublishArguments),
    Subscribe(SubscribeArguments),
    Run(FileArguments),
    Check(FileArguments),
}

/// Send links to the network
#[derive(Debug, Args)]
#[command(after_help = help::PUBLISH)]
struct PublishArguments {
    /// Names of links, or patterns such as 'quotes.*'
    #[arg(value_name = "LINK", required = true)]
    links: Vec<String>,
    /// Key on the network; {link} is the link's name
    /// [default: tango/{link}]
    #[arg(long = "as", value_name = "KEY", verbatim_doc_comment)]
    key: Option<String>,
    /// Do not send links whose names match
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,
    /// How to read: as evictable or reliable consumer,
    /// or as observer [default: evictable]
    #[arg(long, value_name = "HOW", hide_possible_values = true, verbatim_doc_comment)]
    read: Option<Reading>,
    /// If the network is too slow, drop or block
    /// [default: drop]
    #[arg(long, value_name = "HOW", hide_possible_values = true, verbatim_doc_comment)]
    congestion: Option<Congestion>,
    /// How many bytes of a link may wait to be sent
    /// [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = values::size, verbatim_doc_comment)]
    queue: Option<usize>,
    /// The most bytes of one network message
    /// [default: 60K]
    #[arg(long, value_name = "SIZE", value_parser = values::size, verbatim_doc_comment)]
    batch: Option<usize>,
    /// How long a fragment may wait for others to share
    /// its network message [default: 0]
    #[arg(long, value_name = "TIME", value_parser = values::time, verbatim_doc_comment)]
    delay: Option<Duration>,
    /// How many fragments back are sent again after a
    /// cut: N, all that the ring has, or none
    /// [default: all]
    #[arg(long, value_name = "N", value_parser = values::history, verbatim_doc_comment)]
    history: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Make links of what comes from the network
#[derive(Debug, Args)]
#[command(after_help = help::SUBSCRIBE)]
struct SubscribeArguments {
    /// A key, or a key expression such as 'tango/**'
    #[arg(value_name = "KEY")]
    key: String,
    /// Name of the link to make; {link} is the name of
    /// the link that is sent
    #[arg(value_name = "LINK", verbatim_doc_comment)]
    link: String,
    /// Make only links whose names match
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Do not make links whose names match
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,
    /// Begin a new link with the oldest fragment that
    /// can be sent again, or the next: oldest or next
    /// [default: next]
    #[arg(long, value_name = "WHERE", value_parser = values::from_oldest, verbatim_doc_comment)]
    from: Option<bool>,
    /// Slots of the ring: a power of two
    /// [default: as at the origin]
    #[arg(long, value_name = "N", value_parser = values::count, verbatim_doc_comment)]
    depth: Option<usize>,
    /// Slots for consumers [default: as at the origin]
    #[arg(long, value_name = "N", value_parser = values::count)]
    consumers: Option<usize>,
    /// If consumers here are too slow, drop or block
    /// [default: drop]
    #[arg(long, value_name = "HOW", hide_possible_values = true, verbatim_doc_comment)]
    congestion: Option<Congestion>,
    /// How many bytes may wait for a link
    /// [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = values::size, verbatim_doc_comment)]
    queue: Option<usize>,
    /// How long to wait for an evictable consumer
    /// [default: as the library]
    #[arg(long, value_name = "TIME", value_parser = values::time, verbatim_doc_comment)]
    patience: Option<Duration>,
    /// How long a link keeps its name after the link
    /// that is sent was removed [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = values::time, verbatim_doc_comment)]
    linger: Option<Duration>,
    /// The largest link that is made [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_link_bytes: Option<usize>,
    /// The most links that are made [default: 256]
    #[arg(long, value_name = "N", value_parser = values::count)]
    max_links: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// Do what a TOML file says, or say what that would be
#[derive(Debug, Args)]
struct FileArguments {
    /// File with settings: see examples/bridge.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write events as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What both directions take.
#[derive(Debug, Args)]
struct Common {
    /// Listen here, such as tcp/192.0.2.7:7448
    /// [default: publish: tcp/127.0.0.1:7448]
    #[arg(long, value_name = "ENDPOINT", verbatim_doc_comment, help_heading = "Network")]
    listen: Vec<String>,
    /// Connect to this, and again whenever it is lost
    /// [default: subscribe: tcp/127.0.0.1:7448]
    #[arg(long, value_name = "ENDPOINT", verbatim_doc_comment, help_heading = "Network")]
    connect: Vec<String>,
    /// Configuration of zenoh: certificates, users
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    zenoh_config: Option<PathBuf>,
    /// Folder of the links
    /// [default: $TANGO_DIR, else /dev/shm/tango-UID]
    #[arg(long, value_name = "FOLDER", verbatim_doc_comment)]
    dir: Option<PathBuf>,
    /// Serve metrics for Prometheus over HTTP, such as
    /// at 127.0.0.1:9822 [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = values::address, verbatim_doc_comment)]
    metrics: Option<SocketAddr>,
    /// Write events as JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Common {
    fn settings(self) -> Settings {
        let Self { listen, connect, zenoh_config, dir, metrics, json } = self;
        let network = Network { listen, connect, config: zenoh_config };
        Settings { folder: dir, network, metrics, journal: journal(json), ..Settings::default() }
    }
}

fn journal(json: bool) -> Format {
    if json { Format::Json } else { Format::Text }
}

/// Puts a value in its place, if there is one.
fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl PublishArguments {
    fn settings(self) -> Settings {
        let mut publish = Publish { links: self.links, deny: self.deny, ..Publish::default() };
        put(&mut publish.key, self.key);
        put(&mut publish.read, self.read);
        put(&mut publish.congestion, self.congestion);
        put(&mut publish.queue, self.queue);
        put(&mut publish.batch, self.batch);
        put(&mut publish.delay, self.delay);
        put(&mut publish.history, self.history);
        Settings { publish: vec![publish], ..self.common.settings() }
    }
}

impl SubscribeArguments {
    fn settings(self) -> Settings {
        let Self { key, link, allow, deny, depth, consumers, patience, .. } = self;
        let mut subscribe =
            Subscribe { key, link, allow, deny, depth, consumers, patience, ..Subscribe::default() };
        put(&mut subscribe.from_oldest, self.from);
        put(&mut subscribe.congestion, self.congestion);
        put(&mut subscribe.queue, self.queue);
        put(&mut subscribe.linger, self.linger);
        put(&mut subscribe.max_link_bytes, self.max_link_bytes);
        put(&mut subscribe.max_links, self.max_links);
        Settings { subscribe: vec![subscribe], ..self.common.settings() }
    }
}

/// What the arguments ask for. The first one is the name of the command itself. Reads the file that they name.
///
/// # Errors
///
/// The arguments, or the file, are not valid. The message names what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let mut command = command();
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    match parsed {
        Err(error) if !error.use_stderr() => Ok(Asked::Print(error.render().to_string())),
        Err(error) => Err(usage(&error)),
        Ok(cli) => asked(cli.command),
    }
}

fn asked(command: Command) -> Result<Asked, Failure> {
    let (settings, of) = match command {
        Command::Publish(arguments) => (arguments.settings(), "publish"),
        Command::Subscribe(arguments) => (arguments.settings(), "subscribe"),
        Command::Run(FileArguments { file, json }) => {
            return Ok(Asked::Run(Settings { journal: journal(json), ..file::read(&file)? }));
        }
        Command::Check(FileArguments { file, .. }) => return Ok(Asked::Check(file::read(&file)?)),
    };
    checks::check(&settings).map_err(|mistake| {
        let Mistake { place, setting, value, expected } = mistake;
        let argument = match (place, setting) {
            (Place::Publish(_), "links") | (Place::Subscribe(_), "link") => "LINK".to_owned(),
            (Place::Subscribe(_), "key") => "KEY".to_owned(),
            (_, option) => format!("--{option}"),
        };
        let value = value.unwrap_or_default();
        Failure::usage(format!(
            "invalid value '{value}' for '{argument}': {expected} (see 'tango-bridge {of} --help')"
        ))
    })?;
    Ok(Asked::Run(settings.with_default_endpoint()))
}

/// The command line. `--queue -4` is an option with a value, of which the error then says what it can be.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let has_value = !argument.is_positional() && argument.get_action().takes_values();
            if has_value { argument.allow_negative_numbers(true) } else { argument }
        })
    })
}

/// The paragraphs of clap in one line, without its general hints.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("tip: to pass "));
    let text = lines.collect::<Vec<_>>().join("\n");
    let (mut help, mut message) = ("tango-bridge --help".to_owned(), Vec::new());
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(usage) = paragraph.strip_prefix("Usage: tango-bridge ") {
            let subcommand = usage.split(' ').next().filter(|word| word.chars().all(char::is_alphanumeric));
            help = subcommand.map_or(help, |subcommand| format!("tango-bridge {subcommand} --help"));
        } else if !paragraph.is_empty() && !paragraph.starts_with("For more") {
            message.push(paragraph);
        }
    }
    let message = message.join("; ");
    Failure::usage(format!("{} (see '{help}')", message.strip_prefix("error: ").unwrap_or(&message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Asked, String> {
        parse(line.split(' ').map(OsString::from)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn arguments_become_settings() {
        let Ok(Asked::Run(settings)) =
            of("tango-bridge publish a b.* --as x/{link} --deny b.x --read observer \
            --congestion block --queue 1M --batch 1K --delay 5ms --history 100 --json")
        else {
            panic!()
        };
        let [publish] = &settings.publish[..] else { panic!("{settings:?}") };
        let expected = Publish {
            links: vec!["a".to_owned(), "b.*".to_owned()],
            deny: vec!["b.x".to_owned()],
            key: "x/{link}".to_owned(),
            read: Reading::Observer,
            congestion: Congestion::Block,
            queue: 1 << 20,
            batch: 1024,
            delay: Duration::from_millis(5),
            history: 100,
        };
        assert_eq!((publish, settings.journal), (&expected, Format::Json));
        assert_eq!(settings.network.listen, ["tcp/127.0.0.1:7448"]);
        let line = "tango-bridge subscribe tango/** {link} --from oldest --depth 8 --linger 500ms";
        let Ok(Asked::Run(settings)) = of(line) else { panic!() };
        assert_eq!(settings.subscribe[0].linger, Duration::from_millis(500));
        assert_eq!((settings.subscribe[0].from_oldest, settings.subscribe[0].depth), (true, Some(8)));
        assert_eq!(settings.network.connect, ["tcp/127.0.0.1:7448"]);
        assert!(settings.network.listen.is_empty());
    }

    #[test]
    fn mistakes_name_their_argument() {
        for (line, part) in [
            ("", "subcommand"),
            ("publish", "<LINK>... (see 'tango-bridge publish --help')"),
            ("publish a --queue -4", "invalid value '-4' for '--queue <SIZE>': expected a number of bytes"),
            ("publish a --batch 100", "invalid value '100' for '--batch': expected 256"),
            ("publish a* --as x", "invalid value 'x' for '--as': expected a key with {link}"),
            ("publish a --read fast", "[possible values: evictable, reliable, observer]"),
            ("publish a --quee 5", "'--queue'"),
            ("publish a --listen 127.0.0.1:1", "'--listen': expected a protocol"),
            ("subscribe tango/x a/b", "for 'LINK': expected the name of a link"),
            ("subscribe /x a", "for 'KEY': expected names"),
            ("run", "<FILE>"),
            ("run /no/such/file", "cannot read /no/such/file: No such file"),
        ] {
            let message = of(format!("tango-bridge {line}").trim()).expect_err(line);
            assert!(message.contains(part) && !message.contains('\n'), "{line}: {message}");
        }
    }
}
