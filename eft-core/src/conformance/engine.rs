//! [`check_engine`]: the laws of engines and of their sessions.
use super::sessions::{Model, Row, check_sessions};
use super::{Law, Result, SourceTest, require};
use crate::backend::Backend;
use crate::{Engine, EngineRow, Opened, Prompt, Scores, TokenId, Vocab};

/// Checks an engine directly on its own sessions: the laws of [`check_source`](super::check_source), on rows under
/// every adapter and on bare ones, and also
///
/// * that opening on `ab` gives the same scores as opening on `a` and extending by `b`;
/// * that a row has room for exactly [`EngineSpec::context`](crate::EngineSpec::context) tokens, prompt included, and
///   reports `usize::MAX` if there is no limit;
/// * that a session that reports a rollback limit beyond the tokens fed can go back into its prompt;
/// * that every token id at or past the vocabulary's width is refused.
///
/// The prompts of the test must be token ids.
///
/// ```
/// use eft_core::conformance::{SourceTest, check_engine};
/// use eft_core::{EngineSpec, FnEngine, Host, Vocab};
///
/// let spec = EngineSpec::new("ab", Host, Vocab::new("ab", ["a", "b"])?).context(64);
/// let engine = FnEngine::new(spec, |row| Ok(vec![row.tokens.len() as f32 % 3.0, 0.5]));
/// check_engine(&engine, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold, or a [`Failure`](super::Failure) if a prompt is not token ids or does not
/// fit the engine.
pub fn check_engine<B: Backend>(engine: &dyn Engine<Backend = B>, test: &SourceTest) -> Result {
    let mut prompts = Vec::new();
    for prompt in test.prompts() {
        let Prompt::Tokens(ids) = prompt else {
            return require(false, "the prompts of a test of an engine are token ids", || {
                format!("{prompt:?}")
            });
        };
        prompts.push(ids);
    }
    let adapters = std::iter::once(None).chain((0..engine.spec().adapters.len()).map(Some));
    let row = |adapter, tokens: &Vec<TokenId>| EngineRow { adapter, tokens: tokens.clone() };
    let rows: Vec<_> =
        adapters.flat_map(|adapter| prompts.iter().map(move |ids| row(adapter, ids))).collect();
    engine.spec().check(&rows).law("the prompts of the test fit the engine")?;
    check_sessions(&EngineModel { engine, rows }, test)
}

struct EngineModel<'a, B: Backend> {
    engine: &'a dyn Engine<Backend = B>,
    rows: Vec<EngineRow>,
}

impl<B: Backend> EngineModel<'_, B> {
    /// The row as it is opened: its prompt without the tokens that were dropped from it.
    fn prompt(&self, row: &Row) -> EngineRow {
        let mut prompt = self.rows[row.prompt].clone();
        prompt.tokens.truncate(prompt.tokens.len() - row.dropped);
        prompt
    }
}

impl<B: Backend> Model<B> for EngineModel<'_, B> {
    fn backend(&self) -> &B {
        &self.engine.spec().backend
    }

    fn vocab(&self) -> &Vocab {
        &self.engine.spec().vocab
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn prompt_length(&self, row: &Row) -> Option<usize> {
        Some(self.rows[row.prompt].tokens.len() - row.dropped)
    }

    fn context(&self) -> Option<usize> {
        Some(self.engine.spec().context.unwrap_or(usize::MAX))
    }

    fn open(&self, rows: &[Row]) -> crate::Result<Opened<B>> {
        let rows: Vec<_> = rows.iter().map(|row| self.prompt(row)).collect();
        self.engine.open(&rows)
    }

    fn afresh(&self, row: &Row) -> crate::Result<Scores<B>> {
        let mut whole = self.prompt(row);
        whole.tokens.extend(&row.tokens);
        Ok(self.engine.open(&[whole])?.1)
    }
}
