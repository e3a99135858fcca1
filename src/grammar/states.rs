//! The states of the parser for the texts of a batch.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use eft_core::sample::RowId;
use llguidance::Matcher;

use super::error::Error;
use super::text_state::TextState;

/// The most texts whose states are kept. Others are parsed again from their beginnings.
const MOST: usize = 512;

/// The state of the parser for each text of a batch. They only save time: a state is a function of the tokens, and is made
/// anew for a text that has none.
pub(super) struct States {
    start: Matcher,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The number of calls so far.
    calls: u64,
    rows: BTreeMap<(u64, u64), Row>,
}

struct Row {
    /// The number of the last call that used it.
    used: u64,
    state: TextState,
}

impl States {
    pub(super) fn new(start: Matcher) -> Self {
        Self { start, kept: Mutex::default() }
    }

    /// Calls `f` with the state of a row. A state that has failed is dropped.
    pub(super) fn with<T>(
        &self,
        row: RowId,
        f: impl FnOnce(&mut TextState) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { calls, rows } = &mut *kept;
        *calls += 1;
        let key = (row.request, row.sample);
        if rows.len() >= MOST && !rows.contains_key(&key) {
            let oldest = rows.iter().min_by_key(|(_, row)| row.used).map(|(key, _)| *key);
            oldest.map(|key| rows.remove(&key));
        }
        let row = rows.entry(key);
        let row = row.or_insert_with(|| Row { used: 0, state: TextState::new(self.start.clone()) });
        row.used = *calls;
        let result = f(&mut row.state);
        if result.is_err() {
            rows.remove(&key);
        }
        result
    }
}
