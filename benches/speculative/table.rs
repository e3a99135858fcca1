//! The lines of the table.
use eft_core::{Backend, Decoding, Prompt, Source};

use crate::bound::Costs;
use crate::clock::Clock;
use crate::compare::{Contest, Sums};

/// The number of times that the costs of passes are measured, over all texts.
const MEASURED: usize = 13;

/// Measures a target with a draft, and prints a line of the table.
pub(crate) fn line<B: Backend>(
    name: &str,
    target: &Source<B>,
    draft: &Source<B>,
    prompts: &[Prompt],
    decoding: &Decoding,
    clock: &Clock,
) {
    let contest = Contest::new(target, draft, decoding, clock);
    let mut sums = Sums::default();
    let mut costs = Vec::new();
    let mut blocks: Vec<_> = lengths().into_iter().map(|length| (length, Sums::default())).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let outcome = contest.run(prompt, &mut sums);
        assert!(outcome.divergence.is_none(), "the texts differ");
        for (length, sums) in &mut blocks {
            contest.fixed(*length).drafted(prompt, sums);
        }
        // Interleaved with the texts, so that both run under the same conditions.
        if index.is_multiple_of(prompts.len().div_ceil(MEASURED)) {
            costs.push(Costs::measure(target, draft, (prompt, &outcome.text), clock, 2));
        }
    }
    sums.print(name, &Costs::mean(&costs));
    for (length, sums) in blocks {
        sums.print_block(length);
    }
}

/// The fixed draft lengths to measure, besides the length that is chosen while decoding.
pub(crate) fn lengths() -> Vec<usize> {
    let lengths = std::env::var("EFT_BLOCKS").unwrap_or_default();
    lengths.split(',').filter(|length| !length.is_empty()).map(|length| length.parse().unwrap()).collect()
}
