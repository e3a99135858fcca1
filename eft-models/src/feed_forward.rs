//! [`FeedForwardPart`]: the weights of the feed-forward part of a block.
use eft_core::Backend;
use eft_core::backend::score_rows;

use crate::Result;
use crate::loader::ParameterLoader;
use crate::lora::{AdapterRows, LoraLinear};
use crate::nn::{Nn, Tensor};
use crate::spec::{ExpertsSpec, FeedForward, LinearSpec, MlpShape, MlpSpec, Routing};

/// The weights of the feed-forward part of a block.
pub(crate) enum FeedForwardPart<N: Nn> {
    Dense(Mlp<N>),
    Experts(Experts<N>),
}

/// The weights of a feed-forward network.
pub(crate) struct Mlp<N: Nn> {
    spec: MlpSpec,
    up: Vec<LoraLinear<N>>,
    down: LoraLinear<N>,
}

/// The weights of a mixture of experts.
pub(crate) struct Experts<N: Nn> {
    router: N::Linear,
    experts: Vec<Mlp<N>>,
    per_token: usize,
    routing: Routing,
    shared: Option<Mlp<N>>,
}

impl<N: Nn> FeedForwardPart<N> {
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &FeedForward) -> Result<Self> {
        match spec {
            FeedForward::Dense(mlp) => Mlp::load(mlp, |l| LoraLinear::load(loader, l)).map(Self::Dense),
            FeedForward::Experts(experts) => Experts::load(loader, experts).map(Self::Experts),
        }
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        match self {
            Self::Dense(mlp) => Self::Dense(mlp.share(nn)),
            Self::Experts(experts) => Self::Experts(Experts {
                router: nn.share(&experts.router),
                experts: experts.experts.iter().map(|expert| expert.share(nn)).collect(),
                shared: experts.shared.as_ref().map(|shared| shared.share(nn)),
                ..*experts
            }),
        }
    }

    pub(crate) fn forward(
        &self,
        nn: &N,
        x: &Tensor<N>,
        adapted: &[AdapterRows],
    ) -> eft_core::Result<Tensor<N>> {
        match self {
            Self::Dense(mlp) => mlp.forward(nn, x, adapted),
            Self::Experts(experts) => experts.forward(nn, x, adapted),
        }
    }
}

impl<N: Nn> Mlp<N> {
    fn load(spec: &MlpSpec, linear: impl Fn(&LinearSpec) -> Result<LoraLinear<N>>) -> Result<Self> {
        Ok(Self {
            up: match &spec.shape {
                MlpShape::Plain(up) | MlpShape::FusedGated(up) => vec![linear(up)?],
                MlpShape::Gated { gate, up } => vec![linear(gate)?, linear(up)?],
            },
            down: linear(&spec.down)?,
            spec: spec.clone(),
        })
    }

    fn share(&self, nn: &N) -> Self {
        Self {
            spec: self.spec.clone(),
            up: self.up.iter().map(|linear| linear.share(nn)).collect(),
            down: self.down.share(nn),
        }
    }

    fn forward(&self, nn: &N, x: &Tensor<N>, adapted: &[AdapterRows]) -> eft_core::Result<Tensor<N>> {
        let MlpSpec { shape, activation, down } = &self.spec;
        let wide = match shape {
            MlpShape::Plain(_) => nn.activate(&self.up[0].forward(nn, x, adapted)?, *activation)?,
            MlpShape::Gated { .. } => {
                let parts = LoraLinear::forward_all(&self.up, nn, x, adapted)?;
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

/// The tokens that use one expert, and the weight of the expert's output, or of its input, for each.
#[derive(Debug, Clone, Default, PartialEq)]
struct Routed {
    tokens: Vec<usize>,
    weights: Vec<f32>,
}

impl<N: Nn> Experts<N> {
    fn load(loader: &ParameterLoader<'_, N>, spec: &ExpertsSpec) -> Result<Self> {
        // Adapters do not change experts: `Adapter::check` refuses those that would.
        let plain = |linear: &LinearSpec| Ok(LoraLinear::plain(loader.linear(linear)?));
        Ok(Self {
            router: loader.linear(&spec.router)?,
            experts: spec.experts.iter().map(|expert| Mlp::load(expert, plain)).collect::<Result<_>>()?,
            per_token: spec.per_token,
            routing: spec.routing,
            shared: match &spec.shared {
                Some(shared) => Some(Mlp::load(shared, |l| LoraLinear::load(loader, l))?),
                None => None,
            },
        })
    }

    /// Runs each expert on the tokens that use it. The choice is made on the host, so the router's logits are copied
    /// there.
    fn forward(&self, nn: &N, x: &Tensor<N>, adapted: &[AdapterRows]) -> eft_core::Result<Tensor<N>> {
        let (tokens, width) = nn.backend().shape(x);
        let logits = nn.linear(x, &self.router)?;
        let logits = nn.backend().download(&score_rows(&logits, tokens), self.experts.len())?;
        let mut sum = match &self.shared {
            Some(shared) => shared.forward(nn, x, adapted)?,
            None => nn.constant(&vec![0.0; tokens * width], width)?,
        };
        let routed = route(&logits, self.experts.len(), self.per_token, self.routing);
        for (expert, Routed { tokens, weights }) in self.experts.iter().zip(routed) {
            if !tokens.is_empty() {
                let own = nn.rows(x, &tokens)?;
                let out = match self.routing {
                    Routing::SigmoidOfInputs => expert.forward(nn, &nn.scale_rows(&own, &weights)?, &[])?,
                    _ => nn.scale_rows(&expert.forward(nn, &own, &[])?, &weights)?,
                };
                sum = nn.add_rows(&sum, &tokens, &out)?;
            }
        }
        Ok(sum)
    }
}

/// Chooses `per_token` of the experts for each token, those with the largest logits; of equal ones, the first.
/// `logits` is tokens × experts.
fn route(logits: &[f32], experts: usize, per_token: usize, routing: Routing) -> Vec<Routed> {
    let mut routed = vec![Routed::default(); experts];
    for (token, logits) in logits.chunks(experts).enumerate() {
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        let largest = logits[order[0]];
        let weight = |expert: usize| (logits[expert] - largest).exp();
        let chosen = &order[..per_token.min(experts)];
        let among = if routing == Routing::SoftmaxOfChosen { chosen } else { &order };
        let total: f32 = among.iter().map(|expert| weight(*expert)).sum();
        for expert in chosen {
            routed[*expert].tokens.push(token);
            routed[*expert].weights.push(match routing {
                Routing::SigmoidOfInputs => 1.0 / (1.0 + (-logits[*expert]).exp()),
                _ => weight(*expert) / total,
            });
        }
    }
    routed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_use_the_experts_with_the_largest_probabilities() {
        let ln = f32::ln;
        // Probabilities 1/2, 1/8, 3/8 and 1/4, 1/4, 1/2.
        let logits = [ln(4.0), 0.0, ln(3.0), 0.0, 0.0, ln(2.0)];
        let weights =
            |routing| route(&logits, 3, 2, routing).into_iter().map(|routed| (routed.tokens, routed.weights));
        let near = |got: &[f32], expected: &[f32]| {
            got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        let expected: [(&[usize], &[f32]); 3] =
            [(&[0, 1], &[0.5, 0.25]), (&[], &[]), (&[0, 1], &[0.375, 0.5])];
        for ((tokens, weights), (chosen, shares)) in weights(Routing::Softmax).zip(expected) {
            assert!(tokens == chosen && near(&weights, shares), "{tokens:?} {weights:?}");
        }
        let expected: [&[f32]; 3] = [&[0.8, 0.5], &[], &[0.75, 2.0 / 3.0]];
        for ((_, weights), shares) in weights(Routing::SigmoidOfInputs).zip(expected) {
            assert!(near(&weights, shares), "{weights:?}");
        }
        let expected: [&[f32]; 3] = [&[4.0 / 7.0, 1.0 / 3.0], &[], &[3.0 / 7.0, 2.0 / 3.0]];
        for ((_, weights), shares) in weights(Routing::SoftmaxOfChosen).zip(expected) {
            assert!(near(&weights, shares), "{weights:?}");
        }
    }
}
