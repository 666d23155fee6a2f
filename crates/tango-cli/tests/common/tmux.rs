//! A real terminal: the program tmux, without a window.
#![allow(dead_code)]

use std::process::{Command, Output, Stdio};
use std::{env, fs};

use crate::common::{TestFolder, wait_until};

/// A terminal in which an interactive shell runs. Dropping it ends the shell and what runs in it.
pub(crate) struct Tmux {
    socket: String,
}

impl Tmux {
    /// `None` if tmux is missing, which is said. With `TANGO_TEST_SKIP_NOTHING` set, that is a failure.
    pub(crate) fn start(folder: &TestFolder, (columns, lines): (u16, u16)) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            assert!(env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "tmux is missing");
            eprintln!("skipped: tmux is missing");
            return None;
        }
        let socket = folder.links().with_file_name("tmux").to_str().unwrap().to_owned();
        let tmux = Self { socket };
        let size = [columns, lines].map(|number| number.to_string());
        let shell = ["new-session", "-d", "-x", &size[0], "-y", &size[1], "PS1='ready> ' exec sh"];
        let tango = env!("CARGO_BIN_EXE_tango");
        let mut command = tmux.command(&[&["-f", "/dev/null"][..], &shell[..]].concat());
        command.env("TANGO_DIR", folder.links()).env("tango", tango).env("LC_ALL", "C.UTF-8");
        assert!(command.env_remove("TMUX").env_remove("NO_COLOR").status().unwrap().success());
        tmux.await_text("ready>");
        Some(tmux)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S", &self.socket]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// Types these keys, with tmux's names of keys.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"][..], keys].concat());
    }

    /// Types a line. In it, `$tango` is the command.
    pub(crate) fn line(&self, line: &str) {
        self.type_text(line);
        self.keys(&["Enter"]);
    }

    /// Types these characters.
    pub(crate) fn type_text(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
    }

    /// What the terminal shows.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// The same, with escape sequences for colors.
    pub(crate) fn colored_screen(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p", "-e"]).stdout).unwrap()
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Whether a program has taken the whole screen, and whether the cursor shows.
    pub(crate) fn modes(&self) -> (bool, bool) {
        let output = self.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (text.starts_with('1'), text.trim_end().ends_with('1'))
    }

    /// Waits until the terminal shows something that is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn await_screen(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        wait_until(what, || {
            screen = self.screen();
            wanted(&screen)
        });
        screen
    }

    #[track_caller]
    pub(crate) fn await_text(&self, text: &str) -> String {
        self.await_screen(text, |screen| screen.contains(text))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).stderr(Stdio::null()).status();
        let _ = fs::remove_file(&self.socket);
    }
}
