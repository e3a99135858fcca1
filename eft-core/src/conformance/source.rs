//! [`check_source`]: the laws of sources.
use super::sessions::{Model, Row, check_sessions, compare};
use super::{Law, Result, SourceTest, refuses};
use crate::backend::Backend;
use crate::{Error, LogitSource, Opened, Prompt, RowFeed, Scores, Vocab};

/// Checks that the sessions of a source obey the laws of [`Session`](crate::Session): under any interleaving of
/// `extend`, `rollback` and `select` they give the same scores as newly opened sessions.
///
/// * A batch gives the same scores as each of its rows alone.
/// * Scores have the requested rows, positions and width; those of [`Form::LogProbs`](crate::Form::LogProbs) are
///   normalised.
/// * After a rollback a session is as if the dropped tokens had never been fed.
/// * Rows that were forked, pruned or reordered are independent of each other.
/// * The room of a row shrinks by the tokens fed to it and grows by those dropped.
/// * Wrong calls are refused with the right kind of error.
/// * A call that fails changes nothing, or else every later call returns [`Error::Poisoned`]: for wrong calls, and with
///   [`SourceTest::faults`] for failures of the code under test.
///
/// A source over an [`Engine`](crate::Engine) is run through an [`Evaluator`](crate::Evaluator), which checks calls
/// before the engine sees them and so hides mistakes of the engine: use [`check_engine`](super::check_engine) for it.
///
/// # Errors
/// Returns the first law that does not hold.
pub fn check_source<B: Backend>(source: &dyn LogitSource<Backend = B>, test: &SourceTest) -> Result {
    refuses(source.open(&[]), "opening an empty batch is refused", |e| {
        matches!(e, Error::EmptyBatch { .. })
    })?;
    check_sessions(&SourceModel { source, prompts: test.prompts() }, test)?;
    opening_on_a_longer_prompt(source, test)
}

/// For prompts of token ids, opening on `ab` must give the same scores as opening on `a` and extending by `b`.
fn opening_on_a_longer_prompt<B: Backend>(
    source: &dyn LogitSource<Backend = B>,
    test: &SourceTest,
) -> Result {
    let ids = |prompt: &Prompt| match prompt {
        Prompt::Tokens(ids) => Some(ids.clone()),
        _ => None,
    };
    let ids: Vec<_> = test.prompts().iter().filter_map(ids).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let tokens: Vec<_> = (0..3).map(|i| test.token(source.vocab(), 5 * i + 1)).collect();
    let prompts: Vec<_> = ids.iter().cloned().map(Prompt::Tokens).collect();
    let longer: Vec<_> = ids.into_iter().map(|ids| Prompt::Tokens([ids, tokens.clone()].concat())).collect();
    let (mut session, _) = source.open(&prompts).law("prompts can be opened")?;
    let feeds = vec![RowFeed::last(tokens); prompts.len()];
    let scores = session.extend(&feeds).law("rows can be fed several tokens")?;
    let law = "opening on ab gives what opening on a and extending by b gives";
    compare(&SourceModel { source, prompts: &longer }, test, law, &scores)
}

pub(super) struct SourceModel<'a, B: Backend> {
    pub(super) source: &'a dyn LogitSource<Backend = B>,
    pub(super) prompts: &'a [Prompt],
}

impl<B: Backend> Model<B> for SourceModel<'_, B> {
    fn backend(&self) -> &B {
        self.source.backend()
    }

    fn vocab(&self) -> &Vocab {
        self.source.vocab()
    }

    fn rows(&self) -> usize {
        self.prompts.len()
    }

    fn prompt_length(&self, _: &Row) -> Option<usize> {
        // Each term renders a prompt in its own way.
        None
    }

    fn context(&self) -> Option<usize> {
        None
    }

    fn open(&self, rows: &[Row]) -> crate::Result<Opened<B>> {
        let prompts: Vec<_> = rows.iter().map(|row| self.prompts[row.prompt].clone()).collect();
        self.source.open(&prompts)
    }

    fn afresh(&self, row: &Row) -> crate::Result<Scores<B>> {
        let (mut session, mut scores) = self.open(std::slice::from_ref(row))?;
        let mut rest = &row.tokens[..];
        while !rest.is_empty() {
            // A row may have room for more tokens after some of them are fed: see `SourceTest::room_is_least`.
            let room = session.room().first().copied().unwrap_or(0);
            let (now, later) = rest.split_at(rest.len().min(room.max(1)));
            scores = session.extend(&[RowFeed::last(now.to_vec())])?;
            rest = later;
        }
        Ok(scores)
    }
}
