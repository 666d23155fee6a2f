//! [`open`]: how the process takes part in the network, as [`Network`] says, and cautious where it does not say.
//!
//! Zenoh by itself listens on all addresses, looks for others by multicast, and connects to whom others name. Here, that is
//! off until a configuration file of zenoh switches it on.

use std::fmt::Display;
use std::path::Path;

use serde_json::{Value, json};
use zenoh::{Config, Session, Wait};

use crate::failure::Failure;
use crate::settings::Network;

/// What the configuration has unless the file says otherwise.
fn cautious() -> [(&'static str, Value); 8] {
    [
        ("listen/endpoints", json!([])),
        ("connect/endpoints", json!([])),
        ("scouting/multicast/enabled", json!(false)),
        ("scouting/gossip/enabled", json!(false)),
        // Connecting goes on in the background until it succeeds, and again after an interruption.
        ("connect/timeout_ms", json!(-1)),
        ("connect/exit_on_failure", json!(false)),
        (
            "connect/retry",
            json!({ "period_init_ms": 100, "period_max_ms": 1000, "period_increase_factor": 2 }),
        ),
        // A connection that takes nothing is closed after this time, in microseconds: half of the time that it may be silent,
        // zenoh's lease. A message that waits holds up zenoh's own threads when the connection ends. So if both times end
        // together, the other side may connect again before this side has done with the old connection, and zenoh 1.10 then
        // forgets the new one: it stays open, and nothing is sent through it.
        ("transport/link/tx/queue/congestion_control/block/wait_before_close", json!(5_000_000)),
    ]
}

/// Files that a configuration names. They are relative to its folder.
const FILES: [&str; 8] = [
    "transport/link/tls/root_ca_certificate",
    "transport/link/tls/listen_certificate",
    "transport/link/tls/listen_private_key",
    "transport/link/tls/connect_certificate",
    "transport/link/tls/connect_private_key",
    "transport/auth/usrpwd/dictionary_file",
    "transport/auth/pubkey/public_key_file",
    "transport/auth/pubkey/private_key_file",
];

/// Joins the network.
///
/// # Errors
///
/// The configuration file of zenoh or an endpoint is invalid, or the process cannot listen there.
pub fn open(network: &Network) -> Result<Session, Failure> {
    let config = configuration(network)?;
    zenoh::open(config).wait().map_err(|error| {
        let listen = if network.listen.is_empty() {
            String::new()
        } else {
            format!(" ({})", network.listen.join(", "))
        };
        Failure::new(format!("cannot join the network{listen}: {}", reason(&*error)))
    })
}

/// The configuration of zenoh for `network`.
///
/// # Errors
///
/// The configuration file of zenoh, or an endpoint, is invalid.
pub fn configuration(network: &Network) -> Result<Config, Failure> {
    let (mut config, said) = match &network.config {
        None => (Config::default(), Value::Null),
        Some(path) => {
            let invalid = |error: &dyn Display| {
                Failure::usage(format!("the configuration of zenoh, {}: {}", path.display(), reason(error)))
            };
            let text = std::fs::read_to_string(path).map_err(|error| invalid(&error))?;
            let said: Value = json5::from_str(&text).map_err(|error| invalid(&error))?;
            (Config::from_json5(&text).map_err(|error| invalid(&error))?, said)
        }
    };
    let mut insert = |key: &str, value: &Value| {
        config.insert_json5(key, &value.to_string()).map_err(|error| {
            Failure::usage(format!("the network does not take {key} = {value}: {}", reason(&*error)))
        })
    };
    for (key, value) in cautious() {
        if said.pointer(&format!("/{key}")).is_none() {
            insert(key, &value)?;
        }
    }
    if let Some(path) = &network.config {
        for key in FILES {
            if let Some(file) = said.pointer(&format!("/{key}")).and_then(Value::as_str) {
                let file = path.parent().unwrap_or(Path::new("")).join(file);
                // Otherwise, it would be missed only when something connects.
                std::fs::File::open(&file).map_err(|error| {
                    let (path, file) = (path.display(), file.display());
                    Failure::usage(format!(
                        "the configuration of zenoh, {path}: {key}: cannot read {file}: {error}"
                    ))
                })?;
                insert(key, &json!(file))?;
            }
        }
    }
    for (key, endpoints) in [("listen/endpoints", &network.listen), ("connect/endpoints", &network.connect)] {
        if !endpoints.is_empty() {
            insert(key, &json!(endpoints))?;
        }
    }
    Ok(config)
}

/// The endpoints of a configuration: `which` is `listen` or `connect`.
pub fn endpoints(config: &Config, which: &str) -> Vec<String> {
    let value = |key: &str| config.get_json(key).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mode = value("mode").and_then(|mode: Value| mode.as_str().map(str::to_owned));
    let all = value(&format!("{which}/endpoints")).unwrap_or(Value::Null);
    // Either a list, or an object with a list for each mode.
    let list = all.get(mode.as_deref().unwrap_or("peer")).unwrap_or(&all);
    let text = |endpoint: &Value| endpoint.as_str().map_or_else(|| endpoint.to_string(), str::to_owned);
    list.as_array().map_or_else(Vec::new, |list| list.iter().map(text).collect())
}

/// An error of zenoh, without the line of its sources that it ends with.
fn reason(error: &dyn Display) -> String {
    let text = error.to_string();
    match text.split_once(" at /") {
        Some((before, place)) if place.contains(".rs:") => before.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_listens_unless_told() {
        let config = configuration(&Network::default()).unwrap();
        let of = |config: &Config, key: &str| config.get_json(key).unwrap();
        assert_eq!(of(&config, "listen/endpoints"), "[]");
        assert_eq!(of(&config, "scouting/multicast/enabled"), "false");
        assert_eq!(of(&config, "scouting/gossip/enabled"), "false");
        let network = Network { listen: vec!["tcp/127.0.0.1:0".to_owned()], ..Network::default() };
        let config = configuration(&network).unwrap();
        assert_eq!(endpoints(&config, "listen"), ["tcp/127.0.0.1:0"]);
        assert!(endpoints(&config, "connect").is_empty());
    }

    #[test]
    fn two_sessions_find_each_other_by_the_endpoint() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = vec![format!("tcp/127.0.0.1:{port}")];
        let there = open(&Network { connect: endpoint.clone(), ..Network::default() }).unwrap();
        let received = there.declare_subscriber("network/test").wait().unwrap();
        // The one that listens comes later.
        let here = open(&Network { listen: endpoint.clone(), ..Network::default() }).unwrap();
        let publisher = here.declare_publisher("network/test").wait().unwrap();
        let sample = loop {
            publisher.put("hello").wait().unwrap();
            if let Ok(Some(sample)) = received.recv_timeout(std::time::Duration::from_millis(50)) {
                break sample;
            }
        };
        assert_eq!(&*sample.payload().to_bytes(), b"hello");
        let taken = open(&Network { listen: endpoint, ..Network::default() }).unwrap_err().to_string();
        assert!(taken.contains(&port.to_string()) && !taken.contains(".rs:"), "{taken}");
    }
}
