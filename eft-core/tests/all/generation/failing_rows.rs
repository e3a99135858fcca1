//! Rows that fail one by one, such as those of a remote model.
use eft_core::decode::Event;
use eft_core::sample::FrequencyPenalty;
use eft_core::scores::Coverage;
use eft_core::{
    Engine, EngineRow, EngineSpec, Error, FnEngine, Form, Host, LogitSource, Opened, Prompt, Result, RowFeed,
    Scores, Session, Source, TokenId, Vocab,
};

use super::greedy;
use crate::common::*;

/// An engine that fails at every row whose tokens contain [`BAD`].
struct Fails {
    inner: FnEngine<Host>,
    names: Names,
}

/// Whether an error names the row at fault, so that only that row ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Names {
    Row,
    Nothing,
}

const BAD: TokenId = 9;

impl Fails {
    fn source(seed: u64) -> Source<Host> {
        Self::naming(Names::Row, seed)
    }

    fn naming(names: Names, seed: u64) -> Source<Host> {
        let spec = EngineSpec::new("fails", Host, vocab("fails"));
        let inner = FnEngine::new(spec, move |row| Ok(logits(seed, &row.tokens, WIDTH)));
        Source::new(Self { inner, names })
    }
}

/// Fails at the last such row, which is one of the last block of rows of a session.
fn check<'a>(
    names: Names,
    mut rows: impl DoubleEndedIterator<Item = &'a [TokenId]> + ExactSizeIterator,
) -> Result<()> {
    let Some(row) = rows.rposition(|tokens| tokens.contains(&BAD)) else { return Ok(()) };
    let error = Error::source("fails", "a bad token");
    Err(if names == Names::Row { Error::row(row, error) } else { error })
}

impl Engine for Fails {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        self.inner.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        check(self.names, rows.iter().map(|row| &row.tokens[..]))?;
        let (session, scores) = self.inner.open(rows)?;
        Ok((Box::new(FailsSession(session, self.names)), scores))
    }
}

struct FailsSession(Box<dyn Session<Backend = Host>>, Names);

impl Session for FailsSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.0.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.0.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Host>> {
        check(self.1, feeds.iter().map(|feed| &feed.tokens[..]))?;
        self.0.extend(feeds)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.0.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.0.select(rows)
    }
}

/// The tokens of each row, and the rows that failed.
fn texts(batch: eft_core::decode::Batch<Host>) -> (Vec<Vec<TokenId>>, Vec<usize>) {
    let (mut texts, mut failed) = (vec![Vec::new(); batch.rows()], Vec::new());
    for event in batch {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].push(token.id),
            Event::Finished { .. } => {}
            Event::Failed { row, error } => {
                assert!(eft_core::error::with_sources(&*error).contains("a bad token"));
                failed.push(row);
            }
        }
    }
    (texts, failed)
}

#[test]
fn other_rows_continue() {
    let prompts: Vec<_> = (0..40).map(|id| vec![id % WIDTH as TokenId, id / 4]).collect();
    // Two terms of one engine are blocks of rows of one session.
    let fails = Fails::source(5);
    let prefixed = fails.under(eft_core::PromptTransform::prefix([1]));
    let source = &fails + 0.5 * prefixed + model("other", 6);
    let sound =
        model("m", 5) + 0.5 * model("m", 5).under(eft_core::PromptTransform::prefix([1])) + model("other", 6);
    // With a penalty, a text would change if a failure left tokens that were only drafted in what processors see.
    let penalty = || FrequencyPenalty::new(2.0).unwrap();
    let decoding = || greedy().stop_ids([]).max_tokens(6).processor(penalty());
    let whole = |prompt: &Vec<TokenId>| -> Vec<_> {
        sound.generate(prompt.clone(), decoding()).unwrap().map(|token| token.unwrap().id).collect()
    };
    let drafted = source.speculate().draft(&model("other", 6)).block(3);
    let opened = |prompts: &[Vec<TokenId>]| {
        let prompts = prompts.to_vec();
        let plain = source.generate_batch(prompts.clone(), decoding()).unwrap();
        [plain, drafted.generate_batch(prompts, decoding()).unwrap()]
    };
    let joined = opened(&prompts[..1]).map(|mut batch| {
        batch.join(prompts[1..].iter().cloned()).unwrap();
        batch
    });
    let batches = opened(&prompts).into_iter().chain(joined);
    for (which, batch) in batches.enumerate() {
        let (texts, failed) = texts(batch);
        let mut ends = [0; 2];
        for (row, (prompt, text)) in prompts.iter().zip(&texts).enumerate() {
            let whole = whole(prompt);
            // A draft that is not accepted may hold the bad token, too, but then only its row ends early.
            let bad = prompt.contains(&BAD) || whole[..whole.len() - 1].contains(&BAD);
            assert!(whole.starts_with(text), "{prompt:?}");
            assert_eq!(text.len() == whole.len(), !failed.contains(&row));
            assert!(!bad || failed.contains(&row), "{prompt:?}");
            assert!(bad || which % 2 == 1 || !failed.contains(&row), "{prompt:?}");
            ends[usize::from(failed.contains(&row))] += 1;
        }
        assert!(ends[0] > 5 && ends[1] > 5, "{ends:?}");
    }
}

#[test]
fn a_block_that_fails_leaves_no_drafted_tokens() {
    let decoding = greedy().stop_ids([]).max_tokens(20);
    for names in [Names::Row, Names::Nothing] {
        let source = Fails::naming(names, 5);
        let drafted = source.speculate().draft(&model("other", 6)).block(3);
        let mut failures = 0;
        for prompt in (0..WIDTH as TokenId).filter(|id| *id != BAD) {
            let mut batch = drafted.generate_batch([[prompt]], &decoding).unwrap();
            let (mut text, mut failed) = (Vec::new(), false);
            for event in batch.by_ref() {
                assert!(!failed, "a text goes on after its failure");
                match event {
                    Ok(Event::Token { token, .. }) => text.push(token.id),
                    Ok(Event::Finished { .. }) => {}
                    Ok(Event::Failed { .. }) => failed = names == Names::Row,
                    Err(_) => failed = names == Names::Nothing,
                }
            }
            if failed {
                assert_eq!(batch.into_evaluator().pushed(0), text, "{names:?}");
                failures += 1;
            }
        }
        assert!(failures > 3, "{names:?}: {failures}");
    }
}

#[test]
fn the_only_row_that_fails_ends_the_text_with_its_error() {
    let decoding = greedy().stop_ids([]).max_tokens(20);
    let prompts = (0..WIDTH as TokenId).filter(|id| *id != BAD);
    let mut failures = 0;
    for prompt in prompts {
        let mut text = Fails::source(5).generate([prompt], &decoding).unwrap();
        let failed = text.by_ref().filter_map(Result::err).collect::<Vec<_>>();
        assert!(failed.len() <= 1 && text.next().is_none());
        failures += failed.iter().filter(|error| matches!(error, Error::Source { .. })).count();
    }
    assert!(failures > 0);
    assert!(matches!(Fails::source(5).generate([BAD], &decoding), Err(Error::Source { .. })));
}

/// A source that says what it knows about its scores.
struct Proving(Source<Host>);

impl LogitSource for Proving {
    type Backend = Host;

    fn backend(&self) -> &Host {
        self.0.backend()
    }

    fn vocab(&self) -> &std::sync::Arc<Vocab> {
        self.0.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
        let (session, scores) = self.0.open(prompts)?;
        let rows: Vec<_> = values(&scores).into_iter().map(|row| vec![row]).collect();
        let scores = Scores::upload(&Host, &rows, WIDTH, Form::Partial)?;
        let coverage = (0..rows.len()).map(|row| Coverage::new(1.0).proven(row == 0).missed_mass(0.25));
        Ok((session, scores.with_coverage(coverage.collect())))
    }
}

#[test]
fn what_a_source_knows_is_told_of_its_own_tokens_only() {
    let proving = Source::opaque(Proving(model("m", 1)));
    let first = |source: &Source<Host>, decoding: eft_core::Decoding| -> Vec<_> {
        let batch = source.generate_batch([[1], [2]], decoding.max_tokens(1).stop_ids([])).unwrap();
        let tokens = batch.filter_map(|event| match event.unwrap() {
            Event::Token { token, .. } => Some((token.proven, token.missed_mass)),
            _ => None,
        });
        tokens.collect()
    };
    assert_eq!(first(&proving, greedy()), [(Some(true), Some(0.25)), (Some(false), Some(0.25))]);
    let sampled = eft_core::Decoding::default();
    assert_eq!(first(&proving, sampled), [(None, Some(0.25)); 2]);
    let biased = greedy().processor(eft_core::sample::LogitBias::new([(1, 0.5)]).unwrap());
    assert_eq!(first(&proving, biased), [(None, Some(0.25)); 2]);
    assert_eq!(first(&(&proving + model("n", 2)), greedy()), [(None, None); 2]);
    assert_eq!(first(&eft_core::bridge(proving, Host), greedy())[0], (Some(true), Some(0.25)));
}
