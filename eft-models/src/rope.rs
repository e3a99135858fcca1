//! [`Rope`]: rotary position embeddings, which rotate pairs of channels by angles that grow with the position.
//!
//! Su et al. 2021, arXiv 2104.09864, equation 15. Variants for longer contexts: linear (Chen et al. 2023, arXiv
//! 2306.15595), dynamic (its base grows with the text), that of Llama 3, YaRN (Peng et al. 2023, arXiv 2309.00071),
//! LongRoPE (Ding et al. 2024, arXiv 2402.13753).
//!
//! In two of them, the angles of all positions change while a text grows: LongRoPE has other angles for texts longer than the
//! original context, and dynamic embeddings have other angles for each such length. A *stage* is a range of lengths with
//! the same angles, named by the largest of them: see [`Rope::stage`].
//!
//! ```
//! use eft_models::rope::Rope;
//!
//! let rope = Rope::plain(10_000.0, 8);
//! let (cos, sin) = rope.angles(&[0, 1]);
//! assert_eq!((cos.len(), cos[0], sin[0]), (8, 1.0, 0.0)); // two positions, four pairs of channels
//! ```
use std::borrow::Cow;
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
    /// The angles of texts longer than the original context, if they are others.
    beyond: Option<Beyond>,
    /// The number of tokens that the context is extended to; `None` if the configuration does not say it.
    reach: Option<usize>,
}

/// The angles of texts longer than the original context.
#[derive(Debug, Clone, PartialEq)]
struct Beyond {
    original: usize,
    angles: BeyondAngles,
}

#[derive(Debug, Clone, PartialEq)]
enum BeyondAngles {
    /// These, for all longer texts (LongRoPE).
    Fixed(Vec<f32>),
    /// Those of a base that grows with the text, by this factor (dynamic).
    Growing { theta: f32, factor: f32 },
}

impl Rope {
    /// Creates the unscaled embedding: the angle of pair `i` of `dim / 2` is `theta^(−2i/dim)` per position.
    pub fn plain(theta: f64, dim: usize) -> Self {
        // In f32, as PyTorch computes it.
        let exponent = |i: usize| (2 * i) as f32 / dim as f32;
        let inverse_frequencies = (0..dim / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect();
        Self { inverse_frequencies, magnitude: 1.0, beyond: None, reach: None }
    }

    /// Returns the number of channels that are rotated. The other channels of a wider head stay unchanged.
    pub fn dim(&self) -> usize {
        2 * self.inverse_frequencies.len()
    }

    /// Returns the stage of a text of `length` tokens: the largest length with the same angles. A text that grows past it
    /// has other angles at all its positions, also at those before.
    ///
    /// ```
    /// use eft_models::rope::Rope;
    ///
    /// assert_eq!(Rope::plain(10_000.0, 8).stage(7), usize::MAX);
    /// ```
    pub fn stage(&self, length: usize) -> usize {
        match &self.beyond {
            None => usize::MAX,
            Some(Beyond { original, .. }) if length <= *original => *original,
            Some(Beyond { angles: BeyondAngles::Fixed(_), .. }) => usize::MAX,
            Some(Beyond { angles: BeyondAngles::Growing { .. }, .. }) => length,
        }
    }

    /// Returns the number of tokens that the context is extended to, if the configuration says it.
    pub fn reach(&self) -> Option<usize> {
        self.reach
    }

    /// Returns the cosines and sines of the angles, each as positions × (`dim` / 2), in texts that are not longer than the
    /// original context.
    pub fn angles(&self, positions: &[usize]) -> (Vec<f32>, Vec<f32>) {
        self.angles_in(positions.iter().map(|position| (*position, 0)))
    }

    /// Returns the cosines and sines of the angles, each as positions × (`dim` / 2). Each position comes with the stage of
    /// its text, or any other length that the text might have in this stage.
    pub fn angles_in(&self, positions: impl IntoIterator<Item = (usize, usize)>) -> (Vec<f32>, Vec<f32>) {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        let mut last: Option<(usize, Cow<'_, [f32]>)> = None;
        for (position, length) in positions {
            if last.as_ref().is_none_or(|(known, _)| *known != length) {
                last = Some((length, self.frequencies(length)));
            }
            let frequencies = last.as_ref().map_or(&[][..], |(_, frequencies)| frequencies);
            for frequency in frequencies {
                let angle = position as f32 * frequency;
                cos.push(self.magnitude * angle.cos());
                sin.push(self.magnitude * angle.sin());
            }
        }
        (cos, sin)
    }

    /// The angle of each pair per position, in a text of this length.
    fn frequencies(&self, length: usize) -> Cow<'_, [f32]> {
        match &self.beyond {
            Some(Beyond { original, angles }) if length > *original => match angles {
                BeyondAngles::Fixed(frequencies) => frequencies.into(),
                BeyondAngles::Growing { theta, factor } => {
                    let dim = self.dim() as f32;
                    let growth = factor * length as f32 / *original as f32 - (factor - 1.0);
                    let theta = theta * growth.powf(dim / (dim - 2.0));
                    Self::plain(theta.into(), self.dim()).inverse_frequencies.into()
                }
            },
            _ => self.inverse_frequencies.as_slice().into(),
        }
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
        let name = Self::kind(fields.as_ref())?;
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
        let parameters = config.object("rope_parameters")?;
        let of_kind = match (&parameters, kind) {
            (Some(parameters), Some(kind)) => parameters.object(kind)?,
            _ => None,
        };
        let fields = match of_kind.or(parameters) {
            Some(fields) => Some(fields),
            None => config.object("rope_scaling")?,
        };
        let partial = match &fields {
            Some(fields) => fields.number_or(PARTIAL, defaults.share)?,
            None => defaults.share,
        };
        let partial = config.number_or(defaults.share_field, partial)?;
        Ok((fields, partial))
    }

    /// The type of the embedding that an object describes.
    fn kind<'a>(fields: Option<&Config<'a>>) -> Result<&'a str> {
        let Some(fields) = fields else { return Ok("default") };
        let kind = match fields.text("rope_type")? {
            Some(kind) => Some(kind),
            None => fields.text("type")?,
        };
        Ok(kind.unwrap_or("default"))
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
        let kind = Self::kind(fields.as_ref())?;
        let Some(fields) = fields else { return Ok(plain) };
        let rope = match kind {
            "default" => Ok(plain),
            "dynamic" => plain.dynamic(config, theta, &fields),
            "linear" => plain.linear(fields.positive("factor")? as f32),
            "llama3" => plain.llama3(&fields),
            "yarn" => plain.yarn(&ContextExtension::read(config, &fields)?, theta, &fields),
            "longrope" | "su" => plain.long(&ContextExtension::read(config, &fields)?, &fields),
            other => {
                let known = "default, linear, dynamic, llama3, yarn, longrope";
                Err(fields.error("rope_type", format!("is `{other}`; supported are {known}")))
            }
        }?;
        if rope.inverse_frequencies.iter().all(|frequency| frequency.is_finite()) {
            return Ok(rope);
        }
        Err(fields.error("rope_type", format!("is `{kind}`, of which the other fields make infinite angles")))
    }

    /// Divides the angle of each pair by its own factor, as GGUF files store scaled embeddings. Returns `None` unless
    /// there is a positive factor for each pair, and for dynamic embeddings.
    #[must_use]
    pub fn with_frequency_divisors(mut self, factors: &[f32]) -> Option<Self> {
        let fits = factors.len() == self.inverse_frequencies.len();
        if !fits || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
            return None;
        }
        let divide = |all: &mut [f32]| all.iter_mut().zip(factors).for_each(|(own, factor)| *own /= factor);
        divide(&mut self.inverse_frequencies);
        match &mut self.beyond {
            Some(Beyond { angles: BeyondAngles::Fixed(long), .. }) => divide(long),
            Some(Beyond { angles: BeyondAngles::Growing { .. }, .. }) => return None,
            None => {}
        }
        Some(self)
    }

    /// Keeps the angles up to the context that the model was trained for, which is `max_position_embeddings` here. For each
    /// longer text, the base grows (Peng et al. 2023, arXiv 2309.00071, section 3.3).
    fn dynamic(mut self, config: &Config<'_>, theta: f64, fields: &Config<'_>) -> Result<Self> {
        let (original, factor) = (config.size("max_position_embeddings")?, fields.number("factor")?);
        if factor < 1.0 || self.dim() < 4 {
            let reason =
                format!("is {factor}, for {} rotated channels; expected at least 1, and 4", self.dim());
            return Err(fields.error("factor", reason));
        }
        let angles = BeyondAngles::Growing { theta: theta as f32, factor: factor as f32 };
        self.beyond = Some(Beyond { original, angles });
        self.reach = Some((original as f64 * factor) as usize);
        Ok(self)
    }

    /// Divides all angles by the factor.
    fn linear(mut self, factor: f32) -> Result<Self> {
        self.inverse_frequencies.iter_mut().for_each(|f| *f /= factor);
        Ok(self)
    }

    /// Divides low frequencies by the factor, keeps high ones, and interpolates between.
    fn llama3(mut self, fields: &Config<'_>) -> Result<Self> {
        let factor = fields.positive("factor")? as f32;
        let low = fields.positive("low_freq_factor")? as f32;
        let high = fields.positive("high_freq_factor")? as f32;
        let context = fields.positive("original_max_position_embeddings")? as f32;
        if high <= low {
            let reason = format!("is {high}; expected more than the `low_freq_factor` {low}");
            return Err(fields.error("high_freq_factor", reason));
        }
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
        self.reach = Some((extension.original as f64 * extension.factor) as usize);
        Ok(self)
    }

    /// LongRoPE has a factor for each pair, and other factors for texts longer than the original context.
    fn long(self, extension: &ContextExtension, fields: &Config<'_>) -> Result<Self> {
        let divided = |field: &str| {
            let factors = fields.numbers(field)?;
            self.clone().with_frequency_divisors(&factors).ok_or_else(|| {
                let pairs = self.inverse_frequencies.len();
                let reason = format!("holds {} factors; expected {pairs} positive ones", factors.len());
                fields.error(field, reason)
            })
        };
        let (mut rope, long) = (divided("short_factor")?, divided("long_factor")?);
        let usual = (1.0 + extension.factor.max(1.0).ln() / (extension.original as f64).ln()).sqrt();
        rope.magnitude = fields.number_or("attention_factor", usual)? as f32;
        let angles = BeyondAngles::Fixed(long.inverse_frequencies);
        rope.beyond = Some(Beyond { original: extension.original, angles });
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
