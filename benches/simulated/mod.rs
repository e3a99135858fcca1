//! Simulated models whose passes cost as much as those of a memory-bound model: each pass reads weights of a given size
//! once, for any number of rows. Their scores are made up, so that a draft agrees with its target with a given
//! probability.
mod agreement;

use std::sync::Arc;

use eft_core::host::HostTensor;
use eft_core::{
    Backend, Engine, EngineRow, EngineSpec, Form, Host, Opened, Result, RowFeed, Scores, Session, TokenId,
    Vocab, check,
};

use agreement::{agrees, hash, preferred, state, uniform};

/// The number of tokens of the vocabulary, as in Llama 2.
pub(crate) const WIDTH: usize = 32_000;
/// The number of different rows of noise.
const ROWS: usize = 16;

/// The distributions of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distribution {
    /// The number added to the logit of the token that the model prefers.
    pub(crate) margin: f32,
    /// The probability that this is the token that models with an `agreement` of 1 prefer after the same text.
    pub(crate) agreement: f64,
}

#[derive(Clone)]
pub(crate) struct Simulated {
    spec: EngineSpec<Host>,
    weights: Arc<[f32]>,
    noise: Arc<Vec<Vec<f32>>>,
    distribution: Distribution,
    /// The share of tokens that repeat what followed the last token earlier, if it occurred.
    copies: f64,
}

/// A model with weights of `megabytes`.
pub(crate) fn model(name: &str, megabytes: usize, distribution: Distribution) -> Simulated {
    let vocab = Vocab::anonymous("simulated", WIDTH).unwrap();
    let bytes = megabytes << 20;
    let noise = |row| (0..WIDTH).map(move |id| (hash(row << 32 | id as u64) >> 40) as f32 / (1 << 24) as f32);
    Simulated {
        spec: EngineSpec::new(name, Host, vocab).bytes(bytes as u64),
        weights: vec![1.0; bytes / 4].into(),
        noise: Arc::new((0..ROWS as u64).map(|row| noise(row).collect()).collect()),
        distribution,
        copies: 0.0,
    }
}

impl Simulated {
    /// The same, preferring this share of its tokens as those that followed the last token earlier.
    #[allow(dead_code, reason = "not every benchmark has texts that repeat themselves")]
    pub(crate) fn copies(self, share: f64) -> Self {
        Self { copies: share, ..self }
    }

    /// The token that followed the latest earlier occurrence of the last one, for the share of tokens that are copied.
    fn copied(&self, text: &[TokenId], state: u64) -> Option<u64> {
        let (last, before) = text.split_last()?;
        let is_copied = uniform(state ^ 2) < self.copies;
        let at = before.iter().rposition(|token| token == last).filter(|_| is_copied)?;
        Some(u64::from(text[at + 1]))
    }

    /// Reads all weights once, as a forward pass does.
    fn pass(&self) {
        let sum: f32 = self.weights.chunks(16).map(|w| w.iter().sum::<f32>()).sum();
        std::hint::black_box(sum);
    }

    /// Appends the logits after a text.
    fn logits(&self, text: &[TokenId], out: &mut Vec<f32>) {
        let start = out.len();
        let state = state(text);
        out.extend(&self.noise[state as usize % ROWS]);
        let agreement = self.distribution.agreement;
        let preferred = match self.copied(text, state) {
            Some(token) if agrees(state, agreement) => token as usize % WIDTH,
            _ => preferred(state, agreement, WIDTH),
        };
        out[start + preferred] += self.distribution.margin;
    }
}

impl Engine for Simulated {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        self.spec.check(rows)?;
        let mut session = SimulatedSession { model: self.clone(), rows: vec![Vec::new(); rows.len()] };
        let prompts: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&prompts)?;
        Ok((Box::new(session), scores))
    }
}

struct SimulatedSession {
    model: Simulated,
    rows: Vec<Vec<TokenId>>,
}

impl Session for SimulatedSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.rows.iter().map(Vec::len).collect()
    }

    fn room(&self) -> Vec<usize> {
        vec![usize::MAX; self.rows.len()]
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        self.model.spec.check_feeds(feed, &self.room())?;
        self.model.pass();
        let (mut scores, mut spans) = (Vec::new(), Vec::new());
        for (row, feed) in self.rows.iter_mut().zip(feed) {
            let first = scores.len() / WIDTH;
            for (index, token) in feed.tokens.iter().enumerate() {
                row.push(*token);
                if index + feed.wanted >= feed.tokens.len() {
                    self.model.logits(row, &mut scores);
                }
            }
            spans.push(first..scores.len() / WIDTH);
        }
        let tensor: HostTensor = Host.upload(&scores, WIDTH)?;
        Ok(Scores::new(tensor, spans, WIDTH, Form::Logits))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rollback_limit())?;
        self.rows.iter_mut().zip(drop).for_each(|(row, drop)| row.truncate(row.len() - drop));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
