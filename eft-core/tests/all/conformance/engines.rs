//! Engines that do one thing wrong: each is found, whatever the seed.
use std::sync::{Arc, Mutex};

use eft_core::conformance::{SourceTest, check_engine, check_source};
use eft_core::{
    Engine, EngineRow, EngineSpec, Error, FnEngine, Form, Host, Opened, Result, RowFeed, Scores, Session,
    Source, TokenId, Vocab, check,
};

const WIDTH: usize = 11;
const CONTEXT: usize = 40;
const SEEDS: u64 = 20;

/// Declares the faults once: as an enum, and as the list of all of them.
macro_rules! faults {
    ($($fault:ident,)*) => {
        /// One thing that an engine can do wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Fault { $($fault),* }

        const FAULTS: &[Fault] = &[$(Fault::$fault),*];
    };
}

faults! {
    // Rollbacks.
    RollbackDoesNothing,
    RollbackDropsOneTooFew,
    RollbackDropsOneTooMany,
    RollbackDropsTheSameOfEveryRow,
    RollbackLeavesTheFirstRow,
    RollbackIsNotChecked,
    RollbackLimitIsOneTooHigh,
    RollbackLimitIsZero,
    // Selections.
    SelectDoesNothing,
    SelectSortsRows,
    SelectReversesRows,
    SelectIgnoresForks,
    SelectSharesCachesOfForks,
    SelectForgetsTheLastToken,
    SelectForgetsAdapters,
    SelectIsNotChecked,
    // Feeds.
    FeedsAreNotChecked,
    FeedsAreNotCheckedForContext,
    FeedsAreNotCheckedForTokens,
    FeedsAreNotCheckedForPositions,
    RefusedFeedsAreTaken,
    RowsSwapTokens,
    // Scores.
    LogProbsDeclaredOverLogits,
    ScoresOnePositionEarly,
    ScoresOfTheFirstPositions,
    ScoresOfTheWrongRow,
    ScoresForEveryToken,
    ScoresOnlyTheLast,
    ScoresOneColumnTooFew,
    BatchesLeak,
    // Room.
    RoomIsOneTooMuch,
    RoomIsOneTooLittle,
    RoomIgnoresThePrompt,
    RoomDoesNotGrowBack,
    // Opening.
    OpenTakesTheFirstAdapterForAll,
    OpenForgetsTheFirstToken,
}

/// A trigram model: its logits depend on the last two tokens and on the adapter, so that tokens which a row should have
/// forgotten mostly have no effect after two more tokens.
#[derive(Clone)]
struct Trigram {
    spec: EngineSpec<Host>,
    fault: Option<Fault>,
}

impl Trigram {
    fn new(fault: Option<Fault>) -> Self {
        let vocab = Vocab::new("letters", (b'a'..).take(WIDTH).map(|letter| vec![letter])).unwrap();
        let spec = EngineSpec::new("trigram", Host, vocab).context(CONTEXT).adapters(["other"]);
        Self { spec, fault }
    }

    fn logits(&self, adapter: Option<usize>, tokens: &[TokenId]) -> Vec<f32> {
        let seed = adapter.map_or(1, |adapter| 2 + adapter as u64);
        let last = &tokens[tokens.len().saturating_sub(2)..];
        crate::common::logits(seed, last, WIDTH)
    }
}

impl Engine for Trigram {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        self.spec.check(rows)?;
        let adapter = |row: &EngineRow| match self.fault {
            Some(Fault::OpenTakesTheFirstAdapterForAll) => rows[0].adapter,
            _ => row.adapter,
        };
        let mut session = TrigramSession {
            engine: self.clone(),
            rows: rows.iter().map(|_| Arc::default()).collect(),
            adapters: rows.iter().map(adapter).collect(),
            prompts: rows.iter().map(|row| row.tokens.len()).collect(),
            dropped: 0,
        };
        let feeds: Vec<_> = rows
            .iter()
            .map(|row| match self.fault {
                Some(Fault::OpenForgetsTheFirstToken) if row.tokens.len() == 2 => {
                    RowFeed::last(row.tokens[1..].to_vec())
                }
                _ => RowFeed::last(row.tokens.clone()),
            })
            .collect();
        let scores = session.feed(&feeds, true)?;
        Ok((Box::new(session), scores))
    }
}

struct TrigramSession {
    engine: Trigram,
    /// The tokens of each row, shared by forks under [`Fault::SelectSharesCachesOfForks`].
    rows: Vec<Arc<Mutex<Vec<TokenId>>>>,
    adapters: Vec<Option<usize>>,
    prompts: Vec<usize>,
    dropped: usize,
}

impl TrigramSession {
    fn is(&self, fault: Fault) -> bool {
        self.engine.fault == Some(fault)
    }

    fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.lock().unwrap().len()).collect()
    }

    /// The checks of a feed, less those that the fault leaves out.
    fn check(&self, feeds: &[RowFeed]) -> Result<()> {
        let mut feeds = feeds.to_vec();
        let mut room = self.room();
        match self.engine.fault {
            Some(Fault::FeedsAreNotChecked) => return Ok(()),
            Some(Fault::FeedsAreNotCheckedForContext) => room.fill(usize::MAX),
            Some(Fault::FeedsAreNotCheckedForTokens) => {
                feeds.iter_mut().for_each(|feed| feed.tokens.fill(0));
            }
            Some(Fault::FeedsAreNotCheckedForPositions) => feeds.iter_mut().for_each(|feed| feed.wanted = 0),
            _ => {}
        }
        self.engine.spec.check_feeds(&feeds, &room)
    }

    fn feed(&mut self, feeds: &[RowFeed], opening: bool) -> Result<Scores<Host>> {
        let mut feeds = feeds.to_vec();
        if self.is(Fault::RowsSwapTokens)
            && let [first, .., last] = &mut feeds[..]
            && first.tokens.len() == last.tokens.len()
        {
            std::mem::swap(&mut first.tokens, &mut last.tokens);
        }
        let mut scores: Vec<Vec<Vec<f32>>> = Vec::new();
        for (index, (row, feed)) in self.rows.iter().zip(&feeds).enumerate() {
            let mut tokens = row.lock().unwrap();
            tokens.extend(feed.tokens.iter().map(|token| token % WIDTH as TokenId));
            let wanted = feed.wanted.min(feed.tokens.len());
            let positions = match self.engine.fault {
                Some(Fault::ScoresForEveryToken) => feed.tokens.len(),
                Some(Fault::ScoresOnlyTheLast) => wanted.min(1),
                _ => wanted,
            };
            let back: usize = match self.engine.fault {
                Some(Fault::ScoresOnePositionEarly) if !opening => 1,
                Some(Fault::ScoresOfTheFirstPositions) if !opening => feed.tokens.len() - wanted,
                _ => 0,
            };
            let end = tokens.len() - back;
            let score = |length: usize| {
                let mut row = self.engine.logits(self.adapters[index], &tokens[..length]);
                if self.is(Fault::BatchesLeak) && self.rows.len() > 2 {
                    row[3] += 0.1;
                }
                if self.is(Fault::ScoresOneColumnTooFew) {
                    row.pop();
                }
                row
            };
            scores.push((end + 1 - positions..end + 1).map(score).collect());
        }
        if self.is(Fault::ScoresOfTheWrongRow) && scores.len() > 1 && scores[0].len() == scores[1].len() {
            scores.swap(0, 1);
        }
        let width = WIDTH - usize::from(self.is(Fault::ScoresOneColumnTooFew));
        let form = match self.is(Fault::LogProbsDeclaredOverLogits) {
            true => Form::LogProbs,
            false => Form::Logits,
        };
        Scores::upload(&Host, &scores, width, form)
    }
}

impl Session for TrigramSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        let change = |length: usize| match self.engine.fault {
            Some(Fault::RollbackLimitIsOneTooHigh) => length + 1,
            Some(Fault::RollbackLimitIsZero) => 0,
            _ => length,
        };
        self.lengths().into_iter().map(change).collect()
    }

    fn room(&self) -> Vec<usize> {
        let left = |(length, prompt): (usize, &usize)| match self.engine.fault {
            Some(Fault::RoomIsOneTooMuch) => CONTEXT + 1 - length.min(CONTEXT),
            Some(Fault::RoomIsOneTooLittle) => (CONTEXT - length).saturating_sub(1),
            Some(Fault::RoomIgnoresThePrompt) => CONTEXT + prompt - length,
            Some(Fault::RoomDoesNotGrowBack) => (CONTEXT - length).saturating_sub(self.dropped),
            _ => CONTEXT.saturating_sub(length),
        };
        self.lengths().into_iter().zip(&self.prompts).map(left).collect()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Host>> {
        if let Err(refused) = self.check(feeds) {
            if self.is(Fault::RefusedFeedsAreTaken) && feeds.len() == self.rows.len() {
                self.feed(feeds, false)?;
            }
            return Err(refused);
        }
        self.feed(feeds, false)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        if !self.is(Fault::RollbackIsNotChecked) {
            check::rollback(drop, &self.rollback_limit())?;
        }
        self.dropped += drop.iter().sum::<usize>();
        let least = drop.iter().copied().min().unwrap_or(0);
        for (index, (row, drop)) in self.rows.iter().zip(drop).enumerate() {
            let mut tokens = row.lock().unwrap();
            let drop = match self.engine.fault {
                Some(Fault::RollbackDoesNothing) => 0,
                Some(Fault::RollbackDropsOneTooFew) => drop.saturating_sub(1),
                Some(Fault::RollbackDropsOneTooMany) => drop + usize::from(*drop > 0),
                Some(Fault::RollbackDropsTheSameOfEveryRow) => least,
                Some(Fault::RollbackLeavesTheFirstRow) if index == 0 => 0,
                _ => *drop,
            };
            let length = tokens.len().saturating_sub(drop);
            tokens.truncate(length);
        }
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let mut rows = rows.to_vec();
        match self.engine.fault {
            Some(Fault::SelectIsNotChecked) => {
                rows.iter_mut().for_each(|row| *row = (*row).min(self.rows.len() - 1));
            }
            _ => check::select(&rows, self.rows.len())?,
        }
        match self.engine.fault {
            Some(Fault::SelectDoesNothing) if rows.len() == self.rows.len() => return Ok(()),
            Some(Fault::SelectSortsRows) => rows.sort_unstable(),
            Some(Fault::SelectReversesRows) => rows.reverse(),
            Some(Fault::SelectIgnoresForks) => rows.dedup(),
            _ => {}
        }
        let copy = |row: &usize| match self.engine.fault {
            Some(Fault::SelectSharesCachesOfForks) => self.rows[*row].clone(),
            fault => {
                let mut tokens = self.rows[*row].lock().unwrap().clone();
                if fault == Some(Fault::SelectForgetsTheLastToken) && tokens.len() > 1 {
                    tokens.pop();
                }
                Arc::new(Mutex::new(tokens))
            }
        };
        self.rows = rows.iter().map(copy).collect();
        self.adapters = match self.is(Fault::SelectForgetsAdapters) {
            true => vec![None; rows.len()],
            false => rows.iter().map(|row| self.adapters[*row]).collect(),
        };
        self.prompts = rows.iter().map(|row| self.prompts[*row]).collect();
        Ok(())
    }
}

fn test(seed: u64) -> SourceTest {
    SourceTest::new([vec![0], vec![3, 1, 4], vec![5, 9]]).seed(seed)
}

#[test]
fn a_right_engine_passes_whatever_the_seed() {
    for seed in 0..SEEDS {
        check_engine(&Trigram::new(None), &test(seed)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        check_source(&Source::new(Trigram::new(None)), &test(seed)).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn every_fault_is_found_whatever_the_seed() {
    let mut missed = Vec::new();
    for fault in FAULTS {
        let engine = Trigram::new(Some(*fault));
        let found = (0..SEEDS).filter(|seed| check_engine(&engine, &test(*seed)).is_err()).count();
        if found < SEEDS as usize {
            missed.push(format!("{fault:?}: found for {found} of {SEEDS} seeds"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn engines_of_functions_pass() {
    let spec = || EngineSpec::new("m", Host, crate::common::vocab("m")).adapters(["x", "y"]);
    for spec in [spec(), spec().context(30)] {
        let engine = FnEngine::new(spec, |row: &EngineRow| {
            let seed = row.adapter.map_or(1, |adapter| 2 + adapter as u64);
            Ok(crate::common::logits(seed, &row.tokens, crate::common::WIDTH))
        });
        check_engine(&engine, &test(1)).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn prompts_that_do_not_fit_the_engine_are_reported() {
    let engine = Trigram::new(None);
    for test in [SourceTest::new(["text"]), SourceTest::new([vec![0; CONTEXT + 1]])] {
        assert!(check_engine(&engine, &test).is_err());
    }
    let none = SourceTest::new(Vec::<Vec<TokenId>>::new());
    assert!(check_engine(&engine, &none).is_err(), "a test without prompts tests nothing");
    assert!(matches!(engine.open(&[]).map(drop), Err(Error::EmptyBatch { .. })));
}

#[test]
fn the_form_of_a_function_can_be_set_while_a_session_is_open() {
    let log_probs = |_: &EngineRow| Ok(vec![-(crate::common::WIDTH as f32).ln(); crate::common::WIDTH]);
    let spec = EngineSpec::new("flat", Host, crate::common::vocab("flat"));
    let engine = FnEngine::new(spec, log_probs);
    let row = EngineRow { adapter: None, tokens: vec![1] };
    let (mut session, scores) = engine.open(std::slice::from_ref(&row)).unwrap();
    assert_eq!(scores.form(), Form::Logits);
    let engine = engine.form(Form::LogProbs);
    assert_eq!(engine.open(&[row]).unwrap().1.form(), Form::LogProbs);
    // A session keeps the form it was opened with.
    assert_eq!(session.extend(&[RowFeed::one(2)]).unwrap().form(), Form::Logits);
}
