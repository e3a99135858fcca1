//! [`check_source`]: the laws of sources.
use super::faults::FaultInjector;
use super::sessions::{Model, Row, check_sessions};
use super::{Law, Result, refuses};
use crate::backend::Backend;
use crate::{Error, LogitSource, Opened, Prompt, RowFeed, Scores, TokenId, Vocab};

/// The input of [`check_source`](super::check_source) and [`check_engine`](super::check_engine): prompts, tokens to
/// feed, and how closely results must agree.
///
/// ```
/// use eft_core::conformance::{SourceTest, check_source};
/// use eft_core::{Host, Vocab, from_fn};
///
/// let source = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.5]));
/// let test = SourceTest::new([vec![0], vec![1, 0, 1]]).tolerance(1e-5).steps(20).seed(3);
/// check_source(&source, &test)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SourceTest {
    prompts: Vec<Prompt>,
    tokens: Vec<TokenId>,
    tolerance: f32,
    steps: usize,
    walks: usize,
    seed: u64,
    faults: Option<FaultInjector>,
}

impl SourceTest {
    /// Creates a test over these prompts, preferably of different lengths. The context should have room for 32 more
    /// tokens after each; where it has less, fewer tokens are fed.
    ///
    /// By default every token of the vocabulary is fed, log-probabilities must agree within 1e-4, and each of 3 random
    /// walks has 40 steps.
    pub fn new<P: Into<Prompt>>(prompts: impl IntoIterator<Item = P>) -> Self {
        let prompts = prompts.into_iter().map(Into::into).collect();
        Self { prompts, tokens: Vec::new(), tolerance: 1e-4, steps: 40, walks: 3, seed: 0, faults: None }
    }

    /// Feeds only these tokens.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.tokens = tokens.into_iter().collect();
        self
    }

    /// Sets the largest accepted difference between two log-probabilities, in nats. Products of different shapes round
    /// differently, so this depends on the precision that the model computes in.
    pub fn tolerance(mut self, nats: f32) -> Self {
        self.tolerance = nats;
        self
    }

    /// Sets how many operations each random walk makes.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets how many random walks are made, each on a session of its own.
    pub fn walks(mut self, walks: usize) -> Self {
        self.walks = walks;
        self
    }

    /// Sets the seed of the tokens that are fed and of the random walks.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Also checks that a call that fails changes nothing, by failing at each step of the injector in turn. The code
    /// under test must call [`FaultInjector::step`] wherever it may fail, or compute with a
    /// [`FaultyBackend`](super::FaultyBackend).
    pub fn faults(mut self, injector: &FaultInjector) -> Self {
        self.faults = Some(injector.clone());
        self
    }

    pub(super) fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    pub(super) fn injector(&self) -> Option<&FaultInjector> {
        self.faults.as_ref()
    }

    pub(super) fn allowed_difference(&self) -> f32 {
        self.tolerance
    }

    pub(super) fn steps_per_walk(&self) -> usize {
        self.steps
    }

    /// The seed of each random walk.
    pub(super) fn walk_seeds(&self) -> impl Iterator<Item = u64> {
        let (seed, walks) = (self.seed, self.walks as u64);
        (0..walks).map(move |walk| seed.wrapping_mul(walks).wrapping_add(walk))
    }

    /// The seed of the tokens that are fed outside of the random walks.
    pub(super) fn first_seed(&self) -> u64 {
        self.seed
    }

    /// Maps a number to one of the tokens to feed.
    pub(super) fn token(&self, vocab: &Vocab, number: usize) -> TokenId {
        match self.tokens.is_empty() {
            true => (number % vocab.real()) as TokenId,
            false => self.tokens[number % self.tokens.len()],
        }
    }
}

/// Checks that the sessions of a source obey the laws of [`Session`](crate::Session): under any interleaving of
/// `extend`, `rollback` and `select` they give what sessions opened afresh give.
///
/// * A batch gives what its rows give one by one.
/// * Scores have the rows, positions and width that were asked for; those of [`Form::LogProbs`](crate::Form::LogProbs)
///   are normalised.
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
/// The first law that does not hold.
pub fn check_source<B: Backend>(source: &dyn LogitSource<Backend = B>, test: &SourceTest) -> Result {
    refuses(source.open(&[]), "opening an empty batch is refused", |e| {
        matches!(e, Error::EmptyBatch { .. })
    })?;
    check_sessions(&SourceModel { source, prompts: test.prompts() }, test)?;
    opening_on_a_longer_prompt(source, test)
}

/// For prompts of token ids, opening on `ab` must give what opening on `a` and extending by `b` gives.
fn opening_on_a_longer_prompt<B: Backend>(
    source: &dyn LogitSource<Backend = B>,
    test: &SourceTest,
) -> Result {
    let is_ids = |prompt: &&Prompt| matches!(prompt, Prompt::Tokens(_));
    let extended: Vec<_> = test
        .prompts()
        .iter()
        .filter(is_ids)
        .map(|prompt| {
            let Prompt::Tokens(ids) = prompt else { return prompt.clone() };
            let tokens = (0..3).map(|i| test.token(source.vocab(), 5 * i + 1));
            Prompt::Tokens(ids.iter().copied().chain(tokens).collect())
        })
        .collect();
    if extended.is_empty() {
        return Ok(());
    }
    let split = |prompt: &Prompt| match prompt {
        Prompt::Tokens(ids) => (Prompt::Tokens(ids[..ids.len() - 3].to_vec()), ids[ids.len() - 3..].to_vec()),
        other => (other.clone(), Vec::new()),
    };
    let parts: Vec<_> = extended.iter().map(split).collect();
    let prompts: Vec<_> = parts.iter().map(|(prompt, _)| prompt.clone()).collect();
    let model = SourceModel { source, prompts: &extended };
    let (mut session, _) = source.open(&prompts).law("prompts can be opened")?;
    let feeds: Vec<_> = parts.iter().map(|(_, tokens)| RowFeed::last(tokens.clone())).collect();
    let scores = session.extend(&feeds).law("rows can be fed different numbers of tokens")?;
    super::sessions::compare(
        &model,
        test,
        "opening on ab gives what opening on a and extending by b gives",
        &scores,
    )
}

struct SourceModel<'a, B: Backend> {
    source: &'a dyn LogitSource<Backend = B>,
    prompts: &'a [Prompt],
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
        let (mut session, scores) = self.open(std::slice::from_ref(row))?;
        match row.tokens.is_empty() {
            true => Ok(scores),
            false => session.extend(&[RowFeed::last(row.tokens.clone())]),
        }
    }
}
