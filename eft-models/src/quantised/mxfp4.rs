//! MXFP4 as the experts of gpt-oss are published in it: numbers of four bits, in groups of 32 inputs with one power of two
//! for each (Open Compute Project, Microscaling Formats 1.0, section 5).
//!
//! The matrices of all experts are one tensor of bytes, experts × outputs × groups × 16: the lower half of a byte is the
//! first of two numbers. The exponents of the groups are another, experts × outputs × groups. These are the same numbers as
//! in GGUF's blocks, in another order.
use super::part::{Part, e8m0};
use crate::Result;
use crate::tensors::{Blocks, Dtype, RawTensor};

/// The number of inputs in a group.
const GROUP: usize = 32;
/// The number of bytes of a group's numbers.
const CODES: usize = GROUP / 2;

/// The numbers without a sign. A sign is the highest of the four bits.
const NUMBERS: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The matrix of an expert as GGUF's blocks, outputs × inputs; `None` if it is not in MXFP4. `shape` is experts × inputs ×
/// outputs, and `find` returns the stored tensor of a name that is made of the matrices' and this suffix.
pub(crate) fn blocks<'a>(
    [count, inputs, outputs]: [usize; 3],
    index: usize,
    find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
) -> Result<Option<Vec<u8>>> {
    let Some(codes) = find("_blocks")? else { return Ok(None) };
    let scales = find("_scales")?.ok_or_else(|| codes.error("has no `_scales` beside it"))?;
    if !inputs.is_multiple_of(GROUP) {
        return Err(codes.error(format!("is of groups of {GROUP}; the layer has {inputs} inputs")));
    }
    let groups = inputs / GROUP;
    let codes = codes.bytes(&[count, outputs, groups, CODES])?;
    let scales = scales.bytes(&[count, outputs, groups])?;
    let (all, own) = (outputs * groups, index * outputs * groups);
    Ok(Some(packed(&codes[own * CODES..][..all * CODES], &scales[own..][..all])))
}

/// Blocks of an exponent and 32 numbers each: the lower halves of the bytes are the first 16 numbers.
fn packed(codes: &[u8], scales: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(codes.len() + scales.len());
    for (codes, scale) in codes.as_chunks::<CODES>().0.iter().zip(scales) {
        let code = |i: usize| (codes[i / 2] >> (4 * (i % 2))) & 15;
        blocks.push(*scale);
        blocks.extend((0..CODES).map(|i| code(i) | code(i + CODES) << 4));
    }
    blocks
}

/// The number of a code of four bits.
pub(super) fn number(code: u8) -> f32 {
    let size = NUMBERS[usize::from(code & 7)];
    if code & 8 == 0 { size } else { -size }
}

/// A matrix of such blocks in f32. Other matrices are returned as they are.
pub(crate) fn dequantised(raw: RawTensor<'_>) -> RawTensor<'_> {
    if raw.dtype != Dtype::Quantised(Blocks::MXFP4) {
        return raw;
    }
    let of_block = |block: &[u8; CODES + 1]| {
        let [exponent, codes @ ..] = *block;
        let halves = codes.map(|byte| byte & 15).into_iter().chain(codes.map(|byte| byte >> 4));
        // The largest power alone is not a number of f32.
        halves.map(move |code| (f64::from(number(code)) * e8m0(exponent)) as f32)
    };
    let numbers: Vec<f32> = raw.bytes.as_chunks().0.iter().flat_map(of_block).collect();
    RawTensor::of_numbers(raw.name, &raw.shape, &numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_blocks_and_numbers() {
        // Two groups whose numbers have the codes 0 to 15 twice, with the exponents −1 and 2.
        let codes: Vec<u8> = (0..16).map(|i| (2 * i % 16) | ((2 * i + 1) % 16) << 4).collect();
        let blocks = packed(&codes.repeat(2), &[126, 129]);
        assert_eq!(blocks[..4], [126, 0x00, 0x11, 0x22]);
        let dtype = Dtype::Quantised(Blocks::MXFP4);
        let raw = RawTensor { name: "w", shape: vec![2, 32], dtype, bytes: blocks.into() };
        let numbers = dequantised(raw).numbers().unwrap_or_default();
        let table =
            [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0f32];
        let expected: Vec<f32> =
            [0.5, 4.0].iter().flat_map(|scale| table.repeat(2).into_iter().map(move |x| x * scale)).collect();
        assert_eq!(numbers, expected);
    }
}
