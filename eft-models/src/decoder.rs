//! The decoder that every family is: weights by name, and the forward pass over a ragged batch.
use eft_core::{Backend, Error, TokenId};

use crate::Result;
use crate::adapter::Adapter;
use crate::nn::{Nn, Span, Tensor};
use crate::projected::{Adapted, Projected};
use crate::rope::Rope;
use crate::spec::{
    AttentionSpec, DecoderSpec, LayerSpec, Layout, LinearSpec, MlpShape, MlpSpec, NormKind, NormSpec,
    Projection,
};
use crate::tensors::RawTensor;
use crate::weights::Weights;

/// The weights of a decoder.
pub(crate) struct Decoder<N: Nn> {
    spec: DecoderSpec,
    embedding: N::Linear,
    positions: Option<N::Linear>,
    layers: Vec<Layer<N>>,
    final_norm: Norm<N>,
    head: Projected<N>,
}

struct Layer<N: Nn> {
    spec: LayerSpec,
    attention_norm: Norm<N>,
    projection: Vec<Projected<N>>,
    head_norms: Option<(Norm<N>, Norm<N>)>,
    output: Projected<N>,
    attention_post_norm: Option<Norm<N>>,
    mlp_norm: Option<Norm<N>>,
    up: Vec<Projected<N>>,
    down: Projected<N>,
    mlp_post_norm: Option<Norm<N>>,
}

struct Norm<N: Nn> {
    weight: Tensor<N>,
    bias: Option<Tensor<N>>,
    epsilon: f64,
}

/// Cosines and sines of the positions of one pass, for one kind of rotary positions.
struct Turns<'a, N: Nn> {
    rope: &'a Rope,
    cos: Tensor<N>,
    sin: Tensor<N>,
}

/// One forward pass: which tokens, of which rows, and which of them are to be followed by logits.
pub(crate) struct Pass<'a> {
    pub(crate) ids: &'a [TokenId],
    pub(crate) spans: &'a [Span],
    pub(crate) wanted: &'a [usize],
    pub(crate) adapted: &'a [Adapted],
}

impl<N: Nn> Decoder<N> {
    pub(crate) fn load(nn: &N, weights: &dyn Weights, adapters: &[Adapter]) -> Result<Self> {
        let spec = weights.spec().clone();
        let linears = spec.linears();
        adapters.iter().try_for_each(|adapter| adapter.check(&linears))?;
        let load = Loader { nn, weights, adapters };
        let matrix = |name: &str, rows| -> Result<N::Linear> {
            let raw = weights.tensor(&format!("{name}.weight"), &[rows, spec.hidden])?;
            Ok(nn.load_embedding(&raw)?)
        };
        let embedding = matrix(&spec.embedding, spec.vocab)?;
        let positions = spec.positions.as_ref().map(|name| matrix(name, spec.context)).transpose()?;
        let head = match &spec.head {
            Some(head) => load.projected(head)?,
            None => Projected::plain(nn.tied(&embedding)),
        };
        let layers = spec.layers.iter().map(|layer| load.layer(layer)).collect::<Result<_>>()?;
        Ok(Self { final_norm: load.norm(&spec.final_norm)?, spec, embedding, positions, layers, head })
    }

    /// Handles to the same weights, for a session of its own thread.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let tensor = |t: &Tensor<N>| nn.backend().shallow_clone(t);
        let norm = |norm: &Norm<N>| Norm {
            weight: tensor(&norm.weight),
            bias: norm.bias.as_ref().map(tensor),
            epsilon: norm.epsilon,
        };
        let layer = |layer: &Layer<N>| Layer {
            spec: layer.spec.clone(),
            attention_norm: norm(&layer.attention_norm),
            projection: layer.projection.iter().map(|l| l.share(nn)).collect(),
            head_norms: layer.head_norms.as_ref().map(|(q, k)| (norm(q), norm(k))),
            output: layer.output.share(nn),
            attention_post_norm: layer.attention_post_norm.as_ref().map(norm),
            mlp_norm: layer.mlp_norm.as_ref().map(norm),
            up: layer.up.iter().map(|l| l.share(nn)).collect(),
            down: layer.down.share(nn),
            mlp_post_norm: layer.mlp_post_norm.as_ref().map(norm),
        };
        Self {
            spec: self.spec.clone(),
            embedding: nn.share(&self.embedding),
            positions: self.positions.as_ref().map(|positions| nn.share(positions)),
            layers: self.layers.iter().map(layer).collect(),
            final_norm: norm(&self.final_norm),
            head: self.head.share(nn),
        }
    }

    pub(crate) fn caches(&self, nn: &N, rows: usize) -> Vec<N::Cache> {
        self.layers.iter().map(|layer| nn.cache(rows, &layer.spec.attention)).collect()
    }

    /// Weights that a token is multiplied by in its way through the layers.
    pub(crate) fn products(&self) -> usize {
        self.spec.linears().iter().map(|linear| linear.inputs * linear.outputs).sum()
    }

    /// Runs the tokens of a pass, writing to the caches behind what their rows hold. Returns logits for the tokens
    /// wanted, or nothing if none are.
    pub(crate) fn forward(
        &self,
        nn: &N,
        caches: &mut [N::Cache],
        pass: &Pass<'_>,
    ) -> eft_core::Result<Option<Tensor<N>>> {
        let positions: Vec<usize> = pass.spans.iter().flat_map(|s| s.past..s.past + s.tokens.len()).collect();
        let mut hidden = nn.embed(&self.embedding, pass.ids)?;
        if self.spec.embedding_scale != 1.0 {
            hidden = nn.scale(&hidden, self.spec.embedding_scale)?;
        }
        if let Some(learned) = &self.positions {
            let ids: Vec<_> = positions.iter().map(|p| *p as TokenId).collect();
            hidden = nn.add(&hidden, &nn.embed(learned, &ids)?)?;
        }
        let mut turns = Vec::new();
        for (index, (layer, cache)) in self.layers.iter().zip(caches).enumerate() {
            if let Some(rope) = &layer.spec.attention.rope
                && !turns.iter().any(|t: &Turns<'_, N>| t.rope == rope)
            {
                let (cos, sin) = rope.angles(&positions);
                let constant = |values: &[f32]| nn.constant(values, rope.dim() / 2);
                turns.push(Turns { rope, cos: constant(&cos)?, sin: constant(&sin)? });
            }
            hidden = layer.forward(nn, &hidden, cache, pass, &turns)?;
            if index + 1 == self.layers.len() && pass.wanted.len() < pass.ids.len() {
                // The last part, the widest of all, runs for what is wanted only.
                if pass.wanted.is_empty() {
                    return Ok(None);
                }
                hidden = nn.rows(&hidden, pass.wanted)?;
            }
        }
        // Adapters do not reach the head: they are refused where they would.
        let logits = self.head.forward(nn, &self.final_norm.forward(nn, &hidden)?, &[])?;
        Ok(Some(match self.spec.softcap {
            Some(cap) => nn.softcap(&logits, cap)?,
            None => logits,
        }))
    }
}

impl<N: Nn> Layer<N> {
    fn forward(
        &self,
        nn: &N,
        hidden: &Tensor<N>,
        cache: &mut N::Cache,
        pass: &Pass<'_>,
        turns: &[Turns<'_, N>],
    ) -> eft_core::Result<Tensor<N>> {
        let normed = self.attention_norm.forward(nn, hidden)?;
        let mut attended = self.attention(nn, &normed, cache, pass, turns)?;
        if let Some(norm) = &self.attention_post_norm {
            attended = norm.forward(nn, &attended)?;
        }
        let residual = nn.add(hidden, &attended)?;
        let base = if self.spec.parallel { hidden } else { &residual };
        let normed = match &self.mlp_norm {
            Some(norm) => norm.forward(nn, base)?,
            None => normed,
        };
        let mut fed = self.mlp(nn, &normed, pass.adapted)?;
        if let Some(norm) = &self.mlp_post_norm {
            fed = norm.forward(nn, &fed)?;
        }
        nn.add(&residual, &fed)
    }

    fn attention(
        &self,
        nn: &N,
        x: &Tensor<N>,
        cache: &mut N::Cache,
        pass: &Pass<'_>,
        turns: &[Turns<'_, N>],
    ) -> eft_core::Result<Tensor<N>> {
        let spec: &AttentionSpec = &self.spec.attention;
        let (queries, keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (mut query, mut key, value) = match &self.projection[..] {
            [fused] => {
                let all = fused.forward(nn, x, pass.adapted)?;
                let part = |start: usize, width: usize| nn.columns(&all, start..start + width);
                (part(0, queries)?, part(queries, keys)?, part(queries + keys, keys)?)
            }
            parts => {
                let mut parts = Projected::forward_all(parts, nn, x, pass.adapted)?.into_iter();
                let mut next = || parts.next().ok_or_else(|| Error::shape("projections", 3, "fewer"));
                (next()?, next()?, next()?)
            }
        };
        if let Some((query_norm, key_norm)) = &self.head_norms {
            query = query_norm.forward(nn, &query)?;
            key = key_norm.forward(nn, &key)?;
        }
        if let Some(turns) = spec.rope.as_ref().and_then(|rope| turns.iter().find(|t| t.rope == rope)) {
            query = nn.rope(&query, spec.head_dim, &turns.cos, &turns.sin)?;
            key = nn.rope(&key, spec.head_dim, &turns.cos, &turns.sin)?;
        }
        let attended = nn.attention(&query, &key, &value, cache, pass.spans, spec)?;
        self.output.forward(nn, &attended, pass.adapted)
    }

    fn mlp(&self, nn: &N, x: &Tensor<N>, adapted: &[Adapted]) -> eft_core::Result<Tensor<N>> {
        let MlpSpec { shape, activation, down } = &self.spec.mlp;
        let wide = match shape {
            MlpShape::Plain(_) => nn.activate(&self.up[0].forward(nn, x, adapted)?, *activation)?,
            MlpShape::Gated { .. } => {
                let parts = Projected::forward_all(&self.up, nn, x, adapted)?;
                nn.gated(&parts[0], &parts[1], *activation)?
            }
            MlpShape::FusedGated(_) => {
                let both = self.up[0].forward(nn, x, adapted)?;
                let part = |start: usize| nn.columns(&both, start..start + down.inputs);
                nn.gated(&part(0)?, &part(down.inputs)?, *activation)?
            }
        };
        self.down.forward(nn, &wide, adapted)
    }
}

impl<N: Nn> Norm<N> {
    fn forward(&self, nn: &N, x: &Tensor<N>) -> eft_core::Result<Tensor<N>> {
        match &self.bias {
            Some(bias) => nn.layer_norm(x, &self.weight, bias, self.epsilon),
            None => nn.rms_norm(x, &self.weight, self.epsilon),
        }
    }
}

/// Weights by name.
pub(crate) struct Loader<'a, N: Nn> {
    pub(crate) nn: &'a N,
    weights: &'a dyn Weights,
    adapters: &'a [Adapter],
}

impl<'a, N: Nn> Loader<'a, N> {
    fn tensor(&self, name: &str, shape: &[usize], plus: f32) -> Result<Tensor<N>> {
        Ok(self.nn.load(&self.weights.tensor(name, shape)?, plus)?)
    }

    fn norm(&self, spec: &NormSpec) -> Result<Norm<N>> {
        let plus = if spec.kind == NormKind::RmsPlusOne { 1.0 } else { 0.0 };
        let bias = match spec.kind {
            NormKind::Layer => Some(self.tensor(&format!("{}.bias", spec.name), &[spec.width], 0.0)?),
            NormKind::Rms | NormKind::RmsPlusOne => None,
        };
        let weight = self.tensor(&format!("{}.weight", spec.name), &[spec.width], plus)?;
        Ok(Norm { weight, bias, epsilon: spec.epsilon })
    }

    pub(crate) fn linear(&self, spec: &LinearSpec) -> Result<N::Linear> {
        let weight_name = format!("{}.weight", spec.name);
        let bias_name = format!("{}.bias", spec.name);
        let weight = self.in_order(self.weights.tensor(&weight_name, &spec.stored_shape())?, spec);
        let bias = spec.bias.then(|| self.weights.tensor(&bias_name, &[spec.outputs])).transpose()?;
        let bias = bias.map(|bias| self.in_order(bias, spec));
        Ok(self.nn.load_linear(&weight, spec.layout == Layout::InOut, bias.as_ref())?)
    }

    /// Rows that are stored interleaved, as queries, then keys, then values.
    pub(crate) fn in_order<'t>(&self, raw: RawTensor<'t>, spec: &LinearSpec) -> RawTensor<'t> {
        match spec.layout {
            Layout::OutIn | Layout::InOut => raw,
            Layout::Grouped { groups, queries, head } => raw.reordered(ungrouped(groups, queries, head)),
        }
    }

    fn projected(&self, spec: &LinearSpec) -> Result<Projected<N>> {
        Projected::load(self, spec, self.adapters)
    }

    fn layer(&self, spec: &LayerSpec) -> Result<Layer<N>> {
        let optional = |norm: &Option<NormSpec>| norm.as_ref().map(|n| self.norm(n)).transpose();
        let linears =
            |specs: &[&LinearSpec]| specs.iter().map(|l| self.projected(l)).collect::<Result<Vec<_>>>();
        let head_norms = spec.attention.head_norms.as_ref();
        Ok(Layer {
            attention_norm: self.norm(&spec.attention_norm)?,
            projection: match &spec.attention.projection {
                Projection::Separate { query, key, value } => linears(&[query, key, value])?,
                Projection::Fused(all) => linears(&[all])?,
            },
            head_norms: match head_norms {
                Some((query, key)) => Some((self.norm(query)?, self.norm(key)?)),
                None => None,
            },
            output: self.projected(&spec.attention.output)?,
            attention_post_norm: optional(&spec.attention_post_norm)?,
            mlp_norm: optional(&spec.mlp_norm)?,
            up: match &spec.mlp.shape {
                MlpShape::Plain(up) | MlpShape::FusedGated(up) => linears(&[up])?,
                MlpShape::Gated { gate, up } => linears(&[gate, up])?,
            },
            down: self.projected(&spec.mlp.down)?,
            mlp_post_norm: optional(&spec.mlp_post_norm)?,
            spec: spec.clone(),
        })
    }
}

/// The order in which interleaved rows are queries, then keys, then values.
fn ungrouped(groups: usize, queries: usize, head: usize) -> impl Iterator<Item = usize> {
    let in_group = queries + 2;
    let heads = move |from: usize, to: usize| {
        (0..groups).flat_map(move |g| (from..to).map(move |h| g * in_group + h))
    };
    let order = heads(0, queries).chain(heads(queries, queries + 1)).chain(heads(queries + 1, in_group));
    order.flat_map(move |h| h * head..(h + 1) * head)
}
