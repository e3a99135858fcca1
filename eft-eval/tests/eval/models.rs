//! Models over single bytes, whose log-probabilities can be computed by plain loops.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eft_core::{
    Engine, EngineRow, EngineSpec, Error, FnEngine, Host, Opened, Prompt, Renderer, Result, RowFeed, Scores,
    Session, Source, TokenId, Vocab, from_fn,
};

/// The token that begins and ends a text.
pub(crate) const END: TokenId = 256;

/// Renders text as its bytes; a conversation as its messages in lines.
pub(crate) struct Bytes {
    /// Whether a text begins with [`END`].
    pub(crate) begin: bool,
}

impl Renderer for Bytes {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        let text = match prompt {
            Prompt::Tokens(ids) => return Ok(ids.clone()),
            Prompt::Text(text) => text.clone(),
            Prompt::Chat(messages) => {
                messages.iter().map(|m| format!("{}: {}\n", m.role, m.content)).collect()
            }
        };
        let begin = self.begin.then_some(END);
        Ok(begin.into_iter().chain(self.continuation(term, &text)?).collect())
    }

    fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
        Ok(text.bytes().map(u32::from).collect())
    }
}

pub(crate) fn vocab() -> Vocab {
    let tokens = (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]);
    Vocab::new("bytes", tokens).and_then(|vocab| vocab.with_eos([END])).expect("a valid vocabulary")
}

/// The logits after some tokens: a few letters and the end are likely, in an order that the last two tokens decide.
pub(crate) fn logits(seed: u64, tokens: &[TokenId]) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for token in &tokens[tokens.len().saturating_sub(2)..] {
        state = (state ^ u64::from(*token)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    }
    let likely = |id: TokenId| id == END || (u32::from(b'a')..u32::from(b'h')).contains(&id) || id == 32;
    let logit = |id: TokenId| {
        let mixed = (state ^ u64::from(id)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 40) as f32 / (1 << 22) as f32 + if likely(id) { 2.0 } else { -6.0 }
    };
    (0..=END).map(logit).collect()
}

/// A model that begins texts with [`END`].
pub(crate) fn model(seed: u64) -> Source<Host> {
    rendered(seed, true, Duration::ZERO)
}

pub(crate) fn rendered(seed: u64, begin: bool, delay: Duration) -> Source<Host> {
    from_fn(Host, vocab(), move |tokens| {
        std::thread::sleep(delay);
        Ok(logits(seed, tokens))
    })
    .rendered_by(Bytes { begin })
    .expect("a single model")
    .named(format!("model-{seed}"))
}

/// A model that counts the rows that it computes.
pub(crate) fn counted(seed: u64) -> (Source<Host>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let source = from_fn(Host, vocab(), move |tokens| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(logits(seed, tokens))
    });
    (source.rendered_by(Bytes { begin: true }).expect("a single model").named(format!("model-{seed}")), count)
}

/// A model that fails when it is run.
pub(crate) fn broken() -> Source<Host> {
    let failing = from_fn(Host, vocab(), |_| Err(Error::source("broken", "on purpose")));
    failing.rendered_by(Bytes { begin: true }).expect("a single model")
}

/// `log π(continuation | prompt)` in nats, by the definition, and the number of tokens.
pub(crate) fn log_prob(
    logits: impl Fn(&[TokenId]) -> Vec<f64>,
    prompt: &[TokenId],
    continuation: &[TokenId],
) -> f64 {
    let mut tokens = prompt.to_vec();
    let mut total = 0.0;
    for next in continuation {
        let scores = logits(&tokens);
        let normaliser: f64 = scores.iter().map(|score| score.exp()).sum();
        total += scores[*next as usize] - normaliser.ln();
        tokens.push(*next);
    }
    total
}

/// The logits of a model of this seed, in double precision.
pub(crate) fn exact(seed: u64) -> impl Fn(&[TokenId]) -> Vec<f64> {
    move |tokens| logits(seed, tokens).into_iter().map(f64::from).collect()
}

pub(crate) fn bytes(text: &str) -> Vec<TokenId> {
    text.bytes().map(u32::from).collect()
}

/// A model that reads prompts, and then fails at the first row of every batch, as one on a server may.
pub(crate) fn fails_at_a_row() -> Source<Host> {
    let spec = EngineSpec::new("fails", Host, vocab());
    let engine = Fails(FnEngine::new(spec, |row| Ok(logits(1, &row.tokens))));
    Source::new(engine).rendered_by(Bytes { begin: true }).expect("the renderer fits")
}

struct Fails(FnEngine<Host>);

impl Engine for Fails {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        self.0.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        let (session, scores) = self.0.open(rows)?;
        Ok((Box::new(FailsSession(session)), scores))
    }
}

struct FailsSession(Box<dyn Session<Backend = Host>>);

impl Session for FailsSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.0.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.0.room()
    }

    fn extend(&mut self, _: &[RowFeed]) -> Result<Scores<Host>> {
        Err(Error::row(0, Error::source("server", "the connection was lost")))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.0.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.0.select(rows)
    }
}
