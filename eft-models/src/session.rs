//! [`DecoderSession`]: the rows of one batch, and their KV caches.
use std::ops::Range;

use eft_core::check;
use eft_core::{EngineSpec, Error, Result, RowFeed, Scores, Session, TokenId};

use crate::decoder::{Decoder, RaggedBatch};
use crate::lora::AdapterRows;
use crate::nn::{Nn, Span};
use crate::pass_logits::{PassLogits, collect};

/// The largest number of tokens in one forward pass, over all rows. Longer prompts are read in several passes, which
/// bounds the memory that activations take.
const MAX_TOKENS: usize = 512;

/// The least number of tokens for which a row waits until another one has read them.
const MIN_SHARED: usize = 64;

pub(crate) struct DecoderSession<N: Nn> {
    nn: N,
    spec: EngineSpec<N::Backend>,
    decoder: Decoder<N>,
    caches: Vec<N::Cache>,
    rows: Vec<Row>,
    /// The failure that left the caches of some layers with other rows than the rest, if there was one.
    poison: Option<String>,
    /// The number of weights that one token is multiplied by.
    products: usize,
    free_rollback: usize,
}

/// One row of the batch.
#[derive(Debug, Clone, Default)]
struct Row {
    adapter: Option<usize>,
    text: Vec<TokenId>,
    /// How many tokens of the text the caches hold. They may hold more: later entries are overwritten by the next pass, so
    /// a rollback, and undoing a failed pass, cost nothing.
    cached: usize,
    /// The stage of the rotary positions that these were computed with.
    stage: usize,
    /// The largest number of tokens that the caches held since the row was last read from its beginning. The caches of
    /// layers with a sliding window may have forgotten what is far before.
    most: usize,
}

/// Tokens of one row that a pass reads: some of its text, at this stage.
struct Piece {
    row: usize,
    tokens: Range<usize>,
    stage: usize,
}

impl<N: Nn> DecoderSession<N> {
    /// A session of empty rows that run under these adapters.
    pub(crate) fn new(
        nn: N,
        spec: EngineSpec<N::Backend>,
        decoder: Decoder<N>,
        adapters: impl Iterator<Item = Option<usize>>,
        free_rollback: usize,
    ) -> Self {
        let rows: Vec<_> = adapters.map(|adapter| Row { adapter, ..Row::default() }).collect();
        let caches = decoder.caches(&nn, rows.len(), free_rollback);
        let products = decoder.products();
        Self { nn, spec, decoder, caches, rows, poison: None, products, free_rollback }
    }

    /// The number of tokens that each layer has memory for in a row.
    #[cfg(feature = "conformance")]
    pub(crate) fn capacities(&self, row: usize) -> Vec<usize> {
        self.caches.iter().map(|cache| self.nn.capacity(cache, row)).collect()
    }

    fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.text.len()).collect()
    }

    /// Returns an error if the session is poisoned.
    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Runs as many passes as the tokens need, and collects the wanted logits. The texts already have the new tokens, after
    /// their first `before` ones.
    fn feed(&mut self, feed: &[RowFeed], before: &[usize]) -> Result<Scores<N::Backend>> {
        let mut passes = Vec::new();
        // How many tokens of each text have been read as far as their scores are concerned.
        let mut done = before.to_vec();
        // How many tokens of each text come before those whose scores are wanted.
        let unscored = self.rows.iter().zip(feed).map(|(row, feed)| row.text.len() - feed.wanted);
        let unscored: Vec<_> = unscored.collect();
        loop {
            for (row, (done, unscored)) in done.iter_mut().zip(&unscored).enumerate() {
                if self.rows[row].cached < *unscored {
                    self.take_over(row, *unscored)?;
                    *done = self.rows[row].cached.min(*unscored).max(*done);
                }
            }
            let pieces = self.pieces(&done, &unscored);
            if pieces.is_empty() {
                break;
            }
            let mut ids: Vec<TokenId> = Vec::new();
            let (mut spans, mut stages) = (Vec::new(), Vec::new());
            let (mut wanted, mut owners) = (Vec::new(), Vec::new());
            for Piece { row, tokens, stage } in pieces {
                let text = &self.rows[row].text;
                let first_wanted = (text.len() - feed[row].wanted).max(done[row]);
                let start = ids.len();
                for position in tokens.clone().filter(|position| *position >= first_wanted) {
                    wanted.push(start + position - tokens.start);
                    owners.push((row, owners.len()));
                }
                ids.extend(&text[tokens.clone()]);
                spans.push(Span { row, past: tokens.start, tokens: start..ids.len() });
                stages.push(stage);
                let row = &mut self.rows[row];
                row.most = row.most_after(&tokens);
                (row.cached, row.stage) = (tokens.start, stage);
            }
            let adapted = self.adapted(&spans);
            let batch =
                RaggedBatch { ids: &ids, spans: &spans, stages: &stages, wanted: &wanted, adapted: &adapted };
            let products = ids.len() * self.products;
            // Tensors need not be `Sync`, so the closure borrows the weights exclusively.
            let (nn, decoder, caches) = (&self.nn, &mut self.decoder, &mut self.caches);
            let logits = nn.pass(products, move || decoder.forward(nn, caches, &batch))?;
            if let Some(logits) = logits {
                passes.push(PassLogits { logits, owners });
            }
            for span in &spans {
                let row = &mut self.rows[span.row];
                row.cached += span.tokens.len();
                done[span.row] = done[span.row].max(row.cached);
            }
        }
        collect(self.nn.backend(), passes, feed.len(), self.spec.vocab.width())
    }

    /// Takes what a row lacks of its first `tokens` tokens from the row that has most of it, as far as layers keep all tokens.
    /// Rows that begin alike, and those that part and go on alike again, as those of a source over bytes, would otherwise read these tokens
    /// once each.
    fn take_over(&mut self, to: usize, tokens: usize) -> Result<()> {
        let keeps_all = |row: &Row| self.keeps_all(row.most);
        let row = &self.rows[to];
        if !self.nn.shares_tokens() || !keeps_all(row) {
            return Ok(());
        }
        let common = |other: &Row| row.common(other, other.cached.min(tokens));
        // A row that holds nothing takes what its next token can go on with.
        let stage = |other: &Row| match row.cached {
            0 => self.decoder.stage(common(other) + 1),
            _ => row.stage,
        };
        let is_alike = |other: &Row| other.adapter == row.adapter && other.stage == stage(other);
        let others = self
            .rows
            .iter()
            .enumerate()
            .filter(|(from, other)| *from != to && is_alike(other) && keeps_all(other));
        let best = others.map(|(from, other)| (common(other), from)).max();
        let Some((end, from)) = best.filter(|(end, _)| *end > row.cached) else {
            return Ok(());
        };
        let lacking = row.cached..end;
        let mut shared = true;
        for cache in &mut self.caches {
            shared = shared && self.nn.share_tokens(cache, from, to, lacking.clone())?;
        }
        if shared {
            let stage = self.rows[from].stage;
            let row = &mut self.rows[to];
            (row.cached, row.most, row.stage) = (end, row.most.max(end), stage);
        }
        Ok(())
    }

    /// Whether a row that has held this number of tokens still holds all of them in each layer.
    fn keeps_all(&self, most: usize) -> bool {
        self.decoder.least_kept(self.free_rollback).is_none_or(|kept| most <= kept)
    }

    /// Whether another piece of the pass reads at least [`MIN_SHARED`] of the next tokens of a row, among its first `unscored` tokens, which
    /// need no scores. The row can take them afterwards.
    fn waits(&self, row: &Row, unscored: usize, others: &[Piece]) -> bool {
        let reads = |other: &Piece| {
            let Piece { row: index, tokens, stage } = other;
            let other = &self.rows[*index];
            other.adapter == row.adapter
                && (row.cached == 0 || row.stage == *stage)
                && self.keeps_all(other.most_after(tokens).max(row.most))
                && row.common(other, tokens.end.min(unscored)) >= row.cached + MIN_SHARED
        };
        // Not when a token is generated: texts would be compared at each step.
        unscored >= row.cached + MIN_SHARED && self.nn.shares_tokens() && others.iter().any(reads)
    }

    /// What the next pass reads. Rows are taken in order until the pass is full, but for those that wait for others.
    fn pieces(&self, done: &[usize], unscored: &[usize]) -> Vec<Piece> {
        let mut room = MAX_TOKENS;
        let mut pieces = Vec::new();
        for (index, (row, done)) in self.rows.iter().zip(done).enumerate() {
            if *done == row.text.len() || room == 0 || self.waits(row, unscored[index], &pieces) {
                continue;
            }
            // The next token whose scores are missing belongs to a text that ends with it.
            let stage = self.decoder.stage(done + 1);
            let start = match row.stage == stage && self.remembers(row) {
                true => row.cached,
                false => 0,
            };
            let end = row.text.len().min(stage).min(start + room);
            room -= end - start;
            pieces.push(Piece { row: index, tokens: start..end, stage });
        }
        pieces
    }

    /// Whether the caches hold all that the next token of a row needs of the tokens before it.
    fn remembers(&self, row: &Row) -> bool {
        self.keeps_all(row.most) || row.cached + self.free_rollback >= row.most
    }

    /// Groups the tokens of a pass by the adapter that they run under.
    fn adapted(&self, spans: &[Span]) -> Vec<AdapterRows> {
        let mut adapted: Vec<AdapterRows> = Vec::new();
        for span in spans {
            let Some(adapter) = self.rows[span.row].adapter else { continue };
            match adapted.iter_mut().find(|a| a.adapter == adapter) {
                Some(known) => known.rows.extend(span.tokens.clone()),
                None => adapted.push(AdapterRows { adapter, rows: span.tokens.clone().collect() }),
            }
        }
        adapted
    }
}

impl Row {
    /// The number of tokens at the beginning that this row and another one have in common, up to `limit`.
    fn common(&self, other: &Self, limit: usize) -> usize {
        self.text.iter().zip(&other.text).take(limit).take_while(|(a, b)| a == b).count()
    }

    /// What [`most`](Self::most) is after a pass that reads these tokens.
    fn most_after(&self, tokens: &Range<usize>) -> usize {
        if tokens.start == 0 { tokens.end } else { self.most.max(tokens.end) }
    }

    fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
        self.cached = self.cached.min(length);
    }
}

impl<N: Nn> Session for DecoderSession<N> {
    type Backend = N::Backend;

    fn rollback_limit(&self) -> Vec<usize> {
        self.lengths()
    }

    fn room(&self) -> Vec<usize> {
        let left = |row: &Row| self.spec.context.map_or(usize::MAX, |context| context - row.text.len());
        self.rows.iter().map(left).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<N::Backend>> {
        self.healthy()?;
        self.spec.check_feeds(feed, &self.room())?;
        let before = self.lengths();
        for (row, feed) in self.rows.iter_mut().zip(feed) {
            row.text.extend(&feed.tokens);
        }
        let fed = self.feed(feed, &before);
        if fed.is_err() {
            self.rows.iter_mut().zip(before).for_each(|(row, length)| row.truncate(length));
        }
        fed
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        check::rollback(drop, &self.rollback_limit())?;
        self.rows.iter_mut().zip(drop).for_each(|(row, drop)| row.truncate(row.text.len() - drop));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        check::select(rows, self.rows.len())?;
        let cached: Vec<_> = self.rows.iter().map(|row| row.cached).collect();
        for cache in &mut self.caches {
            if let Err(error) = self.nn.select(cache, rows, &cached) {
                self.poison = Some(eft_core::error::with_sources(&error));
                return Err(error);
            }
        }
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use eft_core::EngineRow;

    use super::*;
    use crate::conformance::{Golden, ReferenceNn};
    use crate::{Checkpoint, DecoderEngine};

    #[test]
    fn rows_wait_for_what_another_one_reads() {
        let checkpoint = Checkpoint::open(Golden::family("llama").unwrap().folder()).unwrap();
        let engine = DecoderEngine::load(ReferenceNn, &checkpoint, None).unwrap();
        let texts = [(100, 1), (100, 2), (70, 3), (60, 4)]
            .map(|(common, last)| [(1..=common).map(|i| i % 96).collect(), vec![last]].concat());
        let row = |_| EngineRow { adapter: None, tokens: vec![0] };
        let (mut session, _) = engine.session(&[0; 4].map(row)).unwrap();
        for (row, text) in session.rows.iter_mut().zip(&texts) {
            (row.text, row.cached) = (text.clone(), 0);
        }
        let unscored: Vec<_> = texts.iter().map(|text: &Vec<TokenId>| text.len() - 1).collect();
        let read = |pieces: Vec<Piece>| pieces.into_iter().map(|piece| piece.row).collect::<Vec<_>>();
        // The last one has fewer tokens in common with the first than are worth waiting for.
        assert_eq!(read(session.pieces(&[0; 4], &unscored)), [0, 3]);
        // Scores of all tokens are wanted of the second and the third.
        assert_eq!(read(session.pieces(&[0; 4], &[100, 0, 0, 60])), [0, 1, 2, 3]);
    }
}
