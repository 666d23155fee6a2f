//! bash, zsh and fish complete the command line of `tango`, and the names of links in it.

mod common;
#[path = "common/tmux.rs"]
mod tmux;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{TestFolder, has_program};
use rust_tango::Link;
use tmux::Tmux;

fn link(folder: PathBuf, name: &str) -> Link {
    Link::builder().depth(8).mtu(64).dir(folder).create(name).unwrap()
}

/// A file with the script for a shell.
fn script(folder: &TestFolder, shell: &str, name: &str) -> PathBuf {
    let script = folder.run(&format!("completions {shell}"));
    script.assert_ok();
    fs::create_dir_all(folder.path_of("scripts")).unwrap();
    let path = folder.path_of("scripts").join(name);
    fs::write(&path, script.out).unwrap();
    path
}

/// Runs a program with `tango` in its `PATH`, and returns its output as words.
fn words(folder: &TestFolder, program: &str, arguments: &[&str]) -> Vec<String> {
    let tango = PathBuf::from(env!("CARGO_BIN_EXE_tango"));
    let path = format!("{}:{}", tango.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("TANGO_DIR", folder.links())
        .env("PATH", path)
        .env("HOME", folder.path_of(""));
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(String::from).collect()
}

/// What bash offers for the last of these words.
fn bash(folder: &TestFolder, line: &str) -> Vec<String> {
    // As bash splits a line.
    let line = line.replace("=", " = ");
    let all: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let program = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; {} tango {} {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        folder.path_of("scripts").join("tango").display(),
        all.join(" "),
        all.len() - 1,
        "$(complete -p tango | sed 's/.* -F //; s/ .*//')",
        all[all.len() - 1],
        all[all.len() - 2],
    );
    words(folder, "bash", &["--norc", "--noprofile", "-c", &program])
}

#[test]
fn bash_knows_commands_options_and_links() {
    let folder = TestFolder::new();
    if !has_program("bash") {
        return;
    }
    script(&folder, "bash", "tango");
    let _links = ["quotes", "quick", "trades"].map(|name| link(folder.links(), name));
    let elsewhere = folder.path_of("elsewhere");
    let _other = link(elsewhere.clone(), "other");
    assert_eq!(bash(&folder, "tango comp"), ["completions"]);
    assert_eq!(bash(&folder, "tango send --dep"), ["--depth"]);
    for command in ["send", "recv", "record", "capture", "inspect", "peek", "signal", "rm"] {
        assert_eq!(bash(&folder, &format!("tango {command} qu")), ["quick", "quotes"], "{command}");
    }
    let all = bash(&folder, "tango recv ");
    for word in ["--observe", "--help", "quick", "quotes", "trades"] {
        assert!(all.iter().any(|each| each == word), "no {word} in {all:?}");
    }
    assert!(!all.iter().any(|each| each.contains(['<', '['])), "{all:?}");
    // A second link, where there may be one.
    assert_eq!(bash(&folder, "tango record trades q"), ["quick", "quotes"]);
    assert_eq!(bash(&folder, "tango rm trades qui"), ["quick"]);
    assert_eq!(bash(&folder, "tango signal trades h"), ["halt"]);
    assert_eq!(bash(&folder, "tango recv --count 3 tr"), ["trades"]);
    for line in ["tango recv --count tr", "tango replay tr", "tango recv quotes tr"] {
        assert!(!bash(&folder, line).contains(&"trades".to_owned()), "{line}");
    }
    let dir = elsewhere.display();
    assert_eq!(bash(&folder, &format!("tango recv --dir {dir} o")), ["other"]);
    assert_eq!(bash(&folder, &format!("tango --dir={dir} recv o")), ["other"]);
    assert!(bash(&folder, &format!("tango recv --dir {dir} q")).is_empty());
}

#[test]
fn fish_knows_commands_options_and_links() {
    let folder = TestFolder::new();
    if !has_program("fish") {
        return;
    }
    let script = script(&folder, "fish", "tango.fish");
    let _links = ["quotes", "quick", "trades"].map(|name| link(folder.links(), name));
    let elsewhere = folder.path_of("elsewhere");
    let _other = link(elsewhere.clone(), "other");
    let fish = |line: &str| {
        // A line for each candidate, with what it is behind a tab.
        let program =
            format!("source {}; complete -C '{line}' | string replace -r '\\t.*' ''; true", script.display());
        words(&folder, "fish", &["--no-config", "-c", &program])
    };
    assert_eq!(fish("tango comp"), ["completions"]);
    assert_eq!(fish("tango send --dep"), ["--depth"]);
    for command in ["send", "recv", "record", "capture", "inspect", "peek", "signal", "rm"] {
        assert_eq!(fish(&format!("tango {command} qu")), ["quick", "quotes"], "{command}");
    }
    assert_eq!(fish("tango recv --count 3 tr"), ["trades"]);
    assert_eq!(fish("tango signal trades ha"), ["halt"]);
    assert_eq!(fish("tango completions ba"), ["bash"]);
    assert!(!fish("tango replay qu").contains(&"quotes".to_owned()), "a file is no link");
    let dir = elsewhere.display();
    assert_eq!(fish(&format!("tango recv --dir {dir} o")), ["other"]);
    assert_eq!(fish(&format!("tango --dir={dir} recv o")), ["other"]);
}

/// With keys, in a terminal: zsh completes only there.
#[test]
fn keys_complete_a_line() {
    let folder = TestFolder::new();
    script(&folder, "bash", "tango");
    script(&folder, "zsh", "_tango");
    let _links = ["quotes", "trades"].map(|name| link(folder.links(), name));
    let elsewhere = folder.path_of("elsewhere");
    let _other = link(elsewhere.clone(), "other");
    let scripts = folder.path_of("scripts").display().to_string();
    let bash = format!("exec bash --norc --noprofile; source {scripts}/tango");
    let zsh = format!("exec zsh -f; fpath=({scripts} $fpath); autoload -U compinit; compinit -D -u");
    for (shell, setup) in [("bash", bash), ("zsh", zsh)] {
        if !has_program(shell) {
            continue;
        }
        let Some(tmux) = Tmux::start(&folder, (100, 30)) else { return };
        tmux.line("PATH=${tango%/*}:$PATH");
        for line in setup.split("; ") {
            tmux.line(line);
        }
        tmux.line("PS1='rea''dy: '");
        tmux.await_text("ready:");
        for (typed, completed) in [
            ("tango comple", "tango completions "),
            ("tango recv quo", "tango recv quotes "),
            ("tango recv --obs", "tango recv --observe "),
            ("tango rm quotes tr", "tango rm quotes trades "),
            ("tango signal quotes ha", "tango signal quotes halt "),
            (&format!("tango peek --dir {} ot", elsewhere.display()), "elsewhere other "),
            (&format!("tango --dir {} peek ot", elsewhere.display()), "peek other "),
        ] {
            tmux.type_text(typed);
            tmux.keys(&["Tab"]);
            tmux.type_text("#");
            tmux.await_screen(completed, |screen| {
                let screen = screen.replace('\n', "");
                screen.contains(&format!("{completed}#"))
            });
            // A comment, which does nothing, and a clean screen.
            tmux.keys(&["C-u"]);
            tmux.line("clear");
            tmux.await_screen("a clean screen", |screen| !screen.contains('#'));
        }
    }
}

#[test]
fn other_shells_are_refused() {
    let folder = TestFolder::new();
    folder.run("completions csh").assert_failed(2, &["csh", "bash|zsh|fish"]);
    folder.run("completions").assert_failed(2, &["<bash|zsh|fish>"]);
}
