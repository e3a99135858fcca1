//! [`SourceTest`]: the prompts and settings that sources and engines are tested with.
use super::FaultInjector;
use crate::{Prompt, TokenId, Vocab};

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
    room_is_least: bool,
}

impl SourceTest {
    /// Creates a test over these prompts, preferably of different lengths. The context should have room for 32 more
    /// tokens after each; where it has less, fewer tokens are fed.
    ///
    /// By default every token of the vocabulary is fed, log-probabilities must agree within 1e-4, and each of 3 random
    /// walks has 40 steps.
    pub fn new<P: Into<Prompt>>(prompts: impl IntoIterator<Item = P>) -> Self {
        let prompts = prompts.into_iter().map(Into::into).collect();
        Self {
            prompts,
            tokens: Vec::new(),
            tolerance: 1e-4,
            steps: 40,
            walks: 3,
            seed: 0,
            faults: None,
            room_is_least: false,
        }
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

    /// Sets how many random walks are made, each on a new session.
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

    /// Accepts that a row has more room than the tokens fed to it leave, for sources that do not know how much of a context
    /// their tokens take: such as those over bytes, of which several may be one token of the model.
    pub fn room_is_least(mut self) -> Self {
        self.room_is_least = true;
        self
    }

    pub(super) fn accepts_more_room(&self) -> bool {
        self.room_is_least
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
