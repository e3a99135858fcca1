//! Speculative up-scaling: the tuned small model drafts.
use std::time::Instant;

use anyhow::{Context, Result};
use eft::{Decoding, Sampling};
use eft_eval::stats::Clusters;

use crate::answers::{Question, bootstrap, questions};
use crate::chart::{Chart, Line};
use crate::models::{Models, Source};
use crate::section::{Section, number, percent};

const BLOCKS: [usize; 6] = [2, 3, 4, 6, 8, 12];

/// How many portraits are written: each has nearly 200 tokens.
const TEXTS: usize = 20;

pub(crate) fn run(models: &Models) -> Result<Section> {
    let mut asked = questions("questions/test-portrait.jsonl")?;
    asked.truncate(TEXTS);
    let combined = models.up_scaled(&models.tuned_small, 1.0);
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200);
    let (plain, in_plain) = timed(&asked, |question| write(&combined, question, &decoding))?;
    let mut section = Section::new(
        "Speculative up-scaling: the tuned small model drafts, one pass checks a block",
        "EFT (arXiv 2310.12962) reports 2.5 times the speed for a pair of 70B and 7B, with blocks of 8.",
        [
            "drafted at a time",
            "drafted tokens accepted",
            "tokens a pass of the large model",
            "texts as without drafts",
        ],
    );
    let mut line = Line::new("tokens a pass");
    let (mut same, mut times) = (0, Vec::new());
    for block in BLOCKS {
        let speculative = combined.speculate().draft(&models.tuned_small).block(block);
        let (drafted, seconds) = timed(&asked, |question| {
            let mut generation = speculative.generate(question.prompt(), &decoding)?;
            let ids = generation.by_ref().map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?;
            let report = generation.report().context("a drafted text has a report")?;
            let passes = report.tokens_per_pass().unwrap_or(0.0);
            Ok((ids, report.acceptance().unwrap_or(0.0), passes))
        })?;
        let units = drafted.len();
        let mean = |of: fn(&(Vec<u32>, f64, f64)) -> f64| {
            let values: Vec<_> = drafted.iter().map(of).collect();
            bootstrap().mean(&values, &Clusters::each(units))
        };
        let (accepted, passes) = (mean(|d| d.1)?, mean(|d| d.2)?);
        let equal = drafted.iter().zip(&plain).filter(|(drafted, plain)| drafted.0 == **plain).count();
        same += usize::from(equal == units);
        section.row([
            block.to_string(),
            percent(accepted.value, accepted.interval),
            number(&passes),
            format!("{equal} of {units}"),
        ]);
        line.point(block as f64, passes.value, passes.interval);
        times.push(format!("{:.2} at {block}", in_plain / seconds));
    }
    section.chart = Some(Chart::numbers("drafted at a time", "tokens a pass of the large model", [line]));
    section.finding(match same == BLOCKS.len() {
        true => "Every drafted text is token for token the one that is written without drafts.",
        false => "Some drafted texts differ from those written without drafts.",
    });
    section.finding(
        "These models are so small that a processor is bound by arithmetic and not by memory, so checking a block costs much \
         more than one step. The gain in time is therefore below that of large models, and below the tokens a pass.",
    );
    section.times = Some(format!("Speed beside plain decoding, in this run: {}.", times.join(", ")));
    Ok(section)
}

fn write(source: &Source, question: &Question, decoding: &Decoding) -> Result<Vec<u32>> {
    source.generate(question.prompt(), decoding)?.map(|token| Ok(token?.id)).collect()
}

/// Writes the texts one by one. The first one is written twice, and the first time does not count.
fn timed<T>(questions: &[Question], mut write: impl FnMut(&Question) -> Result<T>) -> Result<(Vec<T>, f64)> {
    questions.first().map(&mut write).transpose()?;
    let start = Instant::now();
    let texts = questions.iter().map(write).collect::<Result<_>>()?;
    Ok((texts, start.elapsed().as_secs_f64()))
}
