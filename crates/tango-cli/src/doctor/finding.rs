//! [`Finding`]: a fact about the machine, what it costs, and how to change it.

use serde::Serialize;

/// How bad a fact is for links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// It cannot be read here.
    Unknown,
    /// Whether it costs anything depends on the program.
    Note,
    /// It costs latency or throughput.
    Slow,
    /// It makes calls fail.
    Fails,
    /// It deletes links in use.
    Loses,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Note => "note",
            Self::Slow => "slow",
            Self::Fails => "fails",
            Self::Loses => "loses",
        }
    }
}

/// A fact about the machine.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word or two.
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) found: String,
    /// Empty if it costs nothing.
    pub(super) costs: String,
    /// Empty if there is nothing to change.
    pub(super) change: String,
}

impl Finding {
    pub(super) fn new(check: &'static str, level: Level, found: impl Into<String>) -> Self {
        Self { check, level, found: found.into(), costs: String::new(), change: String::new() }
    }

    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, found)
    }

    pub(super) fn unknown(check: &'static str, file: &str) -> Self {
        Self::new(check, Level::Unknown, format!("{file} cannot be read here"))
    }

    pub(super) fn costs(self, costs: impl Into<String>) -> Self {
        Self { costs: costs.into(), ..self }
    }

    pub(super) fn change(self, change: impl Into<String>) -> Self {
        Self { change: change.into(), ..self }
    }
}
