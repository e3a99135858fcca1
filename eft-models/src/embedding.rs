//! [`Embedding`]: the token embedding, which adapters may change.
use std::collections::HashMap;
use std::sync::Arc;

use eft_core::{Backend, TokenId};

use crate::Result;
use crate::adapter::StoredChange;
use crate::loader::ParameterLoader;
use crate::lora::{AdapterRows, replace_rows};
use crate::nn::{Nn, Tensor};
use crate::spec::DecoderSpec;

/// The token embedding, and its change by each adapter.
pub(crate) struct Embedding<N: Nn> {
    pub(crate) base: N::Linear,
    /// One entry for each adapter of the engine; `None` if the adapter leaves the embedding alone.
    adapters: Vec<Option<Change<N>>>,
}

/// How an adapter changes the embedding.
enum Change<N: Nn> {
    /// `scale·B·A` is added, with `down` = A (rank × vocabulary) and `up` = B (width × rank). A is held by columns.
    LowRank { down: N::Linear, up: N::Linear, scale: f32 },
    /// It is another one.
    Saved(N::Linear),
    /// Some tokens have other rows: for each of them, the index of its row among these.
    Rows { places: Arc<HashMap<TokenId, TokenId>>, rows: N::Linear },
}

impl<N: Nn> Embedding<N> {
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &DecoderSpec) -> Result<Self> {
        let (nn, name) = (loader.nn, &spec.embedding);
        let (rows, width) = (spec.vocab, spec.hidden);
        let weight_name = format!("{name}.weight");
        let own = || loader.weights.tensor(&weight_name, &[rows, width]);
        let adapters = loader.adapters.iter().map(|adapter| {
            Ok(match adapter.embedding(spec, &own)? {
                None => None,
                Some(StoredChange::Module { weight, .. }) => Some(Change::Saved(nn.load_embedding(&weight)?)),
                Some(StoredChange::LowRank(low_rank)) => Some(Change::LowRank {
                    down: nn.load_exact(&low_rank.down, true, None)?,
                    up: nn.load_exact(&low_rank.up, false, None)?,
                    scale: low_rank.scale,
                }),
                Some(StoredChange::Rows { tokens, rows }) => Some(Change::Rows {
                    places: Arc::new(tokens.into_iter().zip(0..).collect()),
                    rows: nn.load_embedding(&rows)?,
                }),
            })
        });
        let adapters = adapters.collect::<Result<_>>()?;
        Ok(Self { base: loader.embedding(name, rows, width)?, adapters })
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let share = |change: &Change<N>| match change {
            Change::LowRank { down, up, scale } => {
                Change::LowRank { down: nn.share(down), up: nn.share(up), scale: *scale }
            }
            Change::Saved(saved) => Change::Saved(nn.share(saved)),
            Change::Rows { places, rows } => Change::Rows { places: places.clone(), rows: nn.share(rows) },
        };
        let adapters = self.adapters.iter().map(|change| change.as_ref().map(share)).collect();
        Self { base: nn.share(&self.base), adapters }
    }

    pub(crate) fn forward(
        &self,
        nn: &N,
        ids: &[TokenId],
        adapted: &[AdapterRows],
    ) -> eft_core::Result<Tensor<N>> {
        let mut out = nn.embed(&self.base, ids)?;
        for AdapterRows { adapter, rows } in adapted {
            let Some(Some(change)) = self.adapters.get(*adapter) else { continue };
            let ids: Vec<_> = rows.iter().map(|row| ids[*row]).collect();
            out = match change {
                Change::LowRank { down, up, scale } => {
                    let delta = nn.scale(&nn.linear(&nn.embed(down, &ids)?, up)?, *scale)?;
                    match nn.backend().shape(&out).0 == rows.len() {
                        true => nn.add(&out, &delta)?,
                        false => nn.add_rows(&out, rows, &delta)?,
                    }
                }
                Change::Saved(saved) => replace_rows(nn, out, rows, nn.embed(saved, &ids)?)?,
                Change::Rows { places, rows: table } => {
                    let placed = rows.iter().zip(&ids).filter_map(|(row, id)| Some((*row, *places.get(id)?)));
                    let (rows, ids): (Vec<_>, Vec<_>) = placed.unzip();
                    if rows.is_empty() {
                        continue;
                    }
                    replace_rows(nn, out, &rows, nn.embed(table, &ids)?)?
                }
            };
        }
        Ok(out)
    }
}
