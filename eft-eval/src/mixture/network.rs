//! The mean surprisal of tokens under a mixture, and its gradient, for the parameters of the layers in one list.
use eft_core::combine::Layer;

/// A token: its standardised features, and its log-probability in each source.
pub(super) struct Example {
    pub(super) inputs: Vec<f64>,
    pub(super) log_probs: Vec<f64>,
}

/// Layers by their numbers of inputs and outputs. The parameters of a layer are the weights of each output and then all
/// biases; those of the layers follow each other.
pub(super) struct Network {
    sizes: Vec<(usize, usize)>,
}

impl Network {
    /// Layers between these numbers of values.
    pub(super) fn new(widths: &[usize]) -> Self {
        Self { sizes: widths.windows(2).map(|pair| (pair[0], pair[1])).collect() }
    }

    /// The number of parameters.
    pub(super) fn parameters(&self) -> usize {
        self.sizes.iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()
    }

    /// The parameters as layers.
    pub(super) fn layers(&self, parameters: &[f64]) -> Vec<Layer> {
        let mut left = parameters;
        let layer = |&(inputs, outputs): &(usize, usize)| {
            let (weights, rest) = left.split_at(inputs * outputs);
            let (bias, rest) = rest.split_at(outputs);
            left = rest;
            let weights = (0..outputs).map(|o| weights[o * inputs..(o + 1) * inputs].to_vec()).collect();
            Layer { weights, bias: bias.to_vec() }
        };
        self.sizes.iter().map(layer).collect()
    }

    /// The mean of `−log Σᵢ wᵢ·πᵢ`, plus `penalty/2` times the sum of the squared weights, without the biases; and its
    /// gradient.
    pub(super) fn loss(&self, parameters: &[f64], examples: &[Example], penalty: f64) -> (f64, Vec<f64>) {
        let mut gradient = vec![0.0; parameters.len()];
        let (mut loss, share) = (0.0, 1.0 / examples.len() as f64);
        for example in examples {
            let values = self.values(parameters, &example.inputs);
            let outputs = &values[values.len() - 1];
            // log wᵢ, then log wᵢ·πᵢ.
            let total = log_sum_exp(outputs.iter().copied());
            let joint: Vec<_> = outputs.iter().zip(&example.log_probs).map(|(z, p)| z - total + p).collect();
            let log_prob = log_sum_exp(joint.iter().copied());
            loss -= share * log_prob;
            // The weight of a source, minus its share of the probability of the token.
            let errors = outputs
                .iter()
                .zip(&joint)
                .map(|(z, joint)| share * ((z - total).exp() - (joint - log_prob).exp()));
            self.backward(parameters, &values, errors.collect(), &mut gradient);
        }
        let mut at = 0;
        for (inputs, outputs) in &self.sizes {
            for i in at..at + inputs * outputs {
                loss += penalty / 2.0 * parameters[i] * parameters[i];
                gradient[i] += penalty * parameters[i];
            }
            at += (inputs + 1) * outputs;
        }
        (loss, gradient)
    }

    /// The inputs of each layer, and the outputs of the last.
    fn values(&self, parameters: &[f64], inputs: &[f64]) -> Vec<Vec<f64>> {
        let (mut values, mut at) = (vec![inputs.to_vec()], 0);
        for (index, &(width, outputs)) in self.sizes.iter().enumerate() {
            let (weights, bias) = parameters[at..].split_at(width * outputs);
            let before = &values[index];
            let output = |o: usize| {
                let row = &weights[o * width..(o + 1) * width];
                let sum = bias[o] + row.iter().zip(before).map(|(w, x)| w * x).sum::<f64>();
                if index + 1 < self.sizes.len() { sum.tanh() } else { sum }
            };
            values.push((0..outputs).map(output).collect());
            at += (width + 1) * outputs;
        }
        values
    }

    /// Adds to the gradient what one token contributes. `errors` are the derivatives by the outputs of the last layer.
    fn backward(&self, parameters: &[f64], values: &[Vec<f64>], mut errors: Vec<f64>, gradient: &mut [f64]) {
        let mut end = parameters.len();
        for (index, &(width, outputs)) in self.sizes.iter().enumerate().rev() {
            let start = end - (width + 1) * outputs;
            let inputs = &values[index];
            let mut before = vec![0.0; width];
            for (o, error) in errors.iter().enumerate() {
                let row = start + o * width;
                for (i, input) in inputs.iter().enumerate() {
                    gradient[row + i] += error * input;
                    before[i] += error * parameters[row + i];
                }
                gradient[start + width * outputs + o] += error;
            }
            // The inputs of later layers are hyperbolic tangents, with the derivative 1 − tanh².
            errors = before.iter().zip(inputs).map(|(error, x)| error * (1.0 - x * x)).collect();
            end = start;
        }
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + values.map(|x| (x - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed call is a failed test")]
mod tests {
    use super::*;

    fn examples(inputs: usize, sources: usize) -> Vec<Example> {
        let number = |i: usize| (i as f64 * 1.7).sin() * 2.0;
        (0..7)
            .map(|e| Example {
                inputs: (0..inputs).map(|i| number(e * 11 + i)).collect(),
                log_probs: (0..sources).map(|s| number(e * 5 + s + 3) - 3.0).collect(),
            })
            .collect()
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        for widths in [&[0, 2][..], &[2, 2], &[4, 3], &[4, 5, 2], &[6, 4, 3, 3]] {
            let network = Network::new(widths);
            let examples = examples(widths[0], widths[widths.len() - 1]);
            let parameters: Vec<_> = (0..network.parameters()).map(|i| (i as f64 * 0.9).cos()).collect();
            let (_, gradient) = network.loss(&parameters, &examples, 0.1);
            for (i, derivative) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = parameters.clone();
                    moved[i] += step;
                    network.loss(&moved, &examples, 0.1).0
                };
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((derivative - expected).abs() < 1e-8, "{widths:?}, {i}: {derivative}, {expected}");
            }
        }
    }

    #[test]
    fn the_loss_is_that_of_the_layers() {
        let network = Network::new(&[4, 5, 2]);
        let examples = examples(4, 2);
        let parameters: Vec<_> = (0..network.parameters()).map(|i| (i as f64 * 0.9).cos()).collect();
        let features = eft_core::combine::MixtureFeatures::entropies().with_top(1);
        let weights =
            eft_core::combine::MixtureWeights::new(2, features, network.layers(&parameters)).unwrap();
        let of = |e: &Example| {
            let joint = weights.of(&e.inputs).into_iter().zip(&e.log_probs).map(|(w, p)| w * p.exp());
            -joint.sum::<f64>().ln()
        };
        let expected = examples.iter().map(of).sum::<f64>() / examples.len() as f64;
        assert!((network.loss(&parameters, &examples, 0.0).0 - expected).abs() < 1e-12);
    }
}
