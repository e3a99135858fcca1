//! Conservative decoding: the delta of pre-training acts only within the nucleus of the tuned model.
use anyhow::Result;
use eft::decode::Request;
use eft::{Decoding, Sampling, combine};
use eft_eval::sweep::choose;

use crate::answers::{Question, bootstrap, fact, form, part, questions, right, share};
use crate::chart::{Chart, Line};
use crate::models::{Models, Source};
use crate::section::{self, Section};

const NUCLEI: [f32; 6] = [0.3, 0.5, 0.7, 0.9, 0.97, 0.99];

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, tuned_small, .. } = models;
    let [validation, asked] =
        ["validation", "test"].map(|part| questions(&format!("questions/{part}-short.jsonl")));
    let (validation, asked) = (validation?, asked?);
    let filtered = NUCLEI.map(|p| combine::nucleus_delta(base_large, tuned_small, base_small, 1.0, p));
    let filtered = filtered.into_iter().collect::<Result<Vec<_>, _>>()?;
    let texts_of =
        |asked: &[Question]| filtered.iter().map(|source| sampled(source, asked)).collect::<Result<Vec<_>>>();
    let written = texts_of(&asked)?;
    let of_validation = part(&validation, &texts_of(&validation)?, right);
    let choice = choose(&NUCLEI, &of_validation, &part(&asked, &written, right), &bootstrap())?;

    let mut section = Section::new(
        "Conservative filtering: up-scaling within the nucleus of the small tuned model, sampled",
        "EFT (arXiv 2310.12962) filters by p = 0.9 to keep rare tokens, whose up-scaling is noise, from being sampled.",
        ["nucleus p", "both, validation", "both, word for word, test", "fact right", "form right"],
    );
    let (mut facts, mut forms) = (Line::new("fact right"), Line::new("form right"));
    let mut shares = Vec::new();
    for (index, (value, texts)) in choice.values.iter().zip(&written).enumerate() {
        let (of_fact, of_form) = (share(&asked, texts, fact)?, share(&asked, texts, form)?);
        let p = f64::from(value.value);
        facts.point(p, of_fact.value, of_fact.interval);
        forms.point(p, of_form.value, of_form.interval);
        let mark = if index == choice.chosen { " (chosen)" } else { "" };
        section.row([
            format!("{}{mark}", value.value),
            section::share(&value.validation),
            section::share(&value.test),
            section::share(&of_fact),
            section::share(&of_form),
        ]);
        shares.push((of_fact, of_form));
    }
    let texts = sampled(&models.up_scaled(tuned_small, 1.0), &asked)?;
    let (of_fact, of_form) = (share(&asked, &texts, fact)?, share(&asked, &texts, form)?);
    facts.level("no filter", of_fact.value);
    section.row([
        "no filter".to_owned(),
        String::new(),
        section::share(&share(&asked, &texts, right)?),
        section::share(&of_fact),
        section::share(&of_form),
    ]);
    shares.push((of_fact, of_form));
    section.chart = Some(Chart::shares("nucleus p", "share of answers", [facts, forms]));
    section.finding(format!(
        "p = {} is chosen on the validation questions. On the test questions, {} of its answers are right in fact and form.",
        choice.value(),
        section::share(&choice.of_chosen().test),
    ));
    let (narrow, wide, whole) = (&shares[0], &shares[NUCLEI.len() - 1], &shares[NUCLEI.len()]);
    section.finding(match wide.0.interval.low > narrow.0.interval.high {
        true => {
            "A narrow nucleus costs facts: the right one is often outside it, since the small model does not know the people."
        }
        false => "The miniature does not show that a narrow nucleus costs facts.",
    });
    section.finding(match shares[..NUCLEI.len()].iter().any(|(_, form)| form.interval.low > whole.1.interval.high) {
        true => "With a filter more answers have the right form than without, as the paper says.",
        false => {
            "Answers have the right form as often without a filter: this tuned model is so sure of the form that there is \
             hardly any noise to filter, so the miniature does not show the paper's gain."
        }
    });
    Ok(section)
}

/// Samples an answer to each question at a temperature of 1.
fn sampled(source: &Source, questions: &[Question]) -> Result<Vec<String>> {
    let decoding = Decoding::from(Sampling::default().seed(7)).max_tokens(48);
    let requests =
        questions.iter().enumerate().map(|(id, question)| Request::new(question.prompt()).id(id as u64));
    let texts = source.generate_batch(requests, decoding)?.text()?.read();
    texts.into_iter().map(|text| Ok(text?)).collect()
}
