//! How many tokens are drafted before the target is asked: what gives the most tokens a second, by the acceptance and
//! the costs measured so far, in this text and in those before it.
use std::sync::{Arc, Mutex, PoisonError};

/// How much of what was learnt of the costs of blocks is left after another one.
const MEMORY: f64 = 0.97;
/// The share that the last pass has in what passes of its kind take.
const SHARE: f64 = 0.1;
/// How many blocks weigh as much as what a block without a draft must take.
const ANCHOR: f64 = 1.0;
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
/// Plain steps' time that drafting may lose before it rests, whatever it promises; and what it may lose beyond that, if it
/// has gained as much in the same text.
const LOSS: f64 = 3.0;
const GAINED: f64 = 8.0;

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
        // The draft has read its prompt. What it gained in another text is no reason to lose it in this one.
        let credit = self.credit.min(self.plain.0.unwrap_or(0.0));
        Self { longest, accepted, judged, unread: 0, credit, ..self }
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
        let catch_up = self.catch_up.0.unwrap_or(0.0) * self.unread as f64;
        let price = draft + catch_up + self.blocks.at(1, undrafted(draft, plain)) - plain;
        if self.idle >= self.rest && self.credit >= price { 1.min(self.longest) } else { 0 }
    }

    /// The length that gives the most tokens a second; 0 if that is plain decoding.
    fn best(&self, draft: f64, plain: f64) -> usize {
        let acceptance = self.accepted / self.judged;
        let (mut best, mut best_rate) = (0, MARGIN / plain);
        // One token of the target's own, and each drafted one if all before it are accepted.
        let (mut tokens, mut chance) = (1.0, 1.0);
        let none = undrafted(draft, plain);
        for length in 1..=self.longest {
            chance *= acceptance;
            tokens += chance;
            let rate = tokens / (length as f64 * draft + self.blocks.at(length, none));
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
        self.credit = (self.credit + worth - total).min(GAINED * plain);
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
        let plain = self.plain.0.unwrap_or(block.target);
        self.blocks.add(block.drafted, block.target, undrafted(self.draft.0.unwrap_or(0.0), plain));
    }
}

/// What a block without a draft must take: a plain step, less what the draft's row has taken already if the draft is a
/// term of its target, and nothing less if it is not. Half of that is off by half a draft's pass at most, which the first
/// blocks outweigh.
fn undrafted(draft: f64, plain: f64) -> f64 {
    plain - 0.5 * draft.min(plain)
}

/// A mean of what was measured lately, that a hiccup of the machine does not move far.
#[derive(Debug, Clone, Copy)]
struct Mean(Option<f64>);

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.0 = Some(match self.0 {
            None => seconds,
            Some(mean) => mean + SHARE * (seconds.min(4.0 * mean) - mean),
        });
    }
}

/// What a block costs by the length of its draft: a straight line through what was measured lately. Lengths that hardly
/// differ tell nothing of its slope, so the line is held where there is no draft.
#[derive(Debug, Clone, Default)]
struct Line {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    fn add(&mut self, length: usize, seconds: f64, undrafted: f64) {
        let x = length as f64;
        let y = if self.weight == 0.0 { seconds } else { seconds.min(4.0 * self.at(length, undrafted)) };
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

    fn at(&self, length: usize, undrafted: f64) -> f64 {
        let weight = self.weight + ANCHOR;
        let (x, y) = (self.x / weight, (self.y + ANCHOR * undrafted) / weight);
        let variance = self.xx / weight - x * x;
        // More tokens never cost less.
        let slope = match variance > 1e-9 {
            true => ((self.xy / weight - x * y) / variance).max(0.0),
            false => 0.0,
        };
        (y + slope * (length as f64 - x)).max(0.0)
    }
}

#[cfg(test)]
mod tests;
