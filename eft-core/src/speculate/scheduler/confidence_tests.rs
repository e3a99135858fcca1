//! What drafts gain from ending where the model is unsure, over simulated passes.
use super::*;
use eft_core::sample::{Purpose, Uniforms};

/// The log-prob of tokens of which the draft is sure, and of others, and how often they are accepted.
const SURE: (f32, f64) = (-0.01, 0.98);
const UNSURE: (f32, f64) = (-1.0, 0.45);
/// The share of tokens of which the draft is sure.
const SHARE: f64 = 0.6;

/// The costs of passes, in plain steps' time: a pass of the draft, a block without drafted tokens, and each drafted token.
#[derive(Debug, Clone, Copy)]
struct Costs {
    draft: f64,
    block: f64,
    token: f64,
}

const COSTS: [Costs; 4] = [
    Costs { draft: 0.05, block: 0.95, token: 0.02 },
    Costs { draft: 0.1, block: 0.9, token: 0.02 },
    Costs { draft: 0.28, block: 1.0, token: 0.12 },
    Costs { draft: 0.3, block: 0.7, token: 0.1 },
];

impl Costs {
    fn of(self, drafted: usize) -> f64 {
        if drafted == 0 { 1.0 } else { self.block + drafted as f64 * (self.draft + self.token) }
    }
}

/// Random tokens: the log-prob of each, and whether it is accepted.
struct Tokens {
    uniforms: Uniforms,
    /// The log-prob and acceptance rate of sure and unsure tokens.
    kinds: [(f32, f64); 2],
    /// So many tokens in succession are of the same kind.
    run: usize,
}

impl Tokens {
    fn at(&self, position: usize) -> Judged {
        let (log_prob, rate) =
            self.kinds[usize::from(self.uniforms.at(0, position / self.run, Purpose::Draft) >= SHARE)];
        Judged { log_prob, accepted: self.uniforms.at(0, position, Purpose::Accept) < rate }
    }

    /// The tokens of a block that begins at a position, and how many are accepted. `goes_on` is asked after each token.
    fn block(
        &self,
        position: usize,
        longest: usize,
        goes_on: impl Fn(&[f32]) -> bool,
    ) -> (Vec<Judged>, usize) {
        let mut drafted = Vec::new();
        let mut log_probs = Vec::new();
        while drafted.len() < longest && (drafted.is_empty() || goes_on(&log_probs)) {
            let token = self.at(position + drafted.len());
            log_probs.push(token.log_prob);
            drafted.push(token);
        }
        let accepted = drafted.iter().take_while(|token| token.accepted).count();
        (drafted, accepted)
    }
}

/// The tokens per plain step's time of a scheduled text.
fn scheduled(tokens: &Tokens, costs: Costs, length: usize) -> f64 {
    let mut scheduler = DraftScheduler::adaptive(16, &Memory::default());
    let (mut written, mut time) = (0, 0.0);
    while written < length {
        let lengths = scheduler.next(&[None], true);
        let goes_on =
            |log_probs: &[f32]| lengths.end.is_none_or(|end| !end.go_on([(0, log_probs)], 1).is_empty());
        let (drafted, accepted) = tokens.block(written, lengths.most_by_model(), goes_on);
        let target = costs.of(drafted.len()) - drafted.len() as f64 * costs.draft;
        let judged = drafted.len().min(accepted + 1);
        let block = Measured {
            rows: 1,
            drafted: drafted.len(),
            accepted,
            judged,
            passes: drafted.len(),
            draft: DraftTime::of(&vec![costs.draft; drafted.len()]),
            target,
            ran: written > 0,
            ..Measured::default()
        };
        time += costs.of(drafted.len());
        written += accepted + 1;
        let drawn = &drafted[..judged];
        scheduler.learn(&Step { block, drawn, looked_up: false, found: false, tokens: accepted + 1 });
    }
    written as f64 / time
}

/// The tokens per plain step's time if drafts of `longest` tokens end before the chance that all are accepted is below `least`.
fn fixed(tokens: &Tokens, costs: Costs, longest: usize, least: f64) -> f64 {
    let rate = |log_prob: f32| tokens.kinds[usize::from(log_prob < tokens.kinds[0].0)].1;
    let goes_on =
        |log_probs: &[f32]| log_probs.iter().map(|log_prob| rate(*log_prob)).product::<f64>() >= least;
    let (mut written, mut time) = (0, 0.0);
    while written < 10_000 {
        let (drafted, accepted) = tokens.block(written, longest, goes_on);
        time += costs.of(drafted.len());
        written += accepted + 1;
    }
    written as f64 / time
}

/// The most tokens per plain step's time with drafts of any one length, and with drafts that end by any one chance.
fn bounds(tokens: &Tokens, costs: Costs) -> [f64; 2] {
    let by_length = (0..=16).map(|longest| fixed(tokens, costs, longest, 0.0));
    let by_chance = (0..20).map(|i| fixed(tokens, costs, 16, f64::from(i) / 20.0));
    [by_length.fold(0.0, f64::max), by_chance.fold(0.0, f64::max)]
}

#[test]
fn drafts_end_where_the_model_is_unsure() {
    for (run, costs) in [1, 6].into_iter().flat_map(|run| COSTS.map(|costs| (run, costs))) {
        let tokens = Tokens { uniforms: Uniforms::new(0), kinds: [SURE, UNSURE], run };
        let ([by_length, by_chance], reached) = (bounds(&tokens, costs), scheduled(&tokens, costs, 8_000));
        assert!(reached >= 0.97 * by_chance, "{costs:?}: {reached} of {by_chance}");
        assert!(reached >= 1.04 * by_length, "{costs:?}: {reached}, by length {by_length}");
    }
}

/// The tokens that a lookup is to draft after blocks of a model that is either sure of all its ten tokens or unsure of the first, if the tokens
/// that are found are accepted at this rate.
fn looked_up(rate: f64) -> usize {
    let mut scheduler = DraftScheduler::adaptive(16, &Memory::default());
    let costs = COSTS[1];
    let step = |drafted: usize, accepted: usize, by_model: bool| {
        let passes = if by_model { drafted } else { 0 };
        let draft = DraftTime::of(&vec![costs.draft; passes]);
        let target = costs.of(drafted) - drafted as f64 * costs.draft;
        let judged = drafted.min(accepted + 1);
        let block = Measured {
            rows: 1,
            drafted,
            accepted,
            judged,
            passes,
            draft,
            target,
            ran: true,
            ..Measured::default()
        };
        Step { block, drawn: &[], looked_up: !by_model && drafted > 0, found: true, tokens: accepted + 1 }
    };
    for _ in 0..40 {
        let mut found = [Tally::default(); Match::KINDS];
        found[Match::Long.index()].add((100.0 * rate) as usize, 100);
        scheduler.judge(&found);
        for (drafted, accepted, by_model) in [(0, 0, true), (8, 8, false), (1, 0, true), (10, 10, true)] {
            scheduler.learn(&step(drafted, accepted, by_model));
        }
    }
    scheduler.next(&[Some(Match::Long)], true).by_lookup[Match::Long.index()]
}

#[test]
fn lookups_replace_a_model_where_they_promise_more_than_it_has_given() {
    // The model gives 12 tokens in two blocks that take 3.12 plain steps, that is 3.8 a step. If all its drafts had one length,
    // it would give 3.4 at its mean rate of 10 of 11, and a lookup gives 3.7 at a rate of 0.77.
    assert_eq!(looked_up(0.77), 0);
    assert!(looked_up(0.85) > 0);
}

#[test]
fn confidence_that_says_nothing_costs_little() {
    let same = SHARE * SURE.1 + (1.0 - SHARE) * UNSURE.1;
    let tokens = Tokens { uniforms: Uniforms::new(1), kinds: [(SURE.0, same), (UNSURE.0, same)], run: 1 };
    for costs in COSTS {
        let ([by_length, _], reached) = (bounds(&tokens, costs), scheduled(&tokens, costs, 8_000));
        assert!(reached >= 0.93 * by_length, "{costs:?}: {reached} of {by_length}");
    }
}

#[test]
fn rates_are_of_the_tokens_of_which_the_draft_was_as_sure() {
    let mut confidence = confidence::Confidence::default();
    // Of each draft, the first two tokens are accepted, the third is rejected, and the fourth is not judged.
    for _ in 0..200 {
        confidence.add(&Judged::all(&[-0.001, -0.2, -5.0, -0.5], 2, 3).collect::<Vec<_>>());
    }
    let [surest, sure, likely, even, unlikely, least] = confidence.rates(0.6);
    assert!(surest > 0.97 && likely > 0.97 && least < 0.03, "{surest}, {likely}, {least}");
    // Nothing is known of the others but the rate of all.
    assert_eq!([sure, even, unlikely], [0.6; 3]);
}

#[test]
fn a_batch_goes_on_if_its_rows_together_make_it_worth_the_time() {
    let end = DraftEnd {
        rates: [0.9, 0.9, 0.9, 0.9, 0.5, 0.1],
        mean: 0.8,
        least: 0.4,
        least_verified: 0.07,
        longest: 16,
    };
    let (sure, unsure, unlikely) = (&[-0.5_f32, -0.5][..], &[-3.0_f32][..], &[-3.0_f32, -0.5][..]);
    let go_on = |drafts: &[(usize, &'static [f32])], rows| end.go_on(drafts.to_vec(), rows);
    assert_eq!((go_on(&[(0, sure)], 1), go_on(&[(0, unsure)], 1)), (vec![0], vec![]));
    // 0.8 · (0.81 + 0.1) is less than twice 0.4, and 0.8 · (0.81 + 0.81 + 0.1) more than three times.
    assert!(go_on(&[(0, sure), (1, unsure)], 2).is_empty());
    assert_eq!(go_on(&[(0, sure), (3, sure), (4, unsure)], 3), [0, 3, 4]);
    // 0.8 · 0.09 is just worth verifying, and 0.8 · 0.01 is not.
    assert_eq!(go_on(&[(0, sure), (3, sure), (4, unlikely)], 3), [0, 3, 4]);
    assert_eq!(go_on(&[(0, sure), (3, sure), (4, &[-3.0, -3.0])], 3), [0, 3]);
    // A row that is no longer written promises nothing.
    assert!(go_on(&[(0, sure)], 2).is_empty());
}
