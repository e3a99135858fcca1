use std::sync::Arc;

use super::{Piece, Proposals, Proposer};
use crate::check;
use crate::decode::FinishReason;
use crate::{Decoding, Prompt, Result, Vocab};

/// A base that only samples text: a service of which neither tokens nor probabilities are known.
///
/// ```
/// use eft_core::search::{BlackBox, ChunkBeamSearch, Continuation, Written};
/// use eft_core::Prompt;
///
/// // Writes "ab" or "ba" for each chunk, by the number that it is given, and ends after four letters.
/// let service = BlackBox::new(|_prompt: &Prompt, text: &str, _tokens, number: u64| {
///     let text_added = if number % 2 == 0 { "ab" } else { "ba" };
///     Ok(Written { text: text_added.into(), tokens: 2, ended: text.len() >= 2 })
/// });
/// let likes_b_first = |_: &Prompt, text: &Continuation| {
///     Ok(text.text.iter().step_by(2).filter(|c| **c == b'b').count() as f64)
/// };
/// let found = ChunkBeamSearch::new(&service, &likes_b_first).width(1).successors(6).chunk(2).run("?")?;
/// assert_eq!(found.best().continuation.to_text(), "baba");
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct BlackBox {
    write: Box<Write>,
}

type Write = dyn Fn(&Prompt, &str, usize, u64) -> Result<Written> + Send + Sync;

/// What a black box wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The text that was added.
    pub text: String,
    /// How many tokens it took; at least 1 is counted.
    pub tokens: usize,
    /// Whether the text has ended, as it has where nothing was added.
    pub ended: bool,
}

impl BlackBox {
    /// A function of the prompt, the text so far, the most tokens to add, and a number, different for every call of
    /// a search and the same in every run of it: a seed.
    pub fn new(write: impl Fn(&Prompt, &str, usize, u64) -> Result<Written> + Send + Sync + 'static) -> Self {
        Self { write: Box::new(write) }
    }
}

impl Proposer for BlackBox {
    fn vocab(&self) -> Option<&Arc<Vocab>> {
        None
    }

    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn Proposals + '_>> {
        decoding.validate()?;
        let row = Row { text: String::new(), ended: false };
        Ok(Box::new(Texts {
            write: &self.write,
            prompt: prompt.clone(),
            rows: vec![row],
            calls: decoding.sampling.seed,
        }))
    }
}

struct Texts<'a> {
    write: &'a Write,
    prompt: Prompt,
    rows: Vec<Row>,
    calls: u64,
}

#[derive(Clone)]
struct Row {
    text: String,
    ended: bool,
}

impl Proposals for Texts<'_> {
    fn extend(&mut self, count: usize) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for row in &mut self.rows {
            if row.ended {
                pieces.push(Piece::default());
                continue;
            }
            let written = (self.write)(&self.prompt, &row.text, count, self.calls)?;
            self.calls = self.calls.wrapping_add(1);
            row.text += &written.text;
            // One that adds nothing would do so for ever.
            row.ended = written.ended || written.text.is_empty();
            pieces.push(Piece {
                text: written.text.into_bytes(),
                drawn: written.tokens.max(1),
                end: row.ended.then_some(FinishReason::Ended),
                ..Piece::default()
            });
        }
        Ok(pieces)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }

    fn held(&self) -> usize {
        self.rows.iter().filter(|row| !row.ended).count()
    }
}
