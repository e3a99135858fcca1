//! Sources whose sessions do one thing wrong: each is found, whatever the seed.
use std::sync::Arc;

use eft_core::conformance::{SourceTest, check_source};
use eft_core::{
    Backend, Host, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session, Source, TokenId, Vocab,
};

use crate::common::*;

/// One thing that a source can do wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    ForgetsToRollBack,
    RollsBackEveryRowTheSame,
    IgnoresOrder,
    ForksShareTheirCache,
    ScoresOnePositionEarly,
    ScoresFirstInsteadOfLast,
    LeaksBetweenRows,
    TakesTokensOfRefusedCalls,
    ScoresTooMuch,
    AcceptsAnyToken,
    DependsOnTheBatch,
}

const FLAWS: [Flaw; 11] = [
    Flaw::ForgetsToRollBack,
    Flaw::RollsBackEveryRowTheSame,
    Flaw::IgnoresOrder,
    Flaw::ForksShareTheirCache,
    Flaw::ScoresOnePositionEarly,
    Flaw::ScoresFirstInsteadOfLast,
    Flaw::LeaksBetweenRows,
    Flaw::TakesTokensOfRefusedCalls,
    Flaw::ScoresTooMuch,
    Flaw::AcceptsAnyToken,
    Flaw::DependsOnTheBatch,
];

struct Flawed {
    inner: Source<Host>,
    flaw: Flaw,
}

struct FlawedSession {
    inner: Box<dyn Session<Backend = Host>>,
    flaw: Flaw,
}

impl LogitSource for Flawed {
    type Backend = Host;

    fn backend(&self) -> &Host {
        &Host
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.inner.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
        let (inner, mut scores) = self.inner.open(prompts)?;
        if self.flaw == Flaw::DependsOnTheBatch && prompts.len() > 1 {
            let mut rows = values(&scores).concat();
            rows[3] += 0.1;
            scores = Scores::new(Host.upload(&rows, WIDTH)?, scores.spans().to_vec(), WIDTH, scores.form());
        }
        Ok((Box::new(FlawedSession { inner, flaw: self.flaw }), scores))
    }
}

impl Session for FlawedSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        let mut feed = feed.to_vec();
        match self.flaw {
            Flaw::LeaksBetweenRows => {
                if let [first, second, ..] = &mut feed[..] {
                    std::mem::swap(&mut first.tokens, &mut second.tokens);
                    first.wanted = first.wanted.min(first.tokens.len());
                    second.wanted = second.wanted.min(second.tokens.len());
                }
            }
            Flaw::TakesTokensOfRefusedCalls if feed.len() > self.room().len() => {
                self.inner.extend(&vec![RowFeed::one(1); self.room().len()])?;
            }
            Flaw::ScoresTooMuch => feed.iter_mut().for_each(|f| f.wanted = f.tokens.len()),
            Flaw::AcceptsAnyToken => {
                feed.iter_mut().flat_map(|f| &mut f.tokens).for_each(|t| *t %= WIDTH as TokenId);
            }
            Flaw::ScoresFirstInsteadOfLast => {
                let wanted: Vec<_> = feed.iter().map(|f| f.wanted.min(f.tokens.len())).collect();
                feed.iter_mut().for_each(|f| f.wanted = f.wanted.max(f.tokens.len()));
                let scores = self.inner.extend(&feed)?;
                let tensor = Host.upload(&values(&scores).concat(), WIDTH)?;
                let spans = scores.spans().iter().zip(wanted).map(|(s, w)| s.start..s.start + w).collect();
                return Ok(Scores::new(tensor, spans, WIDTH, scores.form()));
            }
            Flaw::ScoresOnePositionEarly => {
                let scores = self.inner.extend(&feed)?;
                let mut rows = values(&scores);
                if rows.len() > 1 {
                    rows.rotate_left(1);
                }
                if rows.is_empty() {
                    return Ok(scores);
                }
                return Ok(Scores::new(
                    Host.upload(&rows.concat(), WIDTH)?,
                    scores.spans().to_vec(),
                    WIDTH,
                    scores.form(),
                ));
            }
            _ => {}
        }
        self.inner.extend(&feed)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        match self.flaw {
            Flaw::ForgetsToRollBack => {
                let limits = self.rollback_limit();
                if drop.len() == limits.len() && drop.iter().zip(&limits).all(|(d, l)| d <= l) {
                    return Ok(());
                }
            }
            Flaw::RollsBackEveryRowTheSame if drop.len() == self.rollback_limit().len() => {
                let least = drop.iter().copied().min().unwrap_or(0);
                if drop.iter().zip(self.rollback_limit()).all(|(d, l)| *d <= l) {
                    return self.inner.rollback(&vec![least; drop.len()]);
                }
            }
            _ => {}
        }
        self.inner.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let mut rows = rows.to_vec();
        match self.flaw {
            Flaw::IgnoresOrder => rows.sort_unstable(),
            // Like a cache whose copies share storage: a row becomes its neighbour.
            Flaw::ForksShareTheirCache if rows.len() > 1 => rows[1] = rows[0],
            _ => {}
        }
        self.inner.select(&rows)
    }
}

#[test]
fn every_flaw_is_found_whatever_the_seed() {
    for flaw in FLAWS {
        let source = Flawed { inner: model("m", 1), flaw };
        for seed in 0..20 {
            let test = SourceTest::new([vec![0], vec![3, 1, 4], vec![5, 9]]).seed(seed);
            assert!(check_source(&source, &test).is_err(), "{flaw:?}, seed {seed}");
        }
    }
}
