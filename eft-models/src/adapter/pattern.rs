//! [`Pattern`]: a regular expression of Python's `re`, matched against module names as PEFT does.
use fancy_regex::{Regex, RegexBuilder};

use crate::config::shortened_text;

/// The most memory that an expression may take, in bytes: those in use take a few kilobytes.
const MAX_BYTES: usize = 1 << 19;

/// A regular expression written for Python's `re` module, which must match from the start of a name.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// A pattern that must match a whole name, as `re.fullmatch(pattern, name)`.
    ///
    /// # Errors
    /// The reason for which the pattern is refused.
    pub(super) fn whole(pattern: &str) -> Result<Self, String> {
        Self::compile(pattern, &format!(r"\A(?:{pattern})\z"))
    }

    /// A pattern that must match a whole name or its last dotted parts, as `re.match(rf"(.*\.)?({pattern})$", name)`.
    ///
    /// # Errors
    /// The reason for which the pattern is refused.
    pub(super) fn suffix(pattern: &str) -> Result<Self, String> {
        Self::compile(pattern, &format!(r"\A(?:.*\.)?(?:{pattern})\z"))
    }

    /// A pattern for the name of a list of layers, as `re.match(rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.", name)`.
    /// [`number`](Self::number) gives the layer.
    ///
    /// # Errors
    /// The reason for which the pattern is refused.
    pub(super) fn layers(pattern: &str) -> Result<Self, String> {
        // The pattern is interpolated without parentheses, as PEFT does.
        Self::compile(pattern, &format!(r"\A(?:(?:^|.*?\.){pattern}\.(?P<{LAYER}>\d+)\.)"))
    }

    /// The pattern for layers in a list of any name, as `re.match(r".*?\.[^.]*\.(?P<idx>\d+)\.", name)`.
    ///
    /// # Errors
    /// None in practice: the pattern is fixed.
    pub(super) fn any_layer() -> Result<Self, String> {
        Self::compile("", &format!(r"\A.*?\.[^.]*\.(?P<{LAYER}>\d+)\."))
    }

    /// `pattern` is the pattern as in the file, `full` the expression that is matched.
    fn compile(pattern: &str, full: &str) -> Result<Self, String> {
        if let Some(syntax) = ambiguous(pattern) {
            let pattern = shortened_text(pattern);
            return Err(format!("`{pattern}`: Python and this library read `{syntax}` differently"));
        }
        // The pattern must be valid by itself: `a)|(b` would be turned into something else by its surroundings.
        let compiled = |pattern| RegexBuilder::new(pattern).delegate_size_limit(MAX_BYTES).build();
        let regex = compiled(pattern).and_then(|_| compiled(full));
        regex.map(Self).map_err(|error| {
            let pattern = shortened_text(pattern);
            format!("`{pattern}` is not a supported regular expression: {error}")
        })
    }

    /// Whether a name matches.
    ///
    /// # Errors
    /// The reason for which matching was given up, such as too much backtracking.
    pub(super) fn matches(&self, name: &str) -> Result<bool, String> {
        self.0.is_match(name).map_err(|error| format!("`{}`: {error}", self.0.as_str()))
    }

    /// The layer that a name belongs to, by a pattern made by [`layers`](Self::layers).
    ///
    /// # Errors
    /// The reason for which matching was given up, such as too much backtracking.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let captures = self.0.captures(name).map_err(|error| format!("`{}`: {error}", self.0.as_str()))?;
        let layer = captures.and_then(|captures| captures.name(LAYER)?.as_str().parse().ok());
        Ok(layer)
    }
}

/// The group that holds the number of a layer.
const LAYER: &str = "idx";

/// Syntax that compiles in both languages with different meanings: operators and nested sets within a set, and
/// boundaries of words.
fn ambiguous(pattern: &str) -> Option<&'static str> {
    let mut set = false;
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with(r"\<") || rest.starts_with(r"\>") {
            return Some(if rest.starts_with(r"\<") { r"\<" } else { r"\>" });
        }
        let length = if first == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            if set && let Some(syntax) = ["[", "&&", "--", "~~"].into_iter().find(|s| rest.starts_with(s)) {
                return Some(syntax);
            }
            match first {
                '[' => set = true,
                ']' => set = false,
                _ => {}
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_begin_at_a_dot() {
        let matches = |pattern: &str, name: &str| Pattern::suffix(pattern).unwrap().matches(name).unwrap();
        assert!(matches("q_proj", "model.layers.0.self_attn.q_proj"));
        assert!(matches("q_proj", "q_proj"));
        assert!(!matches("proj", "model.layers.0.self_attn.q_proj"));
        assert!(matches(r"layers\.[02]\..*", "model.layers.2.mlp.up_proj"));
        assert!(!matches(r"layers\.[02]\..*", "model.layers.1.mlp.up_proj"));
        // An unescaped dot matches any character.
        assert!(matches("self.attn.q_proj", "model.layers.0.self_attn.q_proj"));
        // `^` matches at the start of the name only.
        assert!(matches(r"^model\.layers\.0\..*", "model.layers.0.mlp.up_proj"));
        assert!(!matches("^q_proj", "model.layers.0.self_attn.q_proj"));
        // The whole of an alternation stands after the dot and before the end.
        assert!(!matches("q|k", "self_attn.q_proj"));
    }

    #[test]
    fn whole_patterns_match_from_end_to_end() {
        let matches = |pattern: &str, name: &str| Pattern::whole(pattern).unwrap().matches(name).unwrap();
        assert!(matches(r".*\.(q|v)_proj", "model.layers.0.self_attn.v_proj"));
        assert!(!matches("v_proj", "model.layers.0.self_attn.v_proj"));
        // Look-around, as in Python.
        assert!(matches(r"(?!.*\.1\.).*_proj", "model.layers.0.self_attn.v_proj"));
        assert!(!matches(r"(?!.*\.1\.).*_proj", "model.layers.1.self_attn.v_proj"));
    }

    #[test]
    fn unsupported_patterns_are_refused() {
        for pattern in ["(", "*", "a)|(b", "[a&&b]", "[[:alpha:]]", r"\<q_proj", "[a--b]", r"(?P=none)"] {
            assert!(Pattern::suffix(pattern).is_err(), "{pattern}");
            assert!(Pattern::whole(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::suffix(r"\[a&&b\]--").is_ok());
    }
}
