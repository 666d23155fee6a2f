//! What a command says once, on standard error, while it waits for another process: for what, and where.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{cmp, env};

use rust_tango::Link;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format;

/// When it is said if standard error is not a terminal: scripts may well start the other process later.
const DELAY: Duration = Duration::from_secs(10);
/// Where the default folders of all users are.
const DEFAULT_FOLDERS: &str = "/dev/shm";
const DEFAULT_PREFIX: &str = "tango-";

/// How long a command waits in silence: `on_terminal` if somebody watches, otherwise 10 s.
pub(crate) fn delay(on_terminal: Duration) -> Duration {
    if io::stderr().is_terminal() { on_terminal } else { DELAY }
}

/// Says what the sender waits for, and how to start it.
pub(crate) fn of_missing_receivers(folder: &LinkFolder, name: &str, wanted: usize) -> String {
    let receivers = if wanted == 1 { "a receiver".to_owned() } else { format!("{wanted} receivers") };
    let dir = folder.dir().map_or(String::new(), |dir| format!(" --dir {}", dir.display()));
    line(&format!(
        "waiting for {receivers} of link {name} in {} to join; to start one, run: tango recv {name}{dir}",
        folder.path().display()
    ))
}

/// Says which link the receiver waits for, and why it may be missing: a line for each reason.
pub(crate) fn of_missing_link(folder: &LinkFolder, name: &str) -> String {
    let path = folder.path();
    let chosen_by = match folder.dir() {
        Some(_) => "--dir",
        None if env::var_os("TANGO_DIR").is_some_and(|dir| !dir.is_empty()) => "TANGO_DIR",
        None => "the default, because TANGO_DIR is not set",
    };
    let missing = if path.exists() { "" } else { "; there is no such folder" };
    let mut text = line(&format!("waiting for link {name} in {} ({chosen_by}){missing}", path.display()));
    if let Some(similar) = of_similar_names(folder, name) {
        text += &line(&similar);
    }
    let others = other_folders(&path);
    let (with_link, others): (Vec<_>, Vec<_>) = others.iter().partition(|folder| folder.join(name).is_dir());
    for folder in &with_link {
        text += &line(&format!(
            "a link {name} is in {folder}: to receive from there, use --dir {folder}",
            folder = folder.display()
        ));
    }
    if with_link.is_empty() && !others.is_empty() {
        let others: Vec<_> = others.iter().map(|folder| folder.display().to_string()).collect();
        text += &line(&format!("other folders of links (see --dir): {}", others.join(", ")));
    }
    text
}

/// Opens a link that should exist. The error names similar ones.
pub(crate) fn open(folder: &LinkFolder, name: &str) -> Result<Link, Failure> {
    folder.open(name).map_err(|error| match of_similar_names(folder, name) {
        Some(similar) if error.is_not_found() => Failure::new(format!("{error}; {similar}")),
        _ => error.into(),
    })
}

/// Names the links that a user who typed `name` may have meant.
pub(crate) fn of_similar_names(folder: &LinkFolder, name: &str) -> Option<String> {
    let near = near_names(name, folder.list().ok()?);
    (!near.is_empty()).then(|| format!("links with similar names are there: {}", near.join(", ")))
}

/// One line, whatever the names in it contain. Any user can make a folder in [`DEFAULT_FOLDERS`].
fn line(text: &str) -> String {
    format!("tango: {}\n", format::one_line(text))
}

/// The default folders of links that exist, but for the one that is used.
fn other_folders(used: &Path) -> Vec<PathBuf> {
    let is_default = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let user = name.strip_prefix(DEFAULT_PREFIX.as_bytes()).unwrap_or_default();
        !user.is_empty() && user.iter().all(u8::is_ascii_digit) && path.is_dir()
    };
    let used = fs::canonicalize(used).unwrap_or_else(|_| used.to_owned());
    let entries = fs::read_dir(DEFAULT_FOLDERS).into_iter().flatten().flatten();
    let mut folders: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| *path != used && is_default(path)).collect();
    folders.sort();
    folders
}

/// The names that a user who typed `name` may have meant: at most one of three letters is wrong.
fn near_names(name: &str, names: Vec<String>) -> Vec<String> {
    let is_near = |other: &String| strsim::osa_distance(name, other) <= cmp::max(1, name.chars().count() / 3);
    names.into_iter().filter(is_near).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near() {
        let near = |name: &str| near_names(name, ["quotes", "log", "log2"].map(String::from).to_vec());
        assert_eq!(near("qoutes"), ["quotes"]);
        assert_eq!(near("quote"), ["quotes"]);
        assert_eq!(near("lgo"), ["log"]);
        assert_eq!(near("log3"), ["log", "log2"]);
        assert!(near("trades").is_empty() && near("").is_empty());
    }
}
