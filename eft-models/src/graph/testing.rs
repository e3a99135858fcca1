//! A toy decoder in plain Rust whose faults can be chosen.
use eft_core::{Backend, Host, Result};

use super::interface::{ForwardInput, ForwardOutput, Graph, GraphCaps, Precision, SlotSelection};

/// The fault of a [`Toy`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Logits over a cache are off by this many of their standard deviations.
    Cache(f32),
    /// Of several tokens fed over a cache, each attends to all of them, from a wrong position.
    SeveralTokens,
    /// The mask is ignored.
    Mask,
    /// Each token attends to those after it in the pass.
    LooksAhead,
    /// Logits are off by this many standard deviations, except in passes of four tokens.
    Noise(f32),
}

/// A decoder whose logits depend on the sum of the ids that a token may attend to, each weighted by how far away it is.
pub(super) struct Toy {
    pub(super) fault: Fault,
    pub(super) precision: Precision,
}

/// The vocabulary.
pub(super) const WIDTH: usize = 16;

/// The id and the position in each slot of each row.
pub(super) type Slots = Vec<Vec<(i64, i64)>>;

impl Toy {
    /// The logits after a token: a smooth function of the ids and positions that it attends to.
    fn logits(&self, seen: impl Iterator<Item = (i64, i64)>, position: i64, off: f32) -> Vec<f32> {
        let state: f64 = seen.map(|(id, at)| (id + 1) as f64 / (1 + position - at).abs().max(1) as f64).sum();
        let logit = |column: usize| (state * (column + 1) as f64 * 0.37).sin();
        let logits: Vec<f64> = (0..WIDTH).map(logit).collect();
        let mean = logits.iter().sum::<f64>() / WIDTH as f64;
        let deviation = (logits.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64).sqrt();
        let sign = |column: usize| if column.is_multiple_of(2) { 1.0 } else { -1.0 };
        let shift = |column: usize| sign(column) * f64::from(off) * deviation;
        logits.iter().enumerate().map(|(column, logit)| (logit + shift(column)) as f32).collect()
    }
}

impl Graph for Toy {
    type Backend = Host;
    type Caches = Slots;

    fn backend(&self) -> &Host {
        &Host
    }

    fn caps(&self) -> GraphCaps {
        GraphCaps { cached: true, masked: true, one_row: false, precision: self.precision }
    }

    fn forward(&self, input: &ForwardInput, caches: Option<&Slots>) -> Result<ForwardOutput<Self>> {
        let ForwardInput { rows, tokens, slots, wanted, .. } = *input;
        let mut logits = Vec::new();
        let mut all = caches.cloned().unwrap_or_else(|| vec![Vec::new(); rows]);
        for (row, cache) in all.iter_mut().enumerate() {
            let new = row * tokens..(row + 1) * tokens;
            cache.extend(input.ids[new.clone()].iter().copied().zip(input.positions[new].iter().copied()));
            let mask = &input.mask[row * (slots + tokens)..][..slots + tokens];
            for token in tokens - wanted..tokens {
                let end = match self.fault {
                    Fault::LooksAhead => slots + tokens,
                    Fault::SeveralTokens if slots > 0 => slots + tokens,
                    _ => slots + token + 1,
                };
                let seen = (0..end).filter(|slot| mask[*slot] == 1 || self.fault == Fault::Mask);
                let off = match self.fault {
                    Fault::Cache(off) if slots > 0 => off,
                    Fault::Noise(noise) if tokens != 4 => noise,
                    _ => 0.0,
                };
                let wrong =
                    if self.fault == Fault::SeveralTokens && slots > 0 { tokens as i64 - 1 } else { 0 };
                let position = cache[slots + token].1 + wrong;
                logits.extend(self.logits(seen.map(|slot| cache[slot]), position, off));
            }
        }
        let logits = if wanted > 0 { Some((Host.upload(&logits, WIDTH)?, wanted)) } else { None };
        Ok(ForwardOutput { logits, caches: Some(all) })
    }

    fn gather(&self, caches: &Slots, _: usize, selections: &[SlotSelection]) -> Result<Slots> {
        let row = |selection: &SlotSelection| {
            selection.slots.iter().map(|slot| caches[selection.row][*slot]).collect()
        };
        Ok(selections.iter().map(row).collect())
    }
}
