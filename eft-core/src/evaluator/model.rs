//! The models that an evaluator runs, and the prompts that each of them is opened on.
use std::sync::Arc;

use crate::backend::Backend;
use crate::{Engine, EngineRow, Error, LogitSource, Prompt, Result, TokenId, Vocab};

/// A model that returns scores.
pub(crate) enum Model<B: Backend> {
    Engine { engine: Arc<dyn Engine<Backend = B>>, adapter: Option<usize> },
    Opaque(Arc<dyn LogitSource<Backend = B>>),
}

/// The prompts of a batch, as a model takes them.
#[derive(Clone, PartialEq)]
pub(crate) enum Inputs {
    /// Token ids, for an engine.
    Ids(Vec<Vec<TokenId>>),
    /// Prompts as they are, for an opaque source, which renders them itself.
    Prompts(Vec<Prompt>),
}

/// A model and the prompts that it is to be opened on.
pub(crate) struct PlannedModel<B: Backend> {
    pub(crate) model: Model<B>,
    pub(crate) inputs: Inputs,
    /// The name of the first term that needs it.
    pub(crate) name: String,
}

impl<B: Backend> Model<B> {
    /// Whether both have the same weights and so can run in one pass, even under different adapters.
    pub(crate) fn shares_passes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Engine { engine: a, .. }, Self::Engine { engine: b, .. }) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether both have the same weights and the same adapter.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Engine { engine: a, adapter: x }, Self::Engine { engine: b, adapter: y }) => {
                Arc::ptr_eq(a, b) && x == y
            }
            (Self::Opaque(a), Self::Opaque(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub(crate) fn vocab(&self) -> &Arc<Vocab> {
        match self {
            Self::Engine { engine, .. } => &engine.spec().vocab,
            Self::Opaque(source) => source.vocab(),
        }
    }

    pub(crate) fn backend(&self) -> &B {
        match self {
            Self::Engine { engine, .. } => &engine.spec().backend,
            Self::Opaque(source) => source.backend(),
        }
    }
}

impl<B: Backend> PlannedModel<B> {
    /// Checks that the prompts fit the model, without running it.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.model {
            Model::Engine { engine, .. } => engine.spec().check_as(&self.name, &self.engine_rows()),
            Model::Opaque(_) => Ok(()),
        }
    }

    /// The rows that its engine is opened on; none for an opaque source.
    pub(crate) fn engine_rows(&self) -> Vec<EngineRow> {
        (0..self.inputs.rows()).filter_map(|row| self.engine_row(row)).collect()
    }

    /// A row that its engine is opened on; `None` for an opaque source.
    pub(crate) fn engine_row(&self, row: usize) -> Option<EngineRow> {
        match (&self.model, &self.inputs) {
            (Model::Engine { adapter, .. }, Inputs::Ids(rows)) => {
                Some(EngineRow { adapter: *adapter, tokens: rows.get(row)?.clone() })
            }
            _ => None,
        }
    }

    /// A prompt that an opaque source is opened on; `None` for an engine.
    pub(crate) fn prompt(&self, row: usize) -> Option<Prompt> {
        match &self.inputs {
            Inputs::Ids(_) => None,
            Inputs::Prompts(prompts) => prompts.get(row).cloned(),
        }
    }
}

impl Inputs {
    /// The number of prompts.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Prompts(prompts) => prompts.len(),
        }
    }

    /// Makes row `i` a copy of the former row `rows[i]`.
    pub(crate) fn select(&mut self, rows: &[usize]) {
        match self {
            Self::Ids(ids) => *ids = rows.iter().map(|row| ids[*row].clone()).collect(),
            Self::Prompts(prompts) => *prompts = rows.iter().map(|row| prompts[*row].clone()).collect(),
        }
    }

    /// Adds the rows of `other`, which are of the same kind.
    pub(crate) fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Ids(ids), Self::Ids(more)) => ids.extend_from_slice(more),
            (Self::Prompts(prompts), Self::Prompts(more)) => prompts.extend_from_slice(more),
            // A leaf is an engine or an opaque source, whatever the prompts.
            _ => {}
        }
    }

    /// The inputs of the first `rows` rows.
    pub(crate) fn first(&self, rows: usize) -> Self {
        let mut first = self.clone();
        first.select(&(0..rows).collect::<Vec<_>>());
        first
    }

    /// The token ids of one row's prompt.
    pub(crate) fn ids(&self, term: &str, row: usize) -> Result<&[TokenId]> {
        let (ids, rows) = match self {
            Self::Ids(rows) => (rows.get(row).map(|ids| Some(&ids[..])), rows.len()),
            Self::Prompts(rows) => {
                let ids = match rows.get(row) {
                    Some(Prompt::Tokens(ids)) => Some(Some(&ids[..])),
                    Some(Prompt::Text(_) | Prompt::Chat(_)) => Some(None),
                    None => None,
                };
                (ids, rows.len())
            }
        };
        match ids {
            Some(Some(ids)) => Ok(ids),
            Some(None) => {
                let what = "reporting the token ids of its prompt: it renders prompts itself";
                Err(Error::Unsupported { who: term.into(), what: what.into() })
            }
            None => Err(Error::RowOutOfRange { what: "prompt", row, rows }),
        }
    }
}

impl<B: Backend> Clone for Model<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Engine { engine, adapter } => Self::Engine { engine: engine.clone(), adapter: *adapter },
            Self::Opaque(source) => Self::Opaque(source.clone()),
        }
    }
}
