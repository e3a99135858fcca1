//! [`Constants`]: tensors that never change, made once for each device and size.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor};

/// The constants of one device, which are kept there so that no decoding step uploads them again.
pub(crate) struct Constants {
    device: Device,
    ids: Mutex<HashMap<(), Tensor>>,
    triangles: Mutex<HashMap<usize, Tensor>>,
    landmarks: Mutex<HashMap<(), Tensor>>,
}

impl Constants {
    pub(super) fn new(device: Device) -> Self {
        Self { device, ids: Mutex::default(), triangles: Mutex::default(), landmarks: Mutex::default() }
    }

    /// The integers `0..count` as one row, `(1, count)` of `u32`.
    pub(crate) fn ids(&self, count: usize) -> Result<Tensor> {
        let enough = |ids: &Tensor| ids.elem_count() >= count;
        let make = || Tensor::arange(0, count as u32, &self.device)?.reshape((1, count));
        get(&self.ids, (), enough, make)?.narrow(1, 0, count)
    }

    /// The `(size, size)` upper triangular matrix of ones: rows multiplied by it become their cumulative sums.
    pub(super) fn triangle(&self, size: usize) -> Result<Tensor> {
        get(&self.triangles, size, |_| true, || Tensor::triu2(size, DType::F32, &self.device))
    }

    /// Zero, the powers of two and the largest finite number, of both signs and in ascending order, then +∞ twice.
    ///
    /// All `f32` between two neighbours are equally far apart, so that a bisection ends at exactly one of them.
    pub(super) fn landmarks(&self) -> Result<Tensor> {
        let make = || {
            let powers = (1..255u32).map(|exponent| f32::from_bits(exponent << 23));
            let positive: Vec<_> = powers.chain([f32::MAX]).collect();
            let mut all: Vec<_> = positive.iter().rev().map(|x| -x).collect();
            all.push(0.0);
            all.extend(positive);
            all.extend([f32::INFINITY; 2]);
            Tensor::new(all, &self.device)
        };
        get(&self.landmarks, (), |_| true, make)
    }
}

/// The tensor under `key` if it is suitable; else a new one, which replaces it.
fn get<K: Eq + std::hash::Hash>(
    kept: &Mutex<HashMap<K, Tensor>>,
    key: K,
    serves: impl Fn(&Tensor) -> bool,
    make: impl Fn() -> Result<Tensor>,
) -> Result<Tensor> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.get(&key).filter(|tensor| serves(tensor)) {
        Some(tensor) => Ok(tensor.clone()),
        None => {
            let tensor = make()?;
            kept.insert(key, tensor.clone());
            Ok(tensor)
        }
    }
}
