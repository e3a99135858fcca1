//! [`Decoder`]: the weights of a decoder of any family, and its forward pass over a ragged batch.
use eft_core::{Backend, Error, TokenId};

use crate::Result;
use crate::adapter::Adapter;
use crate::embedding::Embedding;
use crate::feed_forward::FeedForwardPart;
use crate::loader::ParameterLoader;
use crate::lora::{AdapterRows, LoraLinear};
use crate::nn::{AttentionInput, Nn, Span, Tensor};
use crate::norm::Norm;
use crate::rope::Rope;
use crate::spec::{AttentionSpec, DecoderSpec, LayerSpec, LinearSpec, NormSpec, Projection};
use crate::weights::Weights;

/// The weights of a decoder.
pub(crate) struct Decoder<N: Nn> {
    spec: DecoderSpec,
    embedding: Embedding<N>,
    positions: Option<N::Linear>,
    layers: Vec<Layer<N>>,
    final_norm: Norm<N>,
    head: LoraLinear<N>,
}

struct Layer<N: Nn> {
    spec: LayerSpec,
    attention_norm: Option<Norm<N>>,
    projection: Vec<LoraLinear<N>>,
    head_norms: Option<(Norm<N>, Norm<N>)>,
    sinks: Option<Tensor<N>>,
    output: LoraLinear<N>,
    attention_post_norm: Option<Norm<N>>,
    mlp_norm: Option<Norm<N>>,
    feed_forward: FeedForwardPart<N>,
    mlp_post_norm: Option<Norm<N>>,
}

/// Cosines and sines of a pass's positions, for one variant of rotary embedding. Layers with the same variant share
/// them.
struct RopeAngles<'a, N: Nn> {
    rope: &'a Rope,
    cos: Tensor<N>,
    sin: Tensor<N>,
}

/// The input of one forward pass: the new tokens of all rows, without padding.
pub(crate) struct RaggedBatch<'a> {
    /// The new tokens of all rows, one row after another.
    pub(crate) ids: &'a [TokenId],
    /// Which of `ids` belong to which row.
    pub(crate) spans: &'a [Span],
    /// The stage of rotary positions of each span.
    pub(crate) stages: &'a [usize],
    /// Indices into `ids` of the positions whose logits are wanted, ascending.
    pub(crate) wanted: &'a [usize],
    /// Which of `ids` run under which adapter.
    pub(crate) adapted: &'a [AdapterRows],
}

impl<N: Nn> Decoder<N> {
    /// Loads the decoder that the weights' spec describes, with its adapters.
    pub(crate) fn load(nn: &N, weights: &dyn Weights, adapters: &[Adapter]) -> Result<Self> {
        let spec = weights.spec().clone();
        adapters.iter().try_for_each(|adapter| adapter.check(&spec))?;
        let loader = ParameterLoader { nn, weights, adapters };
        let embedding = Embedding::load(&loader, &spec)?;
        let positions = spec.positions.as_ref();
        let positions = positions
            .map(|name| loader.learned_positions(name, spec.position_offset + spec.context, spec.hidden))
            .transpose()?;
        let head = match &spec.head {
            Some(head) => LoraLinear::load(&loader, head)?,
            None => {
                let tied = nn.tied(&embedding.base);
                LoraLinear::with_base(
                    &loader,
                    &spec.output_head(),
                    tied,
                    &format!("{}.weight", spec.embedding),
                )?
            }
        };
        let layers = spec.layers.iter().map(|layer| Layer::load(&loader, layer)).collect::<Result<_>>()?;
        let final_norm = Norm::load(&loader, &spec.final_norm)?;
        Ok(Self { spec, embedding, positions, layers, final_norm, head })
    }

    /// Another handle to the same weights: each session has its own, so that it can move to another thread.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let norm = |norm: &Norm<N>| norm.share(nn);
        let layer = |layer: &Layer<N>| Layer {
            spec: layer.spec.clone(),
            attention_norm: layer.attention_norm.as_ref().map(norm),
            projection: layer.projection.iter().map(|l| l.share(nn)).collect(),
            head_norms: layer.head_norms.as_ref().map(|(q, k)| (norm(q), norm(k))),
            sinks: layer.sinks.as_ref().map(|sinks| nn.backend().shallow_clone(sinks)),
            output: layer.output.share(nn),
            attention_post_norm: layer.attention_post_norm.as_ref().map(norm),
            mlp_norm: layer.mlp_norm.as_ref().map(norm),
            feed_forward: layer.feed_forward.share(nn),
            mlp_post_norm: layer.mlp_post_norm.as_ref().map(norm),
        };
        Self {
            spec: self.spec.clone(),
            embedding: self.embedding.share(nn),
            positions: self.positions.as_ref().map(|positions| nn.share(positions)),
            layers: self.layers.iter().map(layer).collect(),
            final_norm: norm(&self.final_norm),
            head: self.head.share(nn),
        }
    }

    /// Empty caches for `rows` rows, one for each layer. They keep what is needed after a rollback of up to
    /// `free_rollback` tokens.
    pub(crate) fn caches(&self, nn: &N, rows: usize, free_rollback: usize) -> Vec<N::Cache> {
        let cache = |layer: &Layer<N>| {
            let attention = &layer.spec.attention;
            nn.cache(rows, attention.kept(free_rollback), attention)
        };
        self.layers.iter().map(cache).collect()
    }

    /// The number of tokens that every cache keeps; `None` if all caches keep all tokens.
    pub(crate) fn least_kept(&self, free_rollback: usize) -> Option<usize> {
        self.spec.layers.iter().filter_map(|layer| layer.attention.kept(free_rollback)).min()
    }

    /// The stage of rotary positions of a text of this length: the largest length at which no layer has other angles.
    pub(crate) fn stage(&self, length: usize) -> usize {
        let ropes = self.spec.layers.iter().filter_map(|layer| layer.attention.rope.as_ref());
        ropes.map(|rope| rope.stage(length)).min().unwrap_or(usize::MAX)
    }

    /// The number of weights that one token is multiplied by in the layers, without the head.
    pub(crate) fn products(&self) -> usize {
        self.spec.layers.iter().map(LayerSpec::products).sum()
    }

    /// Runs the tokens of a batch, and appends their keys and values to the caches. Returns the logits at the wanted
    /// positions (wanted × vocabulary), or `None` if none are wanted.
    pub(crate) fn forward(
        &self,
        nn: &N,
        caches: &mut [N::Cache],
        batch: &RaggedBatch<'_>,
    ) -> eft_core::Result<Option<Tensor<N>>> {
        let positions = |span: &Span| span.past..span.past + span.tokens.len();
        let mut hidden = self.embedding.forward(nn, batch.ids, batch.adapted)?;
        if self.spec.embedding_scale != 1.0 {
            hidden = nn.scale(&hidden, self.spec.embedding_scale)?;
        }
        if let Some(learned) = &self.positions {
            let id = |position| (position + self.spec.position_offset) as TokenId;
            let ids: Vec<_> = batch.spans.iter().flat_map(positions).map(id).collect();
            hidden = nn.add(&hidden, &nn.embed(learned, &ids)?)?;
        }
        let mut angles = Vec::new();
        for (index, (layer, cache)) in self.layers.iter().zip(caches).enumerate() {
            if let Some(rope) = &layer.spec.attention.rope
                && !angles.iter().any(|t: &RopeAngles<'_, N>| t.rope == rope)
            {
                let spans = batch.spans.iter().zip(batch.stages);
                let staged = spans.flat_map(|(span, stage)| positions(span).map(move |at| (at, *stage)));
                let (cos, sin) = rope.angles_in(staged);
                let constant = |values: &[f32]| nn.constant(values, rope.dim() / 2);
                angles.push(RopeAngles { rope, cos: constant(&cos)?, sin: constant(&sin)? });
            }
            hidden = layer.forward(nn, &hidden, cache, batch, &angles)?;
            if index + 1 == self.layers.len() && batch.wanted.len() < batch.ids.len() {
                // The head is the widest matrix of all: it runs at the wanted positions only.
                if batch.wanted.is_empty() {
                    return Ok(None);
                }
                hidden = nn.rows(&hidden, batch.wanted)?;
            }
        }
        let adapted: Vec<_> = batch.adapted.iter().map(|rows| rows.among(batch.wanted)).collect();
        let mut logits = self.head.forward(nn, &self.final_norm.forward(nn, &hidden, &adapted)?, &adapted)?;
        if self.spec.logit_scale != 1.0 {
            logits = nn.scale(&logits, self.spec.logit_scale)?;
        }
        Ok(Some(match self.spec.softcap {
            Some(cap) => nn.softcap(&logits, cap)?,
            None => logits,
        }))
    }
}

impl<N: Nn> Layer<N> {
    fn load(loader: &ParameterLoader<'_, N>, spec: &LayerSpec) -> Result<Self> {
        let norm = |norm: &NormSpec| Norm::load(loader, norm);
        let optional = |spec: &Option<NormSpec>| spec.as_ref().map(norm).transpose();
        let linear = |spec: &LinearSpec| LoraLinear::load(loader, spec);
        let linears = |specs: &[&LinearSpec]| specs.iter().map(|l| linear(l)).collect::<Result<Vec<_>>>();
        Ok(Self {
            attention_norm: optional(&spec.attention_norm)?,
            projection: match &spec.attention.projection {
                Projection::Separate { query, key, value } => linears(&[query, key, value])?,
                Projection::Fused(all) => linears(&[all])?,
            },
            head_norms: match &spec.attention.head_norms {
                Some((query, key)) => Some((norm(query)?, norm(key)?)),
                None => None,
            },
            sinks: match &spec.attention.sinks {
                Some(name) => {
                    Some(loader.nn.load(&loader.weights.tensor(name, &[spec.attention.heads])?, 0.0)?)
                }
                None => None,
            },
            output: linear(&spec.attention.output)?,
            attention_post_norm: optional(&spec.attention_post_norm)?,
            mlp_norm: optional(&spec.mlp_norm)?,
            feed_forward: FeedForwardPart::load(loader, &spec.feed_forward)?,
            mlp_post_norm: optional(&spec.mlp_post_norm)?,
            spec: spec.clone(),
        })
    }

    fn forward(
        &self,
        nn: &N,
        hidden: &Tensor<N>,
        cache: &mut N::Cache,
        batch: &RaggedBatch<'_>,
        angles: &[RopeAngles<'_, N>],
    ) -> eft_core::Result<Tensor<N>> {
        let normed =
            self.attention_norm.as_ref().map(|norm| norm.forward(nn, hidden, batch.adapted)).transpose()?;
        let read = normed.as_ref().unwrap_or(hidden);
        let attended = self.attention(nn, read, cache, batch, angles)?;
        let residual = self.add(nn, hidden, attended, self.attention_post_norm.as_ref(), batch.adapted)?;
        let base = if self.spec.parallel { hidden } else { &residual };
        let fed = match &self.mlp_norm {
            Some(norm) => {
                self.feed_forward.forward(nn, &norm.forward(nn, base, batch.adapted)?, batch.adapted)?
            }
            None if self.spec.parallel => self.feed_forward.forward(nn, read, batch.adapted)?,
            None => self.feed_forward.forward(nn, base, batch.adapted)?,
        };
        self.add(nn, &residual, fed, self.mlp_post_norm.as_ref(), batch.adapted)
    }

    /// Adds the output of attention or of the feed-forward part to the residual stream.
    fn add(
        &self,
        nn: &N,
        residual: &Tensor<N>,
        mut part: Tensor<N>,
        norm: Option<&Norm<N>>,
        adapted: &[AdapterRows],
    ) -> eft_core::Result<Tensor<N>> {
        if let Some(norm) = norm {
            part = norm.forward(nn, &part, adapted)?;
        }
        if self.spec.residual_scale != 1.0 {
            part = nn.scale(&part, self.spec.residual_scale)?;
        }
        nn.add(residual, &part)
    }

    fn attention(
        &self,
        nn: &N,
        x: &Tensor<N>,
        cache: &mut N::Cache,
        batch: &RaggedBatch<'_>,
        angles: &[RopeAngles<'_, N>],
    ) -> eft_core::Result<Tensor<N>> {
        let spec: &AttentionSpec = &self.spec.attention;
        let (queries, keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (mut query, mut key, value) = match &self.projection[..] {
            [fused] => {
                let all = fused.forward(nn, x, batch.adapted)?;
                let part = |start: usize, width: usize| nn.columns(&all, start..start + width);
                (part(0, queries)?, part(queries, keys)?, part(queries + keys, keys)?)
            }
            parts => {
                let mut parts = LoraLinear::forward_all(parts, nn, x, batch.adapted)?.into_iter();
                let mut next = || parts.next().ok_or_else(|| Error::shape("projections", 3, "fewer"));
                (next()?, next()?, next()?)
            }
        };
        if let Some((query_norm, key_norm)) = &self.head_norms {
            query = query_norm.forward(nn, &query, batch.adapted)?;
            key = key_norm.forward(nn, &key, batch.adapted)?;
        }
        if let Some(angles) = spec.rope.as_ref().and_then(|rope| angles.iter().find(|t| t.rope == rope)) {
            query = nn.rope(&query, spec.head_dim, &angles.cos, &angles.sin)?;
            key = nn.rope(&key, spec.head_dim, &angles.cos, &angles.sin)?;
        }
        if let Some(temperature) = &spec.temperature {
            let positions = batch.spans.iter().flat_map(|span| span.past..span.past + span.tokens.len());
            let factors: Vec<_> = positions.map(|position| temperature.factor(position)).collect();
            query = nn.scale_rows(&query, &factors)?;
        }
        let input = AttentionInput { query: &query, key: &key, value: &value, sinks: self.sinks.as_ref() };
        let attended = nn.attention(input, cache, batch.spans, spec)?;
        self.output.forward(nn, &attended, batch.adapted)
    }
}
