//! Opening: one session for each engine, whose rows are those of the models that it runs, block by block.
use std::sync::Arc;

use super::model::{Model, PlannedModel};
use super::parts::Parts;
use super::plan::{Leaves, Plan};
use super::reads::PromptReads;
use super::state::{ModelRows, OpenSession};
use super::store::ScoreStore;
use super::threads::for_each;
use super::{Evaluator, OpenOptions};
use crate::backend::Backend;
use crate::{Error, Opened, Prompt, Result, Source};

impl<B: Backend> Evaluator<B> {
    /// Opens the models of all roots on the prompts, one row for each prompt, and feeds them.
    ///
    /// Terms of one engine run as rows of one session, and terms that are the same in weights, adapter and token ids
    /// are run once. All prompts are rendered and checked before any model runs.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let base = from_fn(Host, vocab.clone(), |_| Ok(vec![1.0, 0.0])).named("base");
    /// let tuned = from_fn(Host, vocab, |_| Ok(vec![0.0, 3.0])).named("tuned");
    /// let evaluator = Evaluator::open(&[&(&base + &tuned), &tuned], &[vec![0].into(), vec![1, 0].into()])?;
    /// assert_eq!((evaluator.rows(), evaluator.name(0)?), (2, "base + tuned"));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`] if there are no roots.
    /// * [`Error::EmptyBatch`] if there are no prompts.
    /// * [`Error::CannotRender`] if a model has no tokenizer or template for a prompt.
    /// * [`Error::EmptyPrompt`] if a prompt is rendered to no tokens.
    /// * [`Error::TokenOutOfRange`] if a model has no such token.
    /// * [`Error::ContextFull`] if a prompt is longer than a model's context.
    /// * [`Error::InvalidWeight`] if a weight is not a finite number.
    /// * [`Error::NothingLeft`] if all terms of a root cancel.
    /// * [`Error::VocabMismatch`] if the vocabularies of a root do not fit together.
    /// * [`Error::TooComplex`] if a root has too many terms, or rules nested too deeply.
    /// * Any error of a prompt transform or of a model.
    pub fn open(roots: &[&Source<B>], prompts: &[Prompt]) -> Result<Self> {
        Self::open_with(roots, prompts, OpenOptions::default())
    }

    /// Opens the models of all roots on the prompts, with options: see [`open`](Self::open).
    ///
    /// # Errors
    /// The same errors as [`open`](Self::open), such as a prompt that cannot be rendered or is too long, vocabularies
    /// that do not fit together, or a failure of a model.
    pub fn open_with(roots: &[&Source<B>], prompts: &[Prompt], options: OpenOptions) -> Result<Self> {
        let sources: Vec<_> = roots.iter().map(|s| (*s).clone()).collect();
        let plan = Plan::new(&sources, prompts, options.every_term)?;
        // All prompts are checked before any model runs: a prefill may take seconds.
        plan.models.iter().try_for_each(PlannedModel::check)?;
        let groups = groups(&plan.models);
        let jobs = groups.iter().map(|group| group.iter().map(|m| &plan.models[*m]).collect()).collect();
        let opened = for_each(jobs, options.parallel, |group: Vec<&PlannedModel<B>>| open(&group));
        let opened = opened.into_iter().collect::<Result<_>>();
        let opened = opened.map_err(|error: Error| error.of_session(prompts.len()))?;
        let reads = PromptReads::of_opened(&plan.models);
        Ok(Self { reads, ..Self::assemble(sources, options, plan, groups, opened, prompts) })
    }

    /// Checks that the models of all roots accept the prompts, without running any of them. The prompts of opaque
    /// sources are not checked.
    ///
    /// # Errors
    /// The error that [`open`](Self::open) would return.
    pub(crate) fn check_prompts(
        roots: &[&Source<B>],
        prompts: &[Prompt],
        options: OpenOptions,
    ) -> Result<()> {
        let sources: Vec<_> = roots.iter().map(|s| (*s).clone()).collect();
        Leaves::new(&sources, prompts)?.check(options.every_term)
    }

    /// An evaluator at the end of its prompts, from sessions whose rows are the blocks of `groups`.
    pub(super) fn assemble(
        sources: Vec<Source<B>>,
        options: OpenOptions,
        plan: Plan<B>,
        groups: Vec<Vec<usize>>,
        opened: Vec<Opened<B>>,
        prompts: &[Prompt],
    ) -> Self {
        let rows = prompts.len();
        let backend = sources[0].backend().clone();
        let mut sessions = Vec::new();
        let mut models: Vec<_> = plan.models.into_iter().map(|planned| unopened(planned, rows)).collect();
        for (group, (session, scores)) in groups.into_iter().zip(opened) {
            for (block, &model) in group.iter().enumerate() {
                let model = &mut models[model];
                model.session = sessions.len();
                model.block = block;
                let of_block = model.rows_of_session(rows);
                model.scores.insert(scores.shallow_clone(&backend).select(&of_block), &vec![0; rows]);
            }
            let session = Parts::of(backend.clone(), session, rows * group.len());
            sessions.push(OpenSession { session, models: group, parked: Vec::new() });
        }
        Self {
            backend,
            sources,
            options,
            roots: plan.roots,
            leaves: plan.leaves,
            models,
            sessions,
            prompts: prompts.iter().cloned().map(Arc::new).collect(),
            pushed: vec![Vec::new(); rows],
            clock: 0,
            reads: PromptReads::default(),
            poison: None,
        }
    }
}

/// A model that has no session yet.
pub(super) fn unopened<B: Backend>(planned: PlannedModel<B>, rows: usize) -> ModelRows<B> {
    ModelRows {
        name: planned.name,
        model: planned.model,
        inputs: planned.inputs,
        session: 0,
        block: 0,
        fed: vec![0; rows],
        scores: ScoreStore::new(rows),
    }
}

/// Groups the models that run in one session. The groups are in the order of their first models.
pub(super) fn groups<B: Backend>(models: &[PlannedModel<B>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, planned) in models.iter().enumerate() {
        match groups.iter_mut().find(|g| models[g[0]].model.shares_passes(&planned.model)) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

/// Opens the models of one group in one session.
pub(super) fn open<B: Backend>(group: &[&PlannedModel<B>]) -> Result<Opened<B>> {
    let rows =
        group.iter().enumerate().flat_map(|(block, m)| (0..m.inputs.rows()).map(move |row| (block, row)));
    open_rows(group, &rows.collect::<Vec<_>>())
}

/// Opens a session on some rows of the models of one group: each is a model of the group and one of its prompts.
pub(super) fn open_rows<B: Backend>(
    group: &[&PlannedModel<B>],
    rows: &[(usize, usize)],
) -> Result<Opened<B>> {
    let first = group[0];
    let name = group.iter().map(|m| &m.name[..]).collect::<Vec<_>>().join(", ");
    let (session, scores) = match &first.model {
        Model::Engine { engine, .. } => {
            let rows = rows.iter().filter_map(|(block, row)| group[*block].engine_row(*row));
            engine.open(&rows.collect::<Vec<_>>())?
        }
        Model::Opaque(source) => {
            let prompts = rows.iter().filter_map(|(block, row)| group[*block].prompt(*row));
            source.open(&prompts.collect::<Vec<_>>())?
        }
    };
    let rows = rows.len();
    scores.check(first.model.backend(), &name, &vec![1; rows], first.model.vocab().real())?;
    for (what, got) in [("room", session.room().len()), ("rollback limit", session.rollback_limit().len())] {
        if got != rows {
            return Err(Error::shape(format!("{what} of a session of `{name}`"), rows, got));
        }
    }
    Ok((session, scores))
}
