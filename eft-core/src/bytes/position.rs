//! The distribution of the symbol after a text, from the distributions of the tokens after its covers.
use std::collections::HashMap;
use std::sync::Arc;

use super::lexicon::Lexicon;
use super::node::{Node, NodeRow};
use super::walk::{Cover, Walker, trunk};
use crate::host::summary::Mass;
use crate::host::vector::vectorized;
use crate::{Result, TokenId};

/// The log-probability of symbols that cannot follow, such as bytes that are not UTF-8. Unlike −∞ it can be subtracted.
const IMPOSSIBLE: f64 = -1e4;

/// The scores of a position, or the sequences that the model has to be run on first.
pub(super) enum Position {
    Scores(Vec<f32>),
    Lacks(Vec<Arc<Node>>),
}

/// A sequence that some covers begin with, below the trunk.
struct Branch {
    node: Arc<Node>,
    children: Vec<usize>,
    covers: Vec<usize>,
    /// The log-probability of the sequence after the trunk.
    log_weight: f64,
}

/// What one cover adds to the probabilities of the next symbol: a factor as its logarithm, and numbers that are not small.
pub(super) struct Share {
    log_scale: f64,
    bytes: Box<[f64; 256]>,
    controls: Vec<f64>,
}

impl Walker {
    /// The scores of the symbol after a text with these covers. Covers that together have at most the share `pruned` of the
    /// probability are left out.
    pub(super) fn position(&self, covers: &[Cover], controls: usize, pruned: f64) -> Result<Position> {
        let covers = self.possible(covers)?;
        let mut branches = branches(&covers);
        if pruned == 0.0 {
            let nodes = branches.iter().map(|branch| &branch.node);
            let lacks: Vec<_> = nodes.filter(|node| node.row().is_none()).cloned().collect();
            if !lacks.is_empty() {
                return Ok(Position::Lacks(lacks));
            }
        }
        let (mut shares, mut left): (Vec<Share>, Vec<usize>) = (Vec::new(), vec![0]);
        // The most probable sequence comes next, until those that are left do not matter.
        loop {
            let total = log_sum(
                shares.iter().map(Share::log_mass).chain(left.iter().map(|b| branches[*b].log_weight)),
            );
            let rest = log_sum(left.iter().map(|branch| branches[*branch].log_weight));
            let by_weight =
                |a: &&usize, b: &&usize| branches[**a].log_weight.total_cmp(&branches[**b].log_weight);
            // Nothing is left out before something is known.
            let Some(&next) =
                left.iter().max_by(by_weight).filter(|_| shares.is_empty() || rest > total + pruned.ln())
            else {
                return Ok(Position::Scores(self.scores(&covers, &branches, &left, &shares, controls)));
            };
            let Some(row) = branches[next].node.row() else {
                return Ok(Position::Lacks(vec![branches[next].node.clone()]));
            };
            if !row.sound {
                return Ok(Position::Scores(vec![f32::NAN; 256 + controls]));
            }
            left.retain(|branch| *branch != next);
            let log_weight = branches[next].log_weight;
            shares.extend(
                branches[next].covers.iter().map(|cover| self.share(&covers[*cover], &row, log_weight)),
            );
            for child in branches[next].children.clone() {
                branches[child].log_weight = log_weight + self.log_prob(&row, &branches[child].node);
                left.push(child);
            }
            // Those that cannot be are no longer left.
            left.retain(|branch| branches[*branch].log_weight > f64::NEG_INFINITY);
            if shares.is_empty() && left.is_empty() {
                return Ok(Position::Scores(vec![f32::NAN; 256 + controls]));
            }
        }
    }

    /// The log-probability of a sequence's last token in the row of the sequence before it.
    fn log_prob(&self, row: &NodeRow, node: &Node) -> f64 {
        match self.lexicon.index(node.token()) {
            Some(index) => f64::from(row.text[index]),
            // Other special tokens come from prompts, and are the same in all sequences.
            None => row.of_control(node.token()).unwrap_or(0.0),
        }
    }

    /// Covers of canonical sequences with the log-probabilities of their nodes after their trunk, as far as these are known.
    pub(super) fn weighed(&self, covers: &[Cover]) -> Result<Vec<Cover>> {
        let mut covers = self.possible(covers)?;
        let mut branches = branches(&covers);
        for branch in 0..branches.len() {
            let Branch { log_weight, .. } = branches[branch];
            branches[branch].covers.iter().for_each(|cover| covers[*cover].log_weight = log_weight);
            // A branch is before those below it.
            if let Some(row) = branches[branch].node.row() {
                for child in branches[branch].children.clone() {
                    branches[child].log_weight = log_weight + self.log_prob(&row, &branches[child].node);
                }
            }
        }
        Ok(covers)
    }

    /// What a cover adds, from the distribution after its node and the log-probability of its node's tokens.
    pub(super) fn share(&self, cover: &Cover, row: &NodeRow, log_weight: f64) -> Share {
        if cover.depth == 0 {
            let controls = row.controls.iter().map(|log_prob| log_prob.exp()).collect();
            return Share { log_scale: log_weight, bytes: row.first.clone(), controls };
        }
        let runs = self.lexicon.runs(cover.range.clone(), cover.depth);
        let masses: Vec<_> = runs.map(|(byte, range)| (byte, Mass::of_scores(&row.text[range]))).collect();
        let most = masses.iter().map(|(_, mass)| mass.max).fold(f32::NEG_INFINITY, f32::max);
        let mut bytes = Box::new([0.0; 256]);
        masses.iter().for_each(|(byte, mass)| bytes[usize::from(*byte)] = mass.relative_to(most));
        let log_scale = log_weight + f64::from(most);
        Share { log_scale, bytes, controls: vec![0.0; row.controls.len()] }
    }

    fn scores(
        &self,
        covers: &[Cover],
        branches: &[Branch],
        left: &[usize],
        shares: &[Share],
        controls: usize,
    ) -> Vec<f32> {
        let (mut sums, scale) = sums(shares, controls);
        // A byte that only sequences left out make possible has some small share of their probability.
        if !left.is_empty() {
            let rest = log_sum(left.iter().map(|branch| branches[*branch].log_weight));
            let least = (rest - scale).exp() / 256.0;
            let out: Vec<_> = left.iter().flat_map(|branch| covers_below(branches, *branch)).collect();
            for byte in 0..=u8::MAX {
                let sum = &mut sums[usize::from(byte)];
                if *sum == 0.0 && out.iter().any(|cover| self.can_follow(&covers[*cover], byte)) {
                    *sum = least;
                }
            }
        }
        log_probs(&sums)
    }
}

/// The probabilities of the bytes and controls by all covers, but for a factor, and the logarithm of that factor.
pub(super) fn sums(shares: &[Share], controls: usize) -> (Vec<f64>, f64) {
    let scale = shares.iter().map(|share| share.log_scale).fold(f64::NEG_INFINITY, f64::max);
    let mut sums = vec![0.0; 256 + controls];
    for share in shares {
        let factor = (share.log_scale - scale).exp();
        if factor > 0.0 {
            let of_share = share.bytes.iter().chain(&share.controls);
            sums.iter_mut().zip(of_share).for_each(|(sum, p)| *sum += factor * p);
        }
    }
    (sums, scale)
}

/// Log-probabilities from numbers that are proportional to the probabilities.
pub(super) fn log_probs(sums: &[f64]) -> Vec<f32> {
    let total: f64 = sums.iter().sum();
    if total <= 0.0 {
        // The model itself excludes all tokens that the text needs.
        return vec![f32::NAN; sums.len()];
    }
    let log_prob = |sum: &f64| if *sum > 0.0 { (sum / total).ln() } else { IMPOSSIBLE };
    sums.iter().map(|sum| log_prob(sum).max(IMPOSSIBLE) as f32).collect()
}

impl Share {
    fn log_mass(&self) -> f64 {
        self.log_scale + self.bytes.iter().chain(&self.controls).sum::<f64>().ln()
    }
}

/// The sequences from the trunk of the covers to each of them; that of the trunk is the first.
fn branches(covers: &[Cover]) -> Vec<Branch> {
    let Some(trunk) = trunk(covers) else { return Vec::new() };
    let branch = |node: &Arc<Node>, log_weight| Branch {
        node: node.clone(),
        children: Vec::new(),
        covers: Vec::new(),
        log_weight,
    };
    let mut branches = vec![branch(&trunk, 0.0)];
    let mut known = HashMap::from([(Arc::as_ptr(&trunk), 0)]);
    for (index, cover) in covers.iter().enumerate() {
        let mut at = 0;
        for node in cover.node.path(&trunk) {
            at = *known.entry(Arc::as_ptr(&node)).or_insert_with(|| {
                branches.push(branch(&node, f64::NEG_INFINITY));
                let new = branches.len() - 1;
                branches[at].children.push(new);
                new
            });
        }
        branches[at].covers.push(index);
    }
    branches
}

/// The covers that begin with a branch.
fn covers_below(branches: &[Branch], branch: usize) -> Vec<usize> {
    let mut covers = Vec::new();
    let mut stack = vec![branch];
    while let Some(branch) = stack.pop() {
        covers.extend(&branches[branch].covers);
        stack.extend(&branches[branch].children);
    }
    covers
}

/// The logarithm of the sum of numbers that are given by their logarithms.
pub(super) fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    match most.is_finite() {
        true => most + logs.map(|log| (log - most).exp()).sum::<f64>().ln(),
        false => most,
    }
}

impl NodeRow {
    /// The distribution from the scores of a model: those of the tokens of text, cut to the `allowed` ones, and those of the special
    /// tokens of each control, if a text `may_end` here. The scores are overwritten.
    pub(super) fn new(
        lexicon: &Lexicon,
        scores: &mut [f32],
        allowed: &[bool],
        controls: &[Vec<TokenId>],
        may_end: bool,
    ) -> Self {
        let special = |token: &TokenId| match scores.get(*token as usize) {
            Some(score) if may_end => f64::from(*score),
            _ => f64::NEG_INFINITY,
        };
        let special: Vec<Vec<_>> = controls
            .iter()
            .map(|tokens| tokens.iter().map(|token| (*token, special(token))).collect())
            .collect();
        // Before the order of the lexicon, in which they are read here and there. All are written, since whether one is excluded is
        // hard to predict.
        vectorized(
            #[inline(always)]
            || {
                let select = |(score, allowed): (&mut f32, &bool)| {
                    *score = if *allowed { *score } else { f32::NEG_INFINITY };
                };
                scores.iter_mut().zip(allowed).for_each(select);
            },
        );
        let score = |token: &TokenId| scores.get(*token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let mut text: Vec<f32> = lexicon.order().iter().map(score).collect();
        let of_control = |tokens: &Vec<(TokenId, f64)>| log_sum(tokens.iter().map(|(_, score)| *score));
        let controls: Vec<f64> = special.iter().map(of_control).collect();
        // Of each first byte by itself, so that the probabilities of improbable ones do not vanish.
        let masses: [Mass; 256] =
            std::array::from_fn(|byte| Mass::of_scores(&text[lexicon.first(byte as u8)]));
        let all_sound = masses.iter().all(|mass| !mass.sum.is_nan() && mass.max < f32::INFINITY)
            && controls.iter().all(|score| !score.is_nan() && *score < f64::INFINITY);
        let highest = masses.iter().map(|mass| mass.max).fold(f32::NEG_INFINITY, f32::max);
        let most = controls.iter().copied().fold(f64::from(highest), f64::max);
        let scale = (f64::from(highest) - most).exp();
        let mut first = Box::new(masses.map(|mass| mass.relative_to(highest) * scale));
        let total = first.iter().sum::<f64>() + controls.iter().map(|s| (s - most).exp()).sum::<f64>();
        // Nothing can follow: a sequence that was taken for the beginning of a text is none.
        if all_sound && most == f64::NEG_INFINITY {
            let special = special.into_iter().flatten().collect();
            return Self { sound: true, text, controls, special, first: Box::new([0.0; 256]) };
        }
        let normaliser = most + total.ln();
        first.iter_mut().for_each(|sum| *sum /= total);
        vectorized(
            #[inline(always)]
            || text.iter_mut().for_each(|score| *score = (f64::from(*score) - normaliser) as f32),
        );
        let controls = controls.iter().map(|score| score - normaliser).collect();
        let special =
            special.into_iter().flatten().map(|(token, score)| (token, score - normaliser)).collect();
        Self { sound: all_sound && normaliser.is_finite(), text, controls, special, first }
    }
}
