//! [`TensorType`]: the types of tensors, by their numbers in files.
use candle_core::quantized::GgmlDType;
use eft_models::{Blocks, Dtype};

/// The type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TensorType {
    /// One that products support without dequantising.
    Stored(Dtype),
    /// One that candle dequantises, and that occurs in no model.
    Rare(GgmlDType),
}

use TensorType::{Rare, Stored};

const fn blocks(kind: Blocks) -> Option<TensorType> {
    Some(Stored(Dtype::Quantised(kind)))
}

/// The numbers of the types in files, their names, and what they are; `None` if they are not supported.
const TYPES: [(u32, &str, Option<TensorType>); 36] = [
    (0, "F32", Some(Stored(Dtype::F32))),
    (1, "F16", Some(Stored(Dtype::F16))),
    (2, "Q4_0", blocks(Blocks::Q4_0)),
    (3, "Q4_1", blocks(Blocks::Q4_1)),
    (6, "Q5_0", blocks(Blocks::Q5_0)),
    (7, "Q5_1", blocks(Blocks::Q5_1)),
    (8, "Q8_0", blocks(Blocks::Q8_0)),
    (9, "Q8_1", Some(Rare(GgmlDType::Q8_1))),
    (10, "Q2_K", blocks(Blocks::Q2K)),
    (11, "Q3_K", blocks(Blocks::Q3K)),
    (12, "Q4_K", blocks(Blocks::Q4K)),
    (13, "Q5_K", blocks(Blocks::Q5K)),
    (14, "Q6_K", blocks(Blocks::Q6K)),
    (15, "Q8_K", Some(Rare(GgmlDType::Q8K))),
    (16, "IQ2_XXS", blocks(Blocks::IQ2XXS)),
    (17, "IQ2_XS", blocks(Blocks::IQ2XS)),
    (18, "IQ3_XXS", blocks(Blocks::IQ3XXS)),
    (19, "IQ1_S", blocks(Blocks::IQ1S)),
    (20, "IQ4_NL", blocks(Blocks::IQ4NL)),
    (21, "IQ3_S", blocks(Blocks::IQ3S)),
    (22, "IQ2_S", blocks(Blocks::IQ2S)),
    (23, "IQ4_XS", blocks(Blocks::IQ4XS)),
    (24, "I8", None),
    (25, "I16", None),
    (26, "I32", None),
    (27, "I64", None),
    (28, "F64", None),
    (29, "IQ1_M", blocks(Blocks::IQ1M)),
    (30, "BF16", Some(Stored(Dtype::BF16))),
    (31, "Q4_0_4_4", None),
    (32, "Q4_0_4_8", None),
    (33, "Q4_0_8_8", None),
    (34, "TQ1_0", blocks(Blocks::TQ1_0)),
    (35, "TQ2_0", blocks(Blocks::TQ2_0)),
    (39, "MXFP4", blocks(Blocks::MXFP4)),
    (40, "NVFP4", None),
];

impl TensorType {
    /// Returns the type of a number.
    ///
    /// # Errors
    /// Returns why the type is not supported.
    pub(super) fn new(number: u32) -> Result<Self, String> {
        let known = TYPES.iter().find(|(own, ..)| *own == number);
        if let Some((_, _, Some(kind))) = known {
            return Ok(*kind);
        }
        let name = known.map_or_else(|| number.to_string(), |(_, name, _)| (*name).to_owned());
        let supported = TYPES.iter().filter(|(_, _, kind)| kind.is_some()).map(|(_, name, _)| *name);
        let supported = supported.collect::<Vec<_>>().join(", ");
        Err(format!("has the type {name}, which is not supported; supported are: {supported}"))
    }

    /// The number of entries in a block.
    pub(super) fn entries(self) -> usize {
        match self {
            Stored(Dtype::Quantised(kind)) => kind.entries(),
            Stored(_) => 1,
            Rare(kind) => kind.block_size(),
        }
    }

    /// The size of a block in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Stored(dtype) => dtype.bytes(self.entries()),
            Rare(kind) => kind.type_size(),
        }
    }
}
