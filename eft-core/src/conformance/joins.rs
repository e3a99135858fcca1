//! [`check_joins`]: rows that join an open evaluator.
use std::ops::Range;

use super::sessions::{Row, Tester};
use super::source::SourceModel;
use super::{Law, Result, SourceTest, require};
use crate::backend::Backend;
use crate::sample::{Purpose, Uniforms};
use crate::{Error, Evaluator, OpenOptions, Prompt, Source, TokenId};

/// The most rows of an evaluator, and the most tokens after a row's prompt.
const MOST_ROWS: usize = 6;
const MOST_TOKENS: usize = 12;

/// How many tokens of rows that have left are kept, where some are.
const CACHED: usize = 40;

/// How many tokens of a prompt are read at a time, where it is read in pieces.
const PIECE: usize = 2;

/// Checks that rows can join an [`Evaluator`] of a source at any time: under any interleaving of
/// [`join`](Evaluator::join) with pushing, rolling back and selecting, every row has the scores of an evaluator opened for it
/// alone.
///
/// * A row that joins has the scores of its prompt, whatever the other rows have read, and leaves theirs alone.
/// * That holds for prompts that continue other rows, that are copies of them, and that share nothing with them, for rows
///   that were forked, reordered or rolled back before, for prompts that are read in pieces, and where the caches of rows that
///   have left are kept.
/// * A prompt that is refused changes nothing.
/// * With [`SourceTest::faults`]: a call that fails changes nothing, or else every later call returns [`Error::Poisoned`].
///
/// ```
/// use eft_core::conformance::{SourceTest, check_joins};
/// use eft_core::{Host, Vocab, from_fn};
///
/// let source = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32 % 3.0, 0.5]));
/// check_joins(&source, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold.
pub fn check_joins<B: Backend>(source: &Source<B>, test: &SourceTest) -> Result {
    require(!test.prompts().is_empty(), "a test has at least one prompt", || "it has none".into())?;
    let prompts = all_prompts(test);
    let model = SourceModel { source, prompts: &prompts };
    let tester = Tester::new(&model, test);
    let (seed, tester) = (test.first_seed(), &tester);
    let mut joins = Joins { tester, source, prompts: &prompts, cached_tokens: 0, seed, drawn: 0 };
    at_every_step(&mut joins)?;
    refused(&mut joins)?;
    for (index, seed) in test.walk_seeds().enumerate() {
        (joins.seed, joins.drawn) = (seed, 0);
        joins.cached_tokens = CACHED * (index % 2);
        walk(&mut joins)?;
    }
    joins.cached_tokens = CACHED;
    if test.injector().is_some() {
        failures(tester, &mut joins)?;
    }
    Ok(())
}

/// The prompts of a test, and of those that are token ids also longer ones, as the next turn of a conversation is.
fn all_prompts(test: &SourceTest) -> Vec<Prompt> {
    let longer = test.prompts().iter().filter_map(|prompt| match prompt {
        Prompt::Tokens(ids) => {
            let more = ids.iter().rev().chain(ids).take(3);
            Some(Prompt::Tokens(ids.iter().chain(more).copied().collect()))
        }
        _ => None,
    });
    test.prompts().iter().cloned().chain(longer).collect()
}

/// An evaluator under test, and what its rows should hold.
struct Running<B: Backend> {
    evaluator: Evaluator<B>,
    rows: Vec<Row>,
}

struct Joins<'a, B: Backend> {
    tester: &'a Tester<'a, B>,
    source: &'a Source<B>,
    prompts: &'a [Prompt],
    /// See [`OpenOptions::cached_tokens`].
    cached_tokens: usize,
    seed: u64,
    /// How many random numbers have been used.
    drawn: usize,
}

/// Every prompt joins after every number of tokens that the others have been fed.
fn at_every_step<B: Backend>(joins: &mut Joins<'_, B>) -> Result {
    for joining in 0..joins.prompts.len() {
        for steps in 0..4 {
            let mut running = joins.open(&[Row::new(0)])?;
            for _ in 0..steps {
                let tokens = joins.tokens(&running, 1);
                joins.push(&mut running, tokens)?;
            }
            joins.join(&mut running, &[joining])?;
            let tokens = joins.tokens(&running, 2);
            joins.push(&mut running, tokens)?;
            // The row that was there leaves, and others join the one that did.
            joins.select(&mut running, &[1])?;
            joins.join(&mut running, &[joining, 0])?;
            joins.rollback(&mut running, &[1, 0, 0])?;
            let tokens = joins.tokens(&running, 1);
            joins.push(&mut running, tokens)?;
        }
    }
    Ok(())
}

/// A prompt that is refused does not join, and neither do those beside it.
fn refused<B: Backend>(joins: &mut Joins<'_, B>) -> Result {
    let mut running = joins.open(&[Row::new(0)])?;
    let wrong = [joins.prompts[0].clone(), Prompt::Tokens(Vec::new())];
    require(running.evaluator.join(&wrong).is_err(), "an empty prompt cannot join", || "it did".into())?;
    let none = running.evaluator.join(&[]);
    require(none.is_err(), "joining without prompts is refused", || "it was accepted".into())?;
    joins.check(&mut running, "a prompt that is refused changes nothing")
}

fn walk<B: Backend>(joins: &mut Joins<'_, B>) -> Result {
    let mut running = joins.open(&[Row::new(0)])?;
    for _ in 0..joins.tester.test.steps_per_walk() {
        let rows = running.rows.len();
        match joins.number(7) {
            0..=2 => {
                let most = joins.number(3);
                let tokens = joins.tokens(&running, most);
                joins.push(&mut running, tokens)?;
            }
            3 => {
                let drop: Vec<_> = running.rows.iter().map(|row| row.tokens.len()).collect();
                let drop: Vec<_> = drop.into_iter().map(|most| joins.number(most + 1)).collect();
                joins.rollback(&mut running, &drop)?;
            }
            4 => {
                let count = 1 + joins.number(rows + 1).min(MOST_ROWS - 1);
                let chosen: Vec<_> = (0..count).map(|_| joins.number(rows)).collect();
                joins.select(&mut running, &chosen)?;
            }
            _ if rows < MOST_ROWS => {
                let count = 1 + joins.number(2);
                let joining: Vec<_> = (0..count).map(|_| joins.number(joins.prompts.len())).collect();
                if joins.number(2) == 0 {
                    joins.read_pieces(&mut running, joining[0])?;
                }
                joins.join(&mut running, &joining)?;
            }
            _ => {
                let last = rows - 1;
                joins.select(&mut running, &[last])?;
            }
        }
    }
    Ok(())
}

/// Repeats a fixed series of operations, each time failing at a later step of the injector, until none is left to fail at.
fn failures<B: Backend>(tester: &Tester<'_, B>, joins: &mut Joins<'_, B>) -> Result {
    for step in 0.. {
        tester.fail_after.set(Some(step));
        let outcome = series(joins);
        let reached = tester.fail_after.take().is_none();
        outcome?;
        if !reached {
            break;
        }
    }
    Ok(())
}

fn series<B: Backend>(joins: &mut Joins<'_, B>) -> Result {
    joins.drawn = 0;
    let last = joins.prompts.len() - 1;
    let mut running = joins.open(&[Row::new(0)])?;
    let tokens = joins.tokens(&running, 2);
    joins.push(&mut running, tokens)?;
    joins.join(&mut running, &[last, 0])?;
    let tokens = joins.tokens(&running, 1);
    joins.push(&mut running, tokens)?;
    joins.select(&mut running, &[2, 1])?;
    joins.read_pieces(&mut running, last)?;
    joins.join(&mut running, &[last])?;
    joins.rollback(&mut running, &[1, 0, 0])?;
    let tokens = joins.tokens(&running, 1);
    joins.push(&mut running, tokens)
}

impl<B: Backend> Joins<'_, B> {
    /// A random number below `below`.
    fn number(&mut self, below: usize) -> usize {
        self.drawn += 1;
        (Uniforms::new(self.seed).at(0, self.drawn, Purpose::Draw) * below as f64) as usize
    }

    /// Up to `most` random tokens for each row, as many as it has room for.
    fn tokens(&mut self, running: &Running<B>, most: usize) -> Vec<Vec<TokenId>> {
        let room = running.evaluator.room();
        let of_row = |(row, room): (&Row, usize)| {
            let most = most.min(room).min(MOST_TOKENS.saturating_sub(row.tokens.len()));
            (0..most)
                .map(|_| self.tester.test.token(self.tester.model.vocab(), self.number(1 << 20)))
                .collect()
        };
        running.rows.iter().zip(room).map(of_row).collect()
    }

    fn prompts_of(&self, rows: &[Row]) -> Vec<Prompt> {
        rows.iter().map(|row| self.prompts[row.prompt].clone()).collect()
    }

    /// Opens an evaluator for some rows.
    fn open(&self, rows: &[Row]) -> Result<Running<B>> {
        let open = || -> crate::Result<Evaluator<B>> {
            let options = OpenOptions::default().cached_tokens(self.cached_tokens);
            let mut evaluator = Evaluator::open_with(&[self.source], &self.prompts_of(rows), options)?;
            evaluator.push(&rows.iter().map(|row| row.tokens.clone()).collect::<Vec<_>>())?;
            Ok(evaluator)
        };
        let (first, failed) = self.tester.under_fault(open);
        let evaluator = match first {
            Err(_) if failed => open(),
            result => result,
        };
        Ok(Running { evaluator: evaluator.law("prompts can be opened")?, rows: rows.to_vec() })
    }

    /// Checks the scores of every row at its last position.
    fn check(&self, running: &mut Running<B>, law: &str) -> Result {
        let (first, failed) = self.tester.under_fault(|| running.evaluator.eval_last(0));
        let scores = match first {
            Err(_) if failed => match running.evaluator.eval_last(0) {
                Err(Error::Poisoned { .. }) => {
                    *running = self.open(&running.rows)?;
                    running.evaluator.eval_last(0)
                }
                result => result,
            },
            result => result,
        };
        let scores = scores.law("rows can be evaluated after others have joined")?;
        self.tester.check_scores(law, &scores, &running.rows, &vec![1; running.rows.len()])
    }

    /// Makes a call, under the pending fault if there is one. A call that fails because of it must change nothing and succeed
    /// when it is repeated, or else poison the evaluator, which is then opened again.
    fn call<T>(
        &self,
        running: &mut Running<B>,
        law: &str,
        call: impl Fn(&mut Evaluator<B>) -> crate::Result<T>,
    ) -> Result<T> {
        let (first, failed) = self.tester.under_fault(|| call(&mut running.evaluator));
        match first {
            Err(_) if failed => {
                match running.evaluator.eval_last(0) {
                    Err(Error::Poisoned { .. }) => {
                        let again = call(&mut running.evaluator);
                        let refused = matches!(again, Err(Error::Poisoned { .. }));
                        let law = "a poisoned evaluator refuses every call";
                        require(refused, law, || "it was accepted".into())?;
                        *running = self.open(&running.rows)?;
                    }
                    _ => self.check(running, "a call that fails changes nothing")?,
                }
                call(&mut running.evaluator).law("a call that failed can be repeated")
            }
            result => result.law(law),
        }
    }

    fn push(&self, running: &mut Running<B>, tokens: Vec<Vec<TokenId>>) -> Result {
        self.call(running, "tokens can be pushed", |evaluator| evaluator.push(&tokens))?;
        running.rows.iter_mut().zip(tokens).for_each(|(row, tokens)| row.tokens.extend(tokens));
        self.check(running, "rows that joined are independent of the others")
    }

    fn rollback(&self, running: &mut Running<B>, drop: &[usize]) -> Result {
        let most = running.rows.iter().zip(drop);
        let drop: Vec<_> = most.map(|(row, drop)| row.tokens.len().min(*drop)).collect();
        self.call(running, "rows can be rolled back after others have joined", |e| e.rollback(&drop))?;
        for (row, drop) in running.rows.iter_mut().zip(drop) {
            row.tokens.truncate(row.tokens.len() - drop);
        }
        self.check(running, "rows that joined can be rolled back")
    }

    fn select(&self, running: &mut Running<B>, rows: &[usize]) -> Result {
        self.call(running, "rows can be selected after others have joined", |e| e.select(rows))?;
        running.rows = rows.iter().map(|row| running.rows[*row].clone()).collect();
        self.check(running, "rows that joined can be forked, pruned and reordered")
    }

    /// Reads a prompt in pieces, but for its end.
    fn read_pieces(&self, running: &mut Running<B>, prompt: usize) -> Result {
        let read = |evaluator: &mut Evaluator<B>| {
            let leaves = evaluator.plan_row(&self.prompts[prompt])?;
            while evaluator.unread(&leaves) > PIECE {
                evaluator.read_piece(&leaves, 0, PIECE)?;
            }
            Ok(())
        };
        self.call(running, "prompts can be read in pieces", read)?;
        self.check(running, "reading a prompt in pieces leaves the other rows alone")?;
        if prompt.is_multiple_of(2) {
            // It is given up; or kept, where rows that have left are.
            self.call(running, "a prompt that was read in pieces can be given up", |e| e.release(0))?;
        }
        Ok(())
    }

    /// Adds rows with these prompts.
    fn join(&self, running: &mut Running<B>, joining: &[usize]) -> Result {
        let rows: Vec<_> = joining.iter().map(|prompt| Row::new(*prompt)).collect();
        let prompts = self.prompts_of(&rows);
        let joined: Range<usize> = self.call(running, "prompts can join", |e| e.join(&prompts))?;
        let expected = running.rows.len()..running.rows.len() + rows.len();
        require(joined == expected, "rows join after those that there are", || format!("{joined:?}"))?;
        running.rows.extend(rows);
        self.check(running, "a row that joins has the scores of its prompt, and leaves the others alone")
    }
}
