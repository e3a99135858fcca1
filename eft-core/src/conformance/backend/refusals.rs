//! Unsound score rows, which must stay unsound, and wrong arguments, which must be refused.
use super::checker::Checker;
use crate::Error;
use crate::backend::{Backend, Edit, Filter, Pool, ScoreRow, Term};
use crate::conformance::rows::unsound;
use crate::conformance::{Law, Result, refuses, require};

impl<B: Backend> Checker<'_, B> {
    pub(super) fn unsound_rows(&self) -> Result {
        let law = "an unsound row never becomes a token";
        for (kind, row) in unsound(self.width) {
            let tensor = self.backend.upload(&row, self.width).law(law)?;
            let row = [ScoreRow::new(&tensor, 0)];
            let normalised = self.backend.log_softmax(&row, self.width).law(law)?;
            let filter = Filter { temperature: 0.9, top_k: Some(3), top_p: Some(0.5), min_p: Some(0.1) };
            let filtered = self.backend.filter(&row, &filter, self.width).law(law)?;
            let sum =
                self.backend.linear(&[Term { weight: 0.5, rows: row.to_vec() }], self.width).law(law)?;
            let clamped = self.backend.clamp(&row, -1.0, 1.0, self.width).law(law)?;
            for (after, tensor) in [
                ("", &tensor),
                ("log_softmax", &normalised),
                ("filter", &filtered),
                ("linear", &sum),
                ("clamp", &clamped),
            ] {
                let row = [ScoreRow::new(tensor, 0)];
                let picks = [
                    self.backend.argmax(&row, self.width).law(law)?[0],
                    self.backend.draw(&row, &[0.4], self.width).law(law)?[0],
                ];
                let top = self.backend.top(&row, 2, self.width).law(law)?;
                let asked = self.backend.log_probs(&row, &[vec![0]], self.width).law(law)?[0][0];
                let reported = picks.iter().chain(&top[0]).map(|p| p.log_prob).chain([asked]);
                require(reported.clone().all(f32::is_nan) && !top[0].is_empty(), law, || {
                    format!("width {}, {kind} {after}: {:?}", self.width, reported.collect::<Vec<_>>())
                })?;
            }
            self.unsound_terms(kind, &row)?;
            let pools = [Pool::Power(1.0), Pool::Power(-2.0), Pool::Max, Pool::Min];
            let sound = self.rows.all()[0];
            for pool in pools {
                let terms = [0.5, 0.5].map(|weight| Term { weight, rows: vec![sound] });
                let mut terms = terms.to_vec();
                let unsound = ScoreRow::new(&normalised, 0);
                terms[1].rows = vec![unsound];
                let pooled = self.backend.pool(&terms, pool, self.width).law(law)?;
                let pick = self.backend.argmax(&[ScoreRow::new(&pooled, 0)], self.width).law(law)?[0];
                require(pick.log_prob.is_nan(), law, || format!("{kind} in pool {pool:?}: {pick:?}"))?;
            }
        }
        Ok(())
    }

    /// A sum is unsound if one of its terms is, whatever the weights: a subtracted +∞ must not look like an excluded
    /// token.
    fn unsound_terms(&self, kind: &str, row: &[ScoreRow<'_, B>]) -> Result {
        let law = "a sum with an unsound term is unsound";
        for weight in [0.5, -0.5] {
            let terms = [
                Term { weight: 1.0, rows: vec![self.rows.all()[0]] },
                Term { weight, rows: row.to_vec() },
                Term { weight: 1.0, rows: vec![self.rows.all()[0]] },
            ];
            let sum = self.backend.linear(&terms, self.width).law(law)?;
            let pick = self.backend.argmax(&[ScoreRow::new(&sum, 0)], self.width).law(law)?[0];
            require(pick.log_prob.is_nan(), law, || {
                format!("{kind} times {weight}, width {}: {pick:?}", self.width)
            })?;
        }
        Ok(())
    }
}

pub(super) fn wrong_arguments<B: Backend>(backend: &B) -> Result {
    let law = "wrong arguments are refused";
    let tensor = backend.upload(&[0.0; 6], 3).law("rows can be uploaded")?;
    let shape = |e: &Error| matches!(e, Error::Shape { .. });
    let row = |index| ScoreRow::<B>::new(&tensor, index);
    let rows = [row(0), row(1)];
    let term = |weight, rows: &[ScoreRow<'_, B>]| {
        backend.linear(&[Term { weight, rows: rows.to_vec() }], 3).map(drop)
    };
    refuses(backend.upload(&[0.0; 5], 3).map(drop), law, shape)?;
    refuses(backend.argmax(&[row(2)], 3), law, shape)?;
    refuses(backend.argmax(&rows, 4), law, shape)?;
    refuses(backend.download(&rows, 0), law, shape)?;
    refuses(backend.linear(&[], 3).map(drop), law, shape)?;
    refuses(term(1.0, &[row(2)]), law, shape)?;
    refuses(term(f32::NAN, &rows), law, |e| matches!(e, Error::InvalidWeight { .. }))?;
    refuses(backend.draw(&rows, &[0.5], 3), law, shape)?;
    let parameter = |e: &Error| matches!(e, Error::InvalidParameter { .. });
    refuses(backend.draw(&rows, &[0.5, 1.0], 3), law, parameter)?;
    let cold = Filter { temperature: 0.0, ..Filter::default() };
    refuses(backend.filter(&rows, &cold, 3).map(drop), law, parameter)?;
    let (none, all) = (f32::NEG_INFINITY, f32::INFINITY);
    for (low, high) in [(1.0, 0.5), (f32::NAN, 0.0), (0.0, f32::NAN), (all, all), (none, none)] {
        refuses(backend.clamp(&rows, low, high, 3).map(drop), law, parameter)?;
    }
    refuses(backend.clamp(&rows, 0.0, 1.0, 4).map(drop), law, shape)?;
    refuses(backend.clamp(&[row(2)], 0.0, 1.0, 3).map(drop), law, shape)?;
    let pool = [Term { weight: 1.0, rows: rows.to_vec() }];
    refuses(backend.pool(&pool, Pool::Power(0.0), 3).map(drop), law, parameter)?;
    let past = |e: &Error| matches!(e, Error::TokenOutOfRange { token: 3, .. });
    refuses(backend.log_probs(&rows, &[vec![], vec![3]], 3), law, past)?;
    refuses(backend.edit(&rows, &[vec![], vec![Edit::Bias(vec![(3, 0.0)])]], 3).map(drop), law, past)?;
    refuses(backend.edit(&rows, &[vec![]], 3).map(drop), law, shape)?;
    refuses(backend.choose(&rows, &rows[..1], None, 3).map(drop), law, shape)?;
    refuses(backend.residual(&rows, &rows[..1], 3).map(drop), law, shape)
}
