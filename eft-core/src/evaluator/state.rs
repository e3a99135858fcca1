use std::ops::Range;
use std::sync::Arc;

use super::OpenOptions;
use super::expr::{Expr, Root};
use super::model::{Inputs, Model};
use super::parked::Parked;
use super::parts::Parts;
use super::plan::LeafModels;
use super::reads::PromptReads;
use super::store::ScoreStore;
use crate::backend::Backend;
use crate::{Error, Prompt, Result, Session, Source, TokenId, Vocab};

/// Several expressions (*roots*) over one set of sessions. See the [module](super) for an example.
///
/// If a call fails, the evaluator is as it was before the call, or every later call but [`reopen`](Self::reopen)
/// returns [`Error::Poisoned`]. Each method says which.
pub struct Evaluator<B: Backend> {
    pub(super) backend: B,
    pub(super) sources: Vec<Source<B>>,
    pub(super) options: OpenOptions,
    pub(super) roots: Vec<Root<B>>,
    pub(super) leaves: LeafModels,
    pub(super) models: Vec<ModelRows<B>>,
    pub(super) sessions: Vec<OpenSession<B>>,
    /// The prompt of each row.
    pub(super) prompts: Vec<Arc<Prompt>>,
    /// The tokens after the prompt of each row, fed or not.
    pub(super) pushed: Vec<Vec<TokenId>>,
    /// Counts the calls that change which rows there are.
    pub(super) clock: u64,
    pub(super) reads: PromptReads,
    /// The failure that left the sessions out of step.
    pub(super) poison: Option<String>,
}

/// A model on the rows of the batch: a block of the rows of some session.
pub(super) struct ModelRows<B: Backend> {
    pub(super) name: String,
    pub(super) model: Model<B>,
    pub(super) inputs: Inputs,
    /// The index of its session.
    pub(super) session: usize,
    /// In a batch of `n` rows, the model has rows `block·n .. (block + 1)·n` of the session.
    pub(super) block: usize,
    /// How many of the pushed tokens each row has been fed.
    pub(super) fed: Vec<usize>,
    pub(super) scores: ScoreStore<B>,
}

/// An open session, and the models whose rows it runs, in the order of their blocks.
pub(super) struct OpenSession<B: Backend> {
    pub(super) session: Parts<B>,
    pub(super) models: Vec<usize>,
    /// The rows of the session after those of the models.
    pub(super) parked: Vec<Parked>,
}

impl<B: Backend> ModelRows<B> {
    /// The rows of the session that belong to the model, in a batch of `rows` rows.
    pub(super) fn rows_of_session(&self, rows: usize) -> Vec<usize> {
        (self.block * rows..(self.block + 1) * rows).collect()
    }
}

impl<B: Backend> Evaluator<B> {
    /// Returns the number of rows of the batch.
    pub fn rows(&self) -> usize {
        self.pushed.len()
    }

    /// Returns the tokens that were pushed to a row after its prompt.
    ///
    /// # Panics
    /// If `row` is out of range, as indexing does.
    pub fn pushed(&self, row: usize) -> &[TokenId] {
        &self.pushed[row]
    }

    /// Returns how many tokens of prompts have been read since the evaluator was opened, by [`open`](Self::open),
    /// [`join`](Self::join) and [`reopen`](Self::reopen).
    #[must_use]
    pub fn prompt_reads(&self) -> PromptReads {
        self.reads
    }

    /// Returns the tensor library that the roots are computed with.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Returns the name of a root.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the root index is out of range.
    pub fn name(&self, root: usize) -> Result<&str> {
        Ok(&self.root(root)?.name)
    }

    /// Returns the number of tokens that a root has scores for: those that all models it runs share.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the root index is out of range.
    pub fn width(&self, root: usize) -> Result<usize> {
        Ok(self.root(root)?.common.width)
    }

    /// Returns the vocabularies of the models that a root runs.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the root index is out of range.
    pub fn vocabs(&self, root: usize) -> Result<&[Arc<Vocab>]> {
        Ok(&self.root(root)?.vocabs)
    }

    /// Returns the token ids of a row's prompt, as the term of this name renders it.
    ///
    /// # Errors
    /// * [`Error::Unknown`] if no term has this name.
    /// * [`Error::RowOutOfRange`] if there is no such row.
    /// * [`Error::Unsupported`] if the term is an opaque source and the prompt is not token ids.
    pub fn prompt_tokens(&self, term: &str, row: usize) -> Result<&[TokenId]> {
        let Some(model) = self.model_of_term(term) else {
            let known = self.models.iter().map(|m| &m.name[..]).collect::<Vec<_>>().join(", ");
            return Err(Error::Unknown { kind: "term", name: term.into(), known });
        };
        model.inputs.ids(term, row)
    }

    /// Returns the longest of the token sequences that the models of a root were opened on as a row's prompt; none if all of
    /// them are opaque sources that render the prompt themselves.
    pub(crate) fn longest_prompt(&self, root: usize, row: usize) -> &[TokenId] {
        let models = self.roots.get(root).map_or(Vec::new(), |root| root.expr.models());
        let models = models.iter().filter_map(|model| self.models.get(*model));
        let prompts = models.filter_map(|model| model.inputs.ids(&model.name, row).ok());
        prompts.max_by_key(|prompt| prompt.len()).unwrap_or(&[])
    }

    /// Finds a model by the name of a term of any root. If no term has the name, or the term is not a single model,
    /// finds the model that itself has the name.
    fn model_of_term(&self, term: &str) -> Option<&ModelRows<B>> {
        let written = self.roots.iter().flat_map(|r| &r.written).find(|w| w.name == term);
        match written.map(|w| &w.expr) {
            Some(Expr::Model(model)) => self.models.get(*model),
            _ => self.models.iter().find(|m| m.name == term),
        }
    }

    /// Returns how many more tokens can be pushed to each row before the context of some model is full; `usize::MAX`
    /// if no model has a limit.
    pub fn room(&self) -> Vec<usize> {
        self.room_of(|_| true)
    }

    /// Returns how many more tokens can be pushed to each row before the context of a model of this root is full.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the root index is out of range.
    pub fn room_for(&self, root: usize) -> Result<Vec<usize>> {
        let root = self.root(root)?;
        let mut models = root.expr.models();
        if self.options.every_term {
            models.extend(root.written.iter().flat_map(|w| w.expr.models()));
        }
        Ok(self.room_of(|model| models.contains(&model)))
    }

    fn room_of(&self, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let rows = self.rows();
        let mut room = vec![usize::MAX; rows];
        for (open, of_session) in self.sessions.iter().map(|open| (open, open.session.room())) {
            for model in open.models.iter().filter(|m| counts(**m)).map(|m| &self.models[*m]) {
                for (row, room) in room.iter_mut().enumerate() {
                    // Tokens that were pushed and not yet fed need room, too.
                    let pending = self.pushed[row].len() - model.fed[row];
                    let left = of_session.get(model.block * rows + row).copied().unwrap_or(0);
                    *room = (*room).min(left.saturating_sub(if left == usize::MAX { 0 } else { pending }));
                }
            }
        }
        room
    }

    pub(super) fn root(&self, root: usize) -> Result<&Root<B>> {
        self.roots.get(root).ok_or_else(|| {
            let known = (0..self.roots.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
            Error::Unknown { kind: "root", name: root.to_string(), known }
        })
    }

    /// The last position of every row.
    pub(super) fn last_positions(&self) -> Vec<Range<usize>> {
        self.pushed.iter().map(|p| p.len()..p.len() + 1).collect()
    }

    /// Returns an error if an earlier failure has left the sessions out of step.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

impl<B: Backend> std::fmt::Debug for Evaluator<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator")
            .field("roots", &self.sources)
            .field("rows", &self.rows())
            .field("models", &self.models.iter().map(|m| &m.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
