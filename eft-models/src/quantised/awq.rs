//! AWQ (Lin et al. 2023, arXiv 2306.00978), in the format `gemm` of AutoAWQ: integers of 4 bits, with a scale and a zero
//! point for each group of inputs and each output.
use super::Part;
use super::gptq::group_size;
use crate::Result;
use crate::config::Config;

/// The number of integers in a word.
const PACKED: usize = 8;
/// The place in a word of each of eight consecutive outputs.
const PLACES: [usize; PACKED] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The fields of AWQ's configuration.
pub(crate) struct Awq {
    /// Consecutive inputs with one scale; `None` if all have one.
    group: Option<usize>,
}

impl Awq {
    pub(super) fn read(fields: &Config<'_>) -> Result<Self> {
        let bits = fields.size("bits")?;
        if bits != 4 {
            return Err(fields.error("bits", format!("is {bits}; only 4 is supported")));
        }
        for field in ["version", "format"] {
            if let Some(other) = fields.text(field)?.filter(|version| !version.eq_ignore_ascii_case("gemm")) {
                return Err(fields.error(field, format!("is `{other}`; only `gemm` is supported")));
            }
        }
        Ok(Self { group: group_size(fields)? })
    }

    pub(super) fn weight<'a>(
        &self,
        [outputs, inputs]: [usize; 2],
        find: &dyn Fn(&str) -> Result<Option<Part<'a>>>,
    ) -> Result<Option<Vec<f32>>> {
        let Some(weight) = find("qweight")? else { return Ok(None) };
        if !outputs.is_multiple_of(PACKED) {
            return Err(weight.error(format!("packs {PACKED} outputs; its layer has {outputs}")));
        }
        let missing = |name: &str| weight.error(format!("has no `{name}` beside it"));
        let scale = find("scales")?.ok_or_else(|| missing("scales"))?;
        let zero = find("qzeros")?.ok_or_else(|| missing("qzeros"))?;
        let group = self.group.unwrap_or(inputs);
        let [groups, columns] = scale.matrix()?;
        if [groups, columns] != [inputs.div_ceil(group), outputs] {
            let reason = format!("has shape [{groups}, {columns}], for groups of {group} inputs");
            return Err(scale.error(format!("{reason} of a layer of {outputs} × {inputs}")));
        }
        let words = weight.words(&[inputs, outputs / PACKED])?;
        let zeros = zero.words(&[groups, outputs / PACKED])?;
        let scales = scale.numbers()?;
        let number = |words: &[u32], row: usize, output: usize| {
            let word = words[row * (outputs / PACKED) + output / PACKED];
            (word >> (4 * PLACES[output % PACKED]) & 15).cast_signed()
        };
        let mut dense = Vec::with_capacity(outputs * inputs);
        for output in 0..outputs {
            for input in 0..inputs {
                let steps = number(&words, input, output) - number(&zeros, input / group, output);
                dense.push(scales[input / group * outputs + output] * steps as f32);
            }
        }
        Ok(Some(dense))
    }
}
