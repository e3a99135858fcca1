//! [`Checker`]: score rows on the device, and comparisons of the results of operations on them.
use crate::TokenId;
use crate::backend::{Backend, ScoreRow, score_rows};
use crate::conformance::rows::KINDS;
use crate::conformance::{Law, Result, reference, require};

/// The largest accepted difference, relative to the largest score: a few roundings of `f32`.
pub(super) const TOLERANCE: f64 = 1e-5;

/// Rows on the device, in two tensors.
pub(super) struct Rows<B: Backend> {
    tensors: [B::Tensor; 2],
    split: usize,
    pub(super) values: Vec<Vec<f32>>,
}

impl<B: Backend> Rows<B> {
    pub(super) fn new(backend: &B, rows: &[Vec<f32>], width: usize) -> Result<Self> {
        let split = rows.len() / 2;
        let upload = |rows: &[Vec<f32>]| {
            // Rows are wider than the columns that count, like those of models.
            let padded: Vec<_> = rows.iter().flat_map(|r| r.iter().copied().chain([1e9, f32::NAN])).collect();
            backend.upload(&padded, width + 2).law("rows can be uploaded")
        };
        let tensors = [upload(&rows[..split])?, upload(&rows[split..])?];
        let mut stored = Self { tensors, split, values: Vec::new() };
        let values = backend.download(&stored.rows(rows.len()), width).law("rows can be downloaded")?;
        stored.values = values.chunks(width).map(<[f32]>::to_vec).collect();
        Ok(stored)
    }

    fn rows(&self, count: usize) -> Vec<ScoreRow<'_, B>> {
        let row = |i: usize| match i.checked_sub(self.split) {
            None => ScoreRow::new(&self.tensors[0], i),
            Some(i) => ScoreRow::new(&self.tensors[1], i),
        };
        (0..count).map(row).collect()
    }

    pub(super) fn all(&self) -> Vec<ScoreRow<'_, B>> {
        self.rows(self.values.len())
    }
}

pub(super) struct Checker<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) width: usize,
    pub(super) rows: Rows<B>,
    /// The order of each row, and its log-probabilities, by the reference: most operations are compared with them.
    pub(super) orders: Vec<Vec<TokenId>>,
    pub(super) log_probs: Vec<Vec<f64>>,
}

impl<'a, B: Backend> Checker<'a, B> {
    pub(super) fn new(backend: &'a B, rows: &[Vec<f32>], width: usize) -> Result<Self> {
        let rows = Rows::new(backend, rows, width)?;
        let orders = rows.values.iter().map(|row| reference::order(row)).collect();
        let log_probs = rows.values.iter().map(|row| reference::log_softmax(row)).collect();
        Ok(Self { backend, width, rows, orders, log_probs })
    }

    /// Downloads the rows that an operation returned.
    pub(super) fn values(&self, tensor: crate::Result<B::Tensor>, law: &str) -> Result<Vec<Vec<f32>>> {
        let tensor = tensor.law(law)?;
        let (height, width) = self.backend.shape(&tensor);
        require(width == self.width, law, || format!("{width} columns instead of {}", self.width))?;
        let values = self.backend.download(&score_rows(&tensor, height), width).law(law)?;
        Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
    }

    pub(super) fn near(&self, law: &str, got: &[Vec<f32>], expected: &[Vec<f64>]) -> Result {
        require(got.len() == expected.len(), law, || {
            format!("{} rows, expected {}", got.len(), expected.len())
        })?;
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let scale = expected.iter().filter(|x| x.is_finite()).fold(1.0f64, |m, x| m.max(x.abs()));
            let far = got.iter().zip(expected).position(|(got, expected)| {
                let got = f64::from(*got);
                !near(got, *expected, TOLERANCE * scale)
            });
            require(far.is_none(), law, || {
                let token = far.unwrap_or(0);
                let (got, expected) = (got[token], expected[token]);
                format!("width {}, {:?}, token {token}: {got}, expected {expected}", self.width, KINDS.get(i))
            })?;
        }
        Ok(())
    }
}

/// Returns whether two numbers are equal, both NaN, or no further apart than `tolerance`.
pub(super) fn near(got: f64, expected: f64, tolerance: f64) -> bool {
    got == expected || (got.is_nan() && expected.is_nan()) || (got - expected).abs() <= tolerance
}
