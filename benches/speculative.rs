//! What speculation is worth: plain and drafted generation of the same texts, alternating, and beside it what the
//! acceptance and the bare costs of the passes would allow.
//!
//! The models of most lines are simulated (`simulated/mod.rs`): memory-bound, with a draft that is right as often as each
//! line says. The last one is the zoo's, if candle runs it: all portraits of its test part.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod simulated;

use std::time::Instant;

use eft_core::{Backend, Decoding, Host, Joint, Prompt, Sampling, Source, TokenId};
use simulated::{Taste, median, model};

const TOKENS: usize = 256;
const ROUNDS: u32 = 3;

fn main() {
    println!(
        "                                       plain   drafted            accepted  tokens  of what is"
    );
    println!("target, draft                           s        s    speed-up     %       a pass   allowed");
    let tokens = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(TOKENS);
    for right in [0.0, 0.5, 0.8, 0.9, 0.97] {
        let (target, tuned) = upscaled(right);
        compare(&format!("large + (tuned - small), right {right}"), &target, &tuned, &numbers(), &tokens);
    }
    let large = model("large", 64, Taste { height: 10.0, right: 1.0 });
    for (megabytes, right) in [(8, 0.8), (8, 0.0), (64, 0.0)] {
        let other = model("other", megabytes, Taste { height: 5.0, right });
        compare(
            &format!("large, other of {megabytes} MB, right {right}"),
            &large,
            &other,
            &numbers(),
            &tokens,
        );
    }
    #[cfg(all(feature = "candle", feature = "text"))]
    zoo();
}

/// Prompts to simulated models, which never end a text.
fn numbers() -> Vec<Prompt> {
    (0..ROUNDS).map(|round| (0..16).map(|i| 7 * round + i).collect::<Vec<TokenId>>().into()).collect()
}

/// The zoo's up-scaled model, drafted by its tuned small one, on the texts of nearly 200 tokens that it has.
#[cfg(all(feature = "candle", feature = "text"))]
fn zoo() {
    let zoo = |path: &str| format!("{}/zoo/{path}", env!("CARGO_MANIFEST_DIR"));
    let model = |name: &str| eft::load(zoo(name)).unwrap();
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    let questions = std::fs::read_to_string(zoo("questions/test-portrait.jsonl")).unwrap();
    let prompts = questions.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Prompt::chat(line["question"].as_str().unwrap())
    });
    let decoding = Decoding::from(Sampling::greedy());
    let upscaled = &large + (&tuned - &small);
    compare("the zoo's portraits", &upscaled, &tuned, &prompts.collect::<Vec<_>>(), &decoding);
}

/// A large model and a pair of small ones, of which the tuned one drafts.
fn upscaled(right: f64) -> (Source<Host>, Source<Host>) {
    let large = model("large", 64, Taste { height: 10.0, right: 1.0 });
    let tuned = model("tuned", 8, Taste { height: 5.0, right });
    let small = model("small", 8, Taste { height: 0.0, right: 1.0 });
    (&large + (&tuned - &small), tuned)
}

/// One line: a target decoded plainly and by a draft, by turns.
fn compare<B: Backend>(
    name: &str,
    target: &Source<B>,
    draft: &Source<B>,
    prompts: &[Prompt],
    decoding: &Decoding,
) {
    let (mut plain, mut drafted) = (0.0, 0.0);
    let (mut accepted, mut judged, mut tokens, mut passes) = (0, 0, 0, 0);
    for prompt in prompts {
        // Opened outside of what is measured: reading the prompt is no part of it.
        let mut text = target.generate(prompt, decoding).unwrap();
        let start = Instant::now();
        let expected: Vec<_> = text.by_ref().map(|t| t.unwrap().id).collect();
        plain += start.elapsed().as_secs_f64();
        let mut text = target.speculate().draft(draft).generate(prompt, decoding).unwrap();
        let start = Instant::now();
        let got: Vec<_> = text.by_ref().map(|t| t.unwrap().id).collect();
        drafted += start.elapsed().as_secs_f64();
        assert_eq!(got, expected, "not the same text");
        let report = text.report().unwrap();
        accepted += report.accepted;
        judged += report.judged;
        tokens += report.tokens;
        passes += report.blocks + report.plain_steps;
    }
    let acceptance = accepted as f64 / judged.max(1) as f64;
    let speed_up = plain / drafted;
    println!(
        "{name:38} {plain:6.2}  {drafted:6.2}   {speed_up:6.2}    {:6.1}    {:6.2}   {:6.2}",
        100.0 * acceptance,
        tokens as f64 / passes as f64,
        speed_up / allowed(target, draft, acceptance),
    );
}

/// The speed-up of the best length of block, if there were nothing but the models' passes.
fn allowed<B: Backend>(target: &Source<B>, draft: &Source<B>, acceptance: f64) -> f64 {
    let mut joint = Joint::open(&[target, draft], &[Prompt::from([1, 2, 3])]).unwrap();
    let mut seconds = |drafted: usize, judged: bool| {
        let times = (0..7).map(|_| {
            joint.push(&[vec![5]]).unwrap();
            let at = joint.pushed(0).len();
            joint.eval_last(1).unwrap();
            joint.push(&[vec![6; drafted]]).unwrap();
            if drafted > 0 {
                joint.eval(1, std::slice::from_ref(&(at..at + drafted))).unwrap();
            }
            let start = Instant::now();
            if judged {
                joint.run_without(0, 1, std::slice::from_ref(&(at..at + drafted + 1))).unwrap();
            } else {
                joint.eval(1, std::slice::from_ref(&(at + drafted..at + drafted + 1))).unwrap();
            }
            let time = start.elapsed().as_secs_f64();
            joint.eval_last(0).unwrap();
            joint.commit();
            joint.rollback(&[drafted + 1]).unwrap();
            time
        });
        median(times.collect())
    };
    let draft_pass = seconds(1, false);
    let blocks: Vec<_> = (0..=16).map(|drafted| seconds(drafted, true)).collect();
    let of_target = draft_is_term(target, draft);
    let plain = blocks[0] + if of_target { draft_pass } else { 0.0 };
    let chance = |i: usize| acceptance.powi(i as i32);
    let rate = |n: usize| {
        let tokens: f64 = (0..=n).map(chance).sum();
        let behind = if of_target { chance(n) * draft_pass } else { 0.0 };
        tokens / (n as f64 * draft_pass + blocks[n] + behind)
    };
    (1..=16).map(rate).fold(1.0 / plain, f64::max) * plain
}

/// Whether a target names its draft among its terms.
fn draft_is_term<B: Backend>(target: &Source<B>, draft: &Source<B>) -> bool {
    target.name().split([' ', '(', ')']).any(|term| term == draft.name())
}
