//! [`Pattern`] and [`Patterns`]: which links the bridge carries, chosen by their names.

/// A name, or a pattern of names: `*` stands for any characters, also none, and `?` for one. Everything else stands for
/// itself. A pattern matches whole names.
///
/// ```
/// use tango_bridge::pattern::Pattern;
///
/// let pattern = Pattern::new("quotes.*");
/// assert!(pattern.matches("quotes.eur") && !pattern.matches("quotes"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// The pattern with this text.
    pub fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether it matches more than one name.
    pub fn is_wild(&self) -> bool {
        self.0.iter().any(|symbol| matches!(symbol, '*' | '?'))
    }

    /// Whether `name` matches. Takes at most the product of both lengths in steps.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (&self.0, name.chars().collect::<Vec<_>>());
        let (mut at, mut next) = (0, 0);
        // Where the last star is, and up to where it reaches.
        let mut star = None;
        while next < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, next));
                    at += 1;
                }
                Some(symbol) if *symbol == '?' || *symbol == name[next] => {
                    at += 1;
                    next += 1;
                }
                // The last star takes one character more. Those before it need not: what they reached was enough.
                _ => match &mut star {
                    Some((of, reach)) => {
                        *reach += 1;
                        (at, next) = (*of + 1, *reach);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|symbol| *symbol == '*')
    }
}

impl Pattern {
    /// Whether there is a name that both patterns match.
    pub fn intersects(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        // meets[j]: whether what is left of `a` has a name in common with what is left of `b`, from its symbol j on.
        let mut meets = vec![false; b.len() + 1];
        for i in (0..=a.len()).rev() {
            // Of the symbol of `a` after this one. Beyond the end of `a`, nothing is in common with anything.
            let after = std::mem::replace(&mut meets, vec![false; b.len() + 1]);
            for j in (0..=b.len()).rev() {
                meets[j] = match (a.get(i), b.get(j)) {
                    (None, None) => true,
                    (Some('*'), None) => after[j],
                    (None, Some('*')) => meets[j + 1],
                    (None, Some(_)) | (Some(_), None) => false,
                    (Some('*'), Some(_)) | (Some(_), Some('*')) => after[j] || meets[j + 1],
                    (Some(x), Some(y)) => (x == y || *x == '?' || *y == '?') && after[j + 1],
                };
            }
        }
        meets[0]
    }
}

/// Names that are allowed, but for those that are denied.
///
/// ```
/// use tango_bridge::pattern::Patterns;
///
/// let patterns = Patterns::new(["quotes.*"], ["*.test"]);
/// assert!(patterns.allow("quotes.eur") && !patterns.allow("quotes.test") && !patterns.allow("orders"));
/// assert!(Patterns::default().allow("any"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    allowed: Vec<Pattern>,
    denied: Vec<Pattern>,
}

impl Patterns {
    /// Allows what matches one of `allow`, and none of `deny`. If `allow` is empty, it allows what does not match `deny`.
    pub fn new<S: AsRef<str>>(
        allow: impl IntoIterator<Item = S>,
        deny: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        Self {
            allowed: allow.into_iter().map(|text| Pattern::new(text.as_ref())).collect(),
            denied: deny.into_iter().map(|text| Pattern::new(text.as_ref())).collect(),
        }
    }

    /// Whether `name` is allowed.
    pub fn allow(&self, name: &str) -> bool {
        let matches = |pattern: &Pattern| pattern.matches(name);
        (self.allowed.is_empty() || self.allowed.iter().any(matches)) && !self.denied.iter().any(matches)
    }

    /// Names among those that are allowed which are written out, without `*` and `?`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.allowed.iter().filter(|pattern| !pattern.is_wild()).map(|pattern| pattern.0.iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, yes, no) in [
            ("quotes", &["quotes"][..], &["quote", "quotess", "", "Quotes"][..]),
            ("quotes.*", &["quotes.", "quotes.eur"], &["quotes", "xquotes.eur"]),
            ("*", &["", "a", "größe"], &[]),
            ("**", &["", "a"], &[]),
            ("", &[""], &["a"]),
            ("?", &["a", "ß"], &["", "ab"]),
            ("*.eur", &["quotes.eur", ".eur", "a.eur.eur"], &["quotes.eur.x"]),
            ("a*b*c", &["abc", "aXbXbXc", "abcc"], &["ab", "acb", "abcd"]),
            ("*ab?", &["abc", "aabx", "abab1"], &["ab", "abcd"]),
            ("[a]", &["[a]"], &["a"]),
        ] {
            let pattern = Pattern::new(pattern);
            for name in yes {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
        // It does not take exponential time.
        let name = "a".repeat(200);
        assert!(!Pattern::new(&("a*".repeat(50) + "b")).matches(&name));
    }

    #[test]
    fn patterns_have_names_in_common() {
        for (a, b, have) in [
            ("*", "", true),
            ("*", "quotes", true),
            ("quotes.*", "*.eur", true),
            ("quotes.*", "far.*", false),
            ("a?c", "*b*", true),
            ("a?c", "ab", false),
            ("??", "?", false),
            ("*a", "*b", false),
            ("a*", "*b", true),
            ("", "", true),
        ] {
            assert_eq!(Pattern::new(a).intersects(&Pattern::new(b)), have, "{a} {b}");
            assert_eq!(Pattern::new(b).intersects(&Pattern::new(a)), have, "{b} {a}");
        }
    }

    #[test]
    fn what_is_denied_is_not_allowed() {
        let patterns = Patterns::new(["a*", "b"], ["ab*"]);
        let allowed = ["a", "ac", "b", "ab", "abc", "bb", "c"].map(|name| patterns.allow(name));
        assert_eq!(allowed, [true, true, true, false, false, false, false]);
        assert_eq!(patterns.names().collect::<Vec<_>>(), ["b"]);
        let no_names: [&str; 0] = [];
        let all_but_one = Patterns::new(no_names, ["a"]);
        assert!(all_but_one.allow("b") && !all_but_one.allow("a"));
    }
}
