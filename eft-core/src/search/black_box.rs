use std::sync::Arc;

use super::{Chunk, Proposer, ProposerSession};
use crate::check;
use crate::decode::FinishReason;
use crate::{Decoding, Prompt, Result, Vocab};

/// A base that only samples text: a remote service, for instance, that returns neither tokens nor probabilities. It is
/// a [`Proposer`] for searches and not a source. (For a service that reports the log-probabilities of a few tokens, see
/// [`from_top`](crate::from_top), which makes a source.)
///
/// ```
/// use eft_core::search::{BlackBox, ChunkBeamSearch, Continuation, SampledText};
/// use eft_core::Prompt;
///
/// // Appends "ab" or "ba", depending on the seed of the call, and ends after four letters.
/// let service = BlackBox::new(|_prompt: &Prompt, text: &str, _max_tokens, seed: u64| {
///     let appended = if seed % 2 == 0 { "ab" } else { "ba" };
///     Ok(SampledText { text: appended.into(), tokens: 2, ended: text.len() >= 2 })
/// });
/// let prefers_b_first = |_: &Prompt, text: &Continuation| {
///     Ok(text.text.iter().step_by(2).filter(|c| **c == b'b').count() as f64)
/// };
/// let result = ChunkBeamSearch::new(&service, &prefers_b_first).width(1).successors(6).chunk(2).run("?")?;
/// assert_eq!(result.best().continuation.to_text(), "baba");
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct BlackBox {
    sample: Box<Sample>,
}

type Sample = dyn Fn(&Prompt, &str, usize, u64) -> Result<SampledText> + Send + Sync;

/// The text that a [`BlackBox`] appended in one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampledText {
    /// The appended text.
    pub text: String,
    /// The number of its tokens. At least 1 is counted for each call.
    pub tokens: usize,
    /// Whether the text has ended. It has, too, if nothing was appended.
    pub ended: bool,
}

impl BlackBox {
    /// Creates a base from a function that continues a text.
    ///
    /// Its arguments are the prompt, the text generated so far, the maximum number of tokens to append, and a seed:
    /// each call of a search has another one, and a second run of the same search has the same ones.
    pub fn new(
        sample: impl Fn(&Prompt, &str, usize, u64) -> Result<SampledText> + Send + Sync + 'static,
    ) -> Self {
        Self { sample: Box::new(sample) }
    }
}

impl Proposer for BlackBox {
    fn vocab(&self) -> Option<&Arc<Vocab>> {
        None
    }

    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn ProposerSession + '_>> {
        decoding.validate()?;
        let row = Row { text: String::new(), ended: false };
        Ok(Box::new(TextSession {
            sample: &self.sample,
            prompt: prompt.clone(),
            rows: vec![row],
            seed: decoding.sampling.seed,
        }))
    }
}

struct TextSession<'a> {
    sample: &'a Sample,
    prompt: Prompt,
    rows: Vec<Row>,
    /// The seed of the next call.
    seed: u64,
}

#[derive(Clone)]
struct Row {
    text: String,
    ended: bool,
}

impl ProposerSession for TextSession<'_> {
    fn extend(&mut self, count: usize) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        for row in &mut self.rows {
            if row.ended {
                chunks.push(Chunk::default());
                continue;
            }
            let sampled = (self.sample)(&self.prompt, &row.text, count, self.seed)?;
            self.seed = self.seed.wrapping_add(1);
            row.text += &sampled.text;
            // Otherwise a service that appends nothing would be called forever.
            row.ended = sampled.ended || sampled.text.is_empty();
            chunks.push(Chunk {
                text: sampled.text.into_bytes(),
                drawn: sampled.tokens.max(1),
                end: row.ended.then_some(FinishReason::Ended),
                ..Chunk::default()
            });
        }
        Ok(chunks)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
