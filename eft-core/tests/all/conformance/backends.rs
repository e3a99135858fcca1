//! Backends: the host's backend passes, and one wrong operation is found.
use eft_core::conformance::{TrafficCounter, check_backend, check_backend_at};
use eft_core::{Backend, Edit, Filter, Host, Pick, Pool, Result, ScoreRow, Term, TokenId};

#[test]
fn host_backend() {
    check_backend(&Host).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn counted_backend() {
    check_backend_at(&TrafficCounter::new(Host), &[1, 7, 1000]).unwrap_or_else(|e| panic!("{e}"));
}

/// A host backend that does one thing wrong.
#[derive(Debug, Clone, Copy)]
struct Wrong(&'static str);

impl Wrong {
    fn is(&self, what: &str) -> bool {
        self.0 == what
    }
}

fn host<'a>(rows: &[ScoreRow<'a, Wrong>]) -> Vec<ScoreRow<'a, Host>> {
    rows.iter().map(|r| ScoreRow::new(r.tensor, r.index)).collect()
}

fn host_terms<'a>(terms: &[Term<'a, Wrong>]) -> Vec<Term<'a, Host>> {
    terms.iter().map(|t| Term { weight: t.weight, rows: host(&t.rows) }).collect()
}

impl Backend for Wrong {
    type Tensor = <Host as Backend>::Tensor;

    const NAME: &'static str = "wrong";

    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize) {
        Host.shape(tensor)
    }

    fn shallow_clone(&self, tensor: &Self::Tensor) -> Self::Tensor {
        tensor.clone()
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Self::Tensor> {
        Host.upload(scores, width)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        Host.download(&host(rows), width)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor> {
        let mut terms = host_terms(terms);
        if self.is("linear drops the ninth term") {
            terms.truncate(8);
        }
        Host.linear(&terms, width)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Self::Tensor> {
        if self.is("log_softmax of the padding") && !rows.is_empty() {
            let wide = Host.shape(rows[0].tensor).1;
            let normalised = Host.log_softmax(&host(rows), wide)?;
            let rows: Vec<_> = (0..rows.len()).map(|i| ScoreRow::<Host>::new(&normalised, i)).collect();
            return Host.upload(&Host.download(&rows, width)?, width);
        }
        Host.log_softmax(&host(rows), width)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor> {
        let pool = if self.is("pool takes max for min") && pool == Pool::Min { Pool::Max } else { pool };
        Host.pool(&host_terms(terms), pool, width)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Self::Tensor> {
        let high = if self.is("clamp forgets the upper bound") && low <= high { f32::INFINITY } else { high };
        let clamped = Host.clamp(&host(rows), low, high, width)?;
        // As the `max` and `min` of a tensor library do.
        let found = match self.0 {
            // A row of one score is excluded altogether, which is found as an unsound row.
            "clamp admits excluded tokens" if width > 1 => f32::NEG_INFINITY,
            "clamp makes infinite scores finite" => f32::INFINITY,
            _ => return Ok(clamped),
        };
        let rows: Vec<_> = (0..Host.shape(&clamped).0).map(|i| ScoreRow::<Host>::new(&clamped, i)).collect();
        let mut scores = Host.download(&rows, width)?;
        scores.iter_mut().filter(|x| **x == found).for_each(|x| *x = x.clamp(low, high));
        Host.upload(&scores, width)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor> {
        let filter = match self.0 {
            "filter keeps one more" => Filter { top_k: filter.top_k.map(|k| k.saturating_add(1)), ..*filter },
            "filter forgets the temperature" if filter.temperature > 0.0 => {
                Filter { temperature: 1.0, ..*filter }
            }
            "filter forgets min-p" => Filter { min_p: None, ..*filter },
            _ => *filter,
        };
        Host.filter(&host(rows), &filter, width)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor> {
        let outside = outside.map(host).filter(|_| !self.is("choose forgets what is outside"));
        Host.choose(&host(kept), &host(inside), outside.as_deref(), width)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor> {
        let mut edits = edits.to_vec();
        if self.is("edit in another order") {
            edits.iter_mut().for_each(|e| e.reverse());
        }
        Host.edit(&host(rows), &edits, width)
    }

    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor> {
        match self.is("residual the wrong way round") {
            true => Host.residual(&host(draft), &host(target), width),
            false => Host.residual(&host(target), &host(draft), width),
        }
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        let mut picks = Host.argmax(&host(rows), width)?;
        for pick in &mut picks {
            if self.is("argmax makes NaN a number") && pick.log_prob.is_nan() {
                pick.log_prob = 0.0;
            }
        }
        Ok(picks)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        let mut picks = Host.draw(&host(rows), uniforms, width)?;
        if self.is("draw from the likeliest down") && uniforms.iter().all(|u| (0.0..1.0).contains(u)) {
            let inverted: Vec<_> = uniforms.iter().map(|u| (1.0 - u - f64::EPSILON).max(0.0)).collect();
            picks = Host.draw(&host(rows), &inverted, width)?;
        }
        Ok(picks)
    }

    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let mut found = Host.log_probs(&host(rows), tokens, width)?;
        if self.is("log_probs without normalising") {
            found.iter_mut().flatten().for_each(|x| *x += 0.01);
        }
        Ok(found)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        let mut top = Host.top(&host(rows), k, width)?;
        if self.is("top breaks ties by the highest id") {
            top.iter_mut().for_each(|t| {
                t.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob).then(b.token.cmp(&a.token)))
            });
        }
        Ok(top)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        let mut found = Host.log_normalizers(&host(rows), width)?;
        if self.is("log_normalizers in bits") {
            found.iter_mut().for_each(|x| *x /= std::f32::consts::LN_2);
        }
        Ok(found)
    }
}

#[test]
fn every_wrong_operation_is_found() {
    let wrongs = [
        ("linear drops the ninth term", "linear"),
        ("log_softmax of the padding", "log_softmax"),
        ("pool takes max for min", "pool Min"),
        ("clamp forgets the upper bound", "clamp"),
        ("clamp admits excluded tokens", "clamp"),
        ("clamp makes infinite scores finite", "an unsound row never becomes a token"),
        ("filter keeps one more", "filter"),
        ("filter forgets the temperature", "filter"),
        ("filter forgets min-p", "filter"),
        ("choose forgets what is outside", "choose"),
        ("edit in another order", "edit"),
        ("residual the wrong way round", "residual"),
        ("argmax makes NaN a number", "an unsound row never becomes a token"),
        ("draw from the likeliest down", "draw"),
        ("log_probs without normalising", "log_probs"),
        ("top breaks ties by the highest id", "top"),
        ("log_normalizers in bits", "log_normalizers"),
    ];
    for (wrong, law) in wrongs {
        let failure = check_backend(&Wrong(wrong)).expect_err(wrong);
        assert!(failure.law.starts_with(law), "{wrong}: found as {failure}");
    }
}
