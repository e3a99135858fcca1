use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::processor::History;
use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result, TokenId};

/// Mirostat 2: keeps the mean surprise of a text near a target, in bits.
///
/// The surprise of a token is `−log₂ p`. Tokens whose surprise is above a bound `μ` are excluded; `μ` begins at twice the
/// target. After a token whose surprise among those that were kept is `s`, it becomes `μ − rate · (s − target)`. So texts
/// neither repeat themselves nor become incoherent, whatever their length. Basu et al. 2021, arXiv 2007.14966,
/// algorithm 2; the surprise is that of the kept tokens' distribution, as in llama.cpp.
///
/// The temperature is applied before. Leave top-p and min-p off. The bound is a function of the tokens so far and of the
/// distributions that they were drawn from: it is undone when they are rolled back. Where a text continues whose
/// beginning this value has not seen, the bound begins anew. Clones share what they have seen, so make one for each of
/// several generations that run at the same time.
///
/// ```
/// use eft_core::sample::Mirostat;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok([0.6f32, 0.3, 0.1].map(f32::ln).to_vec()));
/// // Token 2 has a surprise of 3.3 bits, above the bound of the first token.
/// let decoding = Decoding::from(Sampling::default()).truncation(Mirostat::new(1.0, 0.1)?).max_tokens(1);
/// for seed in 0..20 {
///     let decoding = decoding.clone().sampling(Sampling::default().seed(seed));
///     assert!(model.generate([0], decoding)?.next().unwrap()?.id < 2);
/// }
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mirostat {
    target: f64,
    rate: f64,
    /// What was decided after the texts that were seen last. Clones share it.
    decisions: Arc<Mutex<Decisions>>,
}

/// The most kept tokens that are remembered, over all places. Each row needs its last place, or as many as a draft has.
const MOST: usize = 1 << 22;

#[derive(Debug, Default)]
struct Decisions {
    made: u64,
    /// The number of kept tokens of all places.
    tokens: usize,
    by_place: BTreeMap<Place, (u64, Decision)>,
    /// The places in the order in which they were decided, by the number that each decision has.
    by_age: BTreeMap<u64, Place>,
}

/// A request, and a hash of the tokens before.
type Place = (u64, u64);

/// What was decided at one place of a text.
#[derive(Debug)]
struct Decision {
    bound: f64,
    /// The tokens that were kept, in the order of their ids, with their surprises among these.
    kept: Vec<(TokenId, f32)>,
}

impl Decisions {
    /// Adds what was decided at a place, and forgets the oldest decisions if there are too many.
    fn add(&mut self, place: Place, decision: Decision) {
        self.made += 1;
        self.tokens += decision.kept.len();
        self.by_age.insert(self.made, place);
        if let Some((made, replaced)) = self.by_place.insert(place, (self.made, decision)) {
            self.by_age.remove(&made);
            self.tokens -= replaced.kept.len();
        }
        while self.tokens > MOST && self.by_age.len() > 1 {
            let oldest = self.by_age.pop_first().and_then(|(_, place)| self.by_place.remove(&place));
            self.tokens -= oldest.map_or(0, |(_, forgotten)| forgotten.kept.len());
        }
    }
}

impl Mirostat {
    /// Creates it with the target in bits and the learning rate. The paper uses a target of 3 and a rate of 0.1; llama.cpp
    /// uses 5 and 0.1.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless both are finite, and not negative.
    pub fn new(target: f32, rate: f32) -> Result<Self> {
        for (name, value) in [("target of mirostat", target), ("rate of mirostat", rate)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::parameter(name, value, "a finite number, 0 or above"));
            }
        }
        Ok(Self { target: target.into(), rate: rate.into(), decisions: Arc::default() })
    }

    /// The bound after these tokens.
    fn bound(&self, decisions: &Decisions, history: &History<'_>) -> f64 {
        let start = 2.0 * self.target;
        let Some((last, before)) = history.generated.split_last() else { return start };
        let Some((_, decision)) = decisions.by_place.get(&place(history, before)) else { return start };
        let found = decision.kept.binary_search_by_key(last, |(token, _)| *token);
        // A token that was chosen otherwise, such as one that a grammar forces, leaves the bound as it is.
        let surprise = found.ok().map(|index| f64::from(decision.kept[index].1));
        surprise.map_or(decision.bound, |surprise| decision.bound - self.rate * (surprise - self.target))
    }
}

/// A text of a request: all samples of a request have the same prompt.
fn place(history: &History<'_>, tokens: &[TokenId]) -> Place {
    let mut hasher = DefaultHasher::new();
    tokens.hash(&mut hasher);
    (history.row.request, hasher.finish())
}

impl Truncation for Mirostat {
    fn candidates(&self) -> usize {
        usize::MAX
    }

    fn cut(&self, likeliest: &[Pick], uniform: f64) -> Cut {
        self.cut_after(&History::new(&[]), likeliest, uniform)
    }

    fn cut_after(&self, history: &History<'_>, likeliest: &[Pick], _: f64) -> Cut {
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = self.bound(&decisions, history);
        let surprise = |pick: &Pick| -f64::from(pick.log_prob) / std::f64::consts::LN_2;
        let count = likeliest.iter().take_while(|pick| surprise(pick) <= bound).count().max(1);
        let kept = &likeliest[..count.min(likeliest.len())];
        let mass: f64 = kept.iter().map(|pick| f64::from(pick.log_prob).exp()).sum();
        let of_kept = |pick: &Pick| (pick.token, (surprise(pick) + mass.log2()) as f32);
        let mut surprises: Vec<_> = kept.iter().map(of_kept).collect();
        surprises.sort_unstable_by_key(|(token, _)| *token);

        decisions.add(place(history, history.generated), Decision { bound, kept: surprises });
        Cut::Keep(kept.iter().map(|pick| pick.token).collect())
    }
}
