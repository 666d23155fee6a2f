//! `tango man` writes a page for each subcommand, which man and groff read without a complaint, and `make install` puts the
//! command, its pages and its completions where they belong.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{TestFolder, has_program};

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    // Wide, so that no line is broken that a test looks for.
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "200").env("MAN_KEEP_FORMATTING", "");
    command.output().unwrap()
}

/// The output of a program that must not complain.
#[track_caller]
fn text(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Spaces and line breaks do not count, nor does how a dash is drawn.
fn words(text: &str) -> String {
    let text = text.replace(['\u{2010}', '\u{2212}'], "-");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn pages_say_what_help_says() {
    let folder = TestFolder::new();
    let pages = folder.path_of("pages");
    folder.run(&format!("man {}", pages.display())).assert_ok();
    let mut names = folder.subcommands();
    assert!(names.len() >= 16 && names.contains(&"send".to_owned()), "{names:?}");
    names.push(String::new());
    assert_eq!(fs::read_dir(&pages).unwrap().count(), names.len());
    let (has_man, has_groff) = (has_program("man"), has_program("groff"));
    for name in &names {
        let page = if name.is_empty() { "tango".to_owned() } else { format!("tango-{name}") };
        let file = pages.join(format!("{page}.1")).display().to_string();
        if has_groff {
            // Nothing is printed; warnings would be.
            assert_eq!(
                text("groff", &["-man", "-ww", "-rCHECKSTYLE=3", "-z", "-Tutf8", "-Kutf8", &file]),
                ""
            );
        }
        if !has_man {
            continue;
        }
        let shown = text("man", &["--warnings=w", "--no-hyphenation", "--no-justification", "-l", &file]);
        assert!(shown.lines().next().unwrap().starts_with(&format!("{page}(1)")), "{shown}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            // The demonstration has no example: it is one.
            assert!(name == "demo" || shown.lines().any(|line| line == section), "no {section} in {page}");
        }
        // Every word that stands behind the options in the help text.
        let shown = words(&shown);
        let help = String::from_utf8(folder.run(&format!("{name} --help")).out).unwrap();
        let details = help.split("Print version\n\n").last().unwrap().split("Print help\n\n").last().unwrap();
        for line in details.lines().filter(|line| !line.is_empty() && !line.trim_end().ends_with(':')) {
            for part in line.split("  ").map(words).filter(|part| !part.is_empty()) {
                assert!(shown.contains(&part), "no {part:?} in {page}:\n{shown}");
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = TestFolder::new();
    drop(folder.file("file", b""));
    let file = folder.path_of("file").display().to_string();
    folder.run(&format!("man {file}")).assert_failed(1, &["cannot write", &file]);
    folder.run(&format!("man {file}/pages")).assert_failed(1, &["cannot write", &file]);
    folder.run("man").assert_failed(2, &["<FOLDER>"]);
}

#[test]
fn make_installs_everything_and_removes_it() {
    let folder = TestFolder::new();
    let root = folder.path_of("root");
    let make = |target: &str| {
        let tango = format!("TANGO={}", env!("CARGO_BIN_EXE_tango"));
        let destination = format!("DESTDIR={}", root.display());
        let arguments = ["-s", "-C", env!("CARGO_MANIFEST_DIR"), target, "PREFIX=/usr", &tango, &destination];
        assert_eq!(text("make", &arguments), "");
    };
    make("install");
    let files = |folder: &str| {
        let entries = fs::read_dir(root.join("usr").join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let installed = root.join("usr/bin/tango").display().to_string();
    assert!(text(&installed, &["--version"]).starts_with("tango "));
    let pages = files("share/man/man1");
    assert!(pages.contains(&"tango.1".to_owned()) && pages.contains(&"tango-send.1".to_owned()), "{pages:?}");
    let scripts = [
        ("share/bash-completion/completions", "tango"),
        ("share/zsh/site-functions", "_tango"),
        ("share/fish/vendor_completions.d", "tango.fish"),
    ];
    for (place, name) in scripts {
        assert_eq!(files(place), [name]);
        assert!(fs::metadata(root.join("usr").join(place).join(name)).unwrap().len() > 1000);
    }
    if has_program("man") {
        let pages = root.join("usr/share/man").display().to_string();
        assert!(text("man", &["-M", &pages, "tango-send"]).contains("SYNOPSIS"));
    }
    make("uninstall");
    assert!(!Path::new(&installed).exists());
    assert!(files("share/man/man1").is_empty() && scripts.iter().all(|(place, _)| files(place).is_empty()));
}
