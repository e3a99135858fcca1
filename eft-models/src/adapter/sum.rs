//! The sum of what several adapters change in one module.
use super::stored::{AdapterWeights, StoredChange, StoredLowRank};
use crate::Result;
use crate::tensors::RawTensor;

/// One of the adapters of a sum: what it stores, its name, and its weight.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) stored: Box<dyn AdapterWeights>,
    pub(super) weight: f32,
}

impl Part {
    fn error(&self, module: &str, reason: String) -> crate::Error {
        self.stored.error(module, reason)
    }
}

/// Adds the changes of a module, each multiplied by the weight of its adapter. Only products of two matrices can be added
/// and multiplied: every other change must be the only one, with the weight 1.
pub(super) fn sum<'a>(
    module: &str,
    changes: Vec<(&Part, StoredChange<'a>)>,
) -> Result<Option<StoredChange<'a>>> {
    let mut low_ranks = Vec::with_capacity(changes.len());
    let names: Vec<_> = changes.iter().map(|(part, _)| part.name.clone()).collect();
    let alone = changes.len() == 1;
    for (part, change) in changes {
        let what = match &change {
            StoredChange::LowRank(StoredLowRank { magnitude: Some(_), .. }) => "changes by DoRA",
            StoredChange::LowRank(_) => "changes",
            StoredChange::Module { .. } => "replaces",
            StoredChange::Rows { .. } => "replaces rows of",
        };
        match change {
            StoredChange::LowRank(low_rank) if low_rank.magnitude.is_none() => {
                low_ranks.push((part, low_rank))
            }
            change if alone && part.weight == 1.0 => return Ok(Some(change)),
            _ if alone => {
                let reason = format!(
                    "`{}` {what} `{module}`, which is possible with the weight 1 only, not with {}",
                    part.name, part.weight
                );
                return Err(part.error(module, reason));
            }
            _ => {
                let others: Vec<_> =
                    names.iter().filter(|name| **name != part.name).map(String::as_str).collect();
                let others = if others.is_empty() { &part.name } else { &others.join("`, `") };
                let reason = format!(
                    "`{}` {what} `{module}`, which cannot be added to the change by `{others}`",
                    part.name
                );
                return Err(part.error(module, reason));
            }
        }
    }
    if low_ranks.len() > 1 {
        return side_by_side(module, low_ranks).map(|sum| Some(StoredChange::LowRank(sum)));
    }
    Ok(low_ranks.pop().map(|(part, low_rank)| {
        StoredChange::LowRank(StoredLowRank { scale: part.weight * low_rank.scale, ..low_rank })
    }))
}

/// The sum of products as one product, with the matrices A below one another, and the matrices B side by side:
/// `Σ wᵢ·Bᵢ·Aᵢ = [w₁·B₁, w₂·B₂, …]·[A₁; A₂; …]`.
fn side_by_side<'a>(module: &str, low_ranks: Vec<(&Part, StoredLowRank<'a>)>) -> Result<StoredLowRank<'a>> {
    let mut down = Vec::new();
    let (mut ups, mut biases) = (Vec::new(), Vec::new());
    let (mut rank, mut names) = (0, None);
    for (part, low_rank) in low_ranks {
        let numbers = |raw: &RawTensor<'_>| {
            let reason = "is of quantised blocks, which cannot be added to another adapter";
            raw.numbers().ok_or_else(|| part.error(module, reason.into()))
        };
        let factor = part.weight * low_rank.scale;
        let own = low_rank.down.shape[0];
        down.extend(numbers(&low_rank.down)?);
        let up = numbers(&low_rank.up)?.into_iter().map(|x| x * factor).collect::<Vec<_>>();
        ups.push((own, up));
        if let Some(bias) = &low_rank.bias {
            biases.push(numbers(bias)?.into_iter().map(|x| x * factor).collect::<Vec<_>>());
        }
        rank += own;
        names.get_or_insert((
            low_rank.down.name,
            low_rank.up.name,
            low_rank.down.shape[1],
            low_rank.up.shape[0],
        ));
    }
    let (down_name, up_name, inputs, outputs) = names.unwrap_or_default();
    let row = |output: usize| ups.iter().flat_map(move |(rank, up)| &up[output * rank..(output + 1) * rank]);
    let up: Vec<f32> = (0..outputs).flat_map(row).copied().collect();
    let bias = (!biases.is_empty()).then(|| {
        let sum: Vec<f32> = (0..outputs).map(|output| biases.iter().map(|bias| bias[output]).sum()).collect();
        RawTensor::of_numbers(up_name, &[outputs], &sum)
    });
    Ok(StoredLowRank {
        down: RawTensor::of_numbers(down_name, &[rank, inputs], &down),
        up: RawTensor::of_numbers(up_name, &[outputs, rank], &up),
        bias,
        magnitude: None,
        scale: 1.0,
    })
}
