//! [`DecoderEngine`]: a decoder as an [`Engine`] of `eft-core`, for any tensor library.
//!
//! See [`Nn`] for an example of a tensor library.
use std::sync::{Arc, Mutex, PoisonError};

use eft_core::check;
use eft_core::{
    Engine, EngineRow, EngineSpec, Error, Opened, Result, RowFeed, Scores, Session, TokenId, Vocab,
};

use crate::adapter::Adapter;
use crate::decoder::{Decoder, RaggedBatch};
use crate::lora::AdapterRows;
use crate::nn::{Nn, Span};
use crate::pass_logits::{PassLogits, collect};
use crate::weights::Weights;

/// The largest number of tokens in one forward pass, over all rows. Longer prompts are read in several passes, which
/// bounds the memory that activations take.
const MAX_TOKENS: usize = 512;

/// A decoder with its weights, shared by all sessions over it.
pub struct DecoderEngine<N: Nn> {
    nn: N,
    spec: EngineSpec<N::Backend>,
    /// Tensors need not be `Sync`, so the handles for a session are made under a lock.
    decoder: Mutex<Decoder<N>>,
}

impl<N: Nn> DecoderEngine<N> {
    /// Loads a model. Without a `vocab`, the engine gets an anonymous one, named after the model; such a model can only
    /// be combined with itself.
    ///
    /// # Errors
    /// * [`crate::Error::BadTensor`] if a tensor is missing, has another shape than the spec says, or cannot be read.
    /// * [`crate::Error::Core`] if the vocabulary's width is not the model's, or if the device fails.
    pub fn load(nn: N, weights: &dyn Weights, vocab: Option<Arc<Vocab>>) -> crate::Result<Self> {
        Self::with_adapters(nn, weights, &[], vocab)
    }

    /// Loads a model with LoRA adapters, which rows can run under: see [`eft_core::Source::adapter`]. The base's
    /// weights are held in memory once, and read once in each pass, for all adapters together.
    ///
    /// # Errors
    /// * [`crate::Error::BadTensor`] if a tensor of the base is missing, has another shape than the spec says, or
    ///   cannot be read.
    /// * [`crate::Error::Core`] if the vocabulary's width is not the model's, or if the device fails.
    /// * [`crate::Error::BadTensor`] if an adapter does not fit the base, or has a tensor that its configuration does
    ///   not select.
    /// * [`crate::Error::Config`] if a pattern in an adapter's configuration takes too long to match.
    pub fn with_adapters(
        nn: N,
        weights: &dyn Weights,
        adapters: &[Adapter],
        vocab: Option<Arc<Vocab>>,
    ) -> crate::Result<Self> {
        let spec = weights.spec();
        let name = weights.name().into_owned();
        let vocab = match vocab {
            Some(vocab) => vocab,
            None => Arc::new(Vocab::anonymous(&name, spec.vocab)?.with_eos(spec.eos.iter().copied())?),
        };
        if vocab.width() != spec.vocab {
            let what = format!("rows of the vocabulary `{}` for `{name}`", vocab.name());
            return Err(Error::shape(what, spec.vocab, vocab.width()).into());
        }
        let decoder = Mutex::new(Decoder::load(&nn, weights, adapters)?);
        let spec =
            EngineSpec::new(name, nn.backend().clone(), vocab).context(spec.context).bytes(weights.bytes());
        let spec = spec.adapters(adapters.iter().map(Adapter::name));
        Ok(Self { nn, spec, decoder })
    }
}

impl<N: Nn> Engine for DecoderEngine<N> {
    type Backend = N::Backend;

    fn spec(&self) -> &EngineSpec<N::Backend> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<N::Backend>> {
        self.spec.check(rows)?;
        // A poisoned lock is harmless: nothing is ever written to the weights.
        let decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner).share(&self.nn);
        let caches = decoder.caches(&self.nn, rows.len());
        let products = decoder.products();
        let mut session = DecoderSession {
            nn: self.nn.clone(),
            spec: self.spec.clone(),
            decoder,
            caches,
            lengths: vec![0; rows.len()],
            adapters: rows.iter().map(|row| row.adapter).collect(),
            poison: None,
            products,
        };
        let feed: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&feed)?;
        Ok((Box::new(session), scores))
    }
}

struct DecoderSession<N: Nn> {
    nn: N,
    spec: EngineSpec<N::Backend>,
    decoder: Decoder<N>,
    caches: Vec<N::Cache>,
    /// The number of tokens in each row. Caches may hold more: later entries are overwritten by the next pass, so a
    /// rollback, and undoing a failed pass, cost nothing.
    lengths: Vec<usize>,
    adapters: Vec<Option<usize>>,
    /// The failure that left the caches of some layers with other rows than the rest, if there was one.
    poison: Option<String>,
    /// The number of weights that one token is multiplied by.
    products: usize,
}

impl<N: Nn> Session for DecoderSession<N> {
    type Backend = N::Backend;

    fn rollback_limit(&self) -> Vec<usize> {
        self.lengths.clone()
    }

    fn room(&self) -> Vec<usize> {
        let left = |length| self.spec.context.map_or(usize::MAX, |context| context - length);
        self.lengths.iter().map(left).collect()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<N::Backend>> {
        self.healthy()?;
        self.spec.check_feeds(feed, &self.room())?;
        let before = self.lengths.clone();
        let fed = self.feed(feed);
        if fed.is_err() {
            self.lengths = before;
        }
        fed
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        check::rollback(drop, &self.rollback_limit())?;
        self.lengths.iter_mut().zip(drop).for_each(|(length, drop)| *length -= drop);
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        check::select(rows, self.lengths.len())?;
        for cache in &mut self.caches {
            if let Err(error) = self.nn.select(cache, rows, &self.lengths) {
                self.poison = Some(eft_core::error::with_sources(&error));
                return Err(error);
            }
        }
        self.lengths = rows.iter().map(|row| self.lengths[*row]).collect();
        self.adapters = rows.iter().map(|row| self.adapters[*row]).collect();
        Ok(())
    }
}

impl<N: Nn> DecoderSession<N> {
    /// Returns an error if the session is poisoned.
    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Runs as many passes as the tokens need, and collects the wanted logits.
    fn feed(&mut self, feed: &[RowFeed]) -> Result<Scores<N::Backend>> {
        let mut done = vec![0; feed.len()];
        let mut passes = Vec::new();
        loop {
            let pieces = pieces(feed, &done);
            if pieces.is_empty() {
                break;
            }
            let mut ids: Vec<TokenId> = Vec::new();
            let (mut spans, mut wanted, mut owners) = (Vec::new(), Vec::new(), Vec::new());
            for (row, piece) in pieces {
                let first_wanted = feed[row].tokens.len() - feed[row].wanted;
                let start = ids.len();
                for position in piece.clone().filter(|p| *p >= first_wanted) {
                    wanted.push(start + position - piece.start);
                    owners.push((row, owners.len()));
                }
                ids.extend(&feed[row].tokens[piece.clone()]);
                spans.push(Span { row, past: self.lengths[row], tokens: start..ids.len() });
                done[row] = piece.end;
            }
            let adapted = self.adapted(&spans);
            let batch = RaggedBatch { ids: &ids, spans: &spans, wanted: &wanted, adapted: &adapted };
            let products = ids.len() * self.products;
            // Tensors need not be `Sync`, so the closure borrows the weights exclusively.
            let (nn, decoder, caches) = (&self.nn, &mut self.decoder, &mut self.caches);
            let logits = nn.pass(products, move || decoder.forward(nn, caches, &batch))?;
            if let Some(logits) = logits {
                passes.push(PassLogits { logits, owners });
            }
            for span in &spans {
                self.lengths[span.row] += span.tokens.len();
            }
        }
        collect(self.nn.backend(), passes, feed.len(), self.spec.vocab.width())
    }

    /// Groups the tokens of a pass by the adapter that they run under.
    fn adapted(&self, spans: &[Span]) -> Vec<AdapterRows> {
        let mut adapted: Vec<AdapterRows> = Vec::new();
        for span in spans {
            let Some(adapter) = self.adapters[span.row] else { continue };
            match adapted.iter_mut().find(|a| a.adapter == adapter) {
                Some(known) => known.rows.extend(span.tokens.clone()),
                None => adapted.push(AdapterRows { adapter, rows: span.tokens.clone().collect() }),
            }
        }
        adapted
    }
}

/// The tokens that the next pass reads of each row: the row's index, and a range of its feed. Rows are taken in order
/// until the pass is full.
fn pieces(feed: &[RowFeed], done: &[usize]) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut room = MAX_TOKENS;
    let mut pieces = Vec::new();
    for (row, (feed, done)) in feed.iter().zip(done).enumerate() {
        let take = (feed.tokens.len() - done).min(room);
        if take > 0 {
            pieces.push((row, *done..done + take));
            room -= take;
        }
    }
    pieces
}
