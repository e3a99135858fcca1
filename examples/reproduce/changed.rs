//! How often a delta changes the token that a base would write.
use anyhow::Result;
use eft::{Backend, Evaluator};

use crate::answers::Question;
use crate::models::Source;

/// Returns for each question how many tokens `combined` writes, and at how many of these `base` would have chosen another
/// one after the same tokens.
pub(crate) fn changed(
    combined: &Source,
    base: &Source,
    questions: &[Question],
) -> Result<Vec<(usize, usize)>> {
    const LONGEST: usize = 48;
    let stop = combined.stop_ids();
    let mut counts = Vec::new();
    for question in questions {
        let mut evaluator = Evaluator::open(&[combined, base], &[question.prompt()])?;
        let (mut written, mut different) = (0, 0);
        while written < LONGEST {
            let mut first = |root| {
                let scores = evaluator.eval_last(root)?;
                anyhow::Ok(base.backend().argmax(&scores.last()?, scores.width())?[0].token)
            };
            let (chosen, of_base) = (first(0)?, first(1)?);
            written += 1;
            different += usize::from(chosen != of_base);
            if stop.contains(&chosen) {
                break;
            }
            evaluator.push(&[vec![chosen]])?;
        }
        counts.push((written, different));
    }
    Ok(counts)
}
