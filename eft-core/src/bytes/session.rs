use std::sync::Arc;

use super::ahead::Ahead;
use super::covering;
use super::lanes::Lanes;
use super::node::{Node, NodeRow};
use super::position::Position;
use super::shared::Shared;
use super::walk::{Cover, Symbol};
use crate::backend::Backend;
use crate::check;
use crate::{Draws, Form, Result, RowFeed, Scores, Session, TokenId};

/// A batch of texts.
pub(super) struct ByteSession<B: Backend> {
    shared: Arc<Shared<B>>,
    lanes: Lanes<B>,
    texts: Vec<Text>,
    /// The random numbers that will draw the next bytes of each text, as far as they are known.
    draws: Vec<Vec<f64>>,
}

/// One text.
#[derive(Clone)]
pub(super) struct Text {
    /// The sequence that the model's session was opened on.
    root: Arc<Node>,
    /// The covers of the prompt, and after each further symbol.
    covers: Vec<Arc<[Cover]>>,
}

/// The covers of a text after each new symbol.
type Covers = Vec<Arc<[Cover]>>;

/// The covers of each text, and its rows of scores.
type Followed = (Vec<Covers>, Vec<Vec<Vec<f32>>>);

/// The sequences that the covers of each text begin with.
fn nodes(covers: &[Arc<[Cover]>]) -> Vec<Vec<Arc<Node>>> {
    covers.iter().map(|covers| covers.iter().map(|cover| cover.node.clone()).collect()).collect()
}

/// Whether each text seems to be generated: it goes on by one symbol, of which the scores are wanted.
fn generates(symbols: &[Vec<Symbol>], wanted: &[usize]) -> Vec<bool> {
    symbols.iter().zip(wanted).map(|(symbols, wanted)| (symbols.len(), *wanted) == (1, 1)).collect()
}

/// The most sequences that are run in one pass if some of them are not needed yet.
const MOST_AHEAD: usize = 8;

/// The number of bytes for which it is asked which random numbers will draw them.
const FORESEEN: usize = 16;

/// How many positions of a text are computed before distributions that are no longer needed are forgotten.
const WINDOW: usize = 32;

impl Text {
    pub(super) fn new(root: Arc<Node>, covers: Vec<Cover>) -> Self {
        Self { root, covers: vec![covers.into()] }
    }

    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    fn last(&self) -> Arc<[Cover]> {
        self.covers.last().cloned().unwrap_or_default()
    }

    /// The most tokens that the text may turn out to have, with those before its root.
    fn most_tokens(&self) -> usize {
        self.last().iter().map(|cover| cover.node.depth() + cover.depth).max().unwrap_or(0)
    }
}

impl<B: Backend> ByteSession<B> {
    /// A session on texts for which `lanes` are open and that go on with `rest`, and the scores after them.
    pub(super) fn open(
        shared: Arc<Shared<B>>,
        lanes: Lanes<B>,
        texts: Vec<Text>,
        rest: &[Vec<Symbol>],
    ) -> Result<(Self, Scores<B>)> {
        let draws = Vec::new();
        let mut session = Self { shared, lanes, texts, draws };
        let (covers, scores) = session.read(rest, &vec![1; rest.len()])?;
        for (text, covers) in session.texts.iter_mut().zip(covers) {
            text.covers.extend(covers);
            // A prompt cannot be rolled back.
            text.covers = vec![text.last()];
        }
        Ok((session, scores))
    }

    /// The covers of each text after each of its new symbols, and the scores at as many of the last positions as are wanted.
    fn read(&mut self, symbols: &[Vec<Symbol>], wanted: &[usize]) -> Result<(Vec<Covers>, Scores<B>)> {
        let (covers, rows) = match self.shared.covering {
            Some(share) => self.follow_all(symbols, wanted, share)?,
            None => self.follow_canonical(symbols, wanted)?,
        };
        let scores = Scores::upload(&self.shared.backend, &rows, self.shared.vocab.real(), Form::LogProbs)?;
        Ok((covers, scores))
    }

    /// [`read`](Self::read) for canonical sequences: they are followed without the model, which runs only for scores.
    fn follow_canonical(&mut self, symbols: &[Vec<Symbol>], wanted: &[usize]) -> Result<Followed> {
        let mut new = Vec::new();
        for (text, symbols) in self.texts.iter().zip(symbols) {
            let mut covers = vec![text.last()];
            for symbol in symbols {
                covers.push(self.shared.walker.step(&covers[covers.len() - 1], *symbol)?.into());
            }
            new.push(covers);
        }
        let positions = new.iter().zip(wanted).map(|(covers, wanted)| &covers[covers.len() - wanted..]);
        let positions: Vec<_> = positions.collect();
        let mut rows: Vec<Vec<Vec<f32>>> = vec![Vec::new(); positions.len()];
        let longest = positions.iter().map(|covers| covers.len()).max().unwrap_or(0);
        let generates = generates(symbols, wanted);
        for start in (0..longest).step_by(WINDOW) {
            let window = |covers: &&[Arc<[Cover]>]| {
                covers.get(start..covers.len().min(start + WINDOW)).unwrap_or_default().to_vec()
            };
            let window: Vec<_> = positions.iter().map(window).collect();
            let of_window = self.window(&window, &generates)?;
            rows.iter_mut().zip(of_window).for_each(|(all, new)| all.extend(new));
            self.lanes.forget(positions.len(), &[]);
        }
        new.iter_mut().for_each(|covers| drop(covers.remove(0)));
        Ok((new, rows))
    }

    /// [`read`](Self::read) for all sequences: which of them are followed depends on their probabilities, so the model runs
    /// before each symbol.
    fn follow_all(&mut self, symbols: &[Vec<Symbol>], wanted: &[usize], share: f64) -> Result<Followed> {
        let mut current: Vec<_> = self.texts.iter().map(Text::last).collect();
        let mut new = vec![Vec::new(); current.len()];
        let mut rows = vec![Vec::new(); current.len()];
        let longest = symbols.iter().map(Vec::len).max().unwrap_or(0);
        let generates = generates(symbols, wanted);
        for position in 0..=longest {
            let is_wanted = |text: usize| {
                position <= symbols[text].len() && position + wanted[text] > symbols[text].len()
            };
            let is_needed = |text: usize| position < symbols[text].len() || is_wanted(text);
            let needed: Vec<_> = (0..current.len()).map(is_needed).collect();
            let known = self.run_all(&current, &needed, &generates)?;
            let Shared { walker, controls, work, .. } = &*self.shared;
            for (text, known) in known.iter().enumerate() {
                if is_wanted(text) {
                    rows[text].push(walker.weighed_scores(&current[text], known, controls.len()));
                }
                if let Some(symbol) = symbols[text].get(position) {
                    let step = walker.weighed_step(&current[text], known, *symbol, share)?;
                    work.read(step.dropped);
                    current[text] = step.covers.into();
                    new[text].push(current[text].clone());
                }
            }
            self.lanes.forget(current.len(), &nodes(&current));
        }
        Ok((new, rows))
    }

    /// The distributions after the nodes of the covers of each text, where they are needed.
    fn run_all(
        &mut self,
        covers: &[Arc<[Cover]>],
        needed: &[bool],
        generates: &[bool],
    ) -> Result<Vec<Vec<Arc<NodeRow>>>> {
        loop {
            let mut known = vec![Vec::new(); covers.len()];
            let mut lacking = vec![Vec::new(); covers.len()];
            for (text, covers) in covers.iter().enumerate().filter(|(text, _)| needed[*text]) {
                match covering::rows(covers) {
                    Ok(rows) => known[text] = rows,
                    Err(nodes) => lacking[text] = nodes,
                }
            }
            if lacking.iter().all(Vec::is_empty) {
                return Ok(known);
            }
            let last: Vec<_> =
                covers.iter().zip(generates).map(|(covers, yes)| yes.then(|| &**covers)).collect();
            self.look_ahead(&mut lacking, &last)?;
            self.lanes.run(&self.shared.walker, &self.shared.controls, &lacking, &nodes(covers))?;
        }
    }

    fn window(&mut self, wanted: &[Vec<Arc<[Cover]>>], generates: &[bool]) -> Result<Vec<Vec<Vec<f32>>>> {
        let last = wanted
            .iter()
            .zip(generates)
            .map(|(covers, yes)| covers.last().filter(|_| *yes).map(|last| &**last));
        let last: Vec<_> = last.collect();
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
            self.look_ahead(&mut lacking, &last)?;
            let (walker, controls) = (&self.shared.walker, &self.shared.controls);
            self.lanes.run(walker, controls, &lacking, &[])?;
        }
    }

    /// Adds to the sequences that lack a distribution those that the texts with these covers will probably need next, where
    /// some are lacking.
    fn look_ahead(&self, lacking: &mut [Vec<Arc<Node>>], covers: &[Option<&[Cover]>]) -> Result<()> {
        let Shared { walker, ahead, pruned, covering, .. } = &*self.shared;
        let mut draws = self.draws.iter().map(|draws| &draws[..]).chain(std::iter::repeat(&[][..]));
        if *ahead >= 1.0 {
            return Ok(());
        }
        let texts = lacking.iter().filter(|nodes| !nodes.is_empty()).count();
        let each = MOST_AHEAD / texts.max(1);
        for ((nodes, covers), deepest) in
            lacking.iter_mut().zip(covers).zip(self.lanes.most_tokens(covers.len()))
        {
            let draws = draws.next().unwrap_or_default();
            let Some(covers) = covers.filter(|_| !nodes.is_empty() && nodes.len() < each) else { continue };
            let how = Ahead {
                draws,
                controls: self.shared.controls.len(),
                share: *ahead,
                most: each,
                deepest,
                pruned: *pruned,
                covering: *covering,
            };
            for node in walker.ahead(covers, &how)? {
                if nodes.len() < each && !nodes.iter().any(|other| Arc::ptr_eq(other, &node)) {
                    nodes.push(node);
                }
            }
        }
        Ok(())
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
        // They are for this call.
        let draws = std::mem::take(&mut self.draws);
        self.lanes.check()?;
        check::feeds(&self.shared.walker.name, feeds, &self.room(), self.shared.vocab.real())?;
        self.draws = draws;
        let symbol = |token: &TokenId| self.shared.symbol(*token);
        let symbols: Vec<Vec<_>> =
            feeds.iter().map(|feed| feed.tokens.iter().map(symbol).collect()).collect();
        let read = self.read(&symbols, &feeds.iter().map(|feed| feed.wanted).collect::<Vec<_>>());
        self.draws.clear();
        let (new, scores) = read?;
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
        // Covers of canonical sequences have most of their tokens in common.
        let most = if self.shared.covering.is_some() { usize::MAX } else { 1 };
        self.lanes.select(rows, most)?;
        self.texts = rows.iter().map(|row| self.texts[*row].clone()).collect();
        self.draws.clear();
        Ok(())
    }

    fn foresee(&mut self, draws: Draws<'_>) {
        if self.shared.ahead < 1.0 {
            let of_text = |text| (0..FORESEEN).map_while(|byte| draws(text, byte)).collect();
            self.draws = (0..self.texts.len()).map(of_text).collect();
        }
    }
}
