//! [`DecoderSpec`]: the architecture of a decoder-only transformer, in terms that all families share.
//!
//! ```
//! use eft_models::DecoderSpec;
//!
//! let spec = DecoderSpec::read(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/qwen2/config.json"))?;
//! assert_eq!((spec.hidden, spec.layers.len(), spec.vocab), (32, 3, 96));
//! # Ok::<(), eft_models::Error>(())
//! ```
use eft_core::TokenId;

use crate::rope::Rope;

/// The architecture of a decoder, and the names of its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// The `model_type` of the configuration.
    pub family: String,
    /// Width of the hidden states.
    pub hidden: usize,
    /// The number of rows of the embedding, which is the width of the logits.
    pub vocab: usize,
    /// How many tokens a row can hold, prompt included.
    pub context: usize,
    /// The end-of-sequence ids of the configuration, those of them that are below `vocab`.
    pub eos: Vec<TokenId>,
    /// The name of the token embedding, without `.weight`.
    pub embedding: String,
    /// The name of the learned position embedding, without `.weight`; `None` if the model has no such embedding.
    pub positions: Option<String>,
    /// The factor that embeddings are multiplied by.
    pub embedding_scale: f32,
    /// The blocks, in order.
    pub layers: Vec<LayerSpec>,
    /// The norm before the output head.
    pub final_norm: NormSpec,
    /// The output head; `None` if it is tied to the embedding.
    pub head: Option<LinearSpec>,
    /// The soft cap of the logits, `cap·tanh(logits / cap)`; `None` without one.
    pub softcap: Option<f32>,
}

/// One transformer block.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// The norm before attention.
    pub attention_norm: NormSpec,
    /// Self-attention.
    pub attention: AttentionSpec,
    /// The norm on the output of attention, before it is added to the residual stream.
    pub attention_post_norm: Option<NormSpec>,
    /// The norm before the feed-forward part; `None` if the feed-forward part reads the output of `attention_norm`, as
    /// attention does.
    pub mlp_norm: Option<NormSpec>,
    /// The feed-forward part.
    pub mlp: MlpSpec,
    /// The norm on the output of the feed-forward part, before it is added to the residual stream.
    pub mlp_post_norm: Option<NormSpec>,
    /// What `mlp_norm` reads: the input of the block if `true`, the sum of this input and attention's output if
    /// `false`. The input is not normalised before. In both cases, the outputs of attention and of the feed-forward
    /// part are both added to it.
    pub parallel: bool,
}

/// Self-attention of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// The number of query heads.
    pub heads: usize,
    /// The number of key-value heads, which divides `heads`.
    pub kv_heads: usize,
    /// The width of a head.
    pub head_dim: usize,
    /// The projection to queries, keys and values.
    pub projection: Projection,
    /// The projection from the concatenated heads back to the hidden width.
    pub output: LinearSpec,
    /// The norms of the queries and of the keys. A norm as wide as a head normalises each head by itself, as in Qwen3;
    /// one as wide as all heads together normalises whole rows.
    pub head_norms: Option<(NormSpec, NormSpec)>,
    /// The rotary position embedding; `None` if positions are learned.
    pub rope: Option<Rope>,
    /// The factor that products of queries and keys are multiplied by.
    pub scale: f32,
    /// The soft cap of the attention scores, `cap·tanh(score / cap)`; `None` without one.
    pub softcap: Option<f32>,
    /// The sliding window: how many tokens a query attends to, its own included; `None` for all of them.
    pub window: Option<usize>,
}

/// How queries, keys and values are computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection {
    /// By three linear layers.
    Separate {
        /// Queries.
        query: LinearSpec,
        /// Keys.
        key: LinearSpec,
        /// Values.
        value: LinearSpec,
    },
    /// By one, whose output is the queries, then the keys, then the values.
    Fused(LinearSpec),
}

/// The feed-forward part of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// The projection to the intermediate width.
    pub shape: MlpShape,
    /// The activation function.
    pub activation: Activation,
    /// The projection from the intermediate width back to the hidden width.
    pub down: LinearSpec,
}

/// How the intermediate activations of a feed-forward part are computed.
#[derive(Debug, Clone, PartialEq)]
pub enum MlpShape {
    /// `activation(up)`.
    Plain(LinearSpec),
    /// `activation(gate) · up`, by two linear layers.
    Gated {
        /// The layer whose output is activated.
        gate: LinearSpec,
        /// The layer whose output it multiplies.
        up: LinearSpec,
    },
    /// The same by one linear layer, whose output is the gate, then `up`.
    FusedGated(LinearSpec),
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x·sigmoid(x)`.
    Silu,
    /// GELU by the error function: `x/2·(1 + erf(x/√2))`.
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
}

/// A norm over each run of `width` activations of a token: all of them, or one head of queries or keys.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// The name of the tensors, without `.weight` and `.bias`.
    pub name: String,
    /// The width of the weight.
    pub width: usize,
    /// The number added to the variance or mean square.
    pub epsilon: f64,
    /// The kind of norm.
    pub kind: NormKind,
}

/// The kinds of norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// RMS norm: divided by the root mean square, times the weight.
    Rms,
    /// RMS norm that multiplies by the stored weight plus 1, as in Gemma.
    RmsPlusOne,
    /// Layer norm, with weight and bias.
    Layer,
}

/// A linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSpec {
    /// The name of the tensors, without `.weight` and `.bias`.
    pub name: String,
    /// The width of the input.
    pub inputs: usize,
    /// The width of the output.
    pub outputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// The layout of the stored weight.
    pub layout: Layout,
}

/// The layout in which the weight of a linear layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Outputs × inputs.
    OutIn,
    /// Inputs × outputs, as in GPT-2.
    InOut,
    /// Outputs × inputs, with queries, keys and values interleaved by key-value head, as in Falcon: each of `groups`
    /// consists of `queries` query heads, one key head and one value head.
    Grouped {
        /// The number of key-value heads.
        groups: usize,
        /// The number of query heads for each.
        queries: usize,
        /// The width of a head.
        head: usize,
    },
}

impl LinearSpec {
    /// A linear layer whose weight is stored as outputs × inputs.
    pub(crate) fn new(name: String, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self { name, inputs, outputs, bias, layout: Layout::OutIn }
    }

    /// Returns the shape of the stored weight.
    pub fn stored_shape(&self) -> [usize; 2] {
        match self.layout {
            Layout::OutIn | Layout::Grouped { .. } => [self.outputs, self.inputs],
            Layout::InOut => [self.inputs, self.outputs],
        }
    }
}

impl LayerSpec {
    /// Returns the linear layers of the block.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        let mut linears = match &self.attention.projection {
            Projection::Separate { query, key, value } => vec![query, key, value],
            Projection::Fused(all) => vec![all],
        };
        linears.push(&self.attention.output);
        match &self.mlp.shape {
            MlpShape::Plain(up) | MlpShape::FusedGated(up) => linears.push(up),
            MlpShape::Gated { gate, up } => linears.extend([gate, up]),
        }
        linears.push(&self.mlp.down);
        linears
    }
}

impl DecoderSpec {
    /// Returns the linear layers of all blocks, without the output head.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        self.layers.iter().flat_map(LayerSpec::linears).collect()
    }
}
