//! Positions of a batch whose rows have equal settings.
use crate::backend::{Backend, ScoreRow};

/// Groups positions by their settings: the distinct ones, each with its positions. Positions without a setting are in no
/// group.
pub(super) fn groups<T>(
    settings: impl Iterator<Item = Option<T>>,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<(T, Vec<usize>)> {
    let mut groups: Vec<(T, Vec<usize>)> = Vec::new();
    for (index, setting) in settings.enumerate().filter_map(|(index, setting)| Some((index, setting?))) {
        match groups.iter_mut().find(|(known, _)| same(known, &setting)) {
            Some((_, which)) => which.push(index),
            None => groups.push((setting, vec![index])),
        }
    }
    groups
}

/// Some of the rows.
pub(super) fn some<'a, B: Backend>(rows: &[ScoreRow<'a, B>], which: &[usize]) -> Vec<ScoreRow<'a, B>> {
    which.iter().map(|index| rows[*index]).collect()
}
