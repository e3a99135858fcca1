//! Measures drafts by lookup beside drafts by a model: the same texts, decoded plainly, drafted by a model, by lookups beside
//! the model, and by lookups alone, by turns.
use std::time::Instant;

use eft_core::decode::Generation;
use eft_core::speculate::{Lookup, Speculative};
use eft_core::{Backend, Decoding, Prompt, Source, TokenId};

/// What one way of decoding took, over some texts.
#[derive(Debug, Clone, Default)]
struct Totals {
    seconds: f64,
    tokens: usize,
    /// Texts that are those of plain decoding.
    same: usize,
    passes: usize,
    /// Accepted and judged tokens, drafted by a model and by lookup.
    by_model: [usize; 2],
    by_lookup: [usize; 2],
}

/// Measures a target with a draft, and prints a line for each way of decoding; if there are earlier texts, also with lookups in
/// these. The passes over prompts are not measured.
pub(crate) fn lines<B: Backend>(
    name: &str,
    target: &Source<B>,
    draft: &Source<B>,
    prompts: &[Prompt],
    earlier: &[Vec<TokenId>],
    decoding: &Decoding,
) {
    let by_model = target.speculate().draft(draft);
    let beside = target.speculate().draft(draft).lookup(Lookup::default());
    let alone = target.speculate().lookup(Lookup::default()).without_model();
    let mut ways =
        vec![("by the model", by_model), ("by lookup, or the model", beside), ("by lookup", alone)];
    if !earlier.is_empty() {
        let beside = target.speculate().draft(draft).lookup_in(Lookup::default(), earlier);
        let alone = target.speculate().lookup_in(Lookup::default(), earlier).without_model();
        ways.extend([("from other texts, or the model", beside), ("from other texts", alone)]);
    }
    let (mut plainly, mut drafted) = (Totals::default(), vec![Totals::default(); ways.len()]);
    for prompt in prompts {
        let plain = timed(&mut target.generate(prompt, decoding).unwrap(), &mut plainly);
        for ((_, speculative), totals) in ways.iter().zip(&mut drafted) {
            let text = fast(speculative, prompt, decoding, totals);
            totals.same += usize::from(text == plain);
        }
    }
    println!("{name}: {} texts, {} tokens, {:.2} s plainly", prompts.len(), plainly.tokens, plainly.seconds);
    for ((way, _), totals) in ways.iter().zip(&drafted) {
        let percent = |[accepted, judged]: [usize; 2]| match judged {
            0 => "–".to_string(),
            _ => format!("{:.1} % of {judged}", 100.0 * accepted as f64 / judged as f64),
        };
        println!(
            "    drafted {way:30} {:7.2} s, speed-up {:.2}, {:5.2} tokens a pass, accepted: by the model {}, by lookup {}; {} texts the same",
            totals.seconds,
            plainly.seconds / totals.seconds,
            totals.tokens as f64 / totals.passes as f64,
            percent(totals.by_model),
            percent(totals.by_lookup),
            totals.same,
        );
    }
}

/// Writes a text whose prompt has been read, and adds its time and tokens.
fn timed<B: Backend>(text: &mut Generation<B>, totals: &mut Totals) -> Vec<TokenId> {
    let start = Instant::now();
    let tokens: Vec<_> = text.map(|token| token.unwrap().id).collect();
    totals.seconds += start.elapsed().as_secs_f64();
    totals.tokens += tokens.len();
    tokens
}

fn fast<B: Backend>(
    speculative: &Speculative<B>,
    prompt: &Prompt,
    decoding: &Decoding,
    totals: &mut Totals,
) -> Vec<TokenId> {
    let mut text = speculative.generate(prompt, decoding).unwrap();
    let tokens = timed(&mut text, totals);
    let report = text.report().unwrap();
    totals.passes += report.blocks + report.plain_steps;
    let by_lookup = [report.looked_up_accepted, report.looked_up_judged];
    let all = [report.accepted, report.judged];
    for (i, (all, by_lookup)) in all.into_iter().zip(by_lookup).enumerate() {
        totals.by_model[i] += all - by_lookup;
        totals.by_lookup[i] += by_lookup;
    }
    tokens
}
