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

pub use crate::layout::Layout;
pub use crate::reach::{Reach, Temperature};
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
    /// The number of rows of the learned position embedding before the row of the first position.
    pub position_offset: usize,
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
    /// The factor that logits are multiplied by, before any soft cap.
    pub logit_scale: f32,
}

/// One transformer block.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// The norm before attention; `None` if attention reads the input of the block as it is.
    pub attention_norm: Option<NormSpec>,
    /// Self-attention.
    pub attention: AttentionSpec,
    /// The norm on the output of attention, before it is added to the residual stream.
    pub attention_post_norm: Option<NormSpec>,
    /// The norm before the feed-forward part. If there is none, the feed-forward part of a `parallel` block reads what
    /// attention reads, and that of another block reads the sum of the input and attention's output as it is.
    pub mlp_norm: Option<NormSpec>,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// The norm on the output of the feed-forward part, before it is added to the residual stream.
    pub mlp_post_norm: Option<NormSpec>,
    /// What `mlp_norm` reads: the input of the block if `true`, the sum of this input and attention's output if
    /// `false`. The input is not normalised before. In both cases, the outputs of attention and of the feed-forward
    /// part are both added to it.
    pub parallel: bool,
    /// The factor that the outputs of attention and of the feed-forward part are multiplied by before they are added.
    pub residual_scale: f32,
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
    /// The size of chunks: the text is cut into runs of this many tokens, and a query attends only to tokens of its own run;
    /// `None` to not cut it.
    pub chunk: Option<usize>,
    /// How queries grow with their position; `None` if they do not.
    pub temperature: Option<Temperature>,
    /// The name of the tensor of attention sinks (Xiao et al. 2023, arXiv 2309.17453, section 3.3; OpenAI 2025, arXiv
    /// 2508.10925, section 2.2): for each query head, the logit of a token that every query sees and whose value is zero.
    /// `None` if the softmax is over the tokens of the text alone.
    pub sinks: Option<String>,
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
pub enum FeedForward {
    /// One network, for every token.
    Dense(MlpSpec),
    /// A mixture of experts, of which each token uses a few.
    Experts(ExpertsSpec),
}

/// A sparse mixture of experts (Shazeer et al. 2017, arXiv 1701.06538; Jiang et al. 2024, arXiv 2401.04088, equation 1):
/// the sum of the outputs of the experts with the largest router logits, weighted as the [`Routing`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsSpec {
    /// The linear layer whose outputs are the logits of the experts.
    pub router: LinearSpec,
    /// The experts.
    pub experts: Vec<MlpSpec>,
    /// How many experts each token uses.
    pub per_token: usize,
    /// How the experts are weighted.
    pub routing: Routing,
    /// A network that every token uses, whose output is added.
    pub shared: Option<MlpSpec>,
}

/// How the experts of a mixture are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// The output of each is multiplied by its probability, the softmax of all router logits.
    Softmax,
    /// The same with the softmax of the logits of the chosen experts.
    SoftmaxOfChosen,
    /// The input of each is multiplied by the sigmoid of its logit, as in Llama 4.
    SigmoidOfInputs,
}

/// A feed-forward network.
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x·sigmoid(x)`.
    Silu,
    /// GELU by the error function: `x/2·(1 + erf(x/√2))`.
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `g·sigmoid(alpha·g)` with `g = min(x, limit)`, as in gpt-oss (OpenAI 2025, arXiv 2508.10925, section 2.1). In a gated
    /// network, what it is multiplied by is changed, too: it is clamped to ±`limit`, and increased by 1.
    ClampedSwish {
        /// The factor within the sigmoid.
        alpha: f32,
        /// The largest input, which is not negative.
        limit: f32,
    },
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
    /// RMS norm without a weight: the files have no tensors for it.
    RmsUnweighted,
    /// Layer norm, with weight and bias.
    Layer,
    /// Layer norm with a weight only.
    LayerUnbiased,
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

impl LinearSpec {
    /// A linear layer whose weight is stored as outputs × inputs.
    pub(crate) fn new(name: String, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self { name, inputs, outputs, bias, layout: Layout::OutIn }
    }

    /// Returns the shape of the stored weight.
    pub fn stored_shape(&self) -> [usize; 2] {
        match self.layout {
            Layout::OutIn | Layout::Grouped { .. } | Layout::Paired { .. } => [self.outputs, self.inputs],
            Layout::InOut => [self.inputs, self.outputs],
            Layout::Stacked { every, .. } => [self.inputs, self.outputs * every],
        }
    }
}

impl AttentionSpec {
    /// Returns how many tokens before the next one a KV cache must keep, so that a row can be rolled back by
    /// `free_rollback` tokens; `None` for all of them.
    pub(crate) fn kept(&self, free_rollback: usize) -> Option<usize> {
        let reach = self.window.into_iter().chain(self.chunk).min();
        reach.and_then(|reach| reach.checked_add(free_rollback))
    }

    /// Returns how far back queries attend.
    pub fn reach(&self) -> Reach {
        Reach { window: self.window, chunk: self.chunk }
    }

    /// Returns the first position that the query at a position attends to.
    pub fn first_seen(&self, position: usize) -> usize {
        self.reach().first(position)
    }
}

impl LayerSpec {
    /// Returns the linear layers of the block that every token uses. The router and the experts of a mixture are not
    /// among them.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        let mut linears = match &self.attention.projection {
            Projection::Separate { query, key, value } => vec![query, key, value],
            Projection::Fused(all) => vec![all],
        };
        linears.push(&self.attention.output);
        let every_token = match &self.feed_forward {
            FeedForward::Dense(mlp) => Some(mlp),
            FeedForward::Experts(experts) => experts.shared.as_ref(),
        };
        linears.extend(every_token.map(MlpSpec::linears).unwrap_or_default());
        linears
    }

    /// Returns all linear layers of the block: those that every token uses, and the router and the experts of a mixture.
    pub fn all_linears(&self) -> Vec<&LinearSpec> {
        let mut linears = self.linears();
        if let FeedForward::Experts(ExpertsSpec { router, experts, .. }) = &self.feed_forward {
            linears.push(router);
            linears.extend(experts.iter().flat_map(MlpSpec::linears));
        }
        linears
    }

    /// Returns the number of weights that one token is multiplied by.
    pub fn products(&self) -> usize {
        let entries = |linear: &&LinearSpec| linear.inputs * linear.outputs;
        let dense: usize = self.linears().iter().map(entries).sum();
        dense
            + match &self.feed_forward {
                FeedForward::Dense(_) => 0,
                FeedForward::Experts(ExpertsSpec { router, experts, per_token, .. }) => {
                    let expert = experts.first().map(MlpSpec::linears).unwrap_or_default();
                    entries(&router) + per_token * expert.iter().map(entries).sum::<usize>()
                }
            }
    }
}

impl MlpSpec {
    /// Returns the linear layers of the network, in the order in which they are applied.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        let mut linears = match &self.shape {
            MlpShape::Plain(up) | MlpShape::FusedGated(up) => vec![up],
            MlpShape::Gated { gate, up } => vec![gate, up],
        };
        linears.push(&self.down);
        linears
    }
}

impl From<MlpSpec> for FeedForward {
    fn from(mlp: MlpSpec) -> Self {
        Self::Dense(mlp)
    }
}

impl DecoderSpec {
    /// Returns the output head as a linear layer, also if it is tied to the embedding.
    pub fn output_head(&self) -> LinearSpec {
        let tied = || LinearSpec::new("lm_head".into(), self.hidden, self.vocab, false);
        self.head.clone().unwrap_or_else(tied)
    }

    /// Returns the norms of all blocks, and the one before the output head.
    pub(crate) fn norms(&self) -> Vec<&NormSpec> {
        fn of_layer(layer: &LayerSpec) -> Vec<&NormSpec> {
            let heads = layer.attention.head_norms.as_ref();
            let own =
                [&layer.attention_norm, &layer.attention_post_norm, &layer.mlp_norm, &layer.mlp_post_norm];
            own.into_iter().flatten().chain(heads.into_iter().flat_map(|(q, k)| [q, k])).collect()
        }
        self.layers.iter().flat_map(of_layer).chain([&self.final_norm]).collect()
    }

    /// Returns the linear layers of all blocks that every token uses, without the output head.
    pub fn linears(&self) -> Vec<&LinearSpec> {
        self.layers.iter().flat_map(LayerSpec::linears).collect()
    }
}
