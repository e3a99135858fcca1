//! Rotary positions: the angles that each position turns pairs of channels by.
//!
//! Su et al. 2021, arXiv 2104.09864. Scaled variants: linear (Chen et al. 2023, arXiv 2306.15595), Llama 3's,
//! YaRN (Peng et al. 2023, arXiv 2309.00071), LongRoPE (Ding et al. 2024, arXiv 2402.13753).
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

/// The angle per position of each pair of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    inverse_frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    magnitude: f32,
    limit: Option<usize>,
}

impl Rope {
    /// `1 / theta^(2i/dim)` for pair `i` of `dim / 2`.
    pub fn plain(theta: f64, dim: usize) -> Self {
        // As PyTorch computes it, in f32.
        let exponent = |i: usize| (2 * i) as f32 / dim as f32;
        let inverse_frequencies = (0..dim / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect();
        Self { inverse_frequencies, magnitude: 1.0, limit: None }
    }

    /// Channels that turn; the rest of a head, where it is wider, stays as it is.
    pub fn dim(&self) -> usize {
        2 * self.inverse_frequencies.len()
    }

    /// Positions past which other angles would have to be used, of the positions before, too.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Cosines and sines: a row of `dim / 2` for each position.
    pub fn angles(&self, positions: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let angles =
            positions.iter().flat_map(|p| self.inverse_frequencies.iter().map(move |f| *p as f32 * f));
        angles.map(|a| (self.magnitude * a.cos(), self.magnitude * a.sin())).unzip()
    }

    /// As a configuration describes it, for heads of `head_dim`: its `rope_parameters`, or the fields of older
    /// files. `kind` is the type of layer, where the configuration tells parameters for each.
    pub(crate) fn read(config: &Config<'_>, head_dim: usize, kind: Option<&str>) -> Result<Self> {
        let parameters = config.object("rope_parameters");
        let of_kind = parameters.as_ref().and_then(|p| p.object(kind?));
        let fields = of_kind.or(parameters).or_else(|| config.object("rope_scaling"));
        let theta = match &fields {
            Some(fields) => fields.number_or("rope_theta", config.number_or("rope_theta", 10_000.0)?)?,
            None => config.number_or("rope_theta", 10_000.0)?,
        };
        let partial = match &fields {
            Some(fields) => fields.number_or("partial_rotary_factor", 1.0)?,
            None => 1.0,
        };
        let dim = (head_dim as f64 * config.number_or("partial_rotary_factor", partial)?) as usize / 2 * 2;
        if dim == 0 || dim > head_dim || theta <= 0.0 {
            return Err(
                config.error("rope_parameters", format!("turn {dim} of {head_dim} channels by base {theta}"))
            );
        }
        let plain = Self::plain(theta, dim);
        let Some(fields) = fields else { return Ok(plain) };
        match fields.text("rope_type").or(fields.text("type")).unwrap_or("default") {
            "default" => Ok(plain),
            "linear" => plain.linear(fields.number("factor")? as f32),
            "llama3" => plain.llama3(&fields),
            "yarn" => plain.yarn(&Stretch::read(config, &fields)?, theta, &fields),
            "longrope" | "su" => plain.long(&Stretch::read(config, &fields)?, &fields),
            other => {
                let known = "default, linear, llama3, yarn, longrope";
                Err(fields.error("rope_type", format!("is `{other}`; supported are {known}")))
            }
        }
    }

    /// The same with each pair's angle divided by a factor of its own, as GGUF files tell it of models whose turns
    /// are stretched unevenly. `None` unless there is a positive factor for each pair.
    pub fn stretched(mut self, factors: &[f32]) -> Option<Self> {
        let fits = factors.len() == self.inverse_frequencies.len();
        if !fits || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
            return None;
        }
        self.inverse_frequencies.iter_mut().zip(factors).for_each(|(own, factor)| *own /= factor);
        Some(self)
    }

    fn linear(mut self, factor: f32) -> Result<Self> {
        self.inverse_frequencies.iter_mut().for_each(|f| *f /= factor);
        Ok(self)
    }

    /// Slow turns are stretched by the factor, fast ones kept, those between interpolated.
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
    /// Pairs that turn often within the original context are kept, those that turn less than once stretched by the
    /// factor, and a ramp leads from the ones to the others.
    fn yarn(mut self, stretch: &Stretch, theta: f64, fields: &Config<'_>) -> Result<Self> {
        let (dim, context) = (self.dim() as f64, stretch.original as f64);
        let pair = |turns: f64| dim * (context / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let (first, last) =
            (pair(fields.number_or("beta_fast", 32.0)?), pair(fields.number_or("beta_slow", 1.0)?));
        let (first, last) = match fields.flag_or("truncate", true)? {
            true => (first.floor(), last.ceil()),
            false => (first, last),
        };
        let (first, last) = (first.max(0.0), last.min(dim - 1.0));
        let width = if first == last { 0.001 } else { last - first };
        for (i, frequency) in self.inverse_frequencies.iter_mut().enumerate() {
            let stretched = ((i as f32 - first as f32) / width as f32).clamp(0.0, 1.0);
            *frequency = *frequency / stretch.factor as f32 * stretched + *frequency * (1.0 - stretched);
        }
        let magnitude = |scale: f64| 0.1 * scale * stretch.factor.max(1.0).ln() + 1.0;
        let (own, all) = (fields.number_or("mscale", 0.0)?, fields.number_or("mscale_all_dim", 0.0)?);
        let usual = if own != 0.0 && all != 0.0 { magnitude(own) / magnitude(all) } else { magnitude(1.0) };
        self.magnitude = fields.number_or("attention_factor", usual)? as f32;
        Ok(self)
    }

    /// Each pair has a factor of its own, and other factors where a text is longer than the original context. Those
    /// would change what was cached of its beginning, so that the original context is the limit here.
    fn long(self, stretch: &Stretch, fields: &Config<'_>) -> Result<Self> {
        let pairs = self.inverse_frequencies.len();
        let factors = fields.numbers("short_factor")?;
        let Some(mut rope) = self.stretched(&factors) else {
            let reason = format!("holds {} factors, not {pairs} above zero", factors.len());
            return Err(fields.error("short_factor", reason));
        };
        let usual = (1.0 + stretch.factor.max(1.0).ln() / (stretch.original as f64).ln()).sqrt();
        rope.magnitude = fields.number_or("attention_factor", usual)? as f32;
        rope.limit = Some(stretch.original);
        Ok(rope)
    }
}

/// By how much a context was made longer.
struct Stretch {
    factor: f64,
    original: usize,
}

impl Stretch {
    fn read(config: &Config<'_>, fields: &Config<'_>) -> Result<Self> {
        const ORIGINAL: &str = "original_max_position_embeddings";
        let context = config.size("max_position_embeddings")?;
        let original = match fields.optional_size(ORIGINAL)? {
            Some(original) => original,
            None => config.size_or(ORIGINAL, context)?,
        };
        let factor = fields.number_or("factor", context as f64 / original as f64)?;
        if factor <= 0.0 || original < 2 {
            let reason = format!("stretches a context of {original} by {factor}");
            return Err(fields.error("factor", reason));
        }
        Ok(Self { factor, original })
    }
}
