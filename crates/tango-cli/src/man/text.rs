//! [`Section`]: the text behind the options of a help text, for a manual page.
//!
//! A help text has paragraphs; lists, which are indented; and headings: short lines with a colon, right before a list. An
//! entry of a list is a line, or a word and, behind two spaces or more, what it means. What is indented further goes on
//! with the entry.

/// A section, and the lines under its heading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// Without its colon. Empty: what has no heading.
    pub(super) heading: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// The sections of a text. What has no heading is one of them.
    pub(super) fn all(text: &'a str) -> Vec<Self> {
        let mut all = vec![Self { heading: "", lines: Vec::new() }];
        let mut current = 0;
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_first = index == 0 || lines[index - 1].is_empty();
            let is_before_list = lines.get(index + 1).is_some_and(|next| next.starts_with(' '));
            let heading = line.strip_suffix(':').filter(|heading| heading.split(' ').count() <= 2);
            match heading {
                Some(heading) if is_first && is_before_list => {
                    all.push(Self { heading, lines: Vec::new() });
                    current = all.len() - 1;
                    continue;
                }
                // A paragraph of its own belongs to what has no heading.
                _ if is_first && !line.is_empty() && !line.starts_with(' ') => current = 0,
                _ => {}
            }
            all[current].lines.push(line);
        }
        all
    }

    /// As the source of a page.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if !self.heading.is_empty() {
            text = format!(".SH \"{}\"\n", escape(&self.heading.to_uppercase()));
        }
        for block in self.lines.chunk_by(|a, b| a.is_empty() == b.is_empty() && is_list(a) == is_list(b)) {
            match block {
                [first, ..] if is_list(first) => list(block, &mut text),
                [first, ..] if !first.is_empty() => {
                    if !text.ends_with("\"\n") {
                        text += ".PP\n";
                    }
                    block.iter().for_each(|line| text += &(escape(line) + "\n"));
                }
                _ => {}
            }
        }
        text
    }
}

fn is_list(line: &str) -> bool {
    line.starts_with(' ')
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A list, or one in an entry.
fn list(lines: &[&str], text: &mut String) {
    let base = lines.iter().map(|line| indentation(line)).min().unwrap_or(0);
    // An entry with its further lines.
    for entry in lines.chunk_by(|_, next| indentation(next) > base) {
        let (first, further) = (entry[0].trim_start(), &entry[1..]);
        let Some((word, meaning)) = first.split_once("  ") else {
            let further = further.iter().map(|line| line.trim_start());
            let line = [first].into_iter().chain(further).collect::<Vec<_>>().join(" ");
            plain(&line, text);
            continue;
        };
        let column = further.iter().map(|line| indentation(line)).min().unwrap_or(0);
        let meaning = " ".repeat(column) + meaning.trim_start();
        let meaning: Vec<_> = [meaning.as_str()].into_iter().chain(further.iter().copied()).collect();
        // A list in the entry begins where words stand apart.
        let inner = meaning.iter().position(|line| line.trim_start().contains("  ")).unwrap_or(meaning.len());
        let (words, inner) = meaning.split_at(inner);
        *text += &format!(".TP\n\\fB{}\\fR\n", escape(word));
        words.iter().for_each(|line| *text += &(escape(line.trim_start()) + "\n"));
        if !inner.is_empty() {
            *text += if words.is_empty() { "\\&\n.RS\n" } else { ".RS\n" };
            list(inner, text);
            *text += ".RE\n";
        }
    }
}

/// A line that is not broken. One right after the other.
fn plain(line: &str, text: &mut String) {
    const END: &str = ".fi\n.RE\n";
    if text.ends_with(END) {
        text.truncate(text.len() - END.len());
    } else {
        *text += ".PP\n.RS 4\n.nf\n";
    }
    *text += &format!("{}\n{END}", escape(line));
}

/// Text that a manual page shows as it is, and that can be copied from there into a shell.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            '\\' => escaped += "\\e",
            '-' => escaped += "\\-",
            '\'' => escaped += "\\(aq",
            '`' => escaped += "\\(ga",
            '^' => escaped += "\\(ha",
            '~' => escaped += "\\(ti",
            '"' => escaped += "\\(dq",
            char => escaped.push(char),
        }
    }
    // A line that begins with a dot would be an instruction.
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Examples:
  tango a               the first
  tango b | c -d

It does
this:
  a 'command'
  of two

Words:
  ONE  is
       this:
         x  y
         z  w
Behind the list.";

    #[test]
    fn headings_stand_before_lists_and_paragraphs_apart() {
        let all = Section::all(TEXT);
        let headings: Vec<_> = all.iter().map(|section| section.heading).collect();
        assert_eq!(headings, ["", "Examples", "Words"]);
        let page = ".PP\nIt does\nthis:\n.PP\n.RS 4\n.nf\na \\(aqcommand\\(aq\nof two\n.fi\n.RE\n";
        assert_eq!(all[0].text(), page);
        let page = ".SH \"EXAMPLES\"\n.TP\n\\fBtango a\\fR\nthe first\n.PP\n.RS 4\n.nf\ntango b | c \\-d\n.fi\n.RE\n";
        assert_eq!(all[1].text(), page);
        let page = ".SH \"WORDS\"\n.TP\n\\fBONE\\fR\nis\nthis:\n.RS\n.TP\n\\fBx\\fR\ny\n.TP\n\\fBz\\fR\nw\n.RE\n.PP\nBehind the list.\n";
        assert_eq!(all[2].text(), page);
    }

    #[test]
    fn nothing_is_an_instruction() {
        assert_eq!(escape(".TH -a 'b' `c` \\d ~ ^"), "\\&.TH \\-a \\(aqb\\(aq \\(gac\\(ga \\ed \\(ti \\(ha");
    }
}
