use super::cost_model::CostModel;
use super::ema::Ema;
use super::kinds::Match;
use super::rate::Rate;

/// The number of blocks after which a plain step is measured again.
const PLAIN_EVERY: usize = 64;
/// Drafting must promise this many times the tokens per second of plain decoding.
const MARGIN: f64 = 1.02;
/// The length of the first draft, before any has been measured.
const FIRST: usize = 2;
/// The number of plain steps before a draft that does not pay is tried again: at first, and at most. After each block
/// of which fewer than half of the judged tokens were accepted it doubles, to at least the first number; after any
/// other block it is 1.
const REST: (usize, usize) = (8, 128);
/// The share of the time that trying again may take.
pub(super) const TRIES: f64 = 0.02;
/// Once drafting has lost this much time compared with plain decoding, in plain steps, it is switched off for a rest,
/// even if it is predicted to pay.
pub(super) const LOSS: f64 = 3.0;
/// The most time, in plain steps, that earlier gains in the same text add to what drafting may lose: the credit is
/// capped at this.
const GAINED: f64 = 8.0;

/// One measured block: its times in seconds, and how its draft was judged.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::speculate) struct Measured {
    /// The rows of the batch.
    pub(in crate::speculate) rows: usize,
    /// The tokens drafted for the row with the longest draft; 0 for a plain step.
    pub(in crate::speculate) drafted: usize,
    /// The passes of the model that drafted; none for a lookup.
    pub(in crate::speculate) passes: usize,
    /// The accepted tokens, over all rows that this kind of draft was for.
    pub(in crate::speculate) accepted: usize,
    /// The judged tokens, over the same rows: the accepted ones and in each row the first rejected one.
    pub(in crate::speculate) judged: usize,
    /// The accepted tokens of rows with another kind of draft.
    pub(in crate::speculate) accepted_of_others: usize,
    /// The time of the first pass of the draft, which may have to catch up with the text.
    pub(in crate::speculate) first_draft: f64,
    /// The time of its other passes together.
    pub(in crate::speculate) other_drafts: f64,
    /// The time of the passes of the target's other models.
    pub(in crate::speculate) target: f64,
    /// Whether any pass was run. The first step of a text needs none, since the scores after the prompt are known from
    /// reading it.
    pub(in crate::speculate) ran: bool,
}

/// A scheduler that chooses the length of one kind of draft from the measurements so far.
#[derive(Debug, Clone)]
pub(in crate::speculate) struct Adaptive {
    longest: usize,
    /// The acceptance rates. A draft by a model has one, and a lookup has one for each kind of match.
    rates: [Rate; Match::KINDS],
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
    /// The seconds that drafting has gained over plain decoding, less those that it has lost, plus the share of the
    /// plain steps' time that trying again may take. It is capped after each block, and may be negative.
    credit: f64,
}

impl Adaptive {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            rates: [Rate::unknown(); Match::KINDS],
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
    pub(super) fn resumed(mut self, longest: usize) -> Self {
        self.rates.iter_mut().for_each(Rate::rest);
        // Nothing is unread: the draft has read the prompt. Credit is capped at one plain step, so that this text
        // cannot lose what drafting gained in others.
        let credit = self.credit.min(self.plain.mean().unwrap_or(0.0));
        Self { longest, unread: 0, credit, ..self }
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

    /// Whether a plain step has to be measured before anything is drafted.
    pub(super) fn is_plain_due(&self) -> bool {
        self.plain.mean().is_none() || self.since_plain >= PLAIN_EVERY
    }

    /// Returns how many tokens to draft next, by the acceptance rate of this index, if this share of the rows gets a draft.
    pub(super) fn next(&self, rate: usize, share: f64) -> usize {
        let Some(plain) = self.plain.mean().filter(|_| !self.is_plain_due()) else { return 0 };
        let Some(draft) = self.draft.mean() else { return FIRST.min(self.longest) };
        let best = self.best(draft, plain, rate, share);
        let lost = self.credit < -LOSS * plain;
        if best > 0 && !(lost && self.idle < self.rest) {
            return best;
        }
        // The cost of a try if none of its tokens is accepted.
        let catch_up = self.catch_up.mean().unwrap_or(0.0) * self.unread as f64;
        let price = draft + catch_up + self.blocks.at(1, cost_at_zero(draft, plain)) - plain;
        if self.idle >= self.rest && self.credit >= price { 1.min(self.longest) } else { 0 }
    }

    /// Returns the length that gives the most tokens per second; 0 if that is plain decoding.
    fn best(&self, draft: f64, plain: f64, rate: usize, share: f64) -> usize {
        let better = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
        self.speeds(draft, plain, rate, share).take(self.longest).fold((0, MARGIN / plain), better).0
    }

    /// Returns the tokens per second of a row with a draft of this length; `None` before any has been measured.
    pub(super) fn speed(&self, rate: usize, length: usize) -> Option<f64> {
        let (draft, plain) = (self.draft.mean()?, self.plain.mean()?);
        self.speeds(draft, plain, rate, 1.0).nth(length.checked_sub(1)?).map(|(_, speed)| speed)
    }

    /// The draft lengths from 1 on, and the tokens per second that they give.
    fn speeds(&self, draft: f64, plain: f64, rate: usize, share: f64) -> impl Iterator<Item = (usize, f64)> {
        let (acceptance, at_zero) = (self.rates[rate].mean(), cost_at_zero(draft, plain));
        // One token of the target's own, and each drafted one if all before it are accepted.
        let (mut tokens, mut chance) = (1.0, share);
        (1..).map(move |length| {
            chance *= acceptance;
            tokens += chance;
            (length, tokens / (length as f64 * draft + self.blocks.at(length, at_zero)))
        })
    }

    /// Learns how the tokens were judged that were drafted, or would have been.
    pub(super) fn judge(&mut self, rate: usize, accepted: usize, judged: usize) {
        self.rates[rate].add(accepted, judged);
    }

    /// Learns from a step. `offered` says of a plain one whether a draft would have been possible.
    pub(super) fn learn(&mut self, block: &Measured, offered: bool) {
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
            self.idle += usize::from(offered);
            self.unread += 1;
            self.credit += TRIES * total;
            return;
        }
        if block.ran {
            self.learn_costs(block);
        }
        let plain = self.plain.mean().unwrap_or(total);
        let accepted = block.accepted + block.accepted_of_others;
        let worth = plain * (1.0 + accepted as f64 / block.rows as f64);
        self.credit = (self.credit + worth - total).min(GAINED * plain);
        self.rest =
            if 2 * block.accepted >= block.judged { 1 } else { (2 * self.rest).clamp(REST.0, REST.1) };
        (self.idle, self.unread) = (0, 0);
        self.since_plain += 1;
    }

    /// Takes note of a draft that was possible and not used.
    pub(super) fn pass_over(&mut self) {
        self.idle += 1;
    }

    /// Learns from a block of this kind of draft, and from how it was judged.
    pub(super) fn learn_judged(&mut self, block: &Measured) {
        if block.drafted > 0 {
            // After a rest, the measurements before it count for less.
            match self.idle >= self.rest {
                true => self.rates[0].add_after_rest(block.accepted, block.judged),
                false => self.judge(0, block.accepted, block.judged),
            }
        }
        self.learn(block, true);
    }

    fn learn_costs(&mut self, block: &Measured) {
        let others = block.passes.saturating_sub(1);
        if block.passes == 0 {
            self.draft.add(0.0);
        } else if others > 0 {
            self.draft.add(block.other_drafts / others as f64);
        } else if self.draft.mean().is_none() || self.unread == 0 {
            self.draft.add(block.first_draft);
        }
        if let Some(draft) = self.draft.mean().filter(|_| self.unread > 0) {
            // After a block, the target's own token is unread, and for a draft that is no term of the target also the
            // last drafted token if it was accepted. The first pass of the next draft reads these in any case, so only
            // the tokens of plain steps are counted.
            self.catch_up.add((block.first_draft - draft).max(0.0) / self.unread as f64);
        }
        let plain = self.plain.mean().unwrap_or(block.target);
        self.blocks.add(block.drafted, block.target, cost_at_zero(self.draft.mean().unwrap_or(0.0), plain));
    }
}

/// Estimates the cost of verifying a block of length 0.
///
/// If the draft is not a term of the target, that is a whole plain step. If it is, its own pass has already run when a
/// block is verified, so that the cost is a plain step less a draft pass; unless the draft shares passes with other
/// terms, when it is a whole plain step again. The scheduler does not know which holds and subtracts half a draft pass.
/// The error is at most half a draft pass, and the first measured blocks outweigh it.
fn cost_at_zero(draft: f64, plain: f64) -> f64 {
    plain - 0.5 * draft.min(plain)
}
