//! [`Rope`]: rotary position embeddings, which rotate pairs of channels by angles that grow with the position.
//!
//! Su et al. 2021, arXiv 2104.09864, equation 15. Variants for longer contexts: linear (Chen et al. 2023, arXiv
//! 2306.15595), dynamic up to the original context, that of Llama 3, YaRN (Peng et al. 2023, arXiv 2309.00071), LongRoPE (Ding et al. 2024, arXiv
//! 2402.13753).
//!
//! ```
//! use eft_models::rope::Rope;
//!
//! let rope = Rope::plain(10_000.0, 8);
//! let (cos, sin) = rope.angles(&[0, 1]);
//! assert_eq!((cos.len(), cos[0], sin[0]), (8, 1.0, 0.0)); // two positions, four pairs of channels
//! ```
use std::f64::consts::PI;

use crate::Result;
use crate::config::Config;

/// The field with the share of the channels that rotate.
const PARTIAL: &str = "partial_rotary_factor";

/// What a family's rotary embedding is where its configuration does not say it, and how older files of the family name
/// the fields.
pub(crate) struct RopeDefaults {
    /// The base, and its field outside of `rope_parameters`.
    pub(crate) theta: f64,
    pub(crate) theta_field: &'static str,
    /// The share of the channels that rotate, and its field outside of `rope_parameters`.
    pub(crate) share: f64,
    pub(crate) share_field: &'static str,
}

impl Default for RopeDefaults {
    fn default() -> Self {
        Self { theta: 10_000.0, theta_field: "rope_theta", share: 1.0, share_field: PARTIAL }
    }
}

impl RopeDefaults {
    /// The usual defaults, with another base.
    pub(crate) fn theta(theta: f64) -> Self {
        Self { theta, ..Self::default() }
    }
}

/// The angle of each pair of channels per position.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    inverse_frequencies: Vec<f32>,
    /// The factor that cosines and sines are multiplied by.
    magnitude: f32,
    limit: Option<usize>,
}

impl Rope {
    /// Creates the unscaled embedding: the angle of pair `i` of `dim / 2` is `theta^(−2i/dim)` per position.
    pub fn plain(theta: f64, dim: usize) -> Self {
        // In f32, as PyTorch computes it.
        let exponent = |i: usize| (2 * i) as f32 / dim as f32;
        let inverse_frequencies = (0..dim / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect();
        Self { inverse_frequencies, magnitude: 1.0, limit: None }
    }

    /// Returns the number of channels that are rotated. The other channels of a wider head stay unchanged.
    pub fn dim(&self) -> usize {
        2 * self.inverse_frequencies.len()
    }

    /// Returns the number of positions that these angles are made for; `None` if there is no limit. A longer text would
    /// need other angles at all its positions, so the cached keys of its beginning would be wrong.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Returns the cosines and sines of the angles, each as positions × (`dim` / 2).
    pub fn angles(&self, positions: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let angles =
            positions.iter().flat_map(|p| self.inverse_frequencies.iter().map(move |f| *p as f32 * f));
        angles.map(|a| (self.magnitude * a.cos(), self.magnitude * a.sin())).unzip()
    }

    /// Reads the embedding for heads of width `head_dim` from `rope_parameters`, or from the fields of older files.
    /// `kind` is the type of layer, for configurations with parameters for each type. All channels rotate: in most
    /// families, transformers does not read `partial_rotary_factor`.
    pub(crate) fn read(
        config: &Config<'_>,
        head_dim: usize,
        kind: Option<&str>,
        defaults: &RopeDefaults,
    ) -> Result<Self> {
        let (fields, partial) = Self::fields(config, kind, defaults)?;
        let name = Self::kind(fields.as_ref());
        if partial != 1.0 && name != "default" {
            let reason =
                format!("is {partial}, which this family does not support with positions of type `{name}`");
            return Err(config.error(PARTIAL, reason));
        }
        Self::of(config, fields, defaults, head_dim, head_dim)
    }

    /// Reads the embedding as [`read`](Self::read) does, for a family in which only `partial_rotary_factor` of the
    /// channels of each head rotate.
    pub(crate) fn read_partial(
        config: &Config<'_>,
        head_dim: usize,
        defaults: &RopeDefaults,
    ) -> Result<Self> {
        let (fields, partial) = Self::fields(config, None, defaults)?;
        Self::of(config, fields, defaults, head_dim, (head_dim as f64 * partial) as usize / 2 * 2)
    }

    /// The object that describes the embedding, if there is one, and the share of the channels that it rotates.
    fn fields<'a>(
        config: &Config<'a>,
        kind: Option<&str>,
        defaults: &RopeDefaults,
    ) -> Result<(Option<Config<'a>>, f64)> {
        let parameters = config.object("rope_parameters");
        let of_kind = parameters.as_ref().and_then(|p| p.object(kind?));
        let fields = of_kind.or(parameters).or_else(|| config.object("rope_scaling"));
        let partial = match &fields {
            Some(fields) => fields.number_or(PARTIAL, defaults.share)?,
            None => defaults.share,
        };
        let partial = config.number_or(defaults.share_field, partial)?;
        Ok((fields, partial))
    }

    /// The type of the embedding that an object describes.
    fn kind<'a>(fields: Option<&Config<'a>>) -> &'a str {
        fields.and_then(|fields| fields.text("rope_type").or(fields.text("type"))).unwrap_or("default")
    }

    /// The embedding that an object describes, of the first `dim` channels of each head.
    fn of(
        config: &Config<'_>,
        fields: Option<Config<'_>>,
        defaults: &RopeDefaults,
        head_dim: usize,
        dim: usize,
    ) -> Result<Self> {
        let own = config.number_or(defaults.theta_field, defaults.theta)?;
        let theta = fields.as_ref().map_or(Ok(own), |fields| fields.number_or("rope_theta", own))?;
        if dim == 0 || dim > head_dim || theta <= 0.0 {
            return Err(config
                .error("rope_parameters", format!("rotate {dim} of {head_dim} channels by base {theta}")));
        }
        let plain = Self::plain(theta, dim);
        let kind = Self::kind(fields.as_ref());
        let Some(fields) = fields else { return Ok(plain) };
        match kind {
            "default" => Ok(plain),
            // Up to the context that the model was trained for, it is the plain embedding. After that, each length has
            // its own angles, so the cached keys of its beginning would be wrong.
            "dynamic" => Ok(Self { limit: config.optional_size("max_position_embeddings")?, ..plain }),
            "linear" => plain.linear(fields.number("factor")? as f32),
            "llama3" => plain.llama3(&fields),
            "yarn" => plain.yarn(&ContextExtension::read(config, &fields)?, theta, &fields),
            "longrope" | "su" => plain.long(&ContextExtension::read(config, &fields)?, &fields),
            other => {
                let known = "default, linear, dynamic, llama3, yarn, longrope";
                Err(fields.error("rope_type", format!("is `{other}`; supported are {known}")))
            }
        }
    }

    /// Divides the angle of each pair by its own factor, as GGUF files store scaled embeddings. Returns `None` unless
    /// there is a positive factor for each pair.
    #[must_use]
    pub fn with_frequency_divisors(mut self, factors: &[f32]) -> Option<Self> {
        let fits = factors.len() == self.inverse_frequencies.len();
        if !fits || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
            return None;
        }
        self.inverse_frequencies.iter_mut().zip(factors).for_each(|(own, factor)| *own /= factor);
        Some(self)
    }

    /// Divides all angles by the factor.
    fn linear(mut self, factor: f32) -> Result<Self> {
        self.inverse_frequencies.iter_mut().for_each(|f| *f /= factor);
        Ok(self)
    }

    /// Divides low frequencies by the factor, keeps high ones, and interpolates between.
    fn llama3(mut self, fields: &Config<'_>) -> Result<Self> {
        let factor = fields.number("factor")? as f32;
        let low = fields.number("low_freq_factor")? as f32;
        let high = fields.number("high_freq_factor")? as f32;
        let context = fields.number("original_max_position_embeddings")? as f32;
        for frequency in &mut self.inverse_frequencies {
            let wavelength = 2.0 * std::f32::consts::PI / *frequency;
            if wavelength > context / low {
                *frequency /= factor;
            } else if wavelength >= context / high {
                let smooth = (context / wavelength - low) / (high - low);
                *frequency = (1.0 - smooth) * *frequency / factor + smooth * *frequency;
            }
        }
        Ok(self)
    }

    /// Keeps pairs that rotate many times within the original context, divides the angle of those that rotate less than
    /// once by the factor, and interpolates between.
    fn yarn(mut self, extension: &ContextExtension, theta: f64, fields: &Config<'_>) -> Result<Self> {
        let (dim, context) = (self.dim() as f64, extension.original as f64);
        let pair = |rotations: f64| dim * (context / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let (first, last) =
            (pair(fields.number_or("beta_fast", 32.0)?), pair(fields.number_or("beta_slow", 1.0)?));
        let (first, last) = match fields.flag_or("truncate", true)? {
            true => (first.floor(), last.ceil()),
            false => (first, last),
        };
        let (first, last) = (first.max(0.0), last.min(dim - 1.0));
        let width = if first == last { 0.001 } else { last - first };
        for (i, frequency) in self.inverse_frequencies.iter_mut().enumerate() {
            let ramp = ((i as f32 - first as f32) / width as f32).clamp(0.0, 1.0);
            *frequency = *frequency / extension.factor as f32 * ramp + *frequency * (1.0 - ramp);
        }
        let magnitude = |scale: f64| 0.1 * scale * extension.factor.max(1.0).ln() + 1.0;
        let (own, all) = (fields.number_or("mscale", 0.0)?, fields.number_or("mscale_all_dim", 0.0)?);
        let usual = if own != 0.0 && all != 0.0 { magnitude(own) / magnitude(all) } else { magnitude(1.0) };
        self.magnitude = fields.number_or("attention_factor", usual)? as f32;
        Ok(self)
    }

    /// LongRoPE has a factor for each pair, and other factors for texts longer than the original context. Switching to
    /// those would invalidate the cache, so the original context is the limit here.
    fn long(self, extension: &ContextExtension, fields: &Config<'_>) -> Result<Self> {
        let pairs = self.inverse_frequencies.len();
        let factors = fields.numbers("short_factor")?;
        let Some(mut rope) = self.with_frequency_divisors(&factors) else {
            let reason = format!("holds {} factors; expected {pairs} positive ones", factors.len());
            return Err(fields.error("short_factor", reason));
        };
        let usual = (1.0 + extension.factor.max(1.0).ln() / (extension.original as f64).ln()).sqrt();
        rope.magnitude = fields.number_or("attention_factor", usual)? as f32;
        rope.limit = Some(extension.original);
        Ok(rope)
    }
}

/// The extension of a context.
struct ContextExtension {
    factor: f64,
    original: usize,
}

impl ContextExtension {
    fn read(config: &Config<'_>, fields: &Config<'_>) -> Result<Self> {
        const ORIGINAL: &str = "original_max_position_embeddings";
        let context = config.size("max_position_embeddings")?;
        let original = match fields.optional_size(ORIGINAL)? {
            Some(original) => original,
            None => config.size_or(ORIGINAL, context)?,
        };
        let factor = fields.number_or("factor", context as f64 / original as f64)?;
        if factor <= 0.0 || original < 2 {
            let reason = format!("extends a context of {original} tokens by {factor}");
            return Err(fields.error("factor", reason));
        }
        Ok(Self { factor, original })
    }
}
