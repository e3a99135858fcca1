use std::sync::Arc;

use super::lanes::Lanes;
use super::node::Node;
use super::position::Position;
use super::shared::Shared;
use super::walk::Cover;
use crate::backend::Backend;
use crate::check;
use crate::{Form, Result, RowFeed, Scores, Session};

/// A batch of texts.
pub(super) struct ByteSession<B: Backend> {
    shared: Arc<Shared<B>>,
    lanes: Lanes<B>,
    texts: Vec<Text>,
}

/// One text.
#[derive(Clone)]
pub(super) struct Text {
    /// The sequence that the model's session was opened on.
    root: Arc<Node>,
    /// The covers of the prompt, and after each further symbol.
    covers: Vec<Arc<[Cover]>>,
}

/// How many positions of a text are computed before distributions that are no longer needed are forgotten.
const WINDOW: usize = 32;

impl Text {
    pub(super) fn new(root: Arc<Node>, covers: Vec<Cover>) -> Self {
        Self { root, covers: vec![covers.into()] }
    }

    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    fn last(&self) -> &[Cover] {
        self.covers.last().map_or(&[], |covers| covers)
    }

    /// The most tokens that the text may turn out to have, with those before its root.
    fn most_tokens(&self) -> usize {
        self.last().iter().map(|cover| cover.node.depth() + cover.depth).max().unwrap_or(0)
    }
}

impl<B: Backend> ByteSession<B> {
    /// A session on texts for which `lanes` are open, and the scores after them.
    pub(super) fn open(
        shared: Arc<Shared<B>>,
        lanes: Lanes<B>,
        texts: Vec<Text>,
    ) -> Result<(Self, Scores<B>)> {
        let mut session = Self { shared, lanes, texts: texts.clone() };
        let wanted: Vec<_> = texts.iter().map(|text| text.covers.clone()).collect();
        let scores = session.scores(&wanted)?;
        Ok((session, scores))
    }

    /// The scores after texts with these covers: those of each text of the batch.
    fn scores(&mut self, wanted: &[Vec<Arc<[Cover]>>]) -> Result<Scores<B>> {
        let mut rows: Vec<Vec<Vec<f32>>> = vec![Vec::new(); wanted.len()];
        let longest = wanted.iter().map(Vec::len).max().unwrap_or(0);
        for start in (0..longest).step_by(WINDOW) {
            let window = |covers: &Vec<Arc<[Cover]>>| {
                covers.get(start..covers.len().min(start + WINDOW)).unwrap_or_default().to_vec()
            };
            let window: Vec<_> = wanted.iter().map(window).collect();
            let of_window = self.window(&window)?;
            rows.iter_mut().zip(of_window).for_each(|(all, new)| all.extend(new));
            self.lanes.forget(wanted.len());
        }
        Scores::upload(&self.shared.backend, &rows, self.shared.vocab.real(), Form::LogProbs)
    }

    fn window(&mut self, wanted: &[Vec<Arc<[Cover]>>]) -> Result<Vec<Vec<Vec<f32>>>> {
        let (walker, controls) = (&self.shared.walker, &self.shared.controls);
        let mut rows: Vec<Vec<Option<Vec<f32>>>> = wanted.iter().map(|w| vec![None; w.len()]).collect();
        loop {
            let mut lacking = vec![Vec::new(); wanted.len()];
            for ((rows, wanted), lacking) in rows.iter_mut().zip(wanted).zip(&mut lacking) {
                for (row, covers) in rows.iter_mut().zip(wanted).filter(|(row, _)| row.is_none()) {
                    match walker.position(covers, controls.len(), self.shared.pruned)? {
                        Position::Scores(scores) => *row = Some(scores),
                        Position::Lacks(nodes) => lacking.extend(nodes),
                    }
                }
            }
            if lacking.iter().all(Vec::is_empty) {
                return Ok(rows.into_iter().map(|rows| rows.into_iter().flatten().collect()).collect());
            }
            self.lanes.run(walker, controls, &lacking)?;
        }
    }
}

impl<B: Backend> Session for ByteSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.texts.iter().map(|text| text.covers.len() - 1).collect()
    }

    fn room(&self) -> Vec<usize> {
        let most = self.lanes.most_tokens(self.texts.len());
        let room = |(text, most): (&Text, usize)| match most {
            usize::MAX => usize::MAX,
            most => most.saturating_sub(text.most_tokens()),
        };
        self.texts.iter().zip(most).map(room).collect()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        self.lanes.check()?;
        check::feeds(&self.shared.walker.name, feeds, &self.room(), self.shared.vocab.real())?;
        let mut new = Vec::new();
        for (text, feed) in self.texts.iter().zip(feeds) {
            let mut covers: Vec<Arc<[Cover]>> = Vec::new();
            for token in &feed.tokens {
                let last = covers.last().map_or(text.last(), |covers| covers);
                covers.push(self.shared.walker.step(last, self.shared.symbol(*token))?.into());
            }
            new.push(covers);
        }
        let wanted: Vec<_> = new
            .iter()
            .zip(feeds)
            .map(|(covers, feed)| covers[covers.len() - feed.wanted..].to_vec())
            .collect();
        let scores = self.scores(&wanted)?;
        self.texts.iter_mut().zip(new).for_each(|(text, covers)| text.covers.extend(covers));
        Ok(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.lanes.check()?;
        check::rollback(drop, &self.rollback_limit())?;
        for (text, drop) in self.texts.iter_mut().zip(drop) {
            text.covers.truncate(text.covers.len() - drop);
        }
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.lanes.check()?;
        check::select(rows, self.texts.len())?;
        self.lanes.select(rows)?;
        self.texts = rows.iter().map(|row| self.texts[*row].clone()).collect();
        Ok(())
    }
}
