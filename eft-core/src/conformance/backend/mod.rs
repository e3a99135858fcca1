//! Backends: every operation against its plain `f64` form, on rows like those of models and on adversarial ones.
mod refusals;

use super::extremes::check_extremes;
use super::rows::{KINDS, Kind};
use super::{Law, Result, reference, require};
use crate::backend::{Backend, Edit, Filter, Pick, Pool, ScoreRow, Term, score_rows};
use crate::{TokenId, TokenMask};

/// Relative to the size of the scores: a few roundings of `f32`.
const TOLERANCE: f64 = 1e-5;

/// Up to the widest vocabulary in use.
const WIDTHS: [usize; 5] = [1, 2, 7, 1000, 262_144];

/// Checks every operation of a backend, on single rows and batches of them, of widths from 1 to 262,144.
///
/// # Errors
/// The first law that does not hold.
pub fn check_backend<B: Backend>(backend: &B) -> Result {
    for width in WIDTHS {
        let rows: Vec<_> = KINDS.iter().map(|kind| kind.row(width, 11)).collect();
        let others: Vec<_> = KINDS.iter().map(|kind| kind.row(width, 12)).collect();
        let checker = Checker { backend, width, rows: Rows::new(backend, &rows, width)? };
        checker.round_trip(&rows)?;
        checker.linear()?;
        checker.pools()?;
        checker.filters()?;
        checker.choices()?;
        checker.edits()?;
        checker.residuals(&Rows::new(backend, &others, width)?)?;
        checker.picks()?;
        checker.unsound_rows()?;
    }
    check_extremes(backend)?;
    refusals::wrong_arguments(backend)
}

/// Rows on the device, in two tensors, and what they hold.
struct Rows<B: Backend> {
    tensors: [B::Tensor; 2],
    split: usize,
    values: Vec<Vec<f32>>,
}

impl<B: Backend> Rows<B> {
    fn new(backend: &B, rows: &[Vec<f32>], width: usize) -> Result<Self> {
        let split = rows.len() / 2;
        let upload = |rows: &[Vec<f32>]| {
            // Rows are wider than what counts, as those of models are.
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

    fn all(&self) -> Vec<ScoreRow<'_, B>> {
        self.rows(self.values.len())
    }
}

struct Checker<'a, B: Backend> {
    backend: &'a B,
    width: usize,
    rows: Rows<B>,
}

impl<B: Backend> Checker<'_, B> {
    /// The rows that an operation returned.
    fn values(&self, tensor: crate::Result<B::Tensor>, law: &str) -> Result<Vec<Vec<f32>>> {
        let tensor = tensor.law(law)?;
        let (height, width) = self.backend.shape(&tensor);
        require(width == self.width, law, || format!("{width} columns instead of {}", self.width))?;
        let values = self.backend.download(&score_rows(&tensor, height), width).law(law)?;
        Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
    }

    fn near(&self, law: &str, got: &[Vec<f32>], expected: &[Vec<f64>]) -> Result {
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

    fn round_trip(&self, rows: &[Vec<f32>]) -> Result {
        let expected: Vec<Vec<f64>> =
            rows.iter().map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
        self.near("what is downloaded is what was uploaded", &self.rows.values, &expected)?;
        let law = "log_softmax";
        let got = self.values(self.backend.log_softmax(&self.rows.all(), self.width), law)?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| reference::log_softmax(r)).collect();
        self.near(law, &got, &expected)?;
        let got = self.backend.log_normalizers(&self.rows.all(), self.width).law("log_normalizers")?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| vec![reference::log_normalizer(r)]).collect();
        self.near("log_normalizers", &got.into_iter().map(|x| vec![x]).collect::<Vec<_>>(), &expected)
    }

    fn linear(&self) -> Result {
        let law = "linear";
        // Sums of the sparse kinds with themselves subtracted are not numbers: only what the rules allow.
        let all = self.rows.all();
        for weights in [&[1.0][..], &[-2.0, 0.5], &[1.0, 0.7, -0.7], &[0.25; 9]] {
            let finite: Vec<_> =
                (0..all.len()).filter(|i| self.rows.values[*i].iter().all(|x| x.is_finite())).collect();
            let term =
                |k: usize| -> Vec<_> { (0..finite.len()).map(|i| finite[(i + k) % finite.len()]).collect() };
            let terms: Vec<_> = weights
                .iter()
                .enumerate()
                .map(|(k, &weight)| Term { weight, rows: term(k).into_iter().map(|i| all[i]).collect() })
                .collect();
            let got = self.values(self.backend.linear(&terms, self.width), law)?;
            let expected: Vec<_> = (0..finite.len())
                .map(|i| {
                    let rows =
                        weights.iter().enumerate().map(|(k, w)| (*w, &self.rows.values[term(k)[i]][..]));
                    reference::linear(&rows.collect::<Vec<_>>())
                })
                .collect();
            self.near(law, &got, &expected)?;
        }
        let excluded = [Term { weight: 0.5, rows: all.clone() }];
        let got =
            self.values(self.backend.linear(&excluded, self.width), "linear keeps what is excluded so")?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| reference::linear(&[(0.5, r)])).collect();
        self.near("linear keeps what is excluded so", &got, &expected)
    }

    fn pools(&self) -> Result {
        let normalised = self.backend.log_softmax(&self.rows.all(), self.width).law("log_softmax")?;
        let rows = score_rows::<B>(&normalised, KINDS.len());
        let values = self.backend.download(&rows, self.width).law("rows can be downloaded")?;
        let values: Vec<_> = values.chunks(self.width).collect();
        let weights = [0.5, 0.3, 0.2];
        let shifted = |k: usize| (0..rows.len()).map(move |i| (i + k) % KINDS.len());
        let terms: Vec<_> = (0..3)
            .map(|k| Term { weight: weights[k], rows: shifted(k).map(|i| rows[i]).collect() })
            .collect();
        for pool in
            [Pool::Power(1.0), Pool::Power(-1.0), Pool::Power(0.3), Pool::Power(-4.0), Pool::Max, Pool::Min]
        {
            let law = format!("pool {pool:?}");
            let got = self.values(self.backend.pool(&terms, pool, self.width), &law)?;
            let expected: Vec<_> = (0..rows.len())
                .map(|i| {
                    let column: Vec<_> =
                        (0..3).map(|k| (weights[k], values[(i + k) % KINDS.len()])).collect();
                    reference::pool(&column, pool)
                })
                .collect();
            self.near(&law, &got, &expected)?;
        }
        Ok(())
    }

    fn filters(&self) -> Result {
        let none = Filter::default();
        let filters = [
            none,
            Filter { temperature: 0.5, ..none },
            Filter { top_k: Some(1), ..none },
            Filter { top_k: Some(40), ..none },
            Filter { top_k: Some(usize::MAX), ..none },
            Filter { top_p: Some(0.9), ..none },
            Filter { top_p: Some(1e-6), ..none },
            Filter { top_p: Some(1.0), ..none },
            Filter { min_p: Some(0.05), ..none },
            Filter { min_p: Some(1.0), ..none },
            Filter { temperature: 1.7, top_k: Some(30), top_p: Some(0.7), min_p: Some(0.02) },
        ];
        for filter in filters {
            let law = format!("filter {filter:?}");
            let got = self.values(self.backend.filter(&self.rows.all(), &filter, self.width), &law)?;
            for ((got, row), kind) in got.iter().zip(&self.rows.values).zip(KINDS) {
                reference::check_filter(row, &filter, got, TOLERANCE as f32)
                    .map_err(|e| format!("width {}, {kind:?}: {e}", self.width))
                    .law(&law)?;
            }
        }
        Ok(())
    }

    fn choices(&self) -> Result {
        let all = self.rows.all();
        let rotated = |k: usize| -> Vec<_> { (0..all.len()).map(|i| (i + k) % all.len()).collect() };
        let pick = |k: usize| -> Vec<_> { rotated(k).into_iter().map(|i| all[i]).collect() };
        for with_outside in [true, false] {
            let (inside, outside) = (pick(1), pick(2));
            let outside = with_outside.then_some(&outside[..]);
            let got = self.values(self.backend.choose(&all, &inside, outside, self.width), "choose")?;
            let value = |k: usize, i: usize| &self.rows.values[rotated(k)[i]][..];
            let expected: Vec<_> = (0..all.len())
                .map(|i| reference::choose(value(0, i), value(1, i), with_outside.then(|| value(2, i))))
                .collect();
            self.near("choose", &got, &expected)?;
        }
        Ok(())
    }

    fn edits(&self) -> Result {
        let last = self.width as TokenId - 1;
        let mask: TokenMask = (0..=last).filter(|id| id % 3 == 0).collect();
        let edits = [
            vec![],
            vec![Edit::Bias(vec![(0, 1.5), (last, f32::NEG_INFINITY)])],
            vec![Edit::Repetition { tokens: vec![last], penalty: 1.3 }],
            vec![Edit::Allow(mask.into())],
            vec![Edit::Bias(vec![(0, -2.0), (0, 1.0)]), Edit::Repetition { tokens: vec![0], penalty: 0.8 }],
            vec![Edit::Bias(vec![])],
        ];
        let got = self.values(self.backend.edit(&self.rows.all(), &edits, self.width), "edit")?;
        let expected: Vec<_> =
            self.rows.values.iter().zip(&edits).map(|(row, edits)| reference::edit(row, edits)).collect();
        self.near("edit", &got, &expected)
    }

    fn residuals(&self, draft: &Rows<B>) -> Result {
        let law = "residual";
        let got = self.values(self.backend.residual(&self.rows.all(), &draft.all(), self.width), law)?;
        for (i, got) in got.iter().enumerate() {
            // Probabilities are compared: where two are nearly equal, the logarithm of what is left means nothing.
            let expected = reference::residual(&self.rows.values[i], &draft.values[i]);
            let far = got
                .iter()
                .zip(&expected)
                .position(|(got, expected)| !near(f64::from(*got).exp(), expected.exp(), TOLERANCE));
            require(far.is_none(), law, || {
                let token = far.unwrap_or(0);
                format!("{:?}, token {token}: {}, expected {}", KINDS[i], got[token], expected[token])
            })?;
        }
        let law = "the residual of equal distributions is the target";
        let got = self.values(self.backend.residual(&self.rows.all(), &self.rows.all(), self.width), law)?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| reference::log_softmax(r)).collect();
        self.near(law, &got, &expected)
    }

    fn picks(&self) -> Result {
        let (rows, values) = (self.rows.all(), &self.rows.values);
        let same = |law: &str, kind: Kind, got: Pick, row: &[f32]| {
            let expected = reference::log_softmax(row)[got.token as usize];
            let tolerance = TOLERANCE * expected.abs().max(1.0);
            require(near(f64::from(got.log_prob), expected, tolerance), law, || {
                format!("{kind:?}: {got:?}, expected log-probability {expected}")
            })
        };
        let law = "argmax";
        let got = self.backend.argmax(&rows, self.width).law(law)?;
        for ((pick, row), kind) in got.iter().zip(values).zip(KINDS) {
            require(pick.token == reference::argmax(row).0, law, || {
                format!("width {}, {kind:?}: {pick:?}", self.width)
            })?;
            same(law, kind, *pick, row)?;
        }
        let law = "draw";
        for uniform in [0.0, 1e-9, 0.31, 0.5, 0.97, 1.0 - f64::EPSILON / 2.0] {
            let got = self.backend.draw(&rows, &vec![uniform; rows.len()], self.width).law(law)?;
            for ((pick, row), kind) in got.iter().zip(values).zip(KINDS) {
                reference::check_draw(row, uniform, pick.token, TOLERANCE)
                    .map_err(|e| format!("width {}, {kind:?}: {e}", self.width))
                    .law(law)?;
                same(law, kind, *pick, row)?;
            }
        }
        let law = "top";
        for k in [0, 1, 5, self.width + 1] {
            if k > 5 && self.width > 1000 {
                continue;
            }
            let got = self.backend.top(&rows, k, self.width).law(law)?;
            for ((picks, row), kind) in got.iter().zip(values).zip(KINDS) {
                let expected: Vec<_> = reference::top(row, k).into_iter().map(|(token, _)| token).collect();
                let tokens: Vec<_> = picks.iter().map(|p| p.token).collect();
                require(tokens == expected, law, || {
                    format!("k {k}, {kind:?}: {tokens:?}, expected {expected:?}")
                })?;
                picks.iter().try_for_each(|pick| same(law, kind, *pick, row))?;
            }
        }
        let law = "log_probs";
        let last = self.width as TokenId - 1;
        let asked: Vec<_> = (0..rows.len()).map(|i| vec![last; i % 3]).collect();
        let got = self.backend.log_probs(&rows, &asked, self.width).law(law)?;
        for (((got, asked), row), kind) in got.iter().zip(&asked).zip(values).zip(KINDS) {
            require(got.len() == asked.len(), law, || format!("{} numbers for {}", got.len(), asked.len()))?;
            got.iter().try_for_each(|&log_prob| same(law, kind, Pick { token: last, log_prob }, row))?;
        }
        Ok(())
    }
}

/// Equal, both NaN, or no further apart than `tolerance`.
fn near(got: f64, expected: f64, tolerance: f64) -> bool {
    got == expected || (got.is_nan() && expected.is_nan()) || (got - expected).abs() <= tolerance
}
