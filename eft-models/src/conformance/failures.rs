//! Checks of failures: a call of a session that fails changes nothing, or poisons the session.
use eft_core::conformance::{FaultInjector, SourceTest, check_engine};
use eft_core::{Backend, Engine, EngineRow, Error, RowFeed, Session, TokenId};

use super::faults::FaultyNn;
use super::goldens::engine;
use super::{Verdict, require};
use crate::{DecoderEngine, Nn};

/// Rows of a batch whose feeds take two forward passes: together more than 512 tokens.
const ROWS: usize = 6;
const FED: usize = 100;
/// Every how many operations of that call one fails.
const STRIDE: usize = 11;

/// Fails at each operation of a series of calls in turn, and checks that a call that failed has changed nothing, or that
/// the session is poisoned: for sessions with adapters, and for one call that takes two forward passes.
///
/// # Errors
/// The first check that fails, in words.
pub fn check_failures<N: Nn>(nn: &N) -> Verdict<()> {
    let injector = FaultInjector::new();
    let faulty = FaultyNn::new(nn.clone(), &injector);
    let adapted = engine(&faulty, "qwen2", &["qwen2-lora"])?;
    let test = SourceTest::new([vec![3], vec![14, 15, 9]]).tolerance(1e-3).steps(5).walks(1);
    check_engine(&adapted, &test.faults(&injector))?;
    // Caches that forget, and positions that change while a text grows: such rows are read again from their beginning.
    check_second_pass(&engine(&faulty, "mistral", &[])?.free_rollback(2), &injector)?;
    check_second_pass(&engine(&faulty, "phi3-past", &[])?, &injector)
}

/// Fails at several operations of a call that takes two passes, the second of which may fail after the first has written
/// its keys and values.
fn check_second_pass<N: Nn>(engine: &DecoderEngine<N>, injector: &FaultInjector) -> Verdict<()> {
    let rows = (0..ROWS).map(|row| EngineRow { adapter: None, tokens: vec![row as TokenId] });
    let rows: Vec<_> = rows.collect();
    let feeds = |count: usize| -> Vec<RowFeed> {
        let tokens = |row: usize| (0..count).map(|i| ((i * 7 + row * 13) % 96) as TokenId).collect();
        (0..ROWS).map(|row| RowFeed::last(tokens(row))).collect()
    };
    let (few, many) = (feeds(3), feeds(FED));
    let feed = |session: &mut dyn Session<Backend = N::Backend>, feeds: &[RowFeed]| {
        let scores = session.extend(feeds)?;
        engine.spec().backend.download(&scores.last()?, scores.width())
    };
    let (mut session, _) = engine.open(&rows)?;
    let mut expected = feed(&mut *session, &few)?;
    session.rollback(&[3; ROWS])?;
    expected.extend(feed(&mut *session, &many)?);

    for operation in (0..).step_by(STRIDE) {
        let (mut session, _) = engine.open(&rows)?;
        injector.fail_after(operation);
        let failed = session.extend(&many).is_err();
        injector.fail_after(usize::MAX);
        if !failed {
            break;
        }
        // Other tokens at positions that the failed call may have reached, and then the call once more.
        let mut got = match feed(&mut *session, &few) {
            Err(Error::Poisoned { .. }) => continue,
            few => few?,
        };
        session.rollback(&[3; ROWS])?;
        got.extend(feed(&mut *session, &many)?);
        let far = got.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() >= 1e-3).count();
        require(far == 0 && got.len() == expected.len(), || {
            format!("after a failure of operation {operation}, {far} logits are not those of a new session")
        })?;
    }
    Ok(())
}
