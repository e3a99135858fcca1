use std::borrow::Cow;
use std::sync::Arc;

use super::map::{TokenMap, spell, unknown};
use crate::backend::{Backend, score_rows};
use crate::derived::{Derived, Translate};
use crate::scores::{Coverage, consecutive};
use crate::{
    Error, Form, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Source, TokenId, Vocab, check,
};

impl<B: Backend> Source<B> {
    /// Returns the source over the vocabulary of another model, as far as both have the same tokens: see
    /// [`token_map`](crate::token_map) for what is lost. [`bytes`](Self::bytes) is the way that loses nothing.
    ///
    /// Its scores are log-probs, as those of a black box: tokens without a counterpart are unknown.
    ///
    /// ```
    /// use eft_core::{Host, Vocab, from_fn};
    ///
    /// let model = from_fn(Host, Vocab::new("new", ["b", "a", "n"])?, |_| Ok(vec![0.5f32.ln(), 0.25f32.ln(), 0.25f32.ln()]));
    /// let old = Vocab::new("old", ["a", "b"])?.into();
    /// let score = model.over_vocab(&old)?.score([0], &[1])?;
    /// assert!((score.total.exp() - 0.5 / 0.75).abs() < 1e-6);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadVocab`] if the vocabularies have no token in common. Later calls return it for tokens without a
    /// counterpart, except for ordinary tokens of a prompt: these are spelled with other tokens.
    pub fn over_vocab(&self, vocab: &Arc<Vocab>) -> Result<Self> {
        let map = TokenMap::new(vocab, self.vocab());
        if map.len() == 0 {
            let reason = format!("it has no token in common with `{}`", vocab.name());
            return Err(Error::BadVocab { vocab: self.vocab().name().into(), reason });
        }
        let (name, map) = (format!("{}/mapped", self.name()), Arc::new(map));
        let mapped = Mapped { source: self.clone(), vocab: vocab.clone(), map, name: name.clone() };
        Ok(Self::opaque(mapped).named(name))
    }
}

/// A source over another vocabulary.
#[derive(Clone)]
struct Mapped<B: Backend> {
    source: Source<B>,
    vocab: Arc<Vocab>,
    map: Arc<TokenMap>,
    name: String,
}

impl<B: Backend> LogitSource for Mapped<B> {
    type Backend = B;

    fn backend(&self) -> &B {
        self.source.backend()
    }

    fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        let own = |(row, prompt): (usize, &Prompt)| match prompt {
            Prompt::Tokens(ids) => {
                check::within(&self.name, row, ids, self.vocab.real())?;
                Ok(Prompt::Tokens(spell(&self.map, &self.vocab, self.source.vocab(), ids)?))
            }
            other => Ok(other.clone()),
        };
        let prompts = prompts.iter().enumerate().map(own).collect::<Result<Vec<_>>>()?;
        let (session, scores) = self.source.open(&prompts)?;
        let scores = self.scores(scores)?;
        Ok((Box::new(Derived::new(session, self.clone())), scores))
    }
}

impl<B: Backend> Translate for Mapped<B> {
    type From = B;
    type To = B;

    fn feeds<'a>(&self, feeds: &'a [RowFeed], room: &[usize]) -> Result<Cow<'a, [RowFeed]>> {
        check::feeds(&self.name, feeds, room, self.vocab.real())?;
        let own = |token: &TokenId| {
            self.map.get(*token).ok_or_else(|| unknown(&self.vocab, self.source.vocab(), *token))
        };
        let feed = |feed: &RowFeed| {
            Ok(RowFeed { tokens: feed.tokens.iter().map(own).collect::<Result<_>>()?, wanted: feed.wanted })
        };
        feeds.iter().map(feed).collect::<Result<Vec<_>>>().map(Cow::Owned)
    }

    fn scores(&self, scores: Scores<B>) -> Result<Scores<B>> {
        let (backend, width, own) = (self.source.backend(), self.vocab.real(), self.source.vocab().real());
        let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
        if rows.is_empty() {
            return Ok(Scores::none(scores.rows(), width, Form::Partial));
        }
        let numbers = match scores.form() {
            Form::Partial => backend.download(&rows, own)?,
            Form::Logits | Form::LogProbs => {
                let log_probs = backend.log_softmax(&rows, own)?;
                backend.download(&score_rows(&log_probs, rows.len()), own)?
            }
        };
        let mut mapped = vec![f32::NEG_INFINITY; rows.len() * width];
        let mut coverage = Vec::new();
        for ((row, from), to) in rows.iter().zip(numbers.chunks(own)).zip(mapped.chunks_mut(width)) {
            self.map.iter().for_each(|(here, there)| to[here as usize] = from[there as usize]);
            let mass = |row: &[f32]| row.iter().map(|x| f64::from(*x).exp()).sum::<f64>();
            // What a black box does not report is not known here, either.
            let known = match scores.coverage_at(row.index) {
                Some(of_source) => f64::from(of_source.known_mass) * mass(to) / mass(from),
                None => mass(to),
            };
            coverage.push(Coverage::new(known as f32));
        }
        let spans = consecutive(scores.spans().iter().map(ExactSizeIterator::len));
        let tensor = backend.upload(&mapped, width)?;
        Ok(Scores::new(tensor, spans, width, Form::Partial).with_coverage(coverage))
    }
}
