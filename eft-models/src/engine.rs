//! [`DecoderEngine`]: a checkpoint as an engine of `eft-core`, whatever the tensor library.
use std::sync::{Arc, Mutex, PoisonError};

use eft_core::backend::Backend;
use eft_core::check;
use eft_core::{
    Engine, EngineRow, EngineSpec, Error, Form, Opened, Result, RowFeed, ScoreRow, Scores, Session, Term,
    TokenId, Vocab,
};

use crate::adapter::Adapter;
use crate::decoder::{Decoder, Pass};
use crate::nn::{Nn, Span};
use crate::projected::Adapted;
use crate::weights::Weights;

/// Tokens of one forward pass at most, over all rows: longer prompts are read in pieces, which bounds the memory
/// that activations take.
const PASS: usize = 512;

/// A decoder's weights, shared by all sessions over them.
pub struct DecoderEngine<N: Nn> {
    nn: N,
    spec: EngineSpec<N::Backend>,
    /// Tensors need not be `Sync`: the lock is held while a session takes its handles.
    decoder: Mutex<Decoder<N>>,
}

impl<N: Nn> DecoderEngine<N> {
    /// Loads a checkpoint. Without a vocabulary, one of unknown tokens under the name of the weights is made up,
    /// which relates to itself only.
    ///
    /// # Errors
    /// As [`Weights::tensor`]; [`crate::Error::Core`] for a vocabulary or a failure of the device.
    pub fn load(nn: N, weights: &dyn Weights, vocab: Option<Arc<Vocab>>) -> crate::Result<Self> {
        Self::with_adapters(nn, weights, &[], vocab)
    }

    /// As [`load`](Self::load), with adapters that rows can run under: see `eft_core::Source::adapter`. The base is
    /// held, and read in each pass, once for all of them.
    ///
    /// # Errors
    /// As [`load`](Self::load), and for an adapter that does not fit the base.
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
        // A panic elsewhere cannot have left the weights half-written: nobody writes to them.
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
    /// Tokens that count of each row. Caches may hold more: what lies behind is overwritten, so that a rollback,
    /// and the undoing of a failed pass, cost nothing.
    lengths: Vec<usize>,
    adapters: Vec<Option<usize>>,
    /// A failure that left the caches of some layers ahead of the others.
    poison: Option<String>,
    /// Weights that a token is multiplied by.
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
    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn feed(&mut self, feed: &[RowFeed]) -> Result<Scores<N::Backend>> {
        let width = self.spec.vocab.width();
        let mut done = vec![0; feed.len()];
        // Logits of each pass, and to which position of which row they belong.
        let mut parts = Vec::new();
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
                    owners.push(row);
                }
                ids.extend(&feed[row].tokens[piece.clone()]);
                spans.push(Span { row, past: self.lengths[row], tokens: start..ids.len() });
                done[row] = piece.end;
            }
            let adapted = self.adapted(&spans);
            let pass = Pass { ids: &ids, spans: &spans, wanted: &wanted, adapted: &adapted };
            let products = ids.len() * self.products;
            // Tensors need not be `Sync`, so that the pass takes the weights for itself.
            let (nn, decoder, caches) = (&self.nn, &mut self.decoder, &mut self.caches);
            let logits = nn.pass(products, move || decoder.forward(nn, caches, &pass))?;
            if let Some(logits) = logits {
                parts.push((logits, owners));
            }
            for span in &spans {
                self.lengths[span.row] += span.tokens.len();
            }
        }
        self.gather(parts, feed.len(), width)
    }

    /// Which tokens of a pass run under which adapter.
    fn adapted(&self, spans: &[Span]) -> Vec<Adapted> {
        let mut adapted: Vec<Adapted> = Vec::new();
        for span in spans {
            let Some(adapter) = self.adapters[span.row] else { continue };
            match adapted.iter_mut().find(|a| a.adapter == adapter) {
                Some(known) => known.rows.extend(span.tokens.clone()),
                None => adapted.push(Adapted { adapter, rows: span.tokens.clone().collect() }),
            }
        }
        adapted
    }

    /// One tensor of the logits of all passes, each row's positions one after another.
    fn gather(
        &self,
        mut parts: Vec<(crate::nn::Tensor<N>, Vec<usize>)>,
        rows: usize,
        width: usize,
    ) -> Result<Scores<N::Backend>> {
        let owners = parts.iter().enumerate().flat_map(|(part, (_, owners))| {
            owners.iter().enumerate().map(move |(index, row)| (*row, part, index))
        });
        let mut order: Vec<_> = owners.collect();
        order.sort_unstable();
        let count = |row| order.iter().filter(|(r, _, _)| *r == row).count();
        let spans = eft_core::scores::consecutive((0..rows).map(count));
        match parts.len() {
            0 => Ok(Scores::none(rows, width, Form::Logits)),
            1 => Ok(Scores::new(parts.remove(0).0, spans, width, Form::Logits)),
            _ => {
                let picked =
                    order.iter().map(|(_, part, index)| ScoreRow::new(&parts[*part].0, *index)).collect();
                let term = Term { weight: 1.0, rows: picked };
                let tensor = self.nn.backend().linear(&[term], width)?;
                Ok(Scores::new(tensor, spans, width, Form::Logits))
            }
        }
    }
}

/// What the next pass reads of each row: whole rows while there is room, the rest in pieces.
fn pieces(feed: &[RowFeed], done: &[usize]) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut room = PASS;
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
