//! Conversations that go on: another prompt for an open evaluator, keeping what the models have already read of it.
use super::open::{check, groups, open};
use super::plan::{Origin, Plan, Rows, StreamSpec};
use super::{Evaluator, Stream};
use crate::backend::Backend;
use crate::{EngineRow, Opened, Prompt, Result, RowFeed, Session, TokenId};

impl<B: Backend> Evaluator<B> {
    /// Starts again from other prompts, as many as one likes, keeping in each model's cache the longest prefix
    /// that the new prompt shares with what the model has read: the old prompt and the tokens fed after it. For
    /// each prompt the row that shares the most is gone on with; one row may serve several.
    ///
    /// Usually the prompts are conversations with the next turn added. Opaque sources, and models that cannot
    /// go back far enough ([`Session::rollback_limit`]), are opened anew. A poisoned evaluator is opened anew entirely.
    ///
    /// # Errors
    /// As [`open`](Self::open). An error found before any model ran leaves the evaluator as it was; a later one
    /// poisons it.
    pub fn reopen(&mut self, prompts: &[Prompt]) -> Result<()> {
        let plan = Plan::new(&self.sources, prompts, self.options.every_term)?;
        plan.streams.iter().try_for_each(check)?;
        let groups = groups(&plan.streams);
        let opened = self.resume_all(&plan.streams, &groups, prompts.len());
        let next = opened.and_then(|opened| {
            Self::assemble(self.sources.clone(), self.options, plan, groups, opened, prompts.len())
        });
        match next {
            Ok(next) => {
                *self = next;
                Ok(())
            }
            Err(error) => {
                // Sessions may have moved on without the rest.
                self.poison = Some(crate::error::with_sources(&error));
                Err(error)
            }
        }
    }

    fn resume_all(
        &mut self,
        streams: &[StreamSpec<B>],
        groups: &[Vec<usize>],
        rows: usize,
    ) -> Result<Vec<Opened<B>>> {
        let old = match self.poison {
            Some(_) => Vec::new(),
            None => std::mem::take(&mut self.sessions),
        };
        // Until the new sessions are in place there are none to go on with.
        self.poison.get_or_insert_with(|| "it was being reopened".into());
        let mut old: Vec<_> = old.into_iter().map(Some).collect();
        let mut opened = Vec::new();
        for group in groups {
            let group: Vec<_> = group.iter().map(|s| &streams[*s]).collect();
            let resumable = old.iter_mut().find(|o| {
                o.as_ref().is_some_and(|o| self.streams[o.streams[0]].origin.same_session(&group[0].origin))
            });
            let resumed = resumable.and_then(Option::take).map(|running| {
                let read = running.streams.iter().map(|s| self.streams[*s].read(&self.pushed)).collect();
                resume(running.session, read, &group, rows)
            });
            opened.push(match resumed {
                Some(Resumed::Opened(opened)) => opened,
                Some(Resumed::Failed) | None => open(&group)?,
            });
        }
        Ok(opened)
    }
}

impl<B: Backend> Stream<B> {
    /// What the model's cache holds for each row.
    fn read(&self, pushed: &[Vec<TokenId>]) -> Vec<EngineRow> {
        let Origin::Engine { adapter, .. } = self.origin else { return Vec::new() };
        let Rows::Ids(prompts) = &self.prompts else { return Vec::new() };
        let rows = prompts.iter().zip(pushed).zip(&self.fed);
        rows.map(|((prompt, pushed), fed)| EngineRow { adapter, tokens: [prompt, &pushed[..*fed]].concat() })
            .collect()
    }
}

enum Resumed<B: Backend> {
    Opened(Opened<B>),
    /// Whatever the reason, a fresh session does it.
    Failed,
}

/// Turns a session whose rows hold `read` into one on the rows of `group`.
fn resume<B: Backend>(
    mut session: Box<dyn Session<Backend = B>>,
    read: Vec<Vec<EngineRow>>,
    group: &[&StreamSpec<B>],
    rows: usize,
) -> Resumed<B> {
    let read: Vec<_> = read.into_iter().flatten().collect();
    let wanted: Vec<_> = group.iter().flat_map(|s| super::open::engine_rows(s)).collect();
    let limits = session.rollback_limit();
    let mut selected = Vec::new();
    let mut drop = Vec::new();
    let mut feed = Vec::new();
    for row in &wanted {
        let best = read
            .iter()
            .zip(&limits)
            .enumerate()
            .filter(|(_, (old, _))| old.adapter == row.adapter)
            .map(|(i, (old, limit))| {
                // The last token is fed again even where all of them are known: its scores are wanted.
                let kept = shared_prefix(&old.tokens, &row.tokens).min(row.tokens.len() - 1);
                (kept, i, old.tokens.len() - kept <= *limit)
            })
            .filter(|(_, _, reachable)| *reachable)
            .max_by_key(|(kept, i, _)| (*kept, std::cmp::Reverse(*i)));
        let Some((kept, old, _)) = best else { return Resumed::Failed };
        selected.push(old);
        drop.push(read[old].tokens.len() - kept);
        feed.push(RowFeed::last(row.tokens[kept..].to_vec()));
    }
    let mut go = || -> Result<_> {
        session.select(&selected)?;
        session.rollback(&drop)?;
        session.extend(&feed)
    };
    match go() {
        Ok(scores) => {
            let vocab = group[0].origin.vocab();
            let backend = match &group[0].origin {
                Origin::Engine { engine, .. } => engine.spec().backend.clone(),
                Origin::Opaque(source) => source.backend().clone(),
            };
            let sound = scores.check(&backend, &group[0].name, &vec![1; rows * group.len()], vocab.real());
            sound.map_or(Resumed::Failed, |()| Resumed::Opened((session, scores)))
        }
        Err(_) => Resumed::Failed,
    }
}

fn shared_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
