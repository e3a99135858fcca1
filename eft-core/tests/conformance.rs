//! The kit itself: it passes what is right, and finds what is wrong.
mod common;

use common::*;
use eft_core::conformance::{
    SourceTest, TrafficCounter, check_backend, check_source, check_traffic, count_traffic,
};
use eft_core::{
    Backend, Edit, Filter, Host, LogitSource, Opened, Pick, Pool, Prompt, Result, RowFeed, Sampling,
    ScoreRow, Scores, Session, Source, Term, TokenId, Vocab,
};
use std::sync::Arc;

#[test]
fn host_backend() {
    check_backend(&Host).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn metered_backend() {
    check_backend(&TrafficCounter::new(Host)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_meter_counts_what_crosses() {
    let counter = TrafficCounter::new(Host);
    let source = count_traffic(model("m", 1), &counter);
    let sampling = Sampling::default().top_p(0.9);
    let generated =
        source.generate([1], eft_core::Decoding::from(sampling).stop_ids([]).max_tokens(3)).unwrap().count();
    assert_eq!(generated, 3);
    let traffic = counter.traffic();
    // A uniform and the token whose log-probability is asked for; the pick and that log-probability.
    assert_eq!((traffic.row_floats, traffic.numbers, traffic.sent), (0, 3 * 3, 3 * (1 + 1 + 4)));
    // Finding a fault is outside the step, and may look at rows.
    counter.reset();
    let evaluator = eft_core::Evaluator::open(&[&source], &[[1].into()]).unwrap();
    evaluator.diagnose(0, 0, 0);
    assert_eq!(counter.traffic().row_floats, WIDTH);
}

/// What a source can do wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    ForgetsToRollBack,
    RollsBackEveryRowTheSame,
    IgnoresOrder,
    ForksShareTheirCache,
    ScoresOnePositionEarly,
    ScoresFirstInsteadOfLast,
    LeaksBetweenRows,
    TakesTokensOfRefusedCalls,
    ScoresTooMuch,
    AcceptsAnyToken,
    DependsOnTheBatch,
}

const FLAWS: [Flaw; 11] = [
    Flaw::ForgetsToRollBack,
    Flaw::RollsBackEveryRowTheSame,
    Flaw::IgnoresOrder,
    Flaw::ForksShareTheirCache,
    Flaw::ScoresOnePositionEarly,
    Flaw::ScoresFirstInsteadOfLast,
    Flaw::LeaksBetweenRows,
    Flaw::TakesTokensOfRefusedCalls,
    Flaw::ScoresTooMuch,
    Flaw::AcceptsAnyToken,
    Flaw::DependsOnTheBatch,
];

struct Flawed {
    inner: Source<Host>,
    flaw: Flaw,
}

struct FlawedSession {
    inner: Box<dyn Session<Backend = Host>>,
    flaw: Flaw,
}

impl LogitSource for Flawed {
    type Backend = Host;

    fn backend(&self) -> &Host {
        &Host
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.inner.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
        let (inner, mut scores) = self.inner.open(prompts)?;
        if self.flaw == Flaw::DependsOnTheBatch && prompts.len() > 1 {
            let mut rows = values(&scores).concat();
            rows[3] += 0.1;
            scores = Scores::new(Host.upload(&rows, WIDTH)?, scores.spans().to_vec(), WIDTH, scores.form());
        }
        Ok((Box::new(FlawedSession { inner, flaw: self.flaw }), scores))
    }
}

impl Session for FlawedSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        let mut feed = feed.to_vec();
        match self.flaw {
            Flaw::LeaksBetweenRows => {
                if let [first, second, ..] = &mut feed[..] {
                    std::mem::swap(&mut first.tokens, &mut second.tokens);
                    first.wanted = first.wanted.min(first.tokens.len());
                    second.wanted = second.wanted.min(second.tokens.len());
                }
            }
            Flaw::TakesTokensOfRefusedCalls if feed.len() > self.room().len() => {
                self.inner.extend(&vec![RowFeed::one(1); self.room().len()])?;
            }
            Flaw::ScoresTooMuch => feed.iter_mut().for_each(|f| f.wanted = f.tokens.len()),
            Flaw::AcceptsAnyToken => {
                feed.iter_mut().flat_map(|f| &mut f.tokens).for_each(|t| *t %= WIDTH as TokenId);
            }
            Flaw::ScoresFirstInsteadOfLast => {
                let wanted: Vec<_> = feed.iter().map(|f| f.wanted.min(f.tokens.len())).collect();
                feed.iter_mut().for_each(|f| f.wanted = f.wanted.max(f.tokens.len()));
                let scores = self.inner.extend(&feed)?;
                let tensor = Host.upload(&values(&scores).concat(), WIDTH)?;
                let spans = scores.spans().iter().zip(wanted).map(|(s, w)| s.start..s.start + w).collect();
                return Ok(Scores::new(tensor, spans, WIDTH, scores.form()));
            }
            Flaw::ScoresOnePositionEarly => {
                let scores = self.inner.extend(&feed)?;
                let mut rows = values(&scores);
                if rows.len() > 1 {
                    rows.rotate_left(1);
                }
                if rows.is_empty() {
                    return Ok(scores);
                }
                return Ok(Scores::new(
                    Host.upload(&rows.concat(), WIDTH)?,
                    scores.spans().to_vec(),
                    WIDTH,
                    scores.form(),
                ));
            }
            _ => {}
        }
        self.inner.extend(&feed)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        match self.flaw {
            Flaw::ForgetsToRollBack => {
                let limits = self.rollback_limit();
                if drop.len() == limits.len() && drop.iter().zip(&limits).all(|(d, l)| d <= l) {
                    return Ok(());
                }
            }
            Flaw::RollsBackEveryRowTheSame if drop.len() == self.rollback_limit().len() => {
                let least = drop.iter().copied().min().unwrap_or(0);
                if drop.iter().zip(self.rollback_limit()).all(|(d, l)| *d <= l) {
                    return self.inner.rollback(&vec![least; drop.len()]);
                }
            }
            _ => {}
        }
        self.inner.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let mut rows = rows.to_vec();
        match self.flaw {
            Flaw::IgnoresOrder => rows.sort_unstable(),
            // As a cache does whose copies alias its storage: a fork becomes its neighbour.
            Flaw::ForksShareTheirCache if rows.len() > 1 => rows[1] = rows[0],
            _ => {}
        }
        self.inner.select(&rows)
    }
}

#[test]
fn every_flaw_is_found() {
    for flaw in FLAWS {
        let source = Flawed { inner: model("m", 1), flaw };
        // The walk is random: what one misses, another finds.
        let found = (0..5).any(|seed| {
            let test = SourceTest::new([vec![0], vec![3, 1, 4], vec![5, 9]]).seed(seed);
            check_source(&source, &test).is_err()
        });
        assert!(found, "{flaw:?}");
    }
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
        let excluded = f32::NEG_INFINITY;
        match self.0 {
            // As `max` and `min` of a tensor library would.
            "clamp admits excluded tokens" | "clamp makes infinite scores finite" => {
                let height = Host.shape(&clamped).0;
                let rows: Vec<_> = (0..height).map(|i| ScoreRow::<Host>::new(&clamped, i)).collect();
                let mut scores = Host.download(&rows, width)?;
                let found = if self.is("clamp admits excluded tokens") { excluded } else { f32::INFINITY };
                scores.iter_mut().filter(|x| **x == found).for_each(|x| *x = x.clamp(low, high));
                Host.upload(&scores, width)
            }
            _ => Ok(clamped),
        }
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

#[test]
fn traffic_is_checked() {
    check_traffic(&model("m", 1), &SourceTest::new([vec![0], vec![3, 1]])).unwrap_or_else(|e| panic!("{e}"));

    /// A rule that looks at whole rows on the host.
    struct Peeping;
    impl<B: Backend> eft_core::combine::Rule<B> for Peeping {
        fn name(&self) -> String {
            "peeping".into()
        }
        fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
            backend.upload(&backend.download(&parts[0], width)?, width)
        }
    }
    let peeping = Source::rule(Peeping, [model("m", 1)]).unwrap();
    // Within the host backend nothing shows; of a counted one, every row does.
    let counter = TrafficCounter::new(Host);
    let source = Source::rule(Peeping, [count_traffic(model("m", 1), &counter)]).unwrap();
    let text = source.generate([1], eft_core::Decoding::default().stop_ids([]).max_tokens(2)).unwrap();
    assert_eq!(text.count(), 2);
    assert_eq!(counter.traffic().row_floats, 2 * 2 * WIDTH);
    assert!(check_source(&peeping, &SourceTest::new([vec![0]])).is_ok());
}
