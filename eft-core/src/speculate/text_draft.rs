//! Drafts with another tokenizer: a model writes text, which is encoded for the target.
use std::sync::Arc;
use std::time::Instant;

use super::draft::{Draft, Origin};
use crate::backend::{Backend, Pick, ScoreRow};
use crate::bytes::{ByteSettings, END, is_of_bytes};
use crate::decode::step::Bounds;
use crate::evaluator::{Evaluator, Parts};
use crate::sample::Sampler;
use crate::{LogitSource, Prompt, Result, RowFeed, Session, Source, TokenId, Vocab};

/// How much of a draft's probability may be left out: a draft need not be exact.
const PRUNED: f64 = 0.05;

/// About how many bytes a token has, and how many more are written to know where the last token ends.
const BYTES_PER_TOKEN: usize = 5;
const MORE_BYTES: usize = 4;

/// A model that drafts text, for the rows of a batch.
pub(super) struct TextDraft<B: Backend> {
    target: Source<B>,
    vocab: Arc<Vocab>,
    /// The draft over bytes.
    source: Source<B>,
    session: Parts<B>,
    backend: B,
    width: usize,
    rows: Vec<Written>,
}

/// The bytes after a row's prompt that the draft has read, and what it would write.
#[derive(Clone)]
struct Written {
    read: Vec<u8>,
    /// The draft's symbol after the prompt.
    first: TokenId,
    /// The draft's symbol after `read`.
    next: TokenId,
}

/// A draft as a source over bytes.
pub(super) fn over_bytes<B: Backend>(draft: &Source<B>) -> Result<Source<B>> {
    match is_of_bytes(draft.vocab()) {
        true => Ok(draft.clone()),
        false => draft.bytes_with(ByteSettings::default().prune(PRUNED)),
    }
}

impl<B: Backend> TextDraft<B> {
    /// Opens a draft over bytes on the prompts of a batch.
    pub(super) fn open(target: &Source<B>, draft: &Source<B>, prompts: &[Prompt]) -> Result<Self> {
        let (backend, width) = (draft.backend().clone(), draft.vocab().real());
        let (target, vocab, source) = (target.clone(), target.vocab().clone(), draft.clone());
        let session = Parts::none(backend.clone());
        let mut opened = Self { target, vocab, source, session, backend, width, rows: Vec::new() };
        opened.join(prompts)?;
        Ok(opened)
    }

    /// Adds rows with these prompts.
    pub(super) fn join(&mut self, prompts: &[Prompt]) -> Result<()> {
        let (session, scores) = self.source.open(prompts)?;
        let best = self.backend.argmax(&scores.last()?, self.width)?;
        self.session.add(session, prompts.len());
        let written = |pick: &Pick| Written { read: Vec::new(), first: pick.token, next: pick.token };
        self.rows.extend(best.iter().map(written));
        Ok(())
    }

    /// Makes row `i` the former row `rows[i]`.
    pub(super) fn select(&mut self, rows: &[usize]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.session.select(rows)?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }

    /// Drafts up to `lengths[row]` tokens for each row. They are pushed to the evaluator, and the sampler remembers them.
    pub(super) fn write(
        &mut self,
        evaluator: &mut Evaluator<B>,
        sampler: &mut Sampler<B>,
        lengths: &[usize],
        bounds: &Bounds<'_>,
    ) -> Result<Draft<B>> {
        let began = Instant::now();
        let mut draft = Draft::none(evaluator);
        if lengths.iter().all(|length| *length == 0) {
            return Ok(draft);
        }
        let texts: Vec<_> = (0..lengths.len()).map(|row| self.vocab.decode(sampler.generated(row))).collect();
        self.follow(&texts, lengths)?;
        let drafted = self.texts(lengths)?;
        let mut drafts = Vec::new();
        for (row, ((text, ended), length)) in drafted.iter().zip(lengths).enumerate() {
            let mut tokens = self.target.continuation(text)?;
            if !ended {
                // More text could be part of the last token.
                tokens.pop();
            }
            tokens.truncate(*length);
            drafts.push((row, tokens));
        }
        draft.add(evaluator, sampler, drafts, Origin::Text, bounds)?;
        // A share for each token, as if each had been a pass.
        let passes = draft.passes().max(1);
        draft.seconds = vec![began.elapsed().as_secs_f64() / passes as f64; passes];
        Ok(draft)
    }

    /// Makes the draft read the texts so far, of the rows that something is drafted for.
    fn follow(&mut self, texts: &[Vec<u8>], lengths: &[usize]) -> Result<()> {
        let (mut drop, mut feeds) = (vec![0; texts.len()], vec![RowFeed::none(); texts.len()]);
        for (row, (text, length)) in texts.iter().zip(lengths).enumerate() {
            let written = &mut self.rows[row];
            let same = text.iter().zip(&written.read).take_while(|(a, b)| a == b).count();
            if *length == 0 || same == text.len() && same == written.read.len() {
                continue;
            }
            // The symbol after the text is known after at least one byte is read, or if there is none.
            let kept = if same == text.len() { same.saturating_sub(1) } else { same };
            drop[row] = written.read.len() - kept;
            feeds[row] = RowFeed::last(text[kept..].iter().map(|byte| TokenId::from(*byte)).collect());
        }
        self.session.rollback(&drop)?;
        for (written, drop) in self.rows.iter_mut().zip(&drop) {
            written.read.truncate(written.read.len() - drop);
            if written.read.is_empty() {
                written.next = written.first;
            }
        }
        // A text that does not fit into the draft's context is not followed.
        for (feed, room) in feeds.iter_mut().zip(self.session.room()) {
            feed.tokens.truncate(room);
            feed.wanted = feed.wanted.min(feed.tokens.len());
        }
        self.read(&feeds)
    }

    /// Writes text after that of each row, and says whether it ends there.
    fn texts(&mut self, lengths: &[usize]) -> Result<Vec<(String, bool)>> {
        let starts: Vec<_> = self.rows.iter().map(|written| written.read.len()).collect();
        let bytes = |length: &usize| if *length == 0 { 0 } else { length * BYTES_PER_TOKEN + MORE_BYTES };
        let most: Vec<_> =
            lengths.iter().zip(self.session.room()).map(|(l, room)| bytes(l).min(room)).collect();
        loop {
            let feed = |(row, written): (usize, &Written)| match written.next < END {
                true if written.read.len() - starts[row] < most[row] => RowFeed::one(written.next),
                _ => RowFeed::none(),
            };
            let feeds: Vec<_> = self.rows.iter().enumerate().map(feed).collect();
            if feeds.iter().all(|feed| feed.tokens.is_empty()) {
                break;
            }
            self.read(&feeds)?;
        }
        let text = |(written, start): (&Written, usize)| {
            let bytes = &written.read[start..];
            let whole = match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
            };
            (whole.to_owned(), written.next >= END)
        };
        Ok(self.rows.iter().zip(starts).map(text).collect())
    }

    /// Feeds bytes, and remembers what the draft would write after them.
    fn read(&mut self, feeds: &[RowFeed]) -> Result<()> {
        let scores = self.session.extend(feeds)?;
        let last = |row: usize| scores.positions(row).pop().map(|scores| (row, scores));
        let (rows, last): (Vec<_>, Vec<ScoreRow<'_, B>>) = (0..feeds.len()).filter_map(last).unzip();
        let best = if last.is_empty() { Vec::new() } else { self.backend.argmax(&last, self.width)? };
        for (written, feed) in self.rows.iter_mut().zip(feeds) {
            written.read.extend(feed.tokens.iter().map(|token| *token as u8));
        }
        rows.into_iter().zip(best).for_each(|(row, pick)| self.rows[row].next = pick.token);
        Ok(())
    }
}
