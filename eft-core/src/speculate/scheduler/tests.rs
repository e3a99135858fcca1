//! How much of the attainable speed the scheduler reaches, over simulated passes.
use super::adaptive::{LOSS, TRIES};
use super::recent::usual;
use super::*;
use eft_core::sample::{Purpose, Uniforms};

/// The costs of passes, in plain steps' time.
#[derive(Debug, Clone, Copy)]
struct Costs {
    draft: f64,
    /// Verifying a block without a drafted token, and each drafted token in addition.
    block: f64,
    token: f64,
    /// The time that the draft takes to read a token that it did not draft itself.
    catch_up: f64,
}

/// A step without lookups.
fn by_model(block: Measured) -> Step<'static> {
    Step { block, drawn: &[], looked_up: false, found: false, tokens: block.accepted + 1 }
}

/// The cost of a token in a text of this many tokens, if each drafted one is accepted with this probability.
fn cost(tokens: usize, acceptance: f64, costs: Costs, seed: u64) -> f64 {
    cost_after(tokens, acceptance, costs, seed, &Memory::default())
}

/// The same after other texts have been generated.
fn cost_after(tokens: usize, acceptance: f64, costs: Costs, seed: u64, memory: &Memory) -> f64 {
    cost_measured(tokens, acceptance, costs, seed, memory, Delays::default())
}

/// How measured times differ from those that passes take undisturbed.
#[derive(Debug, Clone, Copy, Default)]
struct Delays {
    /// This share of each time is exponentially distributed, and one time in fifty it is three times as long.
    noise: f64,
    /// Another program takes the processor for ten plain steps, with this probability in each plain step's time.
    taken: f64,
    /// The first passes are delayed by this many plain steps, as if they were read from disk.
    cold: f64,
}

/// The same with delays. The time of the passes themselves is returned.
fn cost_measured(
    tokens: usize,
    acceptance: f64,
    costs: Costs,
    seed: u64,
    memory: &Memory,
    delays: Delays,
) -> f64 {
    let Delays { noise, taken, cold } = delays;
    let (uniforms, mut scheduler) = (Uniforms::new(seed), DraftScheduler::adaptive(16, memory));
    let mut passes = 0;
    let mut measured = |seconds: f64| {
        passes += 1;
        let at = |row| uniforms.at(row, passes, Purpose::Draft);
        let hiccup = if at(2) < 0.02 { 3.0 } else { 1.0 };
        let first = if passes <= 4 { cold } else { 0.0 };
        let other_program = if at(3) < taken * seconds { 10.0 } else { 0.0 };
        first + other_program + seconds * (1.0 - noise - noise * hiccup * (1.0 - at(1)).ln())
    };
    let (mut written, mut time, mut unread) = (0, 0.0, 0.0);
    while written < tokens {
        let drafted = scheduler.next(&[None], true).by_model;
        let accepts = |i: &usize| uniforms.at(0, written + i, Purpose::Accept) < acceptance;
        let accepted = (0..drafted).take_while(accepts).count();
        let target = if drafted == 0 { 1.0 } else { costs.block + drafted as f64 * costs.token };
        let first_draft = if drafted == 0 { 0.0 } else { costs.draft + costs.catch_up * unread };
        let others = drafted.saturating_sub(1);
        let passes: Vec<_> = (0..drafted).map(|i| if i == 0 { first_draft } else { costs.draft }).collect();
        let block = Measured {
            rows: 1,
            drafted,
            accepted,
            judged: drafted.min(accepted + 1),
            accepted_of_others: 0,
            passes: drafted,
            draft: DraftTime::of(&passes.into_iter().map(&mut measured).collect::<Vec<_>>()),
            target: measured(target),
            ran: written > 0,
        };
        unread = if drafted == 0 { unread + 1.0 } else { 0.0 };
        time += first_draft + others as f64 * costs.draft + target;
        written += accepted + 1;
        scheduler.learn(&by_model(block));
    }
    time / written as f64
}

const TERM: [Costs; 3] = [
    Costs { draft: 0.05, block: 0.95, token: 0.0, catch_up: 0.0 },
    Costs { draft: 0.1, block: 0.9, token: 0.02, catch_up: 0.0 },
    Costs { draft: 0.3, block: 0.7, token: 0.1, catch_up: 0.0 },
];
const OTHER: [Costs; 4] = [
    Costs { draft: 0.05, block: 1.0, token: 0.0, catch_up: 0.01 },
    Costs { draft: 0.2, block: 1.0, token: 0.02, catch_up: 0.1 },
    Costs { draft: 0.5, block: 1.0, token: 0.1, catch_up: 0.3 },
    Costs { draft: 1.0, block: 1.0, token: 0.5, catch_up: 0.5 },
];

#[test]
fn a_draft_that_is_always_wrong_costs_next_to_nothing() {
    for costs in TERM.into_iter().chain(OTHER) {
        let cost = cost(256, 0.0, costs, 0);
        assert!(cost <= 1.0 / 0.95, "{costs:?}: {cost} of plain decoding");
    }
}

#[test]
fn a_draft_that_does_not_pay_costs_next_to_nothing() {
    for costs in OTHER {
        for acceptance in [0.1, 0.3, 0.5, 0.7] {
            let cost = cost(256, acceptance, costs, 1);
            assert!(cost <= 1.0 / 0.95, "{costs:?}, {acceptance}: {cost} of plain decoding");
        }
    }
}

/// The attainable bound: the tokens per plain step's time at the best block length.
fn best(acceptance: f64, costs: Costs) -> f64 {
    let rate = |n: usize| {
        let tokens: f64 = (0..=n).map(|i| f64::powi(acceptance, i as i32)).sum();
        tokens / (n as f64 * costs.draft + costs.block + n as f64 * costs.token)
    };
    (1..=16).map(rate).fold(1.0, f64::max)
}

#[test]
fn the_attainable_bound_is_nearly_reached() {
    for costs in TERM.into_iter().chain(OTHER) {
        for acceptance in [0.4, 0.6, 0.8, 0.9, 0.97] {
            // One text of 256 tokens is too short for a mean, so there are several.
            let cost = (0..50).map(|seed| cost(256, acceptance, costs, seed)).sum::<f64>() / 50.0;
            let share = 1.0 / cost / best(acceptance, costs);
            assert!(share >= 0.9, "{costs:?}, {acceptance}: {share} of the attainable bound");
        }
    }
}

#[test]
fn short_texts_learn_from_those_before_them() {
    for costs in TERM.into_iter().chain(OTHER) {
        for acceptance in [0.0, 0.4, 0.8, 0.95] {
            let memory = Memory::default();
            let cost = (0..100).map(|seed| cost_after(32, acceptance, costs, seed, &memory)).sum::<f64>();
            let share = 100.0 / cost / best(acceptance, costs);
            assert!(share >= 0.85, "{costs:?}, {acceptance}: {share} of the attainable bound");
        }
    }
}

#[test]
fn noisy_measurements_do_little_harm() {
    // A draft that is not a term, is switched off by mistake and has many tokens to catch up with stays off to the end of the text.
    for (least, all) in [(0.94, &TERM[..]), (0.85, &OTHER[..])] {
        for (costs, acceptance) in all.iter().flat_map(|c| [0.3, 0.6, 0.8, 0.9, 0.956].map(|a| (*c, a))) {
            for noise in [0.2, 0.5] {
                let memory = Memory::default();
                let delays = Delays { noise, ..Delays::default() };
                let text = |seed| cost_measured(180, acceptance, costs, seed, &memory, delays);
                let share = 65.0 / (0..65).map(text).sum::<f64>() / best(acceptance, costs);
                assert!(share >= least, "{costs:?}, {acceptance}, {noise}: {share} of the attainable bound");
            }
        }
    }
}

#[test]
fn a_good_draft_is_used_however_its_first_passes_and_some_others_are_delayed() {
    for (costs, acceptance) in TERM.iter().flat_map(|costs| [0.8, 0.95].map(|rate| (*costs, rate))) {
        for (taken, cold) in [(0.0, 8.0), (0.0, 40.0), (0.1, 0.0), (0.1, 8.0)] {
            let mut all = 0.0;
            for run in 0..20 {
                let memory = Memory::default();
                let text = |i: u64| {
                    let delays = Delays { noise: 0.1, taken, cold: if i == 0 { cold } else { 0.0 } };
                    cost_measured(128, acceptance, costs, 100 * run + i, &memory, delays)
                };
                let share = 8.0 / (0..8).map(text).sum::<f64>() / best(acceptance, costs);
                let case = format!("{costs:?}, {acceptance}, {taken}, {cold}, {run}");
                assert!(share >= 0.65, "{case}: {share} of the attainable bound");
                all += share;
            }
            let mean = all / 20.0;
            assert!(mean >= 0.85, "{costs:?}, {acceptance}, {taken}, {cold}: {mean} of the attainable bound");
        }
    }
}

#[test]
fn a_delayed_pass_hardly_counts_and_passes_of_two_kinds_have_their_mean() {
    let mut times = [1.0; 9];
    times[0] = 100.0;
    assert!(usual(&times) <= 1.6, "{}", usual(&times));
    // Over bytes, most steps need no pass of the model.
    let times: Vec<_> = (0..9).map(|step| if step % 4 == 0 { 1.0 } else { 0.01 }).collect();
    let mean = times.iter().sum::<f64>() / 9.0;
    assert!((0.9 * mean..=1.01 * mean).contains(&usual(&times)), "{}", usual(&times));
}

#[test]
fn a_draft_that_failed_at_some_texts_is_tried_at_others() {
    for costs in TERM {
        let memory = Memory::default();
        for seed in 0..20 {
            cost_after(32, 0.0, costs, seed, &memory);
        }
        let costs = (0..40).map(|seed| cost_after(32, 0.95, costs, seed, &memory));
        let last = costs.skip(30).sum::<f64>() / 10.0;
        assert!(last < 0.7, "{last} of plain decoding");
    }
}

#[test]
fn the_gain_of_one_text_is_not_lost_in_the_next() {
    let drafts_cost = Costs { draft: 0.2, block: 0.8, token: 0.1, catch_up: 0.0 };
    for costs in TERM.into_iter().chain([drafts_cost]) {
        let memory = Memory::default();
        for seed in 0..4 {
            cost_after(180, 0.98, costs, seed, &memory);
        }
        let lost = 256.0 * (cost_after(256, 0.0, costs, 4, &memory) - 1.0);
        let longest = 16.0 * (costs.draft + costs.token) + costs.block;
        assert!(lost <= 1.0 + LOSS + longest + TRIES * 256.0, "{costs:?}: {lost} plain steps lost");
    }
}

#[test]
fn texts_that_run_at_once_add_to_what_the_others_learn() {
    let memory = Memory::default();
    let (mut first, mut second) =
        (DraftScheduler::adaptive(16, &memory), DraftScheduler::adaptive(16, &memory));
    let plain = Measured { rows: 1, target: 1.0, ran: true, ..Measured::default() };
    let draft = DraftTime::of(&[0.5, 0.5]);
    let wrong = Measured { drafted: 2, passes: 2, judged: 1, draft, ..plain };
    let next = |scheduler: &DraftScheduler| scheduler.next(&[None], true).by_model;
    first.learn(&by_model(plain));
    (0..20).for_each(|_| first.learn(&by_model(wrong)));
    assert_eq!(next(&first), 0, "the first text learns that its draft is slow and wrong");
    second.learn(&by_model(plain));
    assert_eq!(next(&DraftScheduler::adaptive(16, &memory)), 0, "the second text does not undo that");
}

#[test]
fn a_good_draft_is_not_forgotten_over_thousands_of_texts_without_one() {
    let memory = Memory::default();
    cost_after(64, 0.9, TERM[0], 0, &memory);
    for _ in 0..2_000 {
        drop(DraftScheduler::adaptive(16, &memory));
    }
    assert!(DraftScheduler::adaptive(16, &memory).next(&[None], true).by_model > 1);
}

/// The time of a token of a text, of which a lookup finds a match before this share of the steps, and each token of what it
/// finds is accepted with this probability. `model` is the cost and the acceptance of a model that drafts.
fn cost_looked_up(found: f64, acceptance: f64, token: f64, model: Option<(Costs, f64)>, seed: u64) -> f64 {
    const TOKENS: usize = 256;
    let (uniforms, mut scheduler) = (Uniforms::new(seed), DraftScheduler::adaptive(16, &Memory::default()));
    let (mut written, mut time) = (0, 0.0);
    while written < TOKENS {
        let at = |row: u64, position: usize| uniforms.at(row, position, Purpose::Accept);
        let kind = (at(1, written) < found).then_some(Match::Long);
        let lengths = scheduler.next(&[kind], model.is_some());
        let by_lookup = kind.map_or(0, |kind| lengths.by_lookup[kind.index()]);
        // Both write the text that the target accepts, or something else.
        let agree = |row: u64, rate: f64| (0..).take_while(|i| at(row, written + i) < rate).count();
        let would_accept = if kind.is_some() { agree(2, acceptance) } else { 0 };
        let costs = model.map_or(Costs { draft: 0.0, block: 1.0, token, catch_up: 0.0 }, |model| model.0);
        let (drafted, accepted, block) = match model {
            _ if by_lookup > 0 => (by_lookup, would_accept.min(by_lookup), 1.0),
            Some((_, rate)) => (lengths.by_model, agree(3, rate).min(lengths.by_model), costs.block),
            None => (0, 0, 1.0),
        };
        let passes = if by_lookup > 0 { 0 } else { drafted };
        let target = if drafted == 0 { 1.0 } else { block + drafted as f64 * costs.token };
        let block = Measured {
            rows: 1,
            drafted,
            accepted,
            judged: drafted.min(accepted + 1),
            accepted_of_others: 0,
            passes,
            draft: DraftTime::of(&vec![costs.draft; passes]),
            target,
            ran: written > 0,
        };
        let (looked_up, tokens) = (by_lookup > 0, accepted + 1);
        scheduler.learn(&Step { block, drawn: &[], looked_up, found: kind.is_some(), tokens });
        if let Some(kind) = kind {
            let mut tallies = [Tally::default(); Match::KINDS];
            tallies[kind.index()].add(would_accept.min(tokens), tokens.min(would_accept + 1));
            scheduler.judge(&tallies);
        }
        time += passes as f64 * costs.draft + target;
        written += tokens;
    }
    time / written as f64
}

#[test]
fn lookups_that_are_always_wrong_cost_next_to_nothing() {
    for token in [0.05, 0.2, 0.5] {
        for found in [0.1, 1.0] {
            let cost = (0..20).map(|seed| cost_looked_up(found, 0.0, token, None, seed)).sum::<f64>() / 20.0;
            assert!(cost <= 1.0 / 0.97, "{token}, found {found}: {cost} of plain decoding");
        }
    }
}

#[test]
fn lookups_nearly_reach_the_attainable_bound() {
    for token in [0.02, 0.1, 0.25] {
        for acceptance in [0.4, 0.6, 0.8, 0.95] {
            let costs = Costs { draft: 0.0, block: 1.0, token, catch_up: 0.0 };
            let text = |seed| cost_looked_up(1.0, acceptance, token, None, seed);
            let share = 50.0 / (0..50).map(text).sum::<f64>() / best(acceptance, costs);
            assert!(share >= 0.88, "{token}, {acceptance}: {share} of the attainable bound");
        }
    }
}

#[test]
fn the_better_of_lookup_and_model_drafts() {
    let costs = Costs { draft: 0.2, block: 0.9, token: 0.1, catch_up: 0.0 };
    let of_lookup = Costs { draft: 0.0, block: 1.0, ..costs };
    for (by_model, by_lookup) in [(0.9, 0.0), (0.9, 0.5), (0.5, 0.9), (0.0, 0.8)] {
        let bound = best(by_model, costs).max(best(by_lookup, of_lookup));
        let text = |seed| cost_looked_up(1.0, by_lookup, costs.token, Some((costs, by_model)), seed);
        let share = 50.0 / (0..50).map(text).sum::<f64>() / bound;
        assert!(share >= 0.85, "{by_model}, {by_lookup}: {share} of the better one's bound");
    }
}
