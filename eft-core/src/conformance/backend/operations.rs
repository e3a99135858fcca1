//! Every operation against its reference in `f64`.
use super::checker::{Checker, Rows, TOLERANCE, near};
use crate::backend::{Backend, Edit, Filter, Pick, Pool, Term, score_rows};
use crate::conformance::rows::{KINDS, Kind};
use crate::conformance::{Law, Result, reference, require};
use crate::{TokenId, TokenMask};

impl<B: Backend> Checker<'_, B> {
    pub(super) fn round_trip(&self, rows: &[Vec<f32>]) -> Result {
        let expected: Vec<Vec<f64>> =
            rows.iter().map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
        self.near("what is downloaded is what was uploaded", &self.rows.values, &expected)?;
        let law = "log_softmax";
        let got = self.values(self.backend.log_softmax(&self.rows.all(), self.width), law)?;
        self.near(law, &got, &self.log_probs)?;
        let got = self.backend.log_normalizers(&self.rows.all(), self.width).law("log_normalizers")?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| vec![reference::log_normalizer(r)]).collect();
        self.near("log_normalizers", &got.into_iter().map(|x| vec![x]).collect::<Vec<_>>(), &expected)
    }

    pub(super) fn linear(&self) -> Result {
        let law = "linear";
        // Only finite rows: to subtract a row from itself where it is −∞ would give NaN.
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
            self.values(self.backend.linear(&excluded, self.width), "linear keeps excluded tokens excluded")?;
        let expected: Vec<_> = self.rows.values.iter().map(|r| reference::linear(&[(0.5, r)])).collect();
        self.near("linear keeps excluded tokens excluded", &got, &expected)
    }

    pub(super) fn pools(&self) -> Result {
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

    pub(super) fn clamps(&self) -> Result {
        let (lowest, highest) = (f32::NEG_INFINITY, f32::INFINITY);
        for (low, high) in
            [(-1.0, 2.0), (0.1, 0.1), (lowest, 0.5), (-0.5, highest), (lowest, highest), (f32::MIN, f32::MAX)]
        {
            let law = format!("clamp to [{low}, {high}]");
            let got = self.values(self.backend.clamp(&self.rows.all(), low, high, self.width), &law)?;
            for ((got, row), kind) in got.iter().zip(&self.rows.values).zip(KINDS) {
                // A comparison rounds nothing, so the result is exact.
                let expected = reference::clamp(row, low, high);
                let wrong =
                    got.iter().zip(&expected).position(|(got, expected)| f64::from(*got) != *expected);
                require(wrong.is_none(), &law, || {
                    let token = wrong.unwrap_or(0);
                    let (got, expected) = (got[token], expected[token]);
                    format!("width {}, {kind:?}, token {token}: {got}, expected {expected}", self.width)
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn filters(&self) -> Result {
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
            for (((got, row), order), kind) in got.iter().zip(&self.rows.values).zip(&self.orders).zip(KINDS)
            {
                reference::check_ordered_filter(row, order, &filter, got, TOLERANCE as f32)
                    .map_err(|e| format!("width {}, {kind:?}: {e}", self.width))
                    .law(&law)?;
            }
        }
        Ok(())
    }

    pub(super) fn choices(&self) -> Result {
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

    pub(super) fn edits(&self) -> Result {
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

    pub(super) fn residuals(&self, draft: &Rows<B>) -> Result {
        let law = "residual";
        let got = self.values(self.backend.residual(&self.rows.all(), &draft.all(), self.width), law)?;
        for (i, got) in got.iter().enumerate() {
            // Probabilities are compared: where target and draft are nearly equal, the logarithm of their difference is
            // rounding.
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
        self.near(law, &got, &self.log_probs)
    }

    pub(super) fn picks(&self) -> Result {
        let (rows, values) = (self.rows.all(), &self.rows.values);
        let same = |law: &str, kind: Kind, got: Pick| {
            let expected = self.log_probs[kind as usize][got.token as usize];
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
            same(law, kind, *pick)?;
        }
        let law = "draw";
        for uniform in [0.0, 1e-9, 0.31, 0.5, 0.97, 1.0 - f64::EPSILON / 2.0] {
            let got = self.backend.draw(&rows, &vec![uniform; rows.len()], self.width).law(law)?;
            for ((pick, row), kind) in got.iter().zip(values).zip(KINDS) {
                reference::check_draw(row, uniform, pick.token, TOLERANCE)
                    .map_err(|e| format!("width {}, {kind:?}: {e}", self.width))
                    .law(law)?;
                same(law, kind, *pick)?;
            }
        }
        let law = "top";
        for k in [0, 1, 5, self.width + 1] {
            if k > 5 && self.width > 1000 {
                continue;
            }
            let got = self.backend.top(&rows, k, self.width).law(law)?;
            for ((picks, order), kind) in got.iter().zip(&self.orders).zip(KINDS) {
                let expected = reference::ordered_top(order, &self.log_probs[kind as usize], k);
                let expected: Vec<_> = expected.into_iter().map(|(token, _)| token).collect();
                let tokens: Vec<_> = picks.iter().map(|p| p.token).collect();
                require(tokens == expected, law, || {
                    format!("k {k}, {kind:?}: {tokens:?}, expected {expected:?}")
                })?;
                picks.iter().try_for_each(|pick| same(law, kind, *pick))?;
            }
        }
        let law = "log_probs";
        let last = self.width as TokenId - 1;
        let asked: Vec<_> = (0..rows.len()).map(|i| vec![last; i % 3]).collect();
        let got = self.backend.log_probs(&rows, &asked, self.width).law(law)?;
        for ((got, asked), kind) in got.iter().zip(&asked).zip(KINDS) {
            require(got.len() == asked.len(), law, || format!("{} numbers for {}", got.len(), asked.len()))?;
            got.iter().try_for_each(|&log_prob| same(law, kind, Pick { token: last, log_prob }))?;
        }
        Ok(())
    }
}
