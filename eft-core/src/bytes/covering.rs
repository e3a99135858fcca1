//! The covers of a text by all token sequences, canonical or not, with their probabilities. Improbable ones are dropped.
use std::collections::HashMap;
use std::sync::Arc;

use super::node::{Node, NodeRow};
use super::position::{log_probs, log_sum, sums};
use super::walk::{Cover, Symbol, Walker};
use crate::host::summary::Mass;
use crate::{Error, Result};

/// The most sequences of one text. There are more only if hardly any are dropped.
const MOST: usize = 1000;

/// The covers after one more symbol.
pub(super) struct Step {
    pub(super) covers: Vec<Cover>,
    /// The share of the probability of the text that was dropped.
    pub(super) dropped: f64,
}

/// The distributions after the nodes of covers, or the nodes that the model has to be run on first.
pub(super) fn rows(covers: &[Cover]) -> std::result::Result<Vec<Arc<NodeRow>>, Vec<Arc<Node>>> {
    let rows: Vec<_> = covers.iter().map(|cover| cover.node.row()).collect();
    let lacks = covers.iter().zip(&rows).filter(|(_, row)| row.is_none());
    let lacks: Vec<_> = lacks.map(|(cover, _)| cover.node.clone()).collect();
    if lacks.is_empty() { Ok(rows.into_iter().flatten().collect()) } else { Err(lacks) }
}

impl Walker {
    /// The covers of a text and one more symbol, from those of the text and the distributions after their nodes. Those with
    /// less than a share of the probability are dropped, unless they are the likeliest whose nodes end at the same byte.
    pub(super) fn weighed_step(
        &self,
        covers: &[Cover],
        rows: &[Arc<NodeRow>],
        symbol: Symbol,
        share: f64,
    ) -> Result<Step> {
        let mut next = Vec::new();
        for (cover, row) in covers.iter().zip(rows) {
            // An unsound distribution makes everything after it unsound.
            let log_weight = if row.sound { cover.log_weight } else { f64::NAN };
            match symbol {
                Symbol::Byte(byte) => self.weighed_byte(cover, row, log_weight, byte, &mut next),
                Symbol::Control(token) if cover.depth == 0 => {
                    let log_weight = log_weight + row.of_control(token).unwrap_or(f64::NEG_INFINITY);
                    let node = cover.node.child(token, self.canonical.start());
                    next.push((self.after(node, log_weight), log_weight));
                }
                Symbol::Control(_) => {}
            }
        }
        if next.is_empty() {
            return Ok(Step { covers: self.spelled(covers, Some(symbol))?, dropped: 0.0 });
        }
        let step = likely(next, share);
        if step.covers.len() > MOST {
            let what = format!(
                "a text with more than {MOST} token sequences: give `ByteSettings::covering` a share that drops the \
                 improbable ones"
            );
            return Err(Error::Unsupported { who: self.name.clone(), what });
        }
        Ok(step)
    }

    /// Adds the covers of one more byte that come from this one, with their log-probabilities.
    pub(super) fn weighed_byte(
        &self,
        cover: &Cover,
        row: &NodeRow,
        log_weight: f64,
        byte: u8,
        next: &mut Vec<(Cover, f64)>,
    ) {
        let depth = cover.depth + 1;
        let range = self.lexicon.narrow(cover.range.clone(), cover.depth, byte);
        let (whole, longer) = self.lexicon.split(range, depth);
        if !longer.is_empty() {
            let log_prob = Mass::of_scores(&row.text[longer.clone()]).log();
            let cover = Cover { range: longer, depth, log_weight, ..cover.clone() };
            next.push((cover, log_weight + log_prob));
        }
        for index in whole {
            let token = self.lexicon.token(index);
            if let Some(state) = self.canonical.after(cover.node.state(), token) {
                let log_weight = log_weight + f64::from(row.text[index]);
                next.push((self.after(cover.node.child(token, state), log_weight), log_weight));
            }
        }
    }

    /// The scores of the symbol after a text with these covers and the distributions after their nodes.
    pub(super) fn weighed_scores(
        &self,
        covers: &[Cover],
        rows: &[Arc<NodeRow>],
        controls: usize,
    ) -> Vec<f32> {
        if rows.iter().any(|row| !row.sound) || covers.iter().any(|cover| cover.log_weight.is_nan()) {
            return vec![f32::NAN; 256 + controls];
        }
        let shares = covers.iter().zip(rows).map(|(cover, row)| self.share(cover, row, cover.log_weight));
        log_probs(&sums(&shares.collect::<Vec<_>>(), controls).0)
    }
}

/// The covers that are followed, of covers with their log-probabilities.
pub(super) fn likely(covers: Vec<(Cover, f64)>, share: f64) -> Step {
    let total = log_sum(covers.iter().map(|(_, mass)| *mass));
    if !total.is_finite() {
        // The model excludes the text, or its scores are unsound. What follows is no better, whichever sequence it is.
        return Step { covers: covers.into_iter().take(1).map(|(cover, _)| cover).collect(), dropped: 0.0 };
    }
    let mut likeliest = HashMap::new();
    for (cover, mass) in &covers {
        let most = likeliest.entry(cover.depth).or_insert(*mass);
        *most = mass.max(*most);
    }
    let least = total + share.ln();
    let is_kept = |(cover, mass): &&(Cover, f64)| {
        *mass > f64::NEG_INFINITY && (*mass >= least || *mass == likeliest[&cover.depth])
    };
    let dropped = covers.iter().filter(|cover| !is_kept(cover)).map(|(_, mass)| (mass - total).exp()).sum();
    Step { covers: covers.iter().filter(is_kept).map(|(cover, _)| cover.clone()).collect(), dropped }
}
