use super::MixtureFeatures;
use crate::{Error, Result};

/// The weights of a mixture as a function of the sources' distributions at a position.
///
/// The [features](MixtureFeatures) of all sources, each shifted and scaled, go through the layers, with the hyperbolic
/// tangent between two of them; the weights are the softmax of the last layer's outputs. One layer without features is
/// constant weights, one layer with features is logistic regression, two layers are a multilayer perceptron.
///
/// ```
/// use eft_core::combine::{Layer, MixtureFeatures, MixtureWeights};
///
/// let constant = MixtureWeights::constant(&[0.25, 0.75])?;
/// assert!((constant.of(&[])[0] - 0.25).abs() < 1e-6);
///
/// let layer = Layer { weights: vec![vec![-1.0, 1.0], vec![0.0, 0.0]], bias: vec![0.0, 0.0] };
/// let logistic = MixtureWeights::new(2, MixtureFeatures::entropies(), vec![layer])?;
/// // The first source has an entropy of 1 nat, the second of 3.
/// assert!((logistic.of(&[1.0, 3.0])[0] - 1.0 / (1.0 + (-2.0f64).exp())).abs() < 1e-12);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Fields"))]
pub struct MixtureWeights {
    sources: usize,
    features: MixtureFeatures,
    mean: Vec<f64>,
    scale: Vec<f64>,
    layers: Vec<Layer>,
}

/// An affine function: `outputs = weights · inputs + bias`.
///
/// [`MixtureWeights`] has an example.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Layer {
    /// For each output, the weights of all inputs.
    pub weights: Vec<Vec<f64>>,
    /// For each output, the number that is added.
    pub bias: Vec<f64>,
}

impl Layer {
    /// Returns the outputs.
    fn apply(&self, inputs: &[f64]) -> Vec<f64> {
        let product = |weights: &Vec<f64>| weights.iter().zip(inputs).map(|(w, x)| w * x).sum::<f64>();
        self.weights.iter().zip(&self.bias).map(|(weights, bias)| bias + product(weights)).collect()
    }
}

impl MixtureWeights {
    /// Returns the function of these layers, whose features are used as they are: see
    /// [`standardised`](Self::standardised).
    ///
    /// # Errors
    /// * [`Error::Shape`] if there is no layer, a layer does not take as many inputs as there are outputs of the one
    ///   before it (features, for the first), or the last has not one output for each source.
    /// * [`Error::InvalidParameter`] if a number is not finite.
    pub fn new(sources: usize, features: MixtureFeatures, layers: Vec<Layer>) -> Result<Self> {
        let inputs = inputs(sources, features)?;
        Self { sources, features, mean: vec![0.0; inputs], scale: vec![1.0; inputs], layers }.checked()
    }

    /// Returns the function that is the same everywhere.
    ///
    /// # Errors
    /// * [`Error::Shape`] if there are no weights.
    /// * [`Error::InvalidParameter`] unless the weights are finite and above 0, and their sum is 1.
    pub fn constant(weights: &[f32]) -> Result<Self> {
        super::super::checks::convex(weights)?;
        if let Some(weight) = weights.iter().find(|w| **w == 0.0) {
            return Err(Error::parameter("weight", weight, "a finite number above 0"));
        }
        let bias: Vec<_> = weights.iter().map(|w| f64::from(*w).ln()).collect();
        let layer = Layer { weights: vec![Vec::new(); bias.len()], bias };
        Self::new(weights.len(), MixtureFeatures::none(), vec![layer])
    }

    /// Returns the same layers on other inputs: `(feature − mean) / scale`, for each feature.
    ///
    /// # Errors
    /// * [`Error::Shape`] unless there is a mean and a scale for each feature of each source.
    /// * [`Error::InvalidParameter`] if a number is not finite, or a scale is not above 0.
    pub fn standardised(mut self, mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        (self.mean, self.scale) = (mean, scale);
        self.checked()
    }

    fn checked(self) -> Result<Self> {
        const FINITE: &str = "a finite number";
        if self.sources == 0 {
            return Err(Error::shape("`sources`", "at least 1", 0));
        }
        let mut inputs = inputs(self.sources, self.features)?;
        for (name, numbers) in [("`mean`", &self.mean), ("`scale`", &self.scale)] {
            if numbers.len() != inputs {
                return Err(Error::shape(
                    name,
                    format!("{inputs} numbers, one for each feature"),
                    numbers.len(),
                ));
            }
        }
        if let Some(mean) = self.mean.iter().find(|x| !x.is_finite()) {
            return Err(Error::parameter("a number of `mean`", mean, FINITE));
        }
        if let Some(scale) = self.scale.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return Err(Error::parameter("a number of `scale`", scale, "a finite number above 0"));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let outputs = layer.bias.len();
            if layer.weights.len() != outputs {
                let expected = format!("{outputs} lists, one for each number of its `bias`");
                return Err(Error::shape(
                    format!("`layers[{index}].weights`"),
                    expected,
                    layer.weights.len(),
                ));
            }
            if let Some((row, weights)) = layer.weights.iter().enumerate().find(|(_, w)| w.len() != inputs) {
                let what = format!("`layers[{index}].weights[{row}]`");
                return Err(Error::shape(
                    what,
                    format!("{inputs} numbers, one for each input"),
                    weights.len(),
                ));
            }
            if let Some(number) = layer.weights.iter().flatten().chain(&layer.bias).find(|x| !x.is_finite()) {
                return Err(Error::parameter("a number of `layers`", number, FINITE));
            }
            inputs = outputs;
        }
        match self.layers.last() {
            Some(last) if last.bias.len() == self.sources => Ok(self),
            Some(last) => {
                let what = format!("`layers[{}].bias`", self.layers.len() - 1);
                Err(Error::shape(
                    what,
                    format!("{} numbers, one for each source", self.sources),
                    last.bias.len(),
                ))
            }
            None => Err(Error::shape("`layers`", "at least one", 0)),
        }
    }

    /// Returns the number of sources.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources
    }

    /// Returns what the function sees of each source.
    pub fn features(&self) -> MixtureFeatures {
        self.features
    }

    /// Returns what is subtracted from each feature, and what it is divided by then.
    #[must_use]
    pub fn standardisation(&self) -> (&[f64], &[f64]) {
        (&self.mean, &self.scale)
    }

    /// Returns the layers, the first one first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the weight of each source for the features of a position. If a feature is missing or not finite, which it
    /// is where a source fails, all weights are equal.
    #[must_use]
    pub fn of(&self, features: &[f64]) -> Vec<f64> {
        if features.len() < self.mean.len() || !features.iter().all(|x| x.is_finite()) {
            return vec![1.0 / self.sources as f64; self.sources];
        }
        let standardised = features.iter().zip(self.mean.iter().zip(&self.scale));
        let mut values: Vec<f64> = standardised.map(|(x, (mean, scale))| (x - mean) / scale).collect();
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                values.iter_mut().for_each(|x| *x = x.tanh());
            }
            values = layer.apply(&values);
        }
        softmax(&values)
    }
}

/// The number of features of all sources.
fn inputs(sources: usize, features: MixtureFeatures) -> Result<usize> {
    const MOST: usize = 1 << 16;
    let inputs = features.per_source().saturating_mul(sources);
    if inputs > MOST {
        return Err(Error::shape("features of all sources", format!("at most {MOST}"), inputs));
    }
    Ok(inputs)
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !max.is_finite() || values.iter().any(|x| x.is_nan()) {
        return vec![1.0 / values.len() as f64; values.len()];
    }
    let exps: Vec<_> = values.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|x| x / sum).collect()
}

/// The fields of [`MixtureWeights`] before they are checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    sources: usize,
    features: MixtureFeatures,
    mean: Vec<f64>,
    scale: Vec<f64>,
    layers: Vec<Layer>,
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for MixtureWeights {
    type Error = Error;

    fn try_from(Fields { sources, features, mean, scale, layers }: Fields) -> Result<Self> {
        Self { sources, features, mean, scale, layers }.checked()
    }
}
