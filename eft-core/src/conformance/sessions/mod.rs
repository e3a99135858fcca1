//! The laws of sessions, the same for those of sources and of engines.
mod failures;
mod random;
mod refusals;
mod run;
mod scenarios;
mod tester;

pub(super) use tester::{Model, Row, Tester};

use super::{Result, SourceTest, require};
use crate::Scores;
use crate::backend::Backend;

/// Checks every law of sessions.
pub(super) fn check_sessions<B: Backend>(model: &dyn Model<B>, test: &SourceTest) -> Result {
    require(model.rows() > 0, "a test has at least one prompt", || "it has none".into())?;
    let tester = Tester::new(model, test);
    scenarios::check(&tester)?;
    refusals::check(&tester)?;
    random::check(&tester)?;
    match test.injector() {
        Some(_) => failures::check(&tester),
        None => Ok(()),
    }
}

/// Checks that `scores` has, at the last position of each row, the scores of the model's prompts.
pub(super) fn compare<B: Backend>(
    model: &dyn Model<B>,
    test: &SourceTest,
    law: &str,
    scores: &Scores<B>,
) -> Result {
    let rows: Vec<_> = (0..model.rows()).map(Row::new).collect();
    Tester::new(model, test).check_scores(law, scores, &rows, &vec![1; rows.len()])
}
