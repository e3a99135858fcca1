//! [`DecoderSpec`]: what a decoder-only transformer is made of, in terms that all families share.
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

/// What a decoder is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// The `model_type` of the configuration.
    pub family: String,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Rows of the embedding, and width of the logits.
    pub vocab: usize,
    /// Tokens a row can hold.
    pub context: usize,
    /// Ids that end a text, as the configuration tells.
    pub eos: Vec<TokenId>,
    /// Name of the token embedding.
    pub embedding: String,
    /// Learned positions, where there are any.
    pub positions: Option<String>,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// The blocks, in order.
    pub layers: Vec<LayerSpec>,
    /// Before the logits.
    pub final_norm: NormSpec,
    /// The projection to logits; `None` where it is the embedding.
    pub head: Option<LinearSpec>,
    /// `cap·tanh(logits / cap)`.
    pub softcap: Option<f32>,
}

/// One block.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Before attention.
    pub attention_norm: NormSpec,
    /// Self-attention.
    pub attention: AttentionSpec,
    /// On the output of attention, before it is added.
    pub attention_post_norm: Option<NormSpec>,
    /// Before the feed-forward part; `None` where it reads what attention reads.
    pub mlp_norm: Option<NormSpec>,
    /// The feed-forward part.
    pub mlp: MlpSpec,
    /// On the output of the feed-forward part, before it is added.
    pub mlp_post_norm: Option<NormSpec>,
    /// Attention and feed-forward part read the same hidden states, and both are added to them.
    pub parallel: bool,
}

/// Self-attention of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Queries, keys and values.
    pub projection: Projection,
    /// Back to the hidden width.
    pub output: LinearSpec,
    /// Over each head of the queries and of the keys.
    pub head_norms: Option<(NormSpec, NormSpec)>,
    /// Rotary positions; `None` where positions are learned.
    pub rope: Option<Rope>,
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
    /// `cap·tanh(product / cap)`.
    pub softcap: Option<f32>,
    /// How many tokens back a query sees, itself included; all of them where `None`.
    pub window: Option<usize>,
}

/// How queries, keys and values are computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection {
    /// By three matrices.
    Separate {
        /// Queries.
        query: LinearSpec,
        /// Keys.
        key: LinearSpec,
        /// Values.
        value: LinearSpec,
    },
    /// By one, whose output holds queries, then keys, then values.
    Fused(LinearSpec),
}

/// The feed-forward part of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpSpec {
    /// To the wide layer.
    pub shape: MlpShape,
    /// Between the two.
    pub activation: Activation,
    /// Back to the hidden width.
    pub down: LinearSpec,
}

/// How the wide layer is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum MlpShape {
    /// `activation(up)`.
    Plain(LinearSpec),
    /// `activation(gate) · up`, by two matrices.
    Gated {
        /// What is activated.
        gate: LinearSpec,
        /// What it multiplies.
        up: LinearSpec,
    },
    /// The same by one matrix, whose output holds gate, then up.
    FusedGated(LinearSpec),
}

/// A nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x·sigmoid(x)`.
    Silu,
    /// By the error function.
    Gelu,
    /// By the hyperbolic tangent.
    GeluTanh,
}

/// A norm over the last dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// Name of the tensors, without `.weight` and `.bias`.
    pub name: String,
    /// Width.
    pub width: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Which.
    pub kind: NormKind,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// By the root mean square, times the weight.
    Rms,
    /// By the root mean square, times one plus the weight.
    RmsPlusOne,
    /// By mean and deviation, with weight and bias.
    Layer,
}

/// A matrix, perhaps with a bias.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSpec {
    /// Name of the tensors, without `.weight` and `.bias`.
    pub name: String,
    /// Width of what comes in.
    pub inputs: usize,
    /// Width of what goes out.
    pub outputs: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// How the weight is stored.
    pub layout: Layout,
}

/// How the weight of a linear layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row for each output.
    OutIn,
    /// A row for each input, as in GPT-2.
    InOut,
    /// A row for each output; outputs of queries, keys and values interleaved by key head, as in Falcon: for each
    /// of `groups`, `queries` heads of queries, one of keys and one of values, each `head` wide.
    Grouped {
        /// Key heads.
        groups: usize,
        /// Query heads for each.
        queries: usize,
        /// Width of a head.
        head: usize,
    },
}

impl LinearSpec {
    /// A matrix with a row for each output.
    pub(crate) fn new(name: String, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self { name, inputs, outputs, bias, layout: Layout::OutIn }
    }

    /// Shape of the stored weight.
    pub fn stored_shape(&self) -> [usize; 2] {
        match self.layout {
            Layout::OutIn | Layout::Grouped { .. } => [self.outputs, self.inputs],
            Layout::InOut => [self.inputs, self.outputs],
        }
    }
}

impl LayerSpec {
    /// The matrices of the block.
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
    /// The matrices of all blocks.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        self.layers.iter().flat_map(LayerSpec::linears).collect()
    }
}
