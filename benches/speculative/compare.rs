//! Compares plain and speculative decoding of the same texts.
use std::time::Instant;

use eft_core::speculate::Speculative;
use eft_core::{Backend, Decoding, Evaluator, Prompt, Source, TokenId};

use serde::{Deserialize, Serialize};

use crate::bound::Costs;
use crate::clock::Clock;

/// Totals over some texts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) texts: usize,
    /// The seconds of plain decoding.
    pub(crate) plain: f64,
    /// The part of them that is spent in passes.
    pub(crate) plain_passes: f64,
    /// The seconds of speculative decoding.
    pub(crate) drafted: f64,
    /// The part of them that is spent in passes.
    pub(crate) drafted_passes: f64,
    pub(crate) tokens: usize,
    pub(crate) target_passes: usize,
    pub(crate) draft_passes: usize,
    pub(crate) judged: usize,
    pub(crate) accepted: usize,
    /// The seconds of drafting and of verifying, and the number of blocks that were verified.
    pub(crate) draft_seconds: f64,
    pub(crate) block_seconds: f64,
    pub(crate) blocks: usize,
}

/// The plain text, and where the speculative one differs from it, if it does.
pub(crate) struct Outcome {
    pub(crate) text: Vec<TokenId>,
    pub(crate) divergence: Option<Divergence>,
}

/// The first token in which the speculative text differs from the plain one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Divergence {
    pub(crate) at: usize,
    /// The log-probability of the plain token minus that of the other, in nats.
    pub(crate) margin: f64,
}

/// A target, its draft, and the settings of decoding.
pub(crate) struct Contest<'a, B: Backend> {
    pub(crate) target: &'a Source<B>,
    pub(crate) speculative: Speculative<B>,
    pub(crate) decoding: &'a Decoding,
    pub(crate) clock: &'a Clock,
}

impl<'a, B: Backend> Contest<'a, B> {
    pub(crate) fn new(
        target: &'a Source<B>,
        draft: &'a Source<B>,
        decoding: &'a Decoding,
        clock: &'a Clock,
    ) -> Self {
        Self { target, speculative: target.speculate().draft(draft), decoding, clock }
    }

    /// The same with drafts of a fixed length.
    pub(crate) fn fixed(&self, length: usize) -> Self {
        Self { speculative: self.speculative.clone().block(length), ..*self }
    }

    /// Decodes one text both ways. The pass over the prompt is not measured.
    pub(crate) fn run(&self, prompt: &Prompt, sums: &mut Sums) -> Outcome {
        let mut text = self.target.generate(prompt, self.decoding).unwrap();
        let (start, passes) = (Instant::now(), self.clock.seconds());
        let plain: Vec<_> = text.by_ref().map(|t| t.unwrap().id).collect();
        sums.plain += start.elapsed().as_secs_f64();
        sums.plain_passes += self.clock.seconds() - passes;
        let drafted = self.drafted(prompt, sums);
        let at = plain.iter().zip(&drafted).position(|(a, b)| a != b);
        let at = at.or_else(|| (plain.len() != drafted.len()).then_some(plain.len().min(drafted.len())));
        let divergence = at.map(|at| Divergence { at, margin: self.margin(prompt, &plain, &drafted, at) });
        Outcome { text: plain, divergence }
    }

    pub(crate) fn drafted(&self, prompt: &Prompt, sums: &mut Sums) -> Vec<TokenId> {
        let mut text = self.speculative.generate(prompt, self.decoding).unwrap();
        let (start, passes) = (Instant::now(), self.clock.seconds());
        let drafted: Vec<_> = text.by_ref().map(|t| t.unwrap().id).collect();
        sums.drafted += start.elapsed().as_secs_f64();
        sums.drafted_passes += self.clock.seconds() - passes;
        let report = text.report().unwrap();
        sums.texts += 1;
        sums.tokens += report.tokens;
        sums.target_passes += report.blocks + report.plain_steps;
        sums.draft_passes += report.draft_passes;
        sums.judged += report.judged;
        sums.accepted += report.accepted;
        sums.draft_seconds += report.draft_time.as_secs_f64();
        sums.blocks += report.blocks;
        sums.block_seconds += report.block_time.as_secs_f64();
        drafted
    }

    /// The log-probability of the plain text's token at a position minus that of the other's, by a pass of one token.
    fn margin(&self, prompt: &Prompt, plain: &[TokenId], drafted: &[TokenId], at: usize) -> f64 {
        let (Some(a), Some(b)) = (plain.get(at), drafted.get(at)) else { return f64::NAN };
        let mut evaluator = Evaluator::open(&[self.target], std::slice::from_ref(prompt)).unwrap();
        evaluator.push(&[plain[..at].to_vec()]).unwrap();
        let scores = evaluator.eval_last(0).unwrap();
        let rows = scores.last().unwrap();
        let asked = evaluator.backend().log_probs(&rows, &[vec![*a, *b]], scores.width()).unwrap();
        f64::from(asked[0][0] - asked[0][1])
    }
}

impl Sums {
    #[cfg(all(any(feature = "candle", feature = "tch"), feature = "text"))]
    pub(crate) fn add(&mut self, other: &Self) {
        self.texts += other.texts;
        self.plain += other.plain;
        self.plain_passes += other.plain_passes;
        self.drafted += other.drafted;
        self.drafted_passes += other.drafted_passes;
        self.tokens += other.tokens;
        self.target_passes += other.target_passes;
        self.draft_passes += other.draft_passes;
        self.judged += other.judged;
        self.accepted += other.accepted;
        self.draft_seconds += other.draft_seconds;
        self.block_seconds += other.block_seconds;
        self.blocks += other.blocks;
    }

    /// Prints the line of a fixed draft length.
    pub(crate) fn print_block(&self, length: usize) {
        println!(
            "    fixed length {length:2}: {:.3} ms per token, {:.1} % accepted, {:.2} tokens per pass",
            1e3 * self.drafted / self.tokens as f64,
            100.0 * self.acceptance(),
            self.tokens as f64 / self.target_passes as f64,
        );
    }

    pub(crate) fn acceptance(&self) -> f64 {
        self.accepted as f64 / self.judged.max(1) as f64
    }

    pub(crate) fn heading() {
        println!(
            "                                       plain   drafted            accepted  tokens   best   of the      in passes,  µs per token"
        );
        println!(
            "target, draft                           s        s    speed-up     %       / pass   length  bound     % of both   outside"
        );
    }

    /// Prints a line of the table.
    pub(crate) fn print(&self, name: &str, costs: &Costs) {
        let speed_up = self.plain / self.drafted;
        let (bound, best) = costs.bound(self.acceptance(), self.plain_passes / self.tokens as f64);
        println!(
            "{name:38} {:6.2}  {:6.2}   {speed_up:6.2}    {:6.1}    {:6.2}    {best:4}    {:6.2}     {:3.0} {:3.0}      {:.1} {:.1}",
            self.plain,
            self.drafted,
            100.0 * self.acceptance(),
            self.tokens as f64 / self.target_passes as f64,
            speed_up / bound,
            100.0 * self.plain_passes / self.plain,
            100.0 * self.drafted_passes / self.drafted,
            1e6 * (self.plain - self.plain_passes) / self.tokens as f64,
            1e6 * (self.drafted - self.drafted_passes) / self.tokens as f64,
        );
        let length = self.draft_passes as f64 / self.blocks.max(1) as f64;
        let (draft, block) = costs.at(length);
        println!(
            "    drafts of {length:.1}: {:.3} ms to draft and {:.3} to verify, of which passes {:.3} and {:.3}; plain {:.3}, passes {:.3}",
            1e3 * self.draft_seconds / self.blocks.max(1) as f64,
            1e3 * self.block_seconds / self.blocks.max(1) as f64,
            1e3 * draft,
            1e3 * block,
            1e3 * self.plain / self.tokens as f64,
            1e3 * costs.plain,
        );
        println!("    {costs:.5?}");
    }
}
