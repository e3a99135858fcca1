//! [`RowProcessors`]: the processors of all requests of a batch, as one processor.
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use eft::sample::{History, Processor};
use eft::{Edit, Result, TokenId};

use super::job::Processors;

/// Applies to each row the processors of its request, which it finds by the id of the row. Clones share them.
#[derive(Clone, Default)]
pub(super) struct RowProcessors(Arc<RwLock<HashMap<u64, Entry>>>);

struct Entry {
    processors: Vec<Arc<dyn Processor>>,
    /// How many running requests have them.
    users: usize,
}

impl RowProcessors {
    /// Makes processors known, before a row of a request with them is taken in.
    pub(super) fn insert(&self, processors: &Processors) {
        if processors.list.is_empty() {
            return;
        }
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Entry { processors: processors.list.clone(), users: 0 };
        entries.entry(processors.id).or_insert_with(new).users += 1;
    }

    /// Forgets the processors of a request, unless others have equal ones.
    pub(super) fn remove(&self, processors: &Processors) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&processors.id) {
            entry.users -= 1;
            if entry.users == 0 {
                entries.remove(&processors.id);
            }
        }
    }

    fn of(&self, history: &History<'_>) -> Vec<Arc<dyn Processor>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&history.row.request).map(|entry| entry.processors.clone()).unwrap_or_default()
    }
}

impl Processor for RowProcessors {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let mut edits = Vec::new();
        for processor in self.of(history) {
            edits.extend(processor.edits(history)?);
        }
        Ok(edits)
    }

    /// The forced tokens of a single processor. With several, the others may exclude them.
    fn forced(&self, history: &History<'_>) -> Result<Vec<TokenId>> {
        match &self.of(history)[..] {
            [processor] => processor.forced(history),
            _ => Ok(Vec::new()),
        }
    }
}
