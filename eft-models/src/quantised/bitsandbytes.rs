//! bitsandbytes: codes of four bits, which stand for the numbers of a table that the file holds (NF4 and FP4; Dettmers et
//! al. 2023, arXiv 2305.14314), and integers of eight bits with a scale for each output (LLM.int8; Dettmers et al. 2022,
//! arXiv 2208.07339).
//!
//! The weight of a layer is one run of codes, the upper half of a byte before the lower. Each `blocksize` of them have a
//! scale. Scales may be quantised too, to codes of eight bits with a table, a scale and an offset of their own.
use safetensors::Dtype;
use serde_json::Value;

use super::Part;
use crate::Result;
use crate::config::Config;

/// The names of the tensors that describe how a weight of four bits is quantised.
const STATES: [&str; 2] = ["weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4"];

/// bitsandbytes' quantisation. What the configuration says is repeated beside each weight.
pub(crate) struct BitsAndBytes;

impl BitsAndBytes {
    pub(super) fn read(fields: &Config<'_>) -> Result<Self> {
        const STORAGE: &str = "bnb_4bit_quant_storage";
        if let Some(other) = fields.text(STORAGE)?.filter(|storage| *storage != "uint8") {
            return Err(fields.error(STORAGE, format!("is `{other}`; only `uint8` is supported")));
        }
        Ok(Self)
    }

    pub(super) fn weight<'a>(
        &self,
        shape: [usize; 2],
        find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
    ) -> Result<Option<Vec<f32>>> {
        let Some(weight) = find("weight")?.filter(|weight| !weight.is_plain()) else { return Ok(None) };
        match weight.tensor.dtype {
            Dtype::U8 => four_bits(&weight, shape, find).map(Some),
            Dtype::I8 => eight_bits(&weight, shape, find).map(Some),
            other => Err(weight.error(format!("is of type {other:?}; expected U8 or I8"))),
        }
    }
}

/// Integers of eight bits, times the largest absolute value of their row over 127.
fn eight_bits<'a>(
    weight: &Part<'_>,
    shape: [usize; 2],
    find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
) -> Result<Vec<f32>> {
    let scale = find("SCB")?.ok_or_else(|| weight.error("has no `SCB` beside it"))?;
    let scales = exactly(&scale, shape[0])?;
    let mut dense = weight.eight_bits(&shape)?;
    for (row, scale) in dense.chunks_mut(shape[1]).zip(scales) {
        row.iter_mut().for_each(|number| *number *= scale / 127.0);
    }
    Ok(dense)
}

fn four_bits<'a>(
    weight: &Part<'_>,
    [outputs, inputs]: [usize; 2],
    find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
) -> Result<Vec<f32>> {
    let need = |name: &str| find(name)?.ok_or_else(|| weight.error(format!("has no `{name}` beside it")));
    let entries = outputs * inputs;
    if weight.tensor.bytes.len() != entries.div_ceil(2) {
        let found = weight.tensor.bytes.len();
        return Err(weight.error(format!("has {found} bytes, for a layer of {outputs} × {inputs}")));
    }
    let state = match find(STATES[0])? {
        Some(state) => state,
        None => need(STATES[1])?,
    };
    let fields: Value =
        serde_json::from_slice(&state.tensor.bytes).map_err(|e| state.error(format!("is not JSON: {e}")))?;
    let size = |name: &str| match fields[name].as_u64() {
        Some(size @ 1..=0x1_0000) => Ok(size as usize),
        _ => Err(state.error(format!("has the `{name}` {}; expected a positive number", fields[name]))),
    };
    let stored = fields["shape"].as_array().map(|sizes| sizes.iter().map(Value::as_u64).collect::<Vec<_>>());
    if stored.as_ref().is_some_and(|sizes| *sizes != [outputs, inputs].map(|size| Some(size as u64))) {
        let reason = format!("has the `shape` {}; expected [{outputs},{inputs}]", fields["shape"]);
        return Err(state.error(reason));
    }
    let block = size("blocksize")?;
    let blocks = entries.div_ceil(block);
    let scale = need("weight.absmax")?;
    let scales = match scale.tensor.dtype {
        Dtype::U8 => {
            let nested = size("nested_blocksize")?;
            let table = exactly(&need("weight.nested_quant_map")?, 256)?;
            let outer = exactly(&need("weight.nested_absmax")?, blocks.div_ceil(nested))?;
            let offset = fields["nested_offset"].as_f64().filter(|offset| offset.is_finite());
            let offset = offset.ok_or_else(|| state.error("has no `nested_offset`"))? as f32;
            let codes = &scale.tensor.bytes;
            if codes.len() != blocks {
                return Err(scale.error(format!("has {} scales; expected {blocks}", codes.len())));
            }
            let numbers = codes.iter().enumerate();
            numbers.map(|(i, code)| table[usize::from(*code)] * outer[i / nested] + offset).collect()
        }
        _ => exactly(&scale, blocks)?,
    };
    let table = exactly(&need("weight.quant_map")?, 16)?;
    let codes = weight.tensor.bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(codes
        .take(entries)
        .enumerate()
        .map(|(i, code)| table[usize::from(code)] * scales[i / block])
        .collect())
}

/// The numbers of a part, of which there must be this many.
fn exactly(part: &Part<'_>, count: usize) -> Result<Vec<f32>> {
    let numbers = part.numbers()?;
    if numbers.len() == count {
        return Ok(numbers);
    }
    Err(part.error(format!("has {} entries; expected {count}", numbers.len())))
}
