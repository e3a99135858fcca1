//! Opening: a session for each engine, its rows the blocks of the streams that run on it.
use super::plan::{Origin, Plan, Rows, StreamSpec};
use super::store::ScoreStore;
use super::{Evaluator, OpenOptions, Running, Stream};
use crate::backend::Backend;
use crate::{EngineRow, Error, Opened, Prompt, Result, Source};

impl<B: Backend> Evaluator<B> {
    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(roots: &[&Source<B>], prompts: &[Prompt], options: OpenOptions) -> Result<Self> {
        let sources: Vec<_> = roots.iter().map(|s| (*s).clone()).collect();
        let plan = Plan::new(&sources, prompts, options.every_term)?;
        let groups = groups(&plan.streams);
        let opened = open_groups(&plan.streams, &groups, options.parallel)?;
        Self::assemble(sources, options, plan, groups, opened, prompts.len())
    }

    /// Checks that the models of all roots accept the prompts, without running any of them. The prompts of opaque sources
    /// are not checked.
    ///
    /// # Errors
    /// The error that [`open`](Self::open) would return.
    pub(crate) fn check_prompts(
        roots: &[&Source<B>],
        prompts: &[Prompt],
        options: OpenOptions,
    ) -> Result<()> {
        let sources: Vec<_> = roots.iter().map(|s| (*s).clone()).collect();
        let plan = Plan::new(&sources, prompts, options.every_term)?;
        plan.streams.iter().try_for_each(check)
    }

    /// An evaluator at the end of its prompts, from sessions whose rows are the blocks of `groups`.
    pub(super) fn assemble(
        sources: Vec<Source<B>>,
        options: OpenOptions,
        plan: Plan<B>,
        groups: Vec<Vec<usize>>,
        opened: Vec<Opened<B>>,
        rows: usize,
    ) -> Result<Self> {
        let backend = sources[0].backend().clone();
        let mut sessions = Vec::new();
        let mut streams: Vec<_> = plan.streams.into_iter().map(|spec| Stream::new(spec, rows)).collect();
        for (group, (session, scores)) in groups.into_iter().zip(opened) {
            for (block, &stream) in group.iter().enumerate() {
                let stream = &mut streams[stream];
                stream.session = sessions.len();
                stream.block = block;
                let of_block: Vec<_> = (block * rows..(block + 1) * rows).collect();
                stream.scores.insert(scores.shallow_clone(&backend).select(&of_block), &vec![0; rows]);
            }
            sessions.push(Running { session, streams: group });
        }
        let pushed = vec![Vec::new(); rows];
        Ok(Self { backend, sources, options, roots: plan.roots, streams, sessions, pushed, poison: None })
    }
}

impl<B: Backend> Stream<B> {
    fn new(spec: StreamSpec<B>, rows: usize) -> Self {
        Self {
            name: spec.name,
            origin: spec.origin,
            prompts: spec.rows,
            session: 0,
            block: 0,
            fed: vec![0; rows],
            scores: ScoreStore::new(rows),
        }
    }
}

/// Which streams run in one session, in the order of their first.
pub(super) fn groups<B: Backend>(streams: &[StreamSpec<B>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, stream) in streams.iter().enumerate() {
        match groups.iter_mut().find(|g| streams[g[0]].origin.same_session(&stream.origin)) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

fn open_groups<B: Backend>(
    streams: &[StreamSpec<B>],
    groups: &[Vec<usize>],
    parallel: bool,
) -> Result<Vec<Opened<B>>> {
    // All of them are looked at before any is opened: a prefill may take seconds.
    for &stream in groups.iter().flatten() {
        check(&streams[stream])?;
    }
    let jobs = groups.iter().map(|group| group.iter().map(|s| &streams[*s]).collect()).collect();
    for_each(jobs, parallel, |group: Vec<&StreamSpec<B>>| open(&group)).into_iter().collect()
}

/// What a stream is to be opened on fits its model.
pub(super) fn check<B: Backend>(stream: &StreamSpec<B>) -> Result<()> {
    match &stream.origin {
        Origin::Engine { engine, .. } => engine.spec().check_as(&stream.name, &engine_rows(stream)),
        Origin::Opaque(_) => Ok(()),
    }
}

/// The rows of a stream as its engine knows them; none for an opaque source.
pub(super) fn engine_rows<B: Backend>(stream: &StreamSpec<B>) -> Vec<EngineRow> {
    match (&stream.origin, &stream.rows) {
        (Origin::Engine { adapter, .. }, Rows::Ids(rows)) => {
            rows.iter().map(|ids| EngineRow { adapter: *adapter, tokens: ids.clone() }).collect()
        }
        _ => Vec::new(),
    }
}

/// Opens the streams of one group in one session.
pub(super) fn open<B: Backend>(group: &[&StreamSpec<B>]) -> Result<Opened<B>> {
    let first = group[0];
    let name = group.iter().map(|s| &s.name[..]).collect::<Vec<_>>().join(", ");
    let (rows, (session, scores)) = match (&first.origin, &first.rows) {
        (Origin::Engine { engine, .. }, _) => {
            let rows: Vec<_> = group.iter().flat_map(|s| engine_rows(s)).collect();
            (rows.len(), engine.open(&rows)?)
        }
        (Origin::Opaque(source), Rows::Prompts(prompts)) => (prompts.len(), source.open(prompts)?),
        (Origin::Opaque(_), Rows::Ids(_)) => {
            return Err(Error::Unsupported { who: name, what: "rows of token ids: it is opaque".into() });
        }
    };
    let vocab = first.origin.vocab();
    let backend = match &first.origin {
        Origin::Engine { engine, .. } => &engine.spec().backend,
        Origin::Opaque(source) => source.backend(),
    };
    scores.check(backend, &name, &vec![1; rows], vocab.real())?;
    for (what, got) in [("room", session.room().len()), ("rollback limit", session.rollback_limit().len())] {
        if got != rows {
            return Err(Error::shape(format!("{what} of a session of `{name}`"), rows, got));
        }
    }
    Ok((session, scores))
}

/// Runs jobs one after another, or each in a thread of its own.
pub(super) fn for_each<J: Send, R: Send>(jobs: Vec<J>, parallel: bool, f: impl Fn(J) -> R + Sync) -> Vec<R> {
    if !parallel || jobs.len() < 2 {
        return jobs.into_iter().map(f).collect();
    }
    let f = &f;
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.into_iter().map(|job| scope.spawn(move || f(job))).collect();
        let joined = threads.into_iter().map(|t| t.join());
        // A panic of a model is its own: it goes on in the thread that asked.
        joined.map(|r| r.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
