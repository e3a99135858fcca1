//! [`Quantisation`]: weights that safetensors files hold as small numbers with scales. They are dequantised to f32 when
//! they are loaded, except that the experts of gpt-oss stay in MXFP4 for libraries that multiply with its blocks.
//! Activations are not quantised, also where the method would do so.
mod awq;
mod bitsandbytes;
mod gptq;
pub(crate) mod mxfp4;
mod part;
mod scaled;

use awq::Awq;
use bitsandbytes::BitsAndBytes;
use gptq::Gptq;
pub(crate) use part::Part;
use scaled::Scaled;

use crate::Result;
use crate::config::Config;

/// How the weights of a checkpoint are quantised.
pub(crate) enum Quantisation {
    Gptq(Gptq),
    Awq(Awq),
    Scaled(Scaled),
    BitsAndBytes(BitsAndBytes),
    /// Only stacked matrices are quantised: see [`mxfp4::blocks`].
    Mxfp4,
}

impl Quantisation {
    /// Reads `quantization_config`; `None` if there is no such field.
    pub(crate) fn read(config: &Config<'_>) -> Result<Option<Self>> {
        let Some(fields) = config.object("quantization_config")? else { return Ok(None) };
        const METHOD: &str = "quant_method";
        Ok(Some(match fields.text(METHOD)? {
            Some("gptq") => Self::Gptq(Gptq::read(&fields)?),
            Some("awq") => Self::Awq(Awq::read(&fields)?),
            Some("fp8") => Self::Scaled(Scaled::fp8(&fields)?),
            Some("compressed-tensors") => Self::Scaled(Scaled::compressed(&fields)?),
            Some("bitsandbytes") => Self::BitsAndBytes(BitsAndBytes::read(&fields)?),
            Some("mxfp4") => Self::Mxfp4,
            other => {
                let known = "gptq, awq, fp8, compressed-tensors, bitsandbytes, mxfp4";
                let found = other.unwrap_or("missing");
                return Err(fields.error(METHOD, format!("is {found}; supported are {known}")));
            }
        }))
    }

    /// The weight of a linear layer of this shape, outputs × inputs, in row-major order; `None` if it is not quantised.
    /// `find` returns the stored tensor of a name that is made of the layer's and this suffix.
    pub(crate) fn weight<'a>(
        &self,
        shape: [usize; 2],
        find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
    ) -> Result<Option<Vec<f32>>> {
        match self {
            Self::Gptq(gptq) => gptq.weight(shape, find),
            Self::Awq(awq) => awq.weight(shape, find),
            Self::Scaled(scaled) => scaled.weight(shape, find),
            Self::BitsAndBytes(own) => own.weight(shape, find),
            Self::Mxfp4 => Ok(None),
        }
    }
}
