//! Which sequences the bytes after a text will probably need: those that are run beside the ones that it needs already.
use std::sync::Arc;

use super::covering::likely;
use super::node::Node;
use super::position::{Share, log_sum, sums};
use super::walk::{Cover, Walker};
use crate::Result;
use crate::host::summary::Mass;

/// How sequences are looked for.
pub(super) struct Ahead {
    /// The least probability of bytes whose sequences are run, of those that may follow a text.
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

/// What a text may go on with.
struct Continuation {
    /// Covers with their log-probabilities; −∞ if a distribution is lacking.
    covers: Vec<Cover>,
    /// The logarithm of its probability, as far as it is known.
    log_mass: f64,
}

impl Walker {
    /// The sequences without a distribution that the likeliest continuations of a text with these covers need, the likeliest
    /// first. What is not known yet is taken for improbable, so these are a guess.
    pub(super) fn ahead(&self, covers: &[Cover], how: &Ahead) -> Result<Vec<Arc<Node>>> {
        let covers = match how.covering {
            Some(_) => covers.to_vec(),
            None => self.weighed(covers)?,
        };
        let log_mass = log_sum(covers.iter().map(|cover| self.log_mass(cover)));
        let least = log_mass + how.share.ln();
        let mut open = vec![Continuation { covers, log_mass }];
        let mut found: Vec<Arc<Node>> = Vec::new();
        for _ in 0..MOST_CONTINUATIONS {
            let by_mass = |a: &usize, b: &usize| open[*a].log_mass.total_cmp(&open[*b].log_mass);
            let best = (0..open.len()).max_by(by_mass).filter(|_| least.is_finite());
            let Some(best) = best else { break };
            let next = open.swap_remove(best);
            for cover in self.possible(&next.covers)? {
                let is_needed = how.pruned == 0.0 || cover.log_weight > next.log_mass + how.pruned.ln();
                let is_new =
                    cover.node.row().is_none() && !found.iter().any(|node| Arc::ptr_eq(node, &cover.node));
                if is_needed && is_new && cover.node.depth() <= how.deepest {
                    found.push(cover.node);
                }
                if found.len() >= how.most {
                    return Ok(found);
                }
            }
            let known = |cover: &Cover| {
                let row = cover.node.row()?;
                Some(self.share(cover, &row, cover.log_weight))
            };
            let known: Vec<Share> = next.covers.iter().filter_map(known).collect();
            let (sums, log_scale) = sums(&known, 0);
            for (byte, sum) in (0..=u8::MAX).zip(sums) {
                if log_scale + sum.ln() >= least {
                    let covers = self.continued(&next.covers, byte, how.covering);
                    let log_mass = log_sum(covers.iter().map(|cover| self.log_mass(cover)));
                    open.push(Continuation { covers, log_mass });
                }
            }
        }
        Ok(found)
    }

    /// The covers of one more byte.
    fn continued(&self, covers: &[Cover], byte: u8, covering: Option<f64>) -> Vec<Cover> {
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
        match covering {
            Some(share) => likely(next, share).covers,
            None => next.into_iter().map(|(cover, _)| cover).collect(),
        }
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
