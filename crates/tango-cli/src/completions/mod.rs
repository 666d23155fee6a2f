//! `tango completions`: scripts that complete the command line in shells. `clap_complete` makes the scripts; this file adds
//! the names of links, which `tango ls` knows.

use std::collections::BTreeSet;

use clap::builder::PossibleValue;
use clap::{Command, ValueHint};
use clap_complete::generate;

use crate::failure::Failure;
use crate::standard;

/// Names of links, in the place of words such as `<LINK>`, which the script of `clap_complete` offers.
const BASH: &str = include_str!("links.bash");
const ZSH: &str = include_str!("links.zsh");
const FISH: &str = include_str!("links.fish");
/// What stands for the name of a link in the script for zsh, until it is replaced: no value is the name of a host.
const MARK: ValueHint = ValueHint::Hostname;
const MARKED: &str = ":_hosts'";

const DETAILS: &str = "\
Examples:
  tango completions bash > ~/.local/share/bash-completion/completions/tango
  tango completions zsh > ~/.zfunc/_tango     a folder of $fpath
  tango completions fish > ~/.config/fish/completions/tango.fish
  source <(tango completions bash)            for this shell only

Subcommands, options, files and the names of links are completed. For the names,
the script runs 'tango ls', in the folder of --dir if the line has that.
'make install' in crates/tango-cli of the sources puts the scripts where the
shells look for them.

Exit status:
  0      success
  1      failure: standard output cannot be written, for example
  2      invalid usage
  128+N  terminated by signal N";

/// Print a script that completes this command in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum, hide_possible_values = true, value_name = "bash|zsh|fish")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(arguments: &Arguments, command: Command) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    standard::print(&script(arguments.shell, command)).map_err(Failure::output)
}

/// The script for this shell.
fn script(shell: Shell, mut command: Command) -> String {
    command.build();
    let with_links = with_links(&command);
    let values = options_with_values(&command);
    let mut command = command.mut_subcommands(mark_links);
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(clap_complete::Shell::Bash, &mut command, "tango", &mut script),
        Shell::Zsh => generate(clap_complete::Shell::Zsh, &mut command, "tango", &mut script),
        Shell::Fish => generate(clap_complete::Shell::Fish, &mut command, "tango", &mut script),
    }
    let script = String::from_utf8_lossy(&script);
    let names = |of_many: bool| {
        let chosen = with_links.iter().filter(|(_, many)| *many || !of_many).map(|(name, _)| name.as_str());
        chosen.collect::<Vec<_>>()
    };
    match shell {
        Shell::Bash => {
            let links = BASH
                .replace("@ONE@", &names(false).join("|"))
                .replace("@MANY@", &names(true).join("|"))
                .replace("@VALUES@", &values.into_iter().collect::<Vec<_>>().join("|"));
            format!("{script}\n{links}")
        }
        Shell::Zsh => {
            // The first line says for which command the file is, and the last ones call its function.
            let (head, body) = script.split_once('\n').unwrap_or_default();
            format!("{head}\n\n{ZSH}{}", body.replace(MARKED, ":_tango_links'"))
        }
        Shell::Fish => {
            format!("{script}\n{}{}", FISH.replace("@ONE@", &names(false).join(" ")), fish_words(&command))
        }
    }
}

/// Whether the first argument of a subcommand is a link that can be there.
fn takes_links(command: &Command) -> bool {
    let first = command.get_positionals().next();
    first.and_then(|argument| argument.get_value_names()).is_some_and(|names| names[0] == "LINK")
}

/// The subcommands that take the name of a link, and whether they take several.
fn with_links(command: &Command) -> Vec<(String, bool)> {
    let those = command.get_subcommands().filter(|each| takes_links(each));
    let is_many = |each: &Command| {
        let first = each.get_positionals().next();
        first.and_then(|argument| argument.get_num_args()).is_some_and(|number| number.max_values() > 1)
    };
    those.map(|each| (each.get_name().to_owned(), is_many(each))).collect()
}

/// The words that an argument can be, for fish: its script of `clap_complete` has only those of options.
fn fish_words(command: &Command) -> String {
    let mut text = String::new();
    for each in command.get_subcommands() {
        for argument in each.get_positionals() {
            let words = argument.get_possible_values();
            let words: Vec<_> = words.iter().map(PossibleValue::get_name).collect();
            if !words.is_empty() {
                let (name, words) = (each.get_name(), words.join(" "));
                text += &format!(
                    "complete -c tango -n \"__fish_seen_subcommand_from {name}\" -f -a \"{words}\"\n"
                );
            }
        }
    }
    text
}

fn mark_links(command: Command) -> Command {
    let first = command.get_positionals().next().map(|argument| argument.get_id().clone());
    match first {
        // `mut_arg` would change the order of the arguments.
        Some(first) if takes_links(&command) => {
            command.mut_args(
                |argument| {
                    if *argument.get_id() == first { argument.value_hint(MARK) } else { argument }
                },
            )
        }
        _ => command,
    }
}

/// The options whose next word is a value.
fn options_with_values(command: &Command) -> BTreeSet<String> {
    let all = command.get_subcommands().chain([command]).flat_map(Command::get_opts);
    let mut words = BTreeSet::new();
    for option in all.filter(|option| option.get_num_args().is_some_and(|number| number.min_values() > 0)) {
        words.extend(option.get_long().map(|long| format!("--{long}")));
        words.extend(option.get_short().map(|short| format!("-{short}")));
    }
    words
}
