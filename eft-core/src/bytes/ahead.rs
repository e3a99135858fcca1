//! Which sequences the bytes after a text will probably need: those that are run beside the ones that it needs already.
use std::sync::Arc;

use super::covering::likely;
use super::node::Node;
use super::position::{Share, log_sum, sums};
use super::walk::{Cover, Walker};
use crate::Result;
use crate::host::summary::Mass;

/// How sequences are looked for.
pub(super) struct Ahead<'a> {
    /// The random numbers that will draw the next bytes; if there are none, the likeliest bytes are followed.
    pub(super) draws: &'a [f64],
    /// The number of symbols that are no bytes.
    pub(super) controls: usize,
    /// The least probability of bytes whose sequences are run, of those that may follow a text, where `draws` is empty.
    pub(super) share: f64,
    /// The most sequences.
    pub(super) most: usize,
    /// The most tokens of a sequence.
    pub(super) deepest: usize,
    /// The setting [`ByteSettings::prune`](super::ByteSettings::prune).
    pub(super) pruned: f64,
    /// The setting [`ByteSettings::covering`](super::ByteSettings::covering).
    pub(super) covering: Option<f64>,
}

/// The most continuations that are looked at.
const MOST_CONTINUATIONS: usize = 32;

/// The share of a distribution that must be known for a byte to be drawn from it.
const KNOWN: f64 = 0.5;

/// What a text may go on with.
struct Continuation {
    /// Covers with their log-probabilities; −∞ if a distribution is lacking.
    covers: Vec<Cover>,
    /// The logarithm of its probability, as far as it is known.
    log_mass: f64,
}

impl Walker {
    /// The sequences without a distribution that a text with these covers will probably need: those of the bytes that will be drawn, where
    /// that is known, else those of its likeliest continuations. What is not known yet is taken for improbable, so these are a guess.
    pub(super) fn ahead(&self, covers: &[Cover], how: &Ahead<'_>) -> Result<Vec<Arc<Node>>> {
        let covers = match how.covering {
            Some(_) => covers.to_vec(),
            None => self.weighed(covers)?,
        };
        let log_mass = log_sum(covers.iter().map(|cover| self.log_mass(cover)));
        let mut found = Vec::new();
        if how.draws.is_empty() {
            self.likeliest(Continuation { covers, log_mass }, how, &mut found)?;
        } else {
            self.drawn(Continuation { covers, log_mass }, how, &mut found)?;
        }
        Ok(found)
    }

    /// Follows the bytes that the random numbers will draw, as far as the distributions are known.
    fn drawn(&self, mut next: Continuation, how: &Ahead<'_>, found: &mut Vec<Arc<Node>>) -> Result<()> {
        for draw in how.draws {
            self.add_lacking(&next, how, found)?;
            let (sums, log_scale) = self.following(&next, how.controls);
            let known: f64 = sums.iter().sum();
            // A byte that a part of the distribution draws may not be that of the whole.
            if found.len() >= how.most || log_scale + known.ln() < next.log_mass + KNOWN.ln() {
                break;
            }
            let mut sum = 0.0;
            let exceeds = |of_symbol: &f64| {
                sum += of_symbol;
                sum > draw * known
            };
            // Symbols that are no bytes come last, and mostly end the text.
            let drawn = sums.iter().position(exceeds);
            let Some(byte) = drawn.and_then(|symbol| u8::try_from(symbol).ok()) else { break };
            next = self.continued(&next.covers, byte, how.covering);
        }
        Ok(())
    }

    /// Follows the bytes that are the likeliest ones, one continuation after another.
    fn likeliest(&self, from: Continuation, how: &Ahead<'_>, found: &mut Vec<Arc<Node>>) -> Result<()> {
        let least = from.log_mass + how.share.ln();
        let mut open = vec![from];
        for _ in 0..MOST_CONTINUATIONS {
            let by_mass = |a: &usize, b: &usize| open[*a].log_mass.total_cmp(&open[*b].log_mass);
            let best = (0..open.len()).max_by(by_mass).filter(|_| least.is_finite());
            let Some(best) = best else { break };
            let next = open.swap_remove(best);
            self.add_lacking(&next, how, found)?;
            if found.len() >= how.most {
                break;
            }
            let (sums, log_scale) = self.following(&next, 0);
            for (byte, sum) in (0..=u8::MAX).zip(sums) {
                if log_scale + sum.ln() >= least {
                    open.push(self.continued(&next.covers, byte, how.covering));
                }
            }
        }
        Ok(())
    }

    /// Adds the sequences without a distribution that the symbol after a continuation needs.
    fn add_lacking(&self, next: &Continuation, how: &Ahead<'_>, found: &mut Vec<Arc<Node>>) -> Result<()> {
        for cover in self.possible(&next.covers)? {
            let is_needed = how.pruned == 0.0 || cover.log_weight > next.log_mass + how.pruned.ln();
            let is_new =
                cover.node.row().is_none() && !found.iter().any(|node| Arc::ptr_eq(node, &cover.node));
            if is_needed && is_new && cover.node.depth() <= how.deepest && found.len() < how.most {
                found.push(cover.node);
            }
        }
        Ok(())
    }

    /// The probabilities of the bytes after a continuation, and of as many other symbols, as far as they are known, and the logarithm of
    /// their scale.
    fn following(&self, next: &Continuation, controls: usize) -> (Vec<f64>, f64) {
        let known = |cover: &Cover| {
            let row = cover.node.row()?;
            Some(self.share(cover, &row, cover.log_weight))
        };
        let known: Vec<Share> = next.covers.iter().filter_map(known).collect();
        sums(&known, controls)
    }

    /// The covers of one more byte.
    fn continued(&self, covers: &[Cover], byte: u8, covering: Option<f64>) -> Continuation {
        let mut next = Vec::new();
        for cover in covers {
            match cover.node.row() {
                Some(row) => self.weighed_byte(cover, &row, cover.log_weight, byte, &mut next),
                // Which of all sequences are followed depends on their probabilities.
                None if covering.is_some() => {}
                None => {
                    let unknown = self.byte(std::slice::from_ref(cover), byte).into_iter();
                    next.extend(
                        unknown.map(|cover| {
                            (Cover { log_weight: f64::NEG_INFINITY, ..cover }, f64::NEG_INFINITY)
                        }),
                    );
                }
            }
        }
        let covers: Vec<_> = match covering {
            Some(share) => likely(next, share).covers,
            None => next.into_iter().map(|(cover, _)| cover).collect(),
        };
        let log_mass = log_sum(covers.iter().map(|cover| self.log_mass(cover)));
        Continuation { covers, log_mass }
    }

    /// The logarithm of the probability of the texts that a cover begins, as far as it is known.
    fn log_mass(&self, cover: &Cover) -> f64 {
        match (cover.depth, cover.node.row()) {
            (0, _) => cover.log_weight,
            (_, Some(row)) => cover.log_weight + Mass::of_scores(&row.text[cover.range.clone()]).log(),
            (_, None) => f64::NEG_INFINITY,
        }
    }
}
