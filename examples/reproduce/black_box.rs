//! A base behind an interface that reports five log-probabilities: facts that are new or have changed since its
//! pre-training, and another format of answers.
use std::sync::Arc;

use anyhow::Result;
use eft::candle::Candle;
use eft::{Backend, Prompt, TokenId, combine, from_top};
use eft_eval::stats::Estimate;

use crate::answers::{ask, greedy, questions, right, share};
use crate::models::{Models, Source};
use crate::section::{self, Section};

const TOLD: usize = 5;

pub(crate) fn run(models: &Models) -> Result<Section> {
    let moved = questions("experiments/moved/questions.jsonl")?;
    let (changed, unchanged): (Vec<_>, Vec<_>) =
        moved.into_iter().partition(|question| question.kind == "changed");
    let new = questions("experiments/mayors/questions.jsonl")?;
    let records = questions("experiments/record/questions.jsonl")?;
    let (base, black_box) = (&models.base_large, black_box(models)?);
    let tuned = [&models.mayors, &models.moved, &models.moved, &models.record];
    let asked = [new, changed, unchanged, records];
    let mut section = Section::new(
        "Facts after pre-training and a new format, with a whole base and with a black box",
        "Proxy-tuning adapts GPT-3.5, of which the top five log-probs are known, to facts of a later time (RealTimeQA).",
        ["", "new facts right", "changed facts right", "unchanged facts right", "new format, word for word"],
    );
    let with = |base: &Source| -> eft::Result<Vec<Source>> {
        tuned.iter().map(|tuned| combine::delta(base, tuned, &models.base_small, 1.0)).collect()
    };
    let rows = [
        ("base", vec![base.clone(); 4]),
        ("small tuned model", tuned.map(Source::clone).to_vec()),
        ("up-scaled", with(base)?),
        ("up-scaled, black box", with(&black_box)?),
    ];
    let mut shares = Vec::new();
    for (name, sources) in rows {
        let of_row = sources.iter().zip(&asked);
        let estimates = of_row.map(|(source, asked)| share(asked, &ask(source, asked, &greedy())?, right));
        let estimates = estimates.collect::<Result<Vec<_>>>()?;
        section.row([vec![name.to_owned()], estimates.iter().map(section::share).collect()].concat());
        shares.push(estimates);
    }
    let [of_base, small, whole, told] = &shares[..] else { return Ok(section) };
    let above = |a: &Estimate, b: &Estimate| a.interval.low > b.interval.high;
    section.finding(match above(&whole[0], &of_base[0]) && above(&whole[2], &small[2]) {
        true => "Up-scaling knows new facts that only the small model was told, and keeps what only the large one knows.",
        false => "Up-scaling does not bring new and old facts together here.",
    });
    section.finding(match above(&whole[1], &of_base[1]) {
        true => "It also corrects facts that have changed.",
        false => {
            "It does not correct facts that have changed: this base has read each of them many times and is surer of the old \
             fact than the small model is of the new one. The miniature does not show that part of the effect."
        }
    });
    section.finding(format!(
        "With five log-probs a step instead of all {}, {:.0} instead of {:.0} % of the new facts are right, and {:.0} instead of \
         {:.0} % of the answers in the new format: a token that the base does not list cannot be chosen.",
        base.vocab().real(),
        100.0 * told[0].value,
        100.0 * whole[0].value,
        100.0 * told[3].value,
        100.0 * whole[3].value,
    ));
    Ok(section)
}

/// `base_large`, of which only the most likely tokens and their log-probabilities are known.
fn black_box(models: &Models) -> Result<Source> {
    let base = models.base_large.clone();
    let top = move |tokens: &[TokenId]| {
        let (_, scores) = base.session(&[Prompt::Tokens(tokens.to_vec())])?;
        let picks = Candle::cpu().top(&scores.last()?, TOLD, scores.width())?;
        Ok(picks.into_iter().flatten().map(|pick| (pick.token, pick.log_prob)).collect())
    };
    let vocab = Arc::unwrap_or_clone(models.base_large.vocab().clone()).named("black box");
    Ok(from_top(Candle::cpu(), vocab, top).rendered_by(models.renderer.clone())?)
}
