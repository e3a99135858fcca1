//! What acceptance and the costs of passes allow: the best length of block, if there were nothing to a block but the
//! models' passes, and choosing tokens from what they say.
use std::time::Instant;

use eft_core::backend::{Term, score_rows};
use eft_core::{Backend, Evaluator, Prompt, Scores, Source, TokenId};
use serde::{Deserialize, Serialize};

use crate::metered::Clock;

/// Lengths of drafts that are measured. What lies between costs what a straight line says.
const LENGTHS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];
/// Places of a text.
const PLACES: usize = 4;

/// Seconds of passes, and of choosing from their scores.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// One token by all models of the target, and choosing it.
    pub(crate) plain: f64,
    pub(crate) choosing: f64,
    /// By the length of the draft: all of its passes.
    pub(crate) drafts: Vec<f64>,
    /// The passes of the target's other models over the draft.
    pub(crate) blocks: Vec<f64>,
    /// The pass of the draft behind a whole draft: none if the target does without.
    pub(crate) behind: f64,
}

impl Costs {
    /// At the places where a text behind a prompt was written, so many times each.
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
            behind: mean(&|c| c.behind),
        }
    }

    /// A draft, and the others' passes over it, of some length.
    pub(crate) fn at(&self, length: f64) -> (f64, f64) {
        let (below, part) = (length.clamp(1.0, 16.0) as usize, length.fract());
        let at = |measured: &[f64]| {
            let (a, b) = (between(measured, below), between(measured, (below + 1).min(16)));
            a + part * (b - a)
        };
        (at(&self.drafts), at(&self.blocks))
    }

    /// The most that the best length of block gains, and that length. `plain` is what the passes of a plain token took
    /// one after another: alone, between passes of another kind, they may take longer.
    pub(crate) fn allowed(&self, acceptance: f64, plain: f64) -> (f64, usize) {
        let chance = |i: usize| acceptance.powi(i as i32);
        let gain = |n: usize| {
            let tokens: f64 = (0..=n).map(chance).sum();
            let cost = between(&self.drafts, n) + between(&self.blocks, n) + chance(n) * self.behind;
            (tokens * (plain + self.choosing) / cost, n)
        };
        (1..=16).map(gain).fold((1.0, 0), |best, next| if next.0 > best.0 { next } else { best })
    }
}

/// No median: what a run takes has the hiccups of the machine in it, too.
fn mean(seconds: &[f64]) -> f64 {
    seconds.iter().sum::<f64>() / seconds.len() as f64
}

/// What is measured at some lengths, at another.
fn between(measured: &[f64], length: usize) -> f64 {
    let above = LENGTHS.iter().position(|l| *l >= length).unwrap_or(LENGTHS.len() - 1);
    let Some(below) = above.checked_sub(1).filter(|_| LENGTHS[above] > length) else {
        return measured[above];
    };
    let part = (length - LENGTHS[below]) as f64 / (LENGTHS[above] - LENGTHS[below]) as f64;
    measured[below] + part * (measured[above] - measured[below])
}

/// A place in a text, with the tokens that follow, of which the first is pushed and no model has read it.
struct Place<'a, B: Backend> {
    evaluator: &'a mut Evaluator<B>,
    text: &'a [TokenId],
    clock: &'a Clock,
}

impl<B: Backend> Place<'_, B> {
    fn costs(&mut self, rounds: usize) -> Costs {
        let (mut plain, mut choosing, mut behind) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_length = vec![(Vec::new(), Vec::new()); LENGTHS.len()];
        for _ in 0..rounds {
            let (passes, chosen) = self.plain();
            plain.push(passes);
            choosing.push(chosen);
            for (length, (drafts, blocks)) in LENGTHS.iter().zip(&mut of_length) {
                let (draft, block, last) = self.block(*length);
                drafts.push(draft);
                blocks.push(block);
                behind.push(last);
            }
        }
        let (drafts, blocks) = of_length.into_iter().map(|(d, b)| (mean(&d), mean(&b))).unzip();
        let [plain, choosing, behind] = [plain, choosing, behind].map(|seconds| mean(&seconds));
        Costs { plain, choosing, drafts, blocks, behind }
    }

    /// One token by all models of the target, and choosing it.
    fn plain(&mut self) -> (f64, f64) {
        self.evaluator.push(&[vec![self.text[0]]]).unwrap();
        let passes = self.clock.of(|| drop(self.evaluator.eval_last(0).unwrap()));
        let scores = self.evaluator.eval_last(0).unwrap();
        let chosen = self.choosing(&scores, true);
        self.evaluator.rollback(&[1]).unwrap();
        (passes, chosen)
    }

    /// A draft, the others' passes over it, and the draft's pass behind it: in the order in which they are run.
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
        let judging = self.clock.of(|| self.evaluator.run_without(0, 1, positions).unwrap());
        let behind = self.clock.of(|| drop(self.evaluator.eval(0, positions).unwrap()));
        let scores = self.evaluator.eval(0, positions).unwrap();
        let chosen = self.choosing(&scores, true);
        self.evaluator.rollback(&[length + 1]).unwrap();
        (drafting, judging + chosen, behind)
    }

    /// What it takes to make one row of each term's, and to take the first token of it.
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
