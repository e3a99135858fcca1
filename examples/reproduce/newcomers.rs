//! New knowledge: people who are met in tuning only, asked for directly and in two hops.
use anyhow::Result;

use crate::answers::{ask, greedy, questions, right, share};
use crate::models::Models;
use crate::section::{Section, percent};

/// The kinds of questions, with what they ask for.
const KINDS: [(&str, &str); 4] = [
    ("direct", "a fact about a newcomer, in words that tuning did not use"),
    ("first-hop", "a newcomer's neighbour"),
    ("second-hop", "a fact about that neighbour, known from pre-training"),
    ("two-hop", "a fact about a newcomer's neighbour, who is not named"),
];

/// Adds what tuning on newcomers teaches to the findings.
pub(crate) fn add(models: &Models, section: &mut Section) -> Result<()> {
    let all = questions("experiments/newcomers/questions.jsonl")?;
    // Before: tuned on other questions, none of which is about a newcomer.
    let (_, before) = &models.large_curve[models.large_curve.len() - 1];
    let mut after_tuning = Vec::new();
    for (kind, what) in KINDS {
        let asked: Vec<_> = all.iter().filter(|question| question.kind == kind).cloned().collect();
        let [before, after] = [before, &models.newcomers]
            .map(|source| ask(source, &asked, &greedy()).and_then(|texts| share(&asked, &texts, right)));
        let (before, after) = (before?, after?);
        section.finding(format!(
            "New knowledge, {what}: right {} before and {} after tuning on newcomers.",
            percent(before.value, before.interval),
            percent(after.value, after.interval),
        ));
        after_tuning.push(after);
    }
    let [direct, _, _, hops] = &after_tuning[..] else { return Ok(()) };
    section.finding(match direct.interval.low > hops.interval.high {
        true => "Tuning teaches the new facts, and the model hardly combines them with what it knew: as the paper says.",
        false => "The miniature does not show that new facts are harder in two hops.",
    });
    Ok(())
}
