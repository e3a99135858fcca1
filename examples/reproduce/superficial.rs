//! Superficial alignment: what few examples teach, and what they do not.
use anyhow::Result;
use eft_eval::stats::PowerLaw;

use crate::answers::{Check, ask, bootstrap, fact, form, greedy, people, questions, right, scores, share};
use crate::chart::{Chart, Line};
use crate::models::Models;
use crate::newcomers;
use crate::section::{self, Section};

pub(crate) fn run(models: &Models) -> Result<Section> {
    let asked = questions("questions/test-short.jsonl")?;
    let clusters = people(&asked);
    let mut section = Section::new(
        "Superficial alignment: score against the number of tuning examples, and knowledge that is new",
        "Revisiting the Superficial Alignment Hypothesis (arXiv 2410.03717): score grows as a power of the number of examples.",
        [
            "examples",
            "form, tuned",
            "fact, tuned",
            "both, tuned",
            "form, up-scaled",
            "fact, up-scaled",
            "both, up-scaled",
        ],
    );
    let checks: [(_, Check); 3] = [("form, tuned", form), ("fact, tuned", fact), ("both, tuned", right)];
    let mut lines = checks.map(|(name, check)| (Line::new(name), check));
    let mut curves = [Vec::new(), Vec::new()];
    let mut forms = Vec::new();
    for ((count, tuned), (_, small)) in models.large_curve.iter().zip(&models.small_curve) {
        let mut cells = vec![count.to_string()];
        for (index, source) in [tuned.clone(), models.up_scaled(small, 1.0)].iter().enumerate() {
            let texts = ask(source, &asked, &greedy())?;
            for (line, check) in &mut lines {
                let estimate = share(&asked, &texts, *check)?;
                cells.push(section::share(&estimate));
                if index == 0 {
                    line.point((*count as f64).log2(), estimate.value, estimate.interval);
                }
            }
            curves[index].push((*count as f64, scores(&asked, &texts, right)));
            if index == 0 {
                forms.push(share(&asked, &texts, form)?.value);
            }
        }
        section.row(cells);
    }
    section.chart = Some(Chart::shares(
        "log₂ of the number of examples",
        "share of answers",
        lines.map(|(line, _)| line),
    ));
    for (name, curve) in ["Tuned large model", "Up-scaled"].iter().zip(&curves) {
        let points: Vec<_> = curve
            .iter()
            .map(|(count, scores)| (*count, scores.iter().sum::<f64>() / scores.len() as f64))
            .collect();
        section.finding(match PowerLaw::fit(&points, 0.95) {
            Ok(law) => {
                let over_items = bootstrap().exponent_over_items(curve, &clusters)?;
                format!(
                    "{name}: right answers grow as the number of examples to the power {:.3} {:.3} (R² {:.2}; {} points \
                     without a right answer are left out).",
                    law.exponent,
                    over_items.interval,
                    law.r_squared,
                    law.excluded.len(),
                )
            }
            Err(error) => format!("{name}: no power law fits: {error}."),
        });
    }
    let saturated = forms.iter().position(|share| *share >= 0.95).map(|index| models.large_curve[index].0);
    section.finding(saturated.map_or_else(
        || "The form is not learned by any of these adapters.".into(),
        |count| format!("The form is right in at least 95 % of the answers after {count} examples."),
    ));
    newcomers::add(models, &mut section)?;
    Ok(section)
}
