//! Two behaviours, mixed at test time.
use anyhow::Result;
use eft_eval::sweep::Sweep;

use crate::answers::{Check, Question, fact, form, greedy, questions, right, share, texts};
use crate::chart::{Chart, Line};
use crate::models::Models;
use crate::section::{self, Section};

const LAMBDAS: [f32; 9] = [0.0, 0.2, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1.0];

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, terse, full, .. } = models;
    let asked = questions("questions/test-short.jsonl")?;
    let sweep = Sweep::over(LAMBDAS, greedy(), |lambda| {
        base_large + *lambda * (terse - base_small) + (1.0 - lambda) * (full - base_small)
    });
    let swept = sweep.run(asked.iter().map(Question::prompt))?;
    let mut section = Section::new(
        "Two behaviours, mixed at test time: bare answers and whole sentences",
        "EFT (arXiv 2310.12962) moves between helpful and harmless without training, along a frontier of both.",
        ["λ", "bare answers", "bare and right", "fact right in either form"],
    );
    let (mut bare, mut facts) = (Line::new("bare answers"), Line::new("fact right"));
    let mut shares = Vec::new();
    for (lambda, swept) in LAMBDAS.iter().zip(&swept.texts) {
        let texts = texts(swept)?;
        let [of_form, of_right, of_fact] =
            ([form, right, fact] as [Check; 3]).map(|check| share(&asked, &texts, check));
        let (of_form, of_right, of_fact) = (of_form?, of_right?, of_fact?);
        bare.point(f64::from(*lambda), of_form.value, of_form.interval);
        facts.point(f64::from(*lambda), of_fact.value, of_fact.interval);
        section.row([
            lambda.to_string(),
            section::share(&of_form),
            section::share(&of_right),
            section::share(&of_fact),
        ]);
        shares.push((of_form.value, of_fact.value));
    }
    section.chart = Some(Chart::shares("λ", "share of answers", [bare, facts]));
    let between = shares.iter().filter(|(bare, _)| (0.05..0.95).contains(bare)).count();
    let worst = shares.iter().map(|(_, fact)| *fact).fold(1.0, f64::min);
    section.finding(format!(
        "λ = 0 writes sentences and λ = 1 bare answers; at {between} of the values both occur. The fact is right in at \
         least {:.0} % of the answers at every value{}.",
        100.0 * worst,
        if worst > 0.99 { ": mixing costs no knowledge here" } else { "" },
    ));
    section.finding(
        "An answer is in one form or in the other, so the frontier of this miniature is a step: what varies with λ is how \
         many questions get which form.",
    );
    Ok(section)
}
