use super::cost_model::CostModel;
use super::ema::Ema;

/// The weight that is left of the acceptance measured so far after each judged token.
const ACCEPTANCE_DECAY: f64 = 0.98;
/// The same after a rest, and in another text.
const AFTER_REST: f64 = 0.5;
/// The number of blocks after which a plain step is measured again.
const PLAIN_EVERY: usize = 64;
/// Drafting must promise this many times the tokens per second of plain decoding.
const MARGIN: f64 = 1.02;
/// The length of the first draft, before any has been measured.
const FIRST: usize = 2;
/// The number of plain steps before a draft that did not pay is tried again: at first, and at most.
const REST: (usize, usize) = (8, 128);
/// The share of the time that trying again may take.
pub(super) const TRIES: f64 = 0.02;
/// The time, in plain steps, that drafting may lose before it rests, whatever gain is predicted.
pub(super) const LOSS: f64 = 3.0;
/// The further time, in plain steps, that drafting may lose if it has gained as much before in the same text.
const GAINED: f64 = 8.0;

/// One measured block: its times in seconds, and how its draft was judged.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::speculate) struct Measured {
    /// The rows of the batch.
    pub(in crate::speculate) rows: usize,
    /// The tokens drafted for the row with the longest draft; 0 for a plain step.
    pub(in crate::speculate) drafted: usize,
    /// The accepted tokens, over all rows.
    pub(in crate::speculate) accepted: usize,
    /// The judged tokens, over all rows: the accepted ones and in each row the first rejected one.
    pub(in crate::speculate) judged: usize,
    /// The time of the first pass of the draft, which may have to catch up with the text.
    pub(in crate::speculate) first_draft: f64,
    /// The time of its other passes together.
    pub(in crate::speculate) other_drafts: f64,
    /// The time of the passes of the target's other models.
    pub(in crate::speculate) target: f64,
    /// Whether any pass was run. The first step of a text needs none, since the scores after the prompt are known from
    /// opening it.
    pub(in crate::speculate) ran: bool,
}

/// A scheduler that chooses the draft length from the measurements so far.
#[derive(Debug, Clone)]
pub(in crate::speculate) struct Adaptive {
    longest: usize,
    accepted: f64,
    judged: f64,
    draft: Ema,
    /// The time that the draft takes for each token it has to catch up with, if it is not a term of the target.
    catch_up: Ema,
    plain: Ema,
    blocks: CostModel,
    /// The rows of the batch when `plain` was measured.
    rows: usize,
    since_plain: usize,
    /// Plain steps since the last draft.
    idle: usize,
    /// Those of them whose tokens the draft has to catch up with.
    unread: usize,
    /// The number of plain steps before the next try.
    rest: usize,
    /// Seconds that drafting may still lose.
    credit: f64,
}

impl Adaptive {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            // Three of four, until more is known.
            accepted: 1.5,
            judged: 2.0,
            draft: Ema::default(),
            catch_up: Ema::default(),
            plain: Ema::default(),
            blocks: CostModel::default(),
            rows: 0,
            since_plain: 0,
            idle: 0,
            unread: 0,
            rest: REST.0,
            credit: 0.0,
        }
    }

    /// Begins another text, at which the draft may be better or worse.
    pub(super) fn resumed(self, longest: usize) -> Self {
        let (accepted, judged) = (AFTER_REST * self.accepted, AFTER_REST * self.judged);
        // The draft has read the prompt. Its gain in another text must not be spent in this one.
        let credit = self.credit.min(self.plain.mean().unwrap_or(0.0));
        Self { longest, accepted, judged, unread: 0, credit, ..self }
    }

    /// The number of tokens that the draft has to catch up with.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    pub(super) fn set_unread(&mut self, tokens: usize) {
        self.unread = tokens;
    }

    /// Seconds of a plain step.
    pub(super) fn plain(&self) -> Option<f64> {
        self.plain.mean()
    }

    /// Returns how many tokens to draft next.
    pub(super) fn next(&self) -> usize {
        let Some(plain) = self.plain.mean().filter(|_| self.since_plain < PLAIN_EVERY) else { return 0 };
        let Some(draft) = self.draft.mean() else { return FIRST.min(self.longest) };
        let best = self.best(draft, plain);
        let lost = self.credit < -LOSS * plain;
        if best > 0 && !(lost && self.idle < self.rest) {
            return best;
        }
        // The cost of a try if none of its tokens is accepted.
        let catch_up = self.catch_up.mean().unwrap_or(0.0) * self.unread as f64;
        let price = draft + catch_up + self.blocks.at(1, undrafted(draft, plain)) - plain;
        if self.idle >= self.rest && self.credit >= price { 1.min(self.longest) } else { 0 }
    }

    /// Returns the length that gives the most tokens per second; 0 if that is plain decoding.
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

    /// Learns from a block.
    pub(super) fn learn(&mut self, block: &Measured) {
        let total = block.first_draft + block.other_drafts + block.target;
        if block.rows * 4 < self.rows * 3 || self.rows * 4 < block.rows * 3 {
            // Many rows have left, or a larger batch has begun: all costs have changed.
            (self.plain, self.draft, self.blocks) = (Ema::default(), Ema::default(), CostModel::default());
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
        let plain = self.plain.mean().unwrap_or(total);
        let worth = plain * (1.0 + block.accepted as f64 / block.rows as f64);
        self.credit = (self.credit + worth - total).min(GAINED * plain);
        // After a rest, the measurements before it count for less.
        let kept = match self.idle >= self.rest {
            true => AFTER_REST,
            false => ACCEPTANCE_DECAY.powi(block.judged as i32),
        };
        self.accepted = kept * self.accepted + block.accepted as f64;
        self.judged = kept * self.judged + block.judged as f64;
        self.rest =
            if 2 * block.accepted >= block.judged { 1 } else { (2 * self.rest).clamp(REST.0, REST.1) };
        (self.idle, self.unread) = (0, 0);
        self.since_plain += 1;
    }

    fn learn_costs(&mut self, block: &Measured) {
        let others = block.drafted - 1;
        if others > 0 {
            self.draft.add(block.other_drafts / others as f64);
        } else if self.draft.mean().is_none() || self.unread == 0 {
            self.draft.add(block.first_draft);
        }
        if let Some(draft) = self.draft.mean().filter(|_| self.unread > 0) {
            // After every block there is one token that the draft has not read, which its first pass takes anyway.
            self.catch_up.add((block.first_draft - draft).max(0.0) / self.unread as f64);
        }
        let plain = self.plain.mean().unwrap_or(block.target);
        self.blocks.add(block.drafted, block.target, undrafted(self.draft.mean().unwrap_or(0.0), plain));
    }
}

/// The cost of a block without a draft: a plain step, less the pass of the draft's own row if the draft is a term of
/// its target, and a whole plain step if it is not. Half a draft pass is subtracted in either case, so the error is at
/// most half a draft pass, which the first measured blocks outweigh.
fn undrafted(draft: f64, plain: f64) -> f64 {
    plain - 0.5 * draft.min(plain)
}
