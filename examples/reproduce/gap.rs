//! The gap closed by up-scaling, against its strength.
use anyhow::{Context, Result};
use eft_eval::stats::{Clusters, Estimate};
use eft_eval::sweep::{Part, Sweep, choose};

use crate::answers::{Question, ask, bootstrap, greedy, part, people, questions, right, scores, texts};
use crate::changed::changed;
use crate::chart::{Chart, Line};
use crate::models::{Models, Source};
use crate::section::{self, Section, percent};

const ALPHAS: [f32; 8] = [0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 1.5, 2.0];

pub(crate) fn run(models: &Models) -> Result<Section> {
    let read = |part: &str| -> Result<Vec<Question>> {
        let mut found = questions(&format!("questions/{part}-short.jsonl"))?;
        found.extend(questions(&format!("questions/{part}-long.jsonl"))?);
        Ok(found)
    };
    let (validation, test) = (read("validation")?, read("test")?);
    let clusters = people(&test);
    let sweep = Sweep::over(ALPHAS, greedy(), |alpha| models.up_scaled(&models.tuned_small, *alpha));
    let swept = |questions: &[Question]| -> Result<Part> {
        let swept = sweep.run(questions.iter().map(Question::prompt))?;
        let of_values = swept.texts.iter().map(|swept| texts(swept)).collect::<Result<Vec<_>>>()?;
        Ok(part(questions, &of_values, right))
    };
    let of_test = swept(&test)?;
    let choice = choose(sweep.values(), &swept(&validation)?, &of_test, &bootstrap())?;
    let right_of =
        |source: &Source| Ok::<_, anyhow::Error>(scores(&test, &ask(source, &test, &greedy())?, right));
    let (base, reference) = (right_of(&models.base_large)?, right_of(&models.tuned_large)?);

    let mut section = Section::new(
        "The gap that up-scaling closes, against its strength α",
        "Proxy-tuning (arXiv 2401.08565) closes 88 % of the gap at 70B and 91 % at 13B; 13 to 25 % of the tokens change.",
        ["α", "right on validation", "right on test", "gap closed", "tokens changed"],
    );
    let mut line = Line::new("up-scaled");
    let mut of_chosen = None;
    for (index, value) in choice.values.iter().enumerate() {
        let source = models.up_scaled(&models.tuned_small, value.value);
        let closed = bootstrap().gap_closed(&base, &of_test.scores[index], &reference, &clusters)?;
        let counts = changed(&source, &models.base_large, &test)?;
        let share = share_of_tokens(&test, &counts)?;
        let mark = if index == choice.chosen { " (chosen)" } else { "" };
        section.row([
            format!("{}{mark}", value.value),
            section::share(&value.validation),
            section::share(&value.test),
            percent(closed.value, closed.interval),
            section::share(&share),
        ]);
        line.point(f64::from(value.value), value.test.value, value.test.interval);
        if index == choice.chosen {
            of_chosen = Some((closed, share));
        }
    }
    let mean = |scores: &[f64]| bootstrap().mean(scores, &clusters);
    for (name, of_model) in [("base", &base), ("tuned large model", &reference)] {
        let estimate = mean(of_model)?;
        section.row([
            name.to_owned(),
            String::new(),
            section::share(&estimate),
            String::new(),
            String::new(),
        ]);
        line.level(name, estimate.value);
    }
    section.chart = Some(Chart::shares("α", "right on test", [line]));
    let (closed, share) = of_chosen.context("no strength was chosen")?;
    section.finding(format!(
        "α = {} is chosen on the validation questions. On the test questions, about people who are not in the tuning data, it \
         closes {} of the gap, and {:.0} % of its tokens are not what the base would have written.",
        choice.value(),
        percent(closed.value, closed.interval),
        100.0 * share.value,
    ));
    Ok(section)
}

/// The share of tokens that differ, over all texts. `counts` has the tokens of each text, and those that differ.
fn share_of_tokens(questions: &[Question], counts: &[(usize, usize)]) -> Result<Estimate> {
    let (mut differ, mut about) = (Vec::new(), Vec::new());
    for (question, (written, different)) in questions.iter().zip(counts) {
        differ.extend((0..*written).map(|token| f64::from(u8::from(token < *different))));
        about.extend(std::iter::repeat_n(&question.about, *written));
    }
    Ok(bootstrap().mean(&differ, &Clusters::by(about))?)
}
