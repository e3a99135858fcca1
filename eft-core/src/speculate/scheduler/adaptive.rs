use super::confidence::{Confidence, DraftEnd, Judged};
use super::cost_model::CostModel;
use super::kinds::Match;
use super::rate::Rate;
use super::reached::Reached;
use super::recent::{Recent, usual};

/// The number of blocks after which a plain step is measured again: first, and later.
const PLAIN_EVERY: (usize, usize) = (32, 64);
/// The number of blocks that are measured before it is believed that drafting does not pay: any of them may have been delayed.
const MEASURED: usize = 3;
/// A block that took more than this many plain steps is not repeated merely to check its time.
const DEAR: f64 = 16.0;
/// A delayed block counts for at most this many times the time that was expected, where gains are added up.
const OUTLIER: f64 = 2.0;
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
    /// The time of the passes of the draft.
    pub(in crate::speculate) draft: DraftTime,
    /// The time of the passes of the target's other models.
    pub(in crate::speculate) target: f64,
    /// Whether any pass was run. The first step of a text needs none, since the scores after the prompt are known from
    /// reading it.
    pub(in crate::speculate) ran: bool,
}

/// The time that a draft took, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::speculate) struct DraftTime {
    /// The first pass, which may have to catch up with the text.
    pub(in crate::speculate) first: f64,
    /// The other passes together.
    pub(in crate::speculate) others: f64,
    /// The usual time of one of the others.
    pub(in crate::speculate) usual: f64,
}

impl DraftTime {
    /// From the time of each pass.
    pub(in crate::speculate) fn of(passes: &[f64]) -> Self {
        let Some((first, others)) = passes.split_first() else { return Self::default() };
        let usual = if others.is_empty() { 0.0 } else { usual(others) };
        Self { first: *first, others: others.iter().sum(), usual }
    }

    pub(in crate::speculate) fn total(self) -> f64 {
        self.first + self.others
    }
}

/// A scheduler that chooses the length of one kind of draft from the measurements so far.
#[derive(Debug, Clone)]
pub(in crate::speculate) struct Adaptive {
    longest: usize,
    /// The acceptance rates. A draft by a model has one, and a lookup has one for each kind of match.
    rates: [Rate; Match::KINDS],
    /// The rates of a model's tokens by how sure it was of them.
    confidence: Confidence,
    draft: Recent,
    /// The time that the draft takes for each token it has to catch up with, if it is not a term of the target.
    catch_up: Recent,
    plain: Recent,
    blocks: CostModel,
    /// What the last blocks gave, by the time that blocks of their lengths usually take.
    reached: Reached,
    /// Whether a block took so long that it is not measured again to be sure.
    dear: bool,
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
            confidence: Confidence::default(),
            draft: Recent::default(),
            catch_up: Recent::default(),
            plain: Recent::default(),
            blocks: CostModel::default(),
            reached: Reached::default(),
            dear: false,
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
        self.confidence.rest();
        // Nothing is unread: the draft has read the prompt. Credit is capped at one plain step, so that this text
        // cannot lose what drafting gained in others; nor does it pay for what drafting lost in others.
        let plain = self.plain.usual().unwrap_or(0.0);
        let credit = self.credit.clamp(-plain, plain);
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
        self.plain.usual()
    }

    /// Whether a plain step has to be measured before anything is drafted.
    pub(super) fn is_plain_due(&self) -> bool {
        match self.plain.count() {
            0 => true,
            // The only measurement may have been delayed.
            1 => self.since_plain >= PLAIN_EVERY.0,
            _ => self.since_plain >= PLAIN_EVERY.1,
        }
    }

    /// Returns how many tokens to draft next, by the acceptance rate of this index, if this share of the rows gets a draft.
    pub(super) fn next(&self, rate: usize, share: f64) -> usize {
        let Some(plain) = self.plain.usual().filter(|_| !self.is_plain_due()) else { return 0 };
        let Some(draft) = self.draft.usual() else { return FIRST.min(self.longest) };
        let best = self.best(draft, plain, rate, share);
        let lost = self.credit < -LOSS * plain;
        if best > 0 && !(lost && self.idle < self.rest) {
            return best;
        }
        if self.blocks.count() < MEASURED && !self.dear && !lost {
            return 1.min(self.longest);
        }
        // The cost of a try if none of its tokens is accepted.
        let price = self.expected(1, 1, draft, plain) - plain;
        if self.idle >= self.rest && self.credit >= price { 1.min(self.longest) } else { 0 }
    }

    /// Returns the length that gives the most tokens per second if all drafts have it; 0 if that is plain decoding. Drafts by a model end
    /// where it is unsure, and give more than that as a rule.
    fn best(&self, draft: f64, plain: f64, rate: usize, share: f64) -> usize {
        let better = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
        self.speeds(draft, plain, rate, share).take(self.longest).fold((0, MARGIN / plain), better).0
    }

    /// Returns when drafts by a model are long enough; `None` before their cost has been measured.
    pub(super) fn end(&self) -> Option<DraftEnd> {
        let (draft, plain) = (self.draft.usual()?, self.plain.usual()?);
        let (length, mean) = (self.best(draft, plain, 0, 1.0), self.rates[0].mean());
        // Another token is worth its time if it promises at least as many tokens as a draft of the best length gives in that time.
        let speed = self.speed(0, length)?;
        let verifying = self.blocks.of_token();
        let (least, least_verified) = ((draft + verifying) * speed, verifying * speed);
        Some(DraftEnd {
            rates: self.confidence.rates(mean),
            mean,
            least,
            least_verified,
            longest: self.longest,
        })
    }

    /// Returns the tokens per second of a row with a draft of this length; `None` before any has been measured.
    pub(super) fn speed(&self, rate: usize, length: usize) -> Option<f64> {
        let (draft, plain) = (self.draft.usual()?, self.plain.usual()?);
        self.speeds(draft, plain, rate, 1.0).nth(length.checked_sub(1)?).map(|(_, speed)| speed)
    }

    /// Returns the tokens per second of a row in the last blocks; `None` before there are enough.
    pub(super) fn reached(&self) -> Option<f64> {
        self.reached.speed()
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

    /// The seconds that a block of this length takes, with this many passes of the draft.
    fn expected(&self, length: usize, passes: usize, draft: f64, plain: f64) -> f64 {
        let catch_up =
            if passes > 0 { self.catch_up.usual().unwrap_or(0.0) * self.unread as f64 } else { 0.0 };
        passes as f64 * draft + catch_up + self.blocks.at(length, cost_at_zero(draft, plain))
    }

    /// Learns how the tokens were judged that were drafted, or would have been.
    pub(super) fn judge(&mut self, rate: usize, accepted: usize, judged: usize) {
        self.rates[rate].add(accepted, judged);
    }

    /// Learns from a step. `offered` says of a plain one whether a draft would have been possible.
    pub(super) fn learn(&mut self, block: &Measured, offered: bool) {
        let total = block.draft.total() + block.target;
        if block.rows * 4 < self.rows * 3 || self.rows * 4 < block.rows * 3 {
            // Many rows have left, or a larger batch has begun: all costs have changed.
            (self.plain, self.draft, self.blocks) =
                (Recent::default(), Recent::default(), CostModel::default());
            self.reached = Reached::default();
            self.dear = false;
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
        let plain = self.plain.usual().unwrap_or(total);
        let draft = self.draft.usual();
        let expected = draft.map_or(plain, |draft| self.expected(block.drafted, block.passes, draft, plain));
        if block.ran {
            self.learn_costs(block);
            self.dear |= total > DEAR * plain;
        }
        let accepted = block.accepted + block.accepted_of_others;
        let tokens = 1.0 + accepted as f64 / block.rows as f64;
        self.reached.add(tokens, expected);
        let worth = plain * tokens;
        self.credit = (self.credit + worth - total.min(OUTLIER * expected)).min(GAINED * plain);
        self.rest =
            if 2 * block.accepted >= block.judged { 1 } else { (2 * self.rest).clamp(REST.0, REST.1) };
        (self.idle, self.unread) = (0, 0);
        self.since_plain += 1;
    }

    /// Takes note of a draft that was possible and not used.
    pub(super) fn pass_over(&mut self) {
        self.idle += 1;
    }

    /// Learns from a block of this kind of draft, and from how it was judged. `drawn` are the tokens that a model has drawn.
    pub(super) fn learn_judged(&mut self, block: &Measured, drawn: &[Judged]) {
        self.confidence.add(drawn);
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
        if block.passes == 0 {
            self.draft.add(0.0);
        } else if block.passes > 1 {
            self.draft.add(block.draft.usual);
        } else if self.draft.usual().is_none() || self.unread == 0 {
            self.draft.add(block.draft.first);
        }
        if let Some(draft) = self.draft.usual().filter(|_| self.unread > 0) {
            // After a block, the target's own token is unread, and for a draft that is no term of the target also the
            // last drafted token if it was accepted. The first pass of the next draft reads these in any case, so only
            // the tokens of plain steps are counted.
            self.catch_up.add((block.draft.first - draft).max(0.0) / self.unread as f64);
        }
        let plain = self.plain.usual().unwrap_or(block.target);
        self.blocks.add(block.drafted, block.target, cost_at_zero(self.draft.usual().unwrap_or(0.0), plain));
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
