//! Calls that fail at any step change nothing, or poison the session.
use std::sync::Arc;

use eft_core::conformance::{
    FaultInjector, FaultyBackend, SourceTest, TrafficCounter, check_engine, check_source, count_traffic,
};
use eft_core::{
    Backend, EngineRow, EngineSpec, Error, FnEngine, Host, LogitSource, Opened, Prompt, PromptTransform,
    Result, RowFeed, Scores, Session, Source, Vocab, bridge, combine, from_top,
};

use crate::common::*;

type Faulty = FaultyBackend<Host>;

fn test(injector: &FaultInjector) -> SourceTest {
    SourceTest::new([vec![0], vec![3, 1, 4]]).steps(10).walks(1).faults(injector)
}

/// A model that may fail at each position it scores, over a backend that may fail at each operation.
fn engine(name: &str, seed: u64, injector: &FaultInjector) -> FnEngine<Faulty> {
    let spec = EngineSpec::new(name, FaultyBackend::new(Host, injector), vocab(name)).adapters(["x"]);
    let injector = injector.clone();
    FnEngine::new(spec, move |row: &EngineRow| {
        injector.step()?;
        Ok(logits(seed + row.adapter.map_or(0, |_| 50), &row.tokens, WIDTH))
    })
}

fn faulty(name: &str, seed: u64, injector: &FaultInjector) -> Source<Faulty> {
    Source::new(engine(name, seed, injector))
}

#[track_caller]
fn holds<B: Backend>(source: &Source<B>, injector: &FaultInjector) {
    check_source(source, &test(injector)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn of_an_engine() {
    let injector = FaultInjector::new();
    check_engine(&engine("m", 1, &injector), &test(&injector)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn of_combinations() {
    let injector = FaultInjector::new();
    let (a, b, c) = (faulty("a", 1, &injector), faulty("b", 2, &injector), faulty("c", 3, &injector));
    let all = [
        a.clone(),
        &a + 0.7 * (&b - &c),
        &a + a.adapter("x").unwrap(),
        combine::guidance(&a, PromptTransform::prefix([2, 2]), 0.5).unwrap(),
        combine::mixture([(0.4, &a), (0.6, &b)]).unwrap(),
        combine::nucleus_delta(&a, &b, &c, 1.0, 0.8).unwrap(),
        combine::gate(&a, &b, 0.3).unwrap(),
        Source::opaque(&a + &b) + &c,
    ];
    for source in &all {
        check_source(source, &test(&injector)).unwrap_or_else(|e| panic!("{source}: {e}"));
    }
}

#[test]
fn of_a_black_box() {
    let injector = FaultInjector::new();
    let box_injector = injector.clone();
    let black_box = from_top(FaultyBackend::new(Host, &injector), vocab("box"), move |tokens| {
        box_injector.step()?;
        Ok(vec![(0, -0.7), (1 + tokens.len() as u32 % 5, -1.2)])
    });
    holds(&black_box, &injector);
    holds(&(&black_box + faulty("m", 1, &injector)), &injector);
}

#[test]
fn of_a_bridge() {
    let injector = FaultInjector::new();
    let (a, b) = (faulty("a", 1, &injector), faulty("b", 2, &injector));
    // Of the source, of the backend it comes from, and of the one it goes to.
    holds(&bridge(&a - 0.5 * b, FaultyBackend::new(Host, &injector)), &injector);
    holds(&bridge(bridge(a, Host), FaultyBackend::new(Host, &injector)), &injector);
}

#[test]
fn of_a_counted_source() {
    let injector = FaultInjector::new();
    let counter = TrafficCounter::new(FaultyBackend::new(Host, &injector));
    holds(&count_traffic(faulty("m", 1, &injector), &counter), &injector);
}

/// The reaction of a session when the code around its model fails after the model has taken the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// It keeps the tokens.
    Keeps,
    /// It rolls the model back.
    Undoes,
    /// It refuses every later call.
    Poisons,
    /// It refuses later feeds, and nothing else.
    PoisonsFeeds,
}

struct Wrapped {
    inner: Source<Host>,
    afterwards: Afterwards,
    injector: FaultInjector,
}

struct WrappedSession {
    inner: Box<dyn Session<Backend = Host>>,
    afterwards: Afterwards,
    injector: FaultInjector,
    failed: bool,
}

impl LogitSource for Wrapped {
    type Backend = Host;

    fn backend(&self) -> &Host {
        &Host
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.inner.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
        let (inner, scores) = self.inner.open(prompts)?;
        let (afterwards, injector) = (self.afterwards, self.injector.clone());
        Ok((Box::new(WrappedSession { inner, afterwards, injector, failed: false }), scores))
    }
}

impl WrappedSession {
    fn check(&self) -> Result<()> {
        match self.failed {
            true => Err(Error::Poisoned { cause: "it failed".into() }),
            false => Ok(()),
        }
    }
}

impl Session for WrappedSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Host>> {
        self.check()?;
        let scores = self.inner.extend(feeds)?;
        self.injector.step().map(|()| scores).or_else(|error| {
            match self.afterwards {
                Afterwards::Keeps => {}
                Afterwards::Undoes => {
                    self.inner.rollback(&feeds.iter().map(|feed| feed.tokens.len()).collect::<Vec<_>>())?;
                }
                Afterwards::Poisons | Afterwards::PoisonsFeeds => self.failed = true,
            }
            Err(error)
        })
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        if self.afterwards != Afterwards::PoisonsFeeds {
            self.check()?;
        }
        self.inner.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        if self.afterwards != Afterwards::PoisonsFeeds {
            self.check()?;
        }
        self.inner.select(rows)
    }
}

#[test]
fn half_done_calls_are_found() {
    use Afterwards::*;
    for (afterwards, right) in [(Keeps, false), (Undoes, true), (Poisons, true), (PoisonsFeeds, false)] {
        let injector = FaultInjector::new();
        let wrapped = Wrapped { inner: model("m", 1), afterwards, injector: injector.clone() };
        for seed in 0..5 {
            let found = check_source(&wrapped, &test(&injector).seed(seed));
            assert_eq!(found.is_ok(), right, "{afterwards:?}: {found:?}");
        }
    }
}
