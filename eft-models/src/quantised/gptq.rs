//! GPTQ (Frantar et al. 2022, arXiv 2210.17323), as AutoGPTQ and GPTQModel store it: integers of 2, 4 or 8 bits, with a
//! scale and a zero point for each group of inputs and each output.
use super::Part;
use crate::Result;
use crate::config::Config;

/// The fields of GPTQ's configuration.
pub(crate) struct Gptq {
    bits: usize,
    /// Consecutive inputs with one scale, where the file does not give the group of each input.
    group: Option<usize>,
    /// What is added to stored zero points: the first version of the format stores them less 1.
    zero_offset: i32,
}

impl Gptq {
    pub(super) fn read(fields: &Config<'_>) -> Result<Self> {
        const FORMAT: &str = "checkpoint_format";
        let bits = fields.size("bits")?;
        if !matches!(bits, 2 | 4 | 8) {
            return Err(fields.error("bits", format!("is {bits}; supported are 2, 4, 8")));
        }
        let zero_offset = match fields.text(FORMAT)?.unwrap_or("gptq") {
            "gptq" => 1,
            "gptq_v2" => 0,
            other => {
                return Err(fields.error(FORMAT, format!("is `{other}`; supported are gptq, gptq_v2")));
            }
        };
        Ok(Self { bits, group: group_size(fields)?, zero_offset })
    }

    pub(super) fn weight<'a>(
        &self,
        [outputs, inputs]: [usize; 2],
        find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
    ) -> Result<Option<Vec<f32>>> {
        let Some(weight) = find("qweight")? else { return Ok(None) };
        let packed = 32 / self.bits;
        if !inputs.is_multiple_of(packed) || !outputs.is_multiple_of(packed) {
            let reason = format!("packs {packed} numbers; its layer is {outputs} × {inputs}");
            return Err(weight.error(reason));
        }
        let missing = |name: &str| weight.error(format!("has no `{name}` beside it"));
        let scale = find("scales")?.ok_or_else(|| missing("scales"))?;
        let zero = find("qzeros")?.ok_or_else(|| missing("qzeros"))?;
        let [groups, columns] = scale.matrix()?;
        if columns != outputs {
            return Err(scale.error(format!("has {columns} columns; expected {outputs}")));
        }
        let of_input: Vec<usize> = match find("g_idx")? {
            Some(part) => part.words(&[inputs])?.iter().map(|group| *group as usize).collect(),
            None => (0..inputs).map(|input| self.group.map_or(0, |size| input / size)).collect(),
        };
        if let Some(group) = of_input.iter().find(|group| **group >= groups) {
            return Err(scale.error(format!("has {groups} groups; an input is of group {group}")));
        }
        let words = weight.words(&[inputs / packed, outputs])?;
        let zeros = zero.words(&[groups, outputs / packed])?;
        let scales = scale.numbers()?;
        let mask = (1u32 << self.bits) - 1;
        let number =
            |words: &[u32], at: usize, place: usize| (words[at] >> (self.bits * place) & mask).cast_signed();
        let mut dense = Vec::with_capacity(outputs * inputs);
        for output in 0..outputs {
            for (input, group) in of_input.iter().enumerate() {
                let quantised = number(&words, input / packed * outputs + output, input % packed);
                let zero = number(&zeros, (group * outputs + output) / packed, output % packed);
                let steps = quantised - (zero + self.zero_offset);
                dense.push(scales[group * outputs + output] * steps as f32);
            }
        }
        Ok(Some(dense))
    }
}

/// The number of consecutive inputs with one scale; `None` if all have one.
pub(super) fn group_size(fields: &Config<'_>) -> Result<Option<usize>> {
    const FIELD: &str = "group_size";
    match fields.get(FIELD) {
        Some(value) if value.as_i64() == Some(-1) => Ok(None),
        Some(_) => fields.size(FIELD).map(Some),
        None => Ok(None),
    }
}
