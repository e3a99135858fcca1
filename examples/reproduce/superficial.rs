//! Superficial alignment: what few examples teach, and what they do not.
use anyhow::Result;
use eft_eval::stats::{Clusters, PowerLaw};

use crate::answers::{Check, ask, bootstrap, fact, form, greedy, people, questions, right, scores, share};
use crate::chart::{Chart, Line};
use crate::models::Models;
use crate::newcomers;
use crate::section::{self, Section};

/// The scores of all answers at each number of examples.
type Curve = Vec<(f64, Vec<f64>)>;

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
    // For each of the two sources and each check.
    let mut curves: [[Curve; 3]; 2] = Default::default();
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
            for (curve, (_, check)) in curves[index].iter_mut().zip(checks) {
                curve.push((*count as f64, scores(&asked, &texts, check)));
            }
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
    for (name, curves) in ["Tuned large model", "Up-scaled"].iter().zip(&curves) {
        let fits = ["right answers", "right forms", "right facts"];
        let curves = [&curves[2], &curves[0], &curves[1]];
        let fits = fits.iter().zip(curves).map(|(what, curve)| fit(what, curve, &clusters));
        section.finding(format!("{name}: {}.", fits.collect::<Vec<_>>().join("; ")));
    }
    let saturated = forms.iter().position(|share| *share >= 0.95).map(|index| models.large_curve[index].0);
    section.finding(saturated.map_or_else(
        || "The form is not learned by any of these adapters.".into(),
        |count| format!("The form is right in at least 95 % of the answers after {count} examples."),
    ));
    let fewest = share_right(&curves[0][2][0].1);
    if fewest >= 0.9 {
        section.finding(format!(
            "The fewest examples already make {:.0} % of the answers right, so there is hardly any growth to fit: the miniature \
             does not show the paper's power law.",
            100.0 * fewest,
        ));
    }
    newcomers::add(models, &mut section)?;
    Ok(section)
}

fn share_right(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// How a score grows with the number of examples.
fn fit(what: &str, curve: &[(f64, Vec<f64>)], clusters: &Clusters) -> String {
    let points: Vec<_> = curve.iter().map(|(count, scores)| (*count, share_right(scores))).collect();
    let fitted = PowerLaw::fit(&points, 0.95)
        .and_then(|law| Ok((law, bootstrap().exponent_over_items(curve, clusters)?)));
    match fitted {
        Ok((law, over_items)) => {
            let left_out = match law.excluded.len() {
                0 => String::new(),
                count => format!(", without {count} points at which none is right"),
            };
            format!(
                "{what} grow as the number of examples to the power {:.3} {:.3} (R² {:.2}{left_out})",
                law.exponent, over_items.interval, law.r_squared,
            )
        }
        Err(error) => format!("no power law fits {what}: {error}"),
    }
}
