//! Two behaviours, mixed at test time.
use anyhow::Result;
use eft_eval::sweep::{Sweep, choose};

use crate::answers::{Question, bootstrap, fact, form, greedy, part, questions, right, share, texts};
use crate::chart::{Chart, Line};
use crate::models::Models;
use crate::section::{self, Section};

const LAMBDAS: [f32; 9] = [0.0, 0.2, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1.0];

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, terse, full, .. } = models;
    let [validation, asked] =
        ["validation", "test"].map(|part| questions(&format!("questions/{part}-short.jsonl")));
    let (validation, asked) = (validation?, asked?);
    let sweep = Sweep::over(LAMBDAS, greedy(), |lambda| {
        base_large + *lambda * (terse - base_small) + (1.0 - lambda) * (full - base_small)
    });
    let texts_of = |asked: &[Question]| -> Result<Vec<Vec<String>>> {
        let swept = sweep.run(asked.iter().map(Question::prompt))?;
        swept.texts.iter().map(|swept| texts(swept)).collect()
    };
    let written = texts_of(&asked)?;
    let of_validation = part(&validation, &texts_of(&validation)?, right);
    let choice = choose(sweep.values(), &of_validation, &part(&asked, &written, right), &bootstrap())?;
    let mut section = Section::new(
        "Two behaviours, mixed at test time: bare answers and whole sentences",
        "EFT (arXiv 2310.12962) moves between helpful and harmless without training, along a frontier of both.",
        [
            "λ",
            "bare and right, validation",
            "bare and right, test",
            "bare answers",
            "fact right in either form",
        ],
    );
    let (mut bare, mut facts) = (Line::new("bare answers"), Line::new("fact right"));
    let mut shares = Vec::new();
    for (index, (value, texts)) in choice.values.iter().zip(&written).enumerate() {
        let (of_form, of_fact) = (share(&asked, texts, form)?, share(&asked, texts, fact)?);
        let lambda = f64::from(value.value);
        bare.point(lambda, of_form.value, of_form.interval);
        facts.point(lambda, of_fact.value, of_fact.interval);
        let mark = if index == choice.chosen { " (chosen)" } else { "" };
        section.row([
            format!("{}{mark}", value.value),
            section::share(&value.validation),
            section::share(&value.test),
            section::share(&of_form),
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
    section.finding(format!(
        "λ = {} is the smallest of those that write most bare and right answers on the validation questions. On the test \
         questions {} of its answers are so.",
        choice.value(),
        section::share(&choice.of_chosen().test),
    ));
    section.finding(
        "An answer is in one form or in the other, so the frontier of this miniature is a step: what varies with λ is how \
         many questions get which form.",
    );
    Ok(section)
}
