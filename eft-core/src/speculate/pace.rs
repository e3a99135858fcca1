//! How many tokens are drafted before the target is asked: what gives the most tokens a second, by the acceptance and
//! the costs measured so far, in this text and in those before it.
use std::sync::{Arc, Mutex, PoisonError};

/// How much of what was learnt of costs is left after another block.
const MEMORY: f64 = 0.9;
/// How much of what was learnt of the acceptance is left after another token was judged, and after a rest or in
/// another text.
const ACCEPTANCE: f64 = 0.98;
const AFTER_REST: f64 = 0.5;
/// Blocks after which a plain step is measured again.
const PLAIN_EVERY: usize = 64;
/// Drafting must promise this much more than plain decoding.
const MARGIN: f64 = 1.02;
/// The first draft, before any has been measured.
const FIRST: usize = 2;
/// Plain steps before a draft that did not pay is tried again, at first and at most.
const REST: (usize, usize) = (8, 128);
/// The share of the time that trying again may take.
const TRIES: f64 = 0.02;
/// Plain steps' time that drafting may lose before it rests, whatever it promises.
const LOSS: f64 = 3.0;

/// Decides on the length of the next block.
#[derive(Debug, Clone)]
pub(super) enum Pace {
    Fixed(usize),
    Adaptive(Box<Adaptive>, Memory),
}

/// What texts of the same models learn from each other. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Option<Adaptive>>>);

impl Memory {
    fn recall(&self) -> Option<Adaptive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, learnt: &Adaptive) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(learnt.clone());
    }
}

/// What a block took, in seconds, and how it was judged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Rows of the batch.
    pub(super) rows: usize,
    /// Tokens drafted for the row that got the most; 0 for a plain step.
    pub(super) drafted: usize,
    /// Over all rows.
    pub(super) accepted: usize,
    pub(super) judged: usize,
    /// The first pass of the draft, which may have to catch up with the text.
    pub(super) first_draft: f64,
    /// The others together.
    pub(super) other_drafts: f64,
    /// The passes of the target's other models.
    pub(super) target: f64,
    /// Whether passes were run at all: the prompt's own scores are there from the start.
    pub(super) ran: bool,
}

impl Pace {
    pub(super) fn fixed(tokens: usize) -> Self {
        Self::Fixed(tokens)
    }

    /// Goes on from what `memory` holds, and tells it what is learnt.
    pub(super) fn adaptive(longest: usize, memory: &Memory) -> Self {
        let learnt = memory.recall().map_or_else(|| Adaptive::new(longest), |before| before.resumed(longest));
        Self::Adaptive(Box::new(learnt), memory.clone())
    }

    /// How many tokens to draft next.
    pub(super) fn next(&self) -> usize {
        match self {
            Self::Fixed(tokens) => *tokens,
            Self::Adaptive(adaptive, _) => adaptive.next(),
        }
    }

    /// Learns from a block.
    pub(super) fn learn(&mut self, block: &Measured) {
        if let Self::Adaptive(adaptive, memory) = self {
            adaptive.learn(block);
            memory.keep(adaptive);
        }
    }

    /// Seconds that a plain step takes.
    pub(super) fn plain(&self) -> Option<f64> {
        match self {
            Self::Fixed(_) => None,
            Self::Adaptive(adaptive, _) => adaptive.plain.0,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Adaptive {
    longest: usize,
    accepted: f64,
    judged: f64,
    draft: Mean,
    /// What the draft takes for each token to catch up with, if it is a model of its own.
    catch_up: Mean,
    plain: Mean,
    blocks: Line,
    /// Rows of the batch when `plain` was measured.
    rows: usize,
    since_plain: usize,
    /// Plain steps since the last draft, and those of them that are tokens which it has to catch up with.
    idle: usize,
    unread: usize,
    /// How many of them there have to be before the next try.
    rest: usize,
    /// Seconds that drafting may still lose.
    credit: f64,
}

impl Adaptive {
    fn new(longest: usize) -> Self {
        Self {
            longest,
            // Three of four, until more is known.
            accepted: 1.5,
            judged: 2.0,
            draft: Mean(None),
            catch_up: Mean(None),
            plain: Mean(None),
            blocks: Line::default(),
            rows: 0,
            since_plain: 0,
            idle: 0,
            unread: 0,
            rest: REST.0,
            credit: 0.0,
        }
    }

    /// At the beginning of another text, which the draft may be better or worse at.
    fn resumed(self, longest: usize) -> Self {
        let (accepted, judged) = (AFTER_REST * self.accepted, AFTER_REST * self.judged);
        // The draft has read its prompt.
        Self { longest, accepted, judged, unread: 0, ..self }
    }

    fn next(&self) -> usize {
        let Some(plain) = self.plain.0.filter(|_| self.since_plain < PLAIN_EVERY) else { return 0 };
        let Some(draft) = self.draft.0 else { return FIRST.min(self.longest) };
        let best = self.best(draft, plain);
        let lost = self.credit < -LOSS * plain;
        if best > 0 && !(lost && self.idle < self.rest) {
            return best;
        }
        // What a try costs if nothing of it stands.
        let price = draft + self.catch_up.0.unwrap_or(0.0) * self.unread as f64 + self.blocks.at(1) - plain;
        if self.idle >= self.rest && self.credit >= price { 1.min(self.longest) } else { 0 }
    }

    /// The length that gives the most tokens a second; 0 if that is plain decoding.
    fn best(&self, draft: f64, plain: f64) -> usize {
        let acceptance = self.accepted / self.judged;
        let (mut best, mut best_rate) = (0, MARGIN / plain);
        // One token of the target's own, and each drafted one if all before it are accepted.
        let (mut tokens, mut chance) = (1.0, 1.0);
        for length in 1..=self.longest {
            chance *= acceptance;
            tokens += chance;
            let rate = tokens / (length as f64 * draft + self.blocks.at(length));
            if rate > best_rate {
                (best, best_rate) = (length, rate);
            }
        }
        best
    }

    fn learn(&mut self, block: &Measured) {
        let total = block.first_draft + block.other_drafts + block.target;
        if block.rows * 4 < self.rows * 3 || self.rows * 4 < block.rows * 3 {
            // Many rows have left, or a batch of more has begun: nothing costs what it did.
            (self.plain, self.draft, self.blocks) = (Mean(None), Mean(None), Line::default());
            self.rows = block.rows;
        }
        if block.drafted == 0 {
            if block.ran {
                self.plain.add(total);
                self.rows = block.rows;
                self.since_plain = 0;
            }
            self.idle += 1;
            self.unread += 1;
            self.credit += TRIES * total;
            return;
        }
        if block.ran {
            self.learn_costs(block);
        }
        let plain = self.plain.0.unwrap_or(total);
        let worth = plain * (1.0 + block.accepted as f64 / block.rows as f64);
        self.credit = (self.credit + worth - total).min(plain);
        // After a rest, what was before it counts for less.
        let memory = if self.idle >= self.rest { AFTER_REST } else { ACCEPTANCE.powi(block.judged as i32) };
        self.accepted = memory * self.accepted + block.accepted as f64;
        self.judged = memory * self.judged + block.judged as f64;
        self.rest =
            if 2 * block.accepted >= block.judged { 1 } else { (2 * self.rest).clamp(REST.0, REST.1) };
        (self.idle, self.unread) = (0, 0);
        self.since_plain += 1;
    }

    fn learn_costs(&mut self, block: &Measured) {
        let others = block.drafted - 1;
        if others > 0 {
            self.draft.add(block.other_drafts / others as f64);
        } else if self.draft.0.is_none() || self.unread == 0 {
            self.draft.add(block.first_draft);
        }
        if let Some(draft) = self.draft.0.filter(|_| self.unread > 0) {
            // One token is behind it after every block.
            self.catch_up.add((block.first_draft - draft).max(0.0) / self.unread as f64);
        }
        self.blocks.add(block.drafted as f64, block.target, self.plain.0.unwrap_or(block.target));
    }
}

/// A mean of what was measured lately, that a hiccup of the machine does not move far.
#[derive(Debug, Clone, Copy)]
struct Mean(Option<f64>);

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.0 = Some(match self.0 {
            None => seconds,
            Some(mean) => mean + (1.0 - MEMORY) * 2.0 * (seconds.min(4.0 * mean) - mean),
        });
    }
}

/// What a block costs by the length of its draft: a straight line through what was measured lately.
#[derive(Debug, Clone, Default)]
struct Line {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    /// `plain` holds one end of the line as long as there is little else.
    fn add(&mut self, x: f64, y: f64, plain: f64) {
        let first = self.weight == 0.0;
        if first {
            *self = Self { weight: 0.1, y: 0.1 * plain, ..Self::default() };
        }
        let y = if first { y } else { y.min(4.0 * self.at(x as usize)) };
        for (sum, new) in [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.y, y),
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
        ] {
            *sum = MEMORY * *sum + new;
        }
    }

    fn at(&self, length: usize) -> f64 {
        let (x, y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - x * x;
        // More tokens never cost less.
        let slope = match variance > 1e-9 {
            true => ((self.xy / self.weight - x * y) / variance).max(0.0),
            false => 0.0,
        };
        (y + slope * (length as f64 - x)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Purpose, Uniforms};

    /// Costs of passes, in plain steps.
    #[derive(Debug, Clone, Copy)]
    struct Costs {
        draft: f64,
        /// A block without a drafted token, and each token more.
        block: f64,
        token: f64,
        /// What the draft has to read of each token that it did not write itself.
        catch_up: f64,
    }

    /// What writing so many tokens takes, where each drafted one is accepted with this probability.
    fn cost(tokens: usize, acceptance: f64, costs: Costs, seed: u64) -> f64 {
        cost_after(tokens, acceptance, costs, seed, &Memory::default())
    }

    /// The same after other texts.
    fn cost_after(tokens: usize, acceptance: f64, costs: Costs, seed: u64, memory: &Memory) -> f64 {
        let (uniforms, mut pace) = (Uniforms::new(seed), Pace::adaptive(16, memory));
        let (mut written, mut time, mut unread) = (0, 0.0, 0.0);
        while written < tokens {
            let drafted = pace.next();
            let accepts = |i: &usize| uniforms.at(0, written + i, Purpose::Accept) < acceptance;
            let accepted = (0..drafted).take_while(accepts).count();
            let target = if drafted == 0 { 1.0 } else { costs.block + drafted as f64 * costs.token };
            let block = Measured {
                rows: 1,
                drafted,
                accepted,
                judged: drafted.min(accepted + 1),
                first_draft: if drafted == 0 { 0.0 } else { costs.draft + costs.catch_up * unread },
                other_drafts: costs.draft * drafted.saturating_sub(1) as f64,
                target,
                ran: written > 0,
            };
            unread = if drafted == 0 { unread + 1.0 } else { 0.0 };
            time += block.first_draft + block.other_drafts + target;
            written += accepted + 1;
            pace.learn(&block);
        }
        time / written as f64
    }

    const TERM: [Costs; 3] = [
        Costs { draft: 0.05, block: 0.95, token: 0.0, catch_up: 0.0 },
        Costs { draft: 0.1, block: 0.9, token: 0.02, catch_up: 0.0 },
        Costs { draft: 0.3, block: 0.7, token: 0.1, catch_up: 0.0 },
    ];
    const OTHER: [Costs; 4] = [
        Costs { draft: 0.05, block: 1.0, token: 0.0, catch_up: 0.01 },
        Costs { draft: 0.2, block: 1.0, token: 0.02, catch_up: 0.1 },
        Costs { draft: 0.5, block: 1.0, token: 0.1, catch_up: 0.3 },
        Costs { draft: 1.0, block: 1.0, token: 0.5, catch_up: 0.5 },
    ];

    #[test]
    fn a_draft_that_is_always_wrong_costs_next_to_nothing() {
        for costs in TERM.into_iter().chain(OTHER) {
            let cost = cost(256, 0.0, costs, 0);
            assert!(cost <= 1.0 / 0.95, "{costs:?}: {cost} of plain decoding");
        }
    }

    #[test]
    fn a_draft_that_does_not_pay_costs_next_to_nothing() {
        for costs in OTHER {
            for acceptance in [0.1, 0.3, 0.5, 0.7] {
                let cost = cost(256, acceptance, costs, 1);
                assert!(cost <= 1.0 / 0.95, "{costs:?}, {acceptance}: {cost} of plain decoding");
            }
        }
    }

    #[test]
    fn what_acceptance_and_costs_allow_is_nearly_reached() {
        for costs in TERM.into_iter().chain(OTHER) {
            for acceptance in [0.4, 0.6, 0.8, 0.9, 0.97] {
                let chance = |i: usize| f64::powi(acceptance, i as i32);
                let rate = |n: usize| {
                    let tokens: f64 = (0..=n).map(chance).sum();
                    tokens / (n as f64 * costs.draft + costs.block + n as f64 * costs.token)
                };
                let best = (1..=16).map(rate).fold(1.0, f64::max);
                // A text of 256 tokens is short for a mean over what chance accepts: several of them.
                let cost = (0..50).map(|seed| cost(256, acceptance, costs, seed)).sum::<f64>() / 50.0;
                assert!(1.0 / cost >= 0.9 * best, "{costs:?}, {acceptance}: {} of {best}", 1.0 / cost);
            }
        }
    }
    #[test]
    fn short_texts_learn_from_those_before_them() {
        for costs in TERM.into_iter().chain(OTHER) {
            for acceptance in [0.0, 0.4, 0.8, 0.95] {
                let chance = |i: usize| f64::powi(acceptance, i as i32);
                let rate = |n: usize| {
                    let tokens: f64 = (0..=n).map(chance).sum();
                    tokens / (n as f64 * costs.draft + costs.block + n as f64 * costs.token)
                };
                let best = (1..=16).map(rate).fold(1.0, f64::max);
                let memory = Memory::default();
                let cost = (0..100).map(|seed| cost_after(32, acceptance, costs, seed, &memory)).sum::<f64>();
                let cost = cost / 100.0;
                assert!(1.0 / cost >= 0.85 * best, "{costs:?}, {acceptance}: {} of {best}", 1.0 / cost);
            }
        }
    }

    #[test]
    fn a_draft_that_was_no_good_at_some_texts_is_tried_at_others() {
        for costs in TERM {
            let memory = Memory::default();
            for seed in 0..20 {
                cost_after(32, 0.0, costs, seed, &memory);
            }
            let costs = (0..40).map(|seed| cost_after(32, 0.95, costs, seed, &memory));
            let last = costs.skip(30).sum::<f64>() / 10.0;
            assert!(last < 0.7, "{last} of plain decoding");
        }
    }
}
