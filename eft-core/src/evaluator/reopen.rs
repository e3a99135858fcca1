//! Continues conversations: gives an open evaluator other prompts, and keeps what its models have already read.
use super::Evaluator;
use super::model::{Inputs, Model, PlannedModel};
use super::open::{groups, open};
use super::plan::Plan;
use super::prefix::nearest;
use super::reads::PromptReads;
use super::state::ModelRows;
use crate::backend::Backend;
use crate::error::with_sources;
use crate::{EngineRow, Opened, Prompt, Result, RowFeed, Session, TokenId};

impl<B: Backend> Evaluator<B> {
    /// Starts again from other prompts, keeping in each model's cache the longest prefix that a new prompt shares with
    /// the tokens that the model has read: an old prompt and the tokens fed after it.
    ///
    /// The number of prompts may differ from the number of rows. Each prompt continues from the row that shares most
    /// with it, and several may continue from one row. Usually the prompts are conversations with the next turn added.
    /// Opaque sources, and models that cannot roll back far enough ([`Session::rollback_limit`]), are opened again, and
    /// so are all models if the evaluator is poisoned.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0, 1].into()])?;
    /// evaluator.push(&[vec![1]])?; // the answer
    /// evaluator.reopen(&[vec![0, 1, 1, 0].into()])?; // with the next turn: only its end is read
    /// assert_eq!(evaluator.pushed(0).len(), 0);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same errors as [`open`](Self::open), such as a prompt that cannot be rendered or is too long, or a failure
    /// of a model. An error found before any model ran leaves the evaluator as it was; a later one poisons it.
    pub fn reopen(&mut self, prompts: &[Prompt]) -> Result<()> {
        let plan = Plan::new(&self.sources, prompts, self.options.every_term)?;
        plan.models.iter().try_for_each(PlannedModel::check)?;
        let groups = groups(&plan.models);
        match self.resume_all(&plan.models, &groups) {
            Ok(opened) => {
                let (sources, reads) = (std::mem::take(&mut self.sources), self.reads);
                let assembled = Self::assemble(sources, self.options, plan, groups, opened, prompts);
                *self = Self { reads, ..assembled };
                Ok(())
            }
            Err(error) => {
                // Sessions may have been dropped or moved on.
                self.poison = Some(with_sources(&error));
                Err(error)
            }
        }
    }

    fn resume_all(&mut self, models: &[PlannedModel<B>], groups: &[Vec<usize>]) -> Result<Vec<Opened<B>>> {
        let held: Vec<_> = (0..self.sessions.len()).map(|session| self.held_by(session)).collect();
        let mut old: Vec<_> = std::mem::take(&mut self.sessions).into_iter().zip(held).map(Some).collect();
        if self.poison.is_some() {
            old.clear();
        }
        // A model that panics leaves the evaluator without sessions.
        self.poison.get_or_insert_with(|| "it was being reopened".into());
        let mut opened = Vec::new();
        for group in groups {
            let group: Vec<_> = group.iter().map(|m| &models[*m]).collect();
            let resumable = old.iter_mut().find(|o| {
                o.as_ref().is_some_and(|(o, _)| self.models[o.models[0]].model.shares_passes(&group[0].model))
            });
            let resumed = resumable.and_then(Option::take);
            let resumed = resumed.and_then(|(open, held)| resume(Box::new(open.session), held, &group));
            opened.push(match resumed {
                Some((opened, reads)) => {
                    self.reads += reads;
                    opened
                }
                None => {
                    let opened = open(&group)?;
                    self.reads += PromptReads::of_opened(group);
                    opened
                }
            });
        }
        Ok(opened)
    }
}

impl<B: Backend> ModelRows<B> {
    /// The tokens that the model's cache holds for each row.
    pub(super) fn read(&self, pushed: &[Vec<TokenId>]) -> Vec<EngineRow> {
        let Model::Engine { adapter, .. } = self.model else { return Vec::new() };
        let Inputs::Ids(prompts) = &self.inputs else { return Vec::new() };
        let rows = prompts.iter().zip(pushed).zip(&self.fed);
        rows.map(|((prompt, pushed), fed)| EngineRow { adapter, tokens: [prompt, &pushed[..*fed]].concat() })
            .collect()
    }
}

/// Turns a session whose rows hold `read` into one on the rows of `group`; `None` if that fails for any reason, since a
/// new session can be opened instead.
fn resume<B: Backend>(
    mut session: Box<dyn Session<Backend = B>>,
    read: Vec<EngineRow>,
    group: &[&PlannedModel<B>],
) -> Option<(Opened<B>, PromptReads)> {
    let wanted: Vec<_> = group.iter().flat_map(|m| m.engine_rows()).collect();
    let limits = session.rollback_limit();
    let mut selected = Vec::new();
    let mut drop = Vec::new();
    let mut feed = Vec::new();
    let mut reads = PromptReads::default();
    for row in &wanted {
        let (old, kept) = nearest(&read, &limits, row)?;
        selected.push(old);
        drop.push(read[old].tokens.len() - kept);
        reads += PromptReads { read: row.tokens.len() - kept, kept };
        feed.push(RowFeed::last(row.tokens[kept..].to_vec()));
    }
    session.select(&selected).ok()?;
    session.rollback(&drop).ok()?;
    let scores = session.extend(&feed).ok()?;
    let model = &group[0].model;
    let wanted = vec![1; wanted.len()];
    scores.check(model.backend(), &group[0].name, &wanted, model.vocab().real()).ok()?;
    Some(((session, scores), reads))
}
