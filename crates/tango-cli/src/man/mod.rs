//! `tango man`: manual pages, a page for the command and one for each subcommand. `clap_mangen` writes the options and the
//! list of subcommands. `text` writes what stands behind the options in a help text.

mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::signals;

use text::{Section, escape};

const DETAILS: &str = "\
Examples:
  tango man ~/.local/share/man/man1    then: man tango-send
  tango man pages && man -l pages/tango.1

The folder is made if there is none. The pages have the texts of --help.
'make install' in crates/tango-cli of the sources puts them where man looks.

Exit status:
  0      success
  1      failure: a page cannot be written, for example
  2      invalid usage
  128+N  terminated by signal N";

/// Write manual pages of this command
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Where the pages go: tango.1, tango-send.1 ...
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, mut command: Command) -> Result<(), Failure> {
    signals::ignore_file_size_limit().map_err(Failure::signals)?;
    let folder = &arguments.folder;
    fs::create_dir_all(folder).map_err(|error| failure(folder, &error))?;
    command.build();
    let pages: Vec<_> = command.get_subcommands().filter(|each| each.get_name() != "help").collect();
    let names: Vec<_> = pages.iter().map(|page| format!("tango-{}", page.get_name())).collect();
    write(folder, "tango", page(&command, &names))?;
    for (name, command) in names.iter().zip(pages) {
        write(folder, name, page(command, &["tango".to_owned()]))?;
    }
    Ok(())
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}

fn write(folder: &Path, name: &str, page: io::Result<Vec<u8>>) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    page.and_then(|page| fs::write(&path, page)).map_err(|error| failure(&path, &error))
}

/// A page. `see_also` are the names of others.
fn page(command: &Command, see_also: &[String]) -> io::Result<Vec<u8>> {
    let details = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let sections = Section::all(&details);
    let name = escape(command.get_display_name().unwrap_or_else(|| command.get_name()));
    let about = escape(&command.get_about().map(ToString::to_string).unwrap_or_default());
    let usage = command.clone().render_usage().to_string();
    let usage = escape(usage.trim_start_matches("Usage: "));
    let version = env!("CARGO_PKG_VERSION");
    // The second pair of quotes is for a date. Without one, the same sources make the same page.
    let mut text = format!(
        ".TH \"{name}\" 1 \"\" \"tango {version}\" \"User Commands\"\n.SH NAME\n{name} \\- {about}\n\
         .SH SYNOPSIS\n\\fB{usage}\\fR\n.SH DESCRIPTION\n{about}.\n"
    );
    let of = |heading: &str| -> String {
        sections.iter().filter(|section| section.heading == heading).map(Section::text).collect()
    };
    text += &of("");
    let mut page = text.into_bytes();
    let man = Man::new(command.clone());
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    // In the order that is usual.
    let mut text = String::new();
    let last = ["", "Exit status", "Examples"];
    text.extend(sections.iter().filter(|section| !last.contains(&section.heading)).map(Section::text));
    text += &of("Exit status");
    text += &of("Examples");
    text += ".SH \"SEE ALSO\"\n";
    let see_also: Vec<_> = see_also.iter().map(|name| format!("\\fB{}\\fR(1)", escape(name))).collect();
    text += &format!("{}\n", see_also.join(",\n"));
    page.append(&mut text.into_bytes());
    Ok(page)
}
