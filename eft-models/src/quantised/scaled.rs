//! Weights of 8 bits with a scale for each block of the matrix, as DeepSeek's fp8 and compressed-tensors store them, and
//! compressed-tensors' packed integers and packed floating-point numbers of four bits (MXFP4 and NVFP4).
use super::gptq::group_size;
use super::{Part, mxfp4};
use crate::Result;
use crate::config::Config;

/// How weights are scaled.
pub(crate) struct Scaled {
    block: Block,
    /// The name of the scales, after that of the layer.
    scale: &'static str,
    numbers: Numbers,
    /// The name of a number that all scales are divided by, after that of the layer; `None` without one.
    divisor: Option<&'static str>,
}

/// How the numbers of a matrix are stored.
enum Numbers {
    /// Each in a byte.
    Bytes,
    /// As integers of this many bits, packed into words.
    Integers(usize),
    /// As floating-point numbers of four bits, two in a byte.
    Floats,
}

/// The part of a matrix that has one scale.
enum Block {
    /// All of it.
    Matrix,
    /// A row: all inputs of an output.
    Row,
    /// Some consecutive inputs of an output.
    Group(usize),
    /// Some consecutive inputs of some consecutive outputs.
    Tile([usize; 2]),
}

impl Scaled {
    /// The method `fp8` of transformers.
    pub(super) fn fp8(fields: &Config<'_>) -> Result<Self> {
        const EXPERTS: &str = "expert_dtype";
        if let Some(other) = fields.text(EXPERTS)?.filter(|dtype| *dtype != "fp8") {
            return Err(fields.error(EXPERTS, format!("is `{other}`; only `fp8` is supported")));
        }
        let (block, scale) = (tile(fields, "weight_block_size")?, "weight_scale_inv");
        Ok(Self { block, scale, numbers: Numbers::Bytes, divisor: None })
    }

    /// The method `compressed-tensors`, with one scheme for all weights.
    pub(super) fn compressed(fields: &Config<'_>) -> Result<Self> {
        const GROUPS: &str = "config_groups";
        let groups =
            fields.get(GROUPS).and_then(|groups| groups.as_object()).filter(|groups| groups.len() == 1);
        let group = groups.and_then(|groups| groups.keys().next());
        let weights = match (group, fields.object(GROUPS)?) {
            (Some(group), Some(groups)) => match groups.object(group)? {
                Some(group) => group.object("weights")?,
                None => None,
            },
            _ => None,
        };
        let weights = weights.ok_or_else(|| fields.error(GROUPS, "does not hold one scheme of weights"))?;
        const FORMAT: &str = "format";
        let bits = weights.size("num_bits")?;
        let (numbers, divisor) = match fields.text(FORMAT)?.unwrap_or("missing") {
            "float-quantized" | "int-quantized" | "naive-quantized" if bits == 8 => (Numbers::Bytes, None),
            "pack-quantized" if matches!(bits, 4 | 8) => (Numbers::Integers(bits), None),
            "mxfp4-pack-quantized" if bits == 4 => (Numbers::Floats, None),
            "nvfp4-pack-quantized" if bits == 4 => (Numbers::Floats, Some("weight_global_scale")),
            other => {
                let known = "float-quantized, int-quantized, naive-quantized (8 bits), pack-quantized (4, 8), \
                             mxfp4-pack-quantized, nvfp4-pack-quantized (4)";
                let reason = format!("is `{other}` of {bits} bits; supported are {known}");
                return Err(fields.error(FORMAT, reason));
            }
        };
        if !weights.flag_or("symmetric", true)? {
            return Err(weights.error("symmetric", "is false; zero points are not supported"));
        }
        const STRATEGY: &str = "strategy";
        let block = match weights.text(STRATEGY)?.unwrap_or("tensor") {
            "tensor" => Block::Matrix,
            "channel" => Block::Row,
            "group" | "tensor_group" => group_size(&weights)?.map_or(Block::Row, Block::Group),
            "block" => tile(&weights, "block_structure")?,
            other => {
                let known = "tensor, channel, group, tensor_group, block";
                return Err(weights.error(STRATEGY, format!("is `{other}`; supported are {known}")));
            }
        };
        Ok(Self { block, scale: "weight_scale", numbers, divisor })
    }

    pub(super) fn weight<'a>(
        &self,
        shape: [usize; 2],
        find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
    ) -> Result<Option<Vec<f32>>> {
        let stored = match self.numbers {
            Numbers::Bytes => find("weight")?,
            Numbers::Integers(_) | Numbers::Floats => find("weight_packed")?,
        };
        let Some(weight) = stored.filter(|weight| !weight.is_plain()) else { return Ok(None) };
        let [outputs, inputs] = shape;
        let [rows, columns] = match self.block {
            Block::Matrix => shape,
            Block::Row => [1, inputs],
            Block::Group(size) => [1, size],
            Block::Tile(size) => size,
        };
        let across = inputs.div_ceil(columns);
        let need = |name: &str| find(name)?.ok_or_else(|| weight.error(format!("has no `{name}` beside it")));
        let scale = need(self.scale)?;
        let mut scales = scale.scales()?;
        let expected = [outputs.div_ceil(rows), across];
        // Of a single row or column of scales, files differ in the shape.
        let fits = match scale.tensor.shape[..] {
            [_, _] if expected.iter().all(|size| *size > 1) => scale.tensor.shape == expected,
            _ => scales.len() == expected[0] * expected[1],
        };
        if !fits {
            let reason = format!("has shape {:?}, for blocks of {rows} × {columns}", scale.tensor.shape);
            return Err(scale.error(format!("{reason} of a layer of {outputs} × {inputs}")));
        }
        if let Some(zero) = find("weight_zero_point")? {
            return Err(zero.error("is a zero point, which is not supported"));
        }
        if let Some(divisor) = self.divisor {
            let divisor = need(divisor)?;
            let [all] = divisor.numbers()?[..] else {
                return Err(divisor.error("does not hold one number"));
            };
            scales.iter_mut().for_each(|scale| *scale /= all);
        }
        let mut dense = match self.numbers {
            Numbers::Bytes => weight.eight_bits(&shape)?,
            Numbers::Integers(bits) => unpacked(&weight, shape, bits)?,
            Numbers::Floats => floats(&weight, shape)?,
        };
        let of_input: Vec<usize> = match find("weight_g_idx")? {
            Some(part) => part.words(&[inputs])?.iter().map(|group| *group as usize).collect(),
            None => (0..inputs).map(|input| input / columns).collect(),
        };
        if let Some(group) = of_input.iter().find(|group| **group >= across) {
            return Err(scale.error(format!("has {across} groups; an input is of group {group}")));
        }
        for (output, row) in dense.chunks_mut(inputs).enumerate() {
            let scales = &scales[output / rows * across..][..across];
            row.iter_mut().zip(&of_input).for_each(|(number, group)| *number *= scales[*group]);
        }
        Ok(Some(dense))
    }
}

/// A field that holds the height and the width of a block; the whole matrix without it.
fn tile(fields: &Config<'_>, field: &str) -> Result<Block> {
    if fields.get(field).is_none() {
        return Ok(Block::Matrix);
    }
    match fields.numbers(field)?[..] {
        [rows, columns] if rows >= 1.0 && columns >= 1.0 => {
            Ok(Block::Tile([rows as usize, columns as usize]))
        }
        _ => Err(fields.error(field, "is not a height and a width")),
    }
}

/// Integers that are packed along a row from the lowest bits of a word up, increased by half their range.
fn unpacked(weight: &Part<'_>, [outputs, inputs]: [usize; 2], bits: usize) -> Result<Vec<f32>> {
    let packed = 32 / bits;
    let row = inputs.div_ceil(packed);
    let words = weight.words(&[outputs, row])?;
    let (mask, half) = ((1u32 << bits) - 1, 1 << (bits - 1));
    let number = |words: &[u32], input: usize| {
        (words[input / packed] >> (bits * (input % packed)) & mask).cast_signed() - half
    };
    let rows = words.chunks(row);
    Ok(rows.flat_map(|words| (0..inputs).map(move |input| number(words, input) as f32)).collect())
}

/// Floating-point numbers of four bits along a row, the first of two in the lower half of a byte.
fn floats(weight: &Part<'_>, [outputs, inputs]: [usize; 2]) -> Result<Vec<f32>> {
    let row = inputs.div_ceil(2);
    let rows = weight.bytes(&[outputs, row])?.chunks(row);
    let number = |byte: &u8| [byte & 15, byte >> 4].map(mxfp4::number);
    Ok(rows.flat_map(|row| row.iter().flat_map(number).take(inputs)).collect())
}
