//! Messages about names that are not known.
use eft_core::source::quoted;

/// The known name that is most like an unknown one, if one is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|k| (strsim::osa_distance(name, k), k));
    let (distance, nearest) = distances.min()?;
    (distance <= name.chars().count().div_ceil(3)).then_some(nearest)
}

/// The end of a message about an unknown name: which one may have been meant, and which there are.
pub(super) fn among<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let meant =
        nearest(name, known.clone()).map_or(String::new(), |n| format!("; did you mean {}?", shown(n)));
    let all: Vec<_> = known.map(shown).collect();
    match all.is_empty() {
        true => "; none is known".into(),
        false => format!("{meant}; known: {}", all.join(", ")),
    }
}

/// A name in backquotes, as it is or as it must be written.
fn shown(name: &str) -> String {
    match quoted(name) {
        name if name.starts_with('`') => name.into(),
        name => format!("`{name}`"),
    }
}
