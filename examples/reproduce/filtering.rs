//! Conservative decoding: the delta of pre-training acts only within the nucleus of the tuned model.
use anyhow::Result;
use eft::decode::Request;
use eft::{Decoding, Sampling, combine};

use crate::answers::{Check, Question, fact, form, questions, right, share};
use crate::chart::{Chart, Line};
use crate::models::{Models, Source};
use crate::section::{self, Section};

const NUCLEI: [f32; 6] = [0.3, 0.5, 0.7, 0.9, 0.97, 0.99];

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, tuned_small, .. } = models;
    let asked = questions("questions/test-short.jsonl")?;
    let mut section = Section::new(
        "Conservative filtering: up-scaling within the nucleus of the small tuned model, sampled",
        "EFT (arXiv 2310.12962) filters by p = 0.9 to keep rare tokens, whose up-scaling is noise, from being sampled.",
        ["nucleus p", "fact right", "form right", "both, word for word"],
    );
    let (mut facts, mut forms) = (Line::new("fact right"), Line::new("form right"));
    let mut shares = Vec::new();
    let mut ask = |name: String, at: Option<f32>, source: Source| -> Result<()> {
        let texts = sampled(&source, &asked)?;
        let [of_fact, of_form, of_right] =
            ([fact, form, right] as [Check; 3]).map(|check| share(&asked, &texts, check));
        let (of_fact, of_form, of_right) = (of_fact?, of_form?, of_right?);
        match at {
            Some(p) => {
                facts.point(f64::from(p), of_fact.value, of_fact.interval);
                forms.point(f64::from(p), of_form.value, of_form.interval);
            }
            None => facts.level(&name, of_fact.value),
        }
        section.row([name, section::share(&of_fact), section::share(&of_form), section::share(&of_right)]);
        shares.push((of_fact, of_form));
        Ok(())
    };
    for p in NUCLEI {
        ask(p.to_string(), Some(p), combine::nucleus_delta(base_large, tuned_small, base_small, 1.0, p)?)?;
    }
    ask("no filter".into(), None, models.up_scaled(tuned_small, 1.0))?;
    section.chart = Some(Chart::shares("nucleus p", "share of answers", [facts, forms]));
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
