//! Decoupled scale: knowledge follows the scale of pre-training, form the scale of fine-tuning.
use anyhow::Result;

use crate::answers::{ask, fact, form, greedy, questions, right, share};
use crate::models::Models;
use crate::section::{self, Section};

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, tuned_large, tuned_small, .. } = models;
    let asked = questions("questions/test-short.jsonl")?;
    let cells = [
        ("small", "none", base_small.clone()),
        ("large", "none", base_large.clone()),
        ("small", "small", tuned_small.clone()),
        ("large", "small", base_large + (tuned_small - base_small)),
        ("small", "large", base_small + (tuned_large - base_large)),
        ("large", "large", tuned_large.clone()),
    ];
    let mut section = Section::new(
        "Decoupled scale: what pre-training and fine-tuning each give, at either scale",
        "EFT (arXiv 2310.12962): scaling up pre-training improves factuality, scaling up fine-tuning improves helpfulness.",
        ["pre-training", "fine-tuning", "fact right", "form right", "both, word for word"],
    );
    let mut facts = Vec::new();
    for (pre_training, fine_tuning, source) in cells {
        let texts = ask(&source, &asked, &greedy())?;
        let of_fact = share(&asked, &texts, fact)?;
        section.row([
            pre_training.into(),
            fine_tuning.into(),
            section::share(&of_fact),
            section::share(&share(&asked, &texts, form)?),
            section::share(&share(&asked, &texts, right)?),
        ]);
        facts.push(of_fact);
    }
    let gain = |large: usize, small: usize| facts[large].interval.low > facts[small].interval.high;
    section.finding(match gain(3, 2) && gain(5, 4) {
        true => {
            "Facts follow the scale of pre-training: with a large pre-trained model they are right more often, whichever \
             scale was fine-tuned. The intervals do not overlap."
        }
        false => "The miniature does not show that facts follow the scale of pre-training.",
    });
    section.finding(
        "Here tuning teaches one form, which the small model learns as well as the large one. So the miniature cannot \
         show that larger fine-tuning helps more.",
    );
    Ok(section)
}
