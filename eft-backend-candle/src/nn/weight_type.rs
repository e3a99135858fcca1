//! [`WeightType`]: the types that weights can be quantised to while they are loaded.
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use candle_core::quantized::QTensor;
use candle_core::{Device, Result, Tensor};
use eft_core::Error;
use eft_models::{Blocks, Dtype, RawTensor};
use rayon::prelude::*;

use super::quantised::{candle_type, numbers};

/// Matrices of up to this many outputs stay as they are. They are small, and some of them matter most: those that choose among up to
/// 128 experts of a layer.
const FEW_OUTPUTS: usize = 128;

/// About how many entries one thread quantises at once: they are numbers in f32 meanwhile.
const AT_ONCE: usize = 1 << 18;

/// The type that the weights of a model are quantised to while it is loaded: see [`CandleNn::weight_type`](super::CandleNn::weight_type).
///
/// A smaller type takes less memory. A token takes less time, too, since decoding is bound by reading the weights. The model scores a little
/// differently. On a CPU, activations are then multiplied in 8 bits, as with GGUF files.
///
/// ```
/// use eft_backend_candle::WeightType;
///
/// assert_eq!(WeightType::default(), WeightType::Stored);
/// assert_eq!("q8_0".parse::<WeightType>()?, WeightType::Q8_0);
/// assert_eq!(WeightType::Q4_0.to_string(), "q4_0");
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightType {
    /// As the files store them; the default.
    #[default]
    Stored,
    /// 8.5 bits a weight: integers of 8 bits, and a factor in f16 for each 32 weights.
    Q8_0,
    /// 5.5 bits a weight.
    Q5_0,
    /// 4.5 bits a weight. This changes what a model writes; it is meant for models that draft in speculative decoding.
    Q4_0,
}

impl WeightType {
    /// All types, the largest first.
    pub const ALL: [Self; 4] = [Self::Stored, Self::Q8_0, Self::Q5_0, Self::Q4_0];

    /// The name: `stored`, `q8_0`, `q5_0` or `q4_0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Q8_0 => "q8_0",
            Self::Q5_0 => "q5_0",
            Self::Q4_0 => "q4_0",
        }
    }

    fn blocks(self) -> Option<Blocks> {
        match self {
            Self::Stored => None,
            Self::Q8_0 => Some(Blocks::Q8_0),
            Self::Q5_0 => Some(Blocks::Q5_0),
            Self::Q4_0 => Some(Blocks::Q4_0),
        }
    }

    /// Quantises a matrix: outputs × columns, or columns × outputs if `transposed`. Its result is outputs × columns. Returns `None` if it
    /// stays as it is: if it has few outputs, if its rows are not whole blocks, or if it takes no more memory already; and if it is
    /// damaged, which is reported where it is loaded.
    pub(super) fn quantised<'t>(
        self,
        raw: &RawTensor<'t>,
        transposed: bool,
    ) -> Result<Option<RawTensor<'t>>> {
        let (Some(blocks), &[rows, columns]) = (self.blocks(), &raw.shape[..]) else { return Ok(None) };
        let [outputs, columns] = if transposed { [columns, rows] } else { [rows, columns] };
        let (Some(kind), dtype) = (candle_type(blocks), Dtype::Quantised(blocks)) else { return Ok(None) };
        if outputs <= FEW_OUTPUTS
            || !columns.is_multiple_of(blocks.entries())
            || raw.bytes.len() != outputs * raw.dtype.bytes(columns)
            || dtype.bytes(outputs * columns) >= raw.bytes.len()
        {
            return Ok(None);
        }
        let outputs_first;
        let raw = match raw.dtype {
            _ if !transposed => raw,
            // A run of inputs has a scale, so they have to lie side by side.
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                outputs_first = raw.transposed();
                &outputs_first
            }
            Dtype::Quantised(_) => return Ok(None),
        };
        let (at_once, size) = ((AT_ONCE / columns).max(1), raw.dtype.bytes(columns));
        let parts = (0..outputs).into_par_iter().step_by(at_once).map(|first| {
            let shape = vec![at_once.min(outputs - first), columns];
            let bytes = raw.bytes.slice(first * size..(first + shape[0]) * size);
            let part = RawTensor { shape, bytes, ..raw.clone() };
            let numbers = numbers(&part)?;
            if numbers.iter().any(|number| !number.is_finite()) {
                candle_core::bail!(
                    "a weight of `{}` is not a finite number, and cannot be quantised",
                    raw.name
                )
            }
            let part = Tensor::from_vec(numbers, &part.shape[..], &Device::Cpu)?;
            Ok(QTensor::quantize(&part, kind)?.data()?.into_owned())
        });
        let bytes = Bytes::from(parts.collect::<Result<Vec<_>>>()?.concat());
        Ok(Some(RawTensor { name: raw.name, shape: vec![outputs, columns], dtype, bytes }))
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WeightType {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidParameter`] if no type has this name.
    fn from_str(name: &str) -> eft_core::Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::InvalidParameter {
            name: "the type of weights",
            value: format!("`{name}`"),
            expected: "stored, q8_0, q5_0 or q4_0",
        })
    }
}
