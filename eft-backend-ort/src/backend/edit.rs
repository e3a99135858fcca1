//! Changes of single scores: biases, repetition penalties and masks.
use eft_core::{Edit, Result, TokenMask};

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::tensor::{Tensor, integers, value};

/// Applies each row's edits in their order: the first edits of all rows together, then the second, and so on.
pub(super) fn edit(runtime: &Runtime, rows: Rows, edits: &[Vec<Edit>]) -> Result<Tensor> {
    let width = rows.width();
    let mut scores = runtime.concat(&[rows])?;
    let rounds = edits.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let edits: Vec<_> = edits.iter().map(|edits| edits.get(round)).collect();
        let TokenEdits { entries, penalties, biases } = TokenEdits::new(&edits, width);
        let count = [entries.len()];
        if !entries.is_empty() {
            let arguments = [integers(count, entries)?, value(count, penalties)?, value(count, biases)?];
            scores = runtime.tensor(
                Operation::EditTokens,
                &[Rows::whole(scores)],
                &arguments,
                |graph, rows| write_tokens(graph, rows[0], width),
            )?;
        }
        if edits.iter().any(|edit| matches!(edit, Some(Edit::Allow(_)))) {
            let mask = value([edits.len(), width.div_ceil(8), 1], mask_bytes(&edits, width))?;
            scores =
                runtime.tensor(Operation::EditMask, &[Rows::whole(scores)], &[mask], |graph, rows| {
                    write_mask(graph, rows[0], width)
                })?;
        }
    }
    Ok(scores)
}

/// Penalties and biases of single tokens, of at most one edit for each row.
#[derive(Default)]
struct TokenEdits {
    /// Indices into the flattened rows, without duplicates.
    entries: Vec<i64>,
    /// Positive scores are divided by the penalty, others multiplied.
    penalties: Vec<f32>,
    /// The bias is added after the penalty.
    biases: Vec<f32>,
}

impl TokenEdits {
    fn new(edits: &[Option<&Edit>], width: usize) -> Self {
        let mut new = Self::default();
        for (row, edit) in edits.iter().enumerate() {
            let mut push = |token: u32, penalty: f32, bias: f32| {
                new.entries.push((row * width + token as usize) as i64);
                new.penalties.push(penalty);
                new.biases.push(bias);
            };
            match edit {
                Some(Edit::Bias(biases)) => {
                    // All biases of a token are summed, since a scatter may write each entry only once.
                    let mut biases = biases.clone();
                    biases.sort_by_key(|(token, _)| *token);
                    biases.chunk_by(|a, b| a.0 == b.0).for_each(|same| {
                        push(same[0].0, 1.0, same.iter().map(|(_, bias)| bias).sum());
                    });
                }
                Some(Edit::Repetition { tokens, penalty }) => {
                    tokens.iter().for_each(|token| push(*token, *penalty, 0.0));
                }
                Some(Edit::Allow(_)) | None => {}
            }
        }
        new
    }
}

/// Arguments: indices into the flattened rows, penalties and biases, `(m)` each.
fn write_tokens(graph: &mut GraphBuilder, scores: Var, width: usize) -> Var {
    let entries = graph.argument(Dtype::I64, 1);
    let (penalties, biases) = (graph.argument(Dtype::F32, 1), graph.argument(Dtype::F32, 1));
    let flat = graph.reshape(scores, &[-1]);
    let old = graph.gather_rows(flat, entries);
    let zero = graph.float(0.0);
    let positive = graph.greater(old, zero);
    let (quotient, product) = (graph.div(old, penalties), graph.mul(old, penalties));
    let new = graph.where_cond(positive, quotient, product);
    let new = graph.add(new, biases);
    let flat = graph.op_with("ScatterElements", &[flat, entries, new], &[("axis", 0)]);
    graph.reshape(flat, &[-1, width as i64])
}

/// The masks as bits, `⌈width / 8⌉` bytes for each row; a row without a mask allows every token.
fn mask_bytes(edits: &[Option<&Edit>], width: usize) -> Vec<u8> {
    let bytes = width.div_ceil(8);
    let mut masks = Vec::with_capacity(edits.len() * bytes);
    for edit in edits {
        match edit {
            Some(Edit::Allow(mask)) => masks.extend(bytes_of(mask).take(bytes)),
            _ => masks.extend(std::iter::repeat_n(u8::MAX, bytes)),
        }
    }
    masks
}

/// The bytes of a mask, eight ids each with the lowest id in the lowest bit, followed by endless zeros.
fn bytes_of(mask: &TokenMask) -> impl Iterator<Item = u8> {
    mask.words().iter().flat_map(|word| word.to_le_bytes()).chain(std::iter::repeat(0))
}

/// Argument: the masks' bytes, `(n, bytes, 1)`.
fn write_mask(graph: &mut GraphBuilder, scores: Var, width: usize) -> Var {
    let bytes = graph.argument(Dtype::U8, 3);
    let bytes = graph.cast(bytes, Dtype::I32);
    // Few providers have bitwise operators: bit i of a byte is the parity of the byte divided by 2ⁱ.
    let powers = graph.integer_list(&[1, 2, 4, 8, 16, 32, 64, 128]);
    let powers = graph.cast(powers, Dtype::I32);
    let quotients = graph.div(bytes, powers);
    let two = graph.integer_list(&[2]);
    let two = graph.cast(two, Dtype::I32);
    let bits = graph.op("Mod", &[quotients, two]);
    let bits = graph.cast(bits, Dtype::Bool);
    let bits = graph.reshape(bits, &[-1, 8 * width.div_ceil(8) as i64]);
    let allowed = graph.slice_columns(bits, 0, width);
    // −∞ is added, not written, so that NaN and +∞ stay unsound where the mask excludes them.
    let excluded = graph.float(f32::NEG_INFINITY);
    let excluded = graph.add(scores, excluded);
    graph.where_cond(allowed, scores, excluded)
}
