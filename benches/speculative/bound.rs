//! The attainable bound on the speed-up, by the acceptance and the costs of passes: that of the best draft length, if a
//! block consisted of nothing but the models' passes and the choice of tokens from their scores.
use std::time::Instant;

use eft_core::backend::{Term, score_rows};
use eft_core::{Backend, Evaluator, Prompt, Scores, Source, TokenId};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// The draft lengths that are measured. The cost of others is interpolated linearly.
const LENGTHS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];
/// The number of positions of a text at which passes are measured.
const PLACES: usize = 4;

/// The seconds that passes take, and the choice of tokens from their scores.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// A pass of one token through all models of the target.
    pub(crate) plain: f64,
    /// The choice of that token.
    pub(crate) choosing: f64,
    /// All passes of a draft, for each of the lengths.
    pub(crate) drafts: Vec<f64>,
    /// The passes of the target's other models over a draft, for each of the lengths.
    pub(crate) blocks: Vec<f64>,
    /// The draft model's pass after the last drafted token; zero if the target does not need it.
    pub(crate) after: f64,
}

impl Costs {
    /// Measures the passes at several positions of a text that follows a prompt, `rounds` times at each.
    pub(crate) fn measure<B: Backend>(
        target: &Source<B>,
        draft: &Source<B>,
        (prompt, text): (&Prompt, &[TokenId]),
        clock: &Clock,
        rounds: usize,
    ) -> Self {
        let mut evaluator = Evaluator::open(&[target, draft], std::slice::from_ref(prompt)).unwrap();
        let longest = LENGTHS[LENGTHS.len() - 1];
        let places = (0..PLACES).map(|place| {
            let at = ((2 * place + 1) * text.len() / (2 * PLACES)).min(text.len() - longest - 2);
            evaluator.push(&[text[evaluator.pushed(0).len()..=at].to_vec()]).unwrap();
            for root in [0, 1] {
                evaluator.eval_last(root).unwrap();
            }
            evaluator.commit();
            Place { evaluator: &mut evaluator, text: &text[at + 1..], clock }.costs(rounds)
        });
        Self::mean(&places.collect::<Vec<_>>())
    }

    pub(crate) fn mean(all: &[Self]) -> Self {
        let mean = |f: &dyn Fn(&Self) -> f64| all.iter().map(f).sum::<f64>() / all.len() as f64;
        let means = |f: fn(&Self) -> &Vec<f64>| (0..LENGTHS.len()).map(|i| mean(&|c| f(c)[i])).collect();
        Self {
            plain: mean(&|c| c.plain),
            choosing: mean(&|c| c.choosing),
            drafts: means(|c| &c.drafts),
            blocks: means(|c| &c.blocks),
            after: mean(&|c| c.after),
        }
    }

    /// The seconds of a draft of a length, and of the other models' passes over it.
    pub(crate) fn at(&self, length: f64) -> (f64, f64) {
        let (below, part) = (length.clamp(1.0, 16.0) as usize, length.fract());
        let at = |measured: &[f64]| {
            let (a, b) = (between(measured, below), between(measured, (below + 1).min(16)));
            a + part * (b - a)
        };
        (at(&self.drafts), at(&self.blocks))
    }

    /// The speed-up with the best draft length, and that length. `plain` is the mean time of the passes of plain
    /// decoding, which take less time one after another than between passes of another kind.
    pub(crate) fn bound(&self, acceptance: f64, plain: f64) -> (f64, usize) {
        let chance = |i: usize| acceptance.powi(i as i32);
        let gain = |n: usize| {
            let tokens: f64 = (0..=n).map(chance).sum();
            let cost = between(&self.drafts, n) + between(&self.blocks, n) + chance(n) * self.after;
            (tokens * (plain + self.choosing) / cost, n)
        };
        (1..=16).map(gain).fold((1.0, 0), |best, next| if next.0 > best.0 { next } else { best })
    }
}

/// The mean, and not the median, since the disturbances of the machine are part of a run's time, too.
fn mean(seconds: &[f64]) -> f64 {
    seconds.iter().sum::<f64>() / seconds.len() as f64
}

/// Interpolates between the measured lengths.
fn between(measured: &[f64], length: usize) -> f64 {
    let above = LENGTHS.iter().position(|l| *l >= length).unwrap_or(LENGTHS.len() - 1);
    let Some(below) = above.checked_sub(1).filter(|_| LENGTHS[above] > length) else {
        return measured[above];
    };
    let part = (length - LENGTHS[below]) as f64 / (LENGTHS[above] - LENGTHS[below]) as f64;
    measured[below] + part * (measured[above] - measured[below])
}

/// A position of a text, and the tokens that follow it.
struct Place<'a, B: Backend> {
    evaluator: &'a mut Evaluator<B>,
    text: &'a [TokenId],
    clock: &'a Clock,
}

impl<B: Backend> Place<'_, B> {
    fn costs(&mut self, rounds: usize) -> Costs {
        let (mut plain, mut choosing, mut after) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_length = vec![(Vec::new(), Vec::new()); LENGTHS.len()];
        for _ in 0..rounds {
            let (passes, chosen) = self.plain();
            plain.push(passes);
            choosing.push(chosen);
            for (length, (drafts, blocks)) in LENGTHS.iter().zip(&mut of_length) {
                let (draft, block, last) = self.block(*length);
                drafts.push(draft);
                blocks.push(block);
                after.push(last);
            }
        }
        let (drafts, blocks) = of_length.into_iter().map(|(d, b)| (mean(&d), mean(&b))).unzip();
        let [plain, choosing, after] = [plain, choosing, after].map(|seconds| mean(&seconds));
        Costs { plain, choosing, drafts, blocks, after }
    }

    /// Measures a pass of one token through all models of the target, and the choice of the token.
    fn plain(&mut self) -> (f64, f64) {
        self.evaluator.push(&[vec![self.text[0]]]).unwrap();
        let passes = self.clock.of(|| drop(self.evaluator.eval_last(0).unwrap()));
        let scores = self.evaluator.eval_last(0).unwrap();
        let chosen = self.choosing(&scores, true);
        self.evaluator.rollback(&[1]).unwrap();
        (passes, chosen)
    }

    /// Measures a draft, the other models' passes over it, and the draft model's pass after it, in this order.
    fn block(&mut self, length: usize) -> (f64, f64, f64) {
        let start = self.evaluator.pushed(0).len() + 1;
        self.evaluator.push(&[vec![self.text[0]]]).unwrap();
        let mut drafting = 0.0;
        for token in &self.text[1..=length] {
            let before = self.clock.seconds();
            let scores = self.evaluator.eval_last(1).unwrap();
            drafting += self.clock.seconds() - before + self.choosing(&scores, false);
            self.evaluator.push(&[vec![*token]]).unwrap();
        }
        let positions = start..start + length + 1;
        let positions = std::slice::from_ref(&positions);
        let verifying = self.clock.of(|| self.evaluator.run_without(0, 1, positions).unwrap());
        let after = self.clock.of(|| drop(self.evaluator.eval(0, positions).unwrap()));
        let scores = self.evaluator.eval(0, positions).unwrap();
        let chosen = self.choosing(&scores, true);
        self.evaluator.rollback(&[length + 1]).unwrap();
        (drafting, verifying + chosen, after)
    }

    /// Measures combining the terms' score rows, and choosing the likeliest token of each row of the result.
    fn choosing(&self, scores: &Scores<B>, of_target: bool) -> f64 {
        let rows = scores.positions(0);
        let (backend, width) = (self.evaluator.backend(), scores.width());
        let terms = if of_target { self.evaluator.vocabs(0).unwrap().len() } else { 1 };
        let began = Instant::now();
        let picks = match terms {
            1 => backend.argmax(&rows, width),
            _ => {
                let terms: Vec<_> = (0..terms).map(|_| Term { weight: 1.0, rows: rows.clone() }).collect();
                let sum = backend.linear(&terms, width).unwrap();
                backend.argmax(&score_rows(&sum, rows.len()), width)
            }
        };
        drop(std::hint::black_box(picks.unwrap()));
        began.elapsed().as_secs_f64()
    }
}
