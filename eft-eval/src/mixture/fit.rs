use eft_core::combine::{MixtureFeatures, MixtureWeights};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::minimise::minimise;
use super::network::{Example, Network};
use super::{Error, Observations, Result};

/// How the weights of a mixture are fitted to texts: the form of the function, and settings.
///
/// The mean surprisal of a token, `−log Σᵢ wᵢ·πᵢ(token)`, is minimised over all tokens at once, without random numbers
/// but those for the first values of a perceptron.
///
/// ```
/// use eft_eval::mixture::Fit;
///
/// let fit = Fit::perceptron(8).penalty(0.01).seed(3);
/// # let _ = fit;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Fit {
    form: Form,
    penalty: f64,
    iterations: usize,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Constant,
    Logistic,
    Perceptron { hidden: usize },
}

impl Fit {
    /// The same weights everywhere.
    pub fn constant() -> Self {
        Self::new(Form::Constant)
    }

    /// Logistic regression: the softmax of a linear function of the features for each source.
    pub fn logistic() -> Self {
        Self::new(Form::Logistic)
    }

    /// A multilayer perceptron with one hidden layer of this many values.
    pub fn perceptron(hidden: usize) -> Self {
        Self::new(Form::Perceptron { hidden })
    }

    fn new(form: Form) -> Self {
        Self { form, penalty: 1e-3, iterations: 500, seed: 0 }
    }

    /// Sets the penalty: half of it, times the sum of the squared weights of the layers without their biases, is added to
    /// the mean surprisal, in nats. The default is 0.001.
    pub fn penalty(mut self, penalty: f64) -> Self {
        self.penalty = penalty;
        self
    }

    /// Sets the largest number of steps. The default is 500.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the seed of the first values of a perceptron. The default is 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Fits the weights. The same observations and settings give the same weights.
    ///
    /// # Errors
    /// * [`Error::NoTokens`] if there are no tokens.
    /// * [`Error::Impossible`] if all sources exclude a token.
    /// * [`Error::Setting`] if the penalty is not a finite number, 0 or above, or the hidden layer is empty.
    pub fn fit(&self, observations: &Observations) -> Result<MixtureWeights> {
        if !(self.penalty.is_finite() && self.penalty >= 0.0) {
            let value = self.penalty.to_string();
            return Err(Error::Setting { name: "penalty", value, expected: "a finite number, 0 or above" });
        }
        if self.form == (Form::Perceptron { hidden: 0 }) {
            return Err(Error::Setting {
                name: "the hidden layer",
                value: "0".into(),
                expected: "1 or above",
            });
        }
        check(observations)?;
        let sources = observations.sources();
        let features = match self.form {
            Form::Constant => MixtureFeatures::none(),
            Form::Logistic | Form::Perceptron { .. } => observations.features(),
        };
        let inputs = sources * features.per_source();
        let (mean, scale) = standardisation(observations, inputs);
        let examples: Vec<_> = observations
            .tokens()
            .iter()
            .map(|token| Example {
                inputs: (0..inputs).map(|i| (token.features[i] - mean[i]) / scale[i]).collect(),
                log_probs: token.log_probs.clone(),
            })
            .collect();
        let network = match self.form {
            Form::Constant | Form::Logistic => Network::new(&[inputs, sources]),
            Form::Perceptron { hidden } => Network::new(&[inputs, hidden, sources]),
        };
        let mut start = vec![0.0; network.parameters()];
        if let Form::Perceptron { hidden } = self.form {
            // With equal values, all hidden ones would stay equal.
            let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
            let size = 1.0 / (inputs.max(1) as f64).sqrt();
            for parameter in &mut start[..inputs * hidden] {
                *parameter = size * (f64::from(rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0);
            }
            for parameter in &mut start[(inputs + 1) * hidden..(inputs + 1) * hidden + hidden * sources] {
                *parameter = 0.1 * (f64::from(rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0);
            }
        }
        let loss = |parameters: &[f64]| network.loss(parameters, &examples, self.penalty);
        let found = minimise(loss, start, self.iterations, 1e-7);
        Ok(MixtureWeights::new(sources, features, network.layers(&found))?.standardised(mean, scale)?)
    }
}

/// Refuses observations that no weights can be fitted to.
fn check(observations: &Observations) -> Result<()> {
    if observations.tokens().is_empty() {
        return Err(Error::NoTokens);
    }
    let (mut text, mut index) = (0, 0);
    for token in observations.tokens() {
        index = if token.text == text { index } else { 0 };
        text = token.text;
        if !token.log_probs.iter().any(|p| *p > f64::NEG_INFINITY) {
            return Err(Error::Impossible { text, token: index });
        }
        index += 1;
    }
    Ok(())
}

/// The mean and the standard deviation of each feature; 1 for a feature that does not vary.
fn standardisation(observations: &Observations, inputs: usize) -> (Vec<f64>, Vec<f64>) {
    let tokens = observations.tokens();
    let mean_of =
        |f: &dyn Fn(&[f64]) -> f64| tokens.iter().map(|t| f(&t.features)).sum::<f64>() / tokens.len() as f64;
    let mean: Vec<_> = (0..inputs).map(|i| mean_of(&|x| x[i])).collect();
    let deviation = |i: usize| mean_of(&|x| (x[i] - mean[i]).powi(2)).sqrt();
    let scale = (0..inputs).map(deviation).map(|d| if d > 1e-9 { d } else { 1.0 }).collect();
    (mean, scale)
}
