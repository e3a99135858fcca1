use std::borrow::Cow;

use serde::Serialize;

/// What is done to an answer and to its references before they are compared.
///
/// ```
/// use eft_eval::Normalise;
///
/// assert_eq!(Normalise::AsGiven.apply(" A nurse."), " A nurse.");
/// assert_eq!(Normalise::Trim.apply(" A nurse."), "A nurse.");
/// assert_eq!(Normalise::LowerCase.apply(" A nurse."), "a nurse.");
/// assert_eq!(Normalise::Squad.apply(" A nurse."), "nurse");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Normalise {
    /// Nothing.
    AsGiven,
    /// White space at both ends is removed. The default.
    #[default]
    Trim,
    /// White space at both ends is removed, and letters become lower case.
    LowerCase,
    /// As in the official evaluation of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250): letters become lower case,
    /// ASCII punctuation and the words `a`, `an` and `the` are removed, and white space becomes single spaces.
    Squad,
}

impl Normalise {
    /// Returns the normalised text.
    #[must_use]
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::AsGiven => text.into(),
            Self::Trim => text.trim().into(),
            Self::LowerCase => text.trim().to_lowercase().into(),
            Self::Squad => squad(text).into(),
        }
    }
}

fn squad(text: &str) -> String {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // Articles are found between word boundaries, which a letter such as `’` also makes.
    let mut kept = String::new();
    let mut rest = &text[..];
    while let Some(start) = rest.find(is_word) {
        let (between, word) = rest.split_at(start);
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        kept.push_str(between);
        kept.push_str(if ["a", "an", "the"].contains(&&word[..end]) { " " } else { &word[..end] });
        rest = &word[end..];
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by the functions of SQuAD's `evaluate-v1.1.py`.
    #[test]
    fn squad_agrees_with_the_official_script() {
        for (text, expected) in [
            ("The  Cat, a hat; an\tapple!", "cat hat apple"),
            ("theatre and another", "theatre and another"),
            ("A.B. the-end", "ab theend"),
            ("a’s l’an", "’s l’"),
            ("", ""),
            ("An", ""),
            ("Ünïcode The ÄB", "ünïcode äb"),
            ("$1,000.50 a day", "100050 day"),
        ] {
            assert_eq!(Normalise::Squad.apply(text), expected, "of {text:?}");
        }
    }
}
