//! Formulas: what they mean, their faults, and that printed combinations can be read again.
mod errors;
mod round_trip;

use std::sync::LazyLock;

use eft::formula::{parse, parse_with};
use eft::{
    EngineSpec, FnEngine, Host, Message, Prompt, PromptTransform, Renderer, Result, Source, TokenId, Vocab,
    combine,
};

const WIDTH: usize = 7;

/// Renders a text or a conversation as its length, so that a system message makes a difference.
struct Lengths;

impl Renderer for Lengths {
    fn render(&self, _: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        let length = |text: &str| (text.len() % WIDTH) as TokenId;
        Ok(match prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) => vec![length(text)],
            Prompt::Chat(messages) => {
                messages.iter().map(|Message { content, .. }| length(content)).collect()
            }
        })
    }
}

/// A toy model with adapters, whose logits depend on all tokens.
fn model(name: &str, seed: u32) -> Source<Host> {
    let vocab = Vocab::new("letters", (0..WIDTH as u8).map(|i| vec![b'a' + i])).unwrap();
    let spec = EngineSpec::new(name, Host, vocab).adapters(["polite", "tuned-small", "an `odd` one"]);
    let engine = FnEngine::new(spec, move |row| {
        let mut state = seed * 31 + row.adapter.map_or(0, |a| a as u32 + 1);
        for token in &row.tokens {
            state = state.wrapping_mul(747_796_405).wrapping_add(token + 1);
        }
        let logit = |i: u32| (state.wrapping_mul(2_891_336_453).wrapping_add(i * 977) >> 13) % 1000;
        Ok((0..WIDTH as u32).map(|i| logit(i) as f32 / 250.0).collect())
    });
    Source::new(engine).rendered_by(Lengths).unwrap()
}

const NAMES: [&str; 11] =
    ["large", "small", "tuned", "a", "b", "a-b", "Qwen/Qwen2.5-0.5B", "/models/x", "7B", "two words", "`"];

/// Models with names of all kinds.
static MODELS: LazyLock<Vec<(&str, Source<Host>)>> = LazyLock::new(|| {
    let named = |(seed, name): (usize, _)| (name, model("engine", seed as u32).named(name));
    NAMES.into_iter().enumerate().map(named).collect()
});

fn models() -> &'static [(&'static str, Source<Host>)] {
    &MODELS
}

fn read(text: &str) -> eft::formula::Result<Source<Host>> {
    parse(text, models().iter().map(|(name, source)| (*name, source)))
}

fn named(name: &str) -> Source<Host> {
    models().iter().find(|(n, _)| *n == name).unwrap().1.clone()
}

/// The log-probs of every token after a prompt, or the error.
fn log_probs(source: &Source<Host>, prompt: impl Into<Prompt>) -> std::result::Result<Vec<f32>, String> {
    let prompt = prompt.into();
    let pairs = (0..WIDTH as TokenId).map(|token| (prompt.clone(), vec![token]));
    let scores = source.score_batch(pairs).map_err(|e| e.to_string())?;
    Ok(scores.iter().map(|s| s.tokens[0]).collect())
}

#[track_caller]
fn means(text: &str, expected: &Source<Host>) {
    let source = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(source.to_string(), expected.to_string(), "{text}");
    assert_eq!(log_probs(&source, "a prompt"), log_probs(expected, "a prompt"), "{text}");
    assert!(log_probs(&source, "a prompt").is_ok(), "{text}");
}

#[test]
fn operators_mean_those_of_sources() {
    let (large, small, tuned) = (named("large"), named("small"), named("tuned"));
    means("large", &large);
    means("large + 0.7*(tuned - small)", &(&large + 0.7 * (&tuned - &small)));
    means(" large\n+ 0.7·(tuned − small)\n", &(&large + 0.7 * (&tuned - &small)));
    means("large+tuned-small", &(&large + &tuned - &small));
    means("large - (tuned - small)", &(&large - (&tuned - &small)));
    means("-large + 2*tuned", &(-&large + 2.0 * &tuned));
    means("- - -large*-1", &large);
    means("tuned*0.5*3/2", &(0.75 * &tuned));
    means("(1 - 0.25)*large + 1/4*tuned", &(0.75 * &large + 0.25 * &tuned));
    means("2*(0.5*(large - small))", &(&large - &small));
    means("1e-1*large + 2.5E+1*tuned + .5*small", &(0.1 * &large + 25.0 * &tuned + 0.5 * &small));
    means("((((large))))", &large);
}

#[test]
fn names_are_read_as_the_longest_that_fits() {
    let (a, b) = (named("a"), named("b"));
    means("a - b", &(&a - &b));
    means("a-b", &named("a-b"));
    means("a -b", &(&a - &b));
    means("a-b - a-b*0.5", &(named("a-b") - 0.5 * named("a-b")));
    means("Qwen/Qwen2.5-0.5B/2 - a/2", &(0.5 * named("Qwen/Qwen2.5-0.5B") - 0.5 * &a));
    means("/models/x + `/models/x`", &(named("/models/x") + named("/models/x")));
    means("`7B` + `two words` + ```` - `a`", &(named("7B") + named("two words") + named("`") - &a));
}

#[test]
fn rules_mean_those_of_the_library() {
    let (large, small, tuned) = (named("large"), named("small"), named("tuned"));
    let (l, s, t) = (&large, &small, &tuned);
    means("delta(large, tuned, small)", &combine::delta(l, t, s, 1.0).unwrap());
    means("delta(untuned=small, base=large, tuned=tuned, α=0.5)", &combine::delta(l, t, s, 0.5).unwrap());
    means("amplified_delta(large, tuned, small, 1.5)", &combine::amplified_delta(l, t, s, 1.5).unwrap());
    means(
        "balanced_delta(large, tuned, small, beta=2)",
        &combine::balanced_delta(l, t, s, 1.0, 2.0).unwrap(),
    );
    means("nucleus_delta(tuned, large, small, p=0.9)", &combine::nucleus_delta(l, t, s, 1.0, 0.9).unwrap());
    means("nucleus_delta(tuned, large, small, 2, 0.5)", &combine::nucleus_delta(l, t, s, 2.0, 0.5).unwrap());
    means("realign(small, tuned, λ=1.5)", &combine::realign(s, t, 1.5).unwrap());
    means("plausibility(large - small, large, 0.1)", &combine::plausibility(&(l - s), l, 0.1).unwrap());
    means("gate(large, unsure=tuned, gamma=0.4)", &combine::gate(l, t, 0.4).unwrap());
    means("arithmetic(large + 3*tuned)", &combine::arithmetic(&(l + 3.0 * t)).unwrap());
    means("union(large, tuned, small)", &combine::union([l, t, s]).unwrap());
    means("intersection(large, tuned)", &combine::intersection([l, t]).unwrap());
    means("mixture(0.5: large, 1/2: tuned)", &combine::mixture([(0.5, l), (0.5, t)]).unwrap());
    means("weighted(0.7: large, -0.3: tuned)", &combine::weighted([(0.7, l), (-0.3, t)]).unwrap());
    means(
        "product_of_experts(1: large, 3: tuned)",
        &combine::product_of_experts([(1.0, l), (3.0, t)]).unwrap(),
    );
    means("power_mean(0.5: large, 0.5: tuned, 1)", &combine::power_mean([(0.5, l), (0.5, t)], 1.0).unwrap());
    means(
        "multi_objective(large, 0.7: tuned, small, 0.3: a, small)",
        &combine::multi_objective(l, [(0.7, t, s), (0.3, &named("a"), s)]).unwrap(),
    );
    means(
        "mixture(0.5: large + tuned - small, 0.5: union(large, 2*tuned))",
        &combine::mixture([(0.5, &(l + t - s)), (0.5, &combine::union([l, &(2.0 * t)]).unwrap())]).unwrap(),
    );
}

#[test]
fn prompts_and_adapters_mean_those_of_sources() {
    let large = named("large");
    let system = PromptTransform::system("Say \"yes\"\nor {no} \\ ü");
    means(r#"under("Say \"yes\"\nor {no} \\ \u{fc}", large)"#, &large.under(system));
    means(r#"under(preamble="So: ", large)"#, &large.under(PromptTransform::preamble("So: ")));
    means(r#"under(prompt="Begin", large)"#, &large.under(PromptTransform::fixed("Begin")));
    means("under(prompt=[1, 2, 3], large)", &large.under(PromptTransform::fixed([1, 2, 3])));
    means(
        r#"guidance(large, "Be brief.", gamma=0.5)"#,
        &combine::guidance(&large, PromptTransform::system("Be brief."), 0.5).unwrap(),
    );
    let source = read("under(prefix=[1, 2], large) - 0.5*under(prefix=[], small)").unwrap();
    let expected = large.under(PromptTransform::prefix([1, 2])) - 0.5 * named("small");
    assert_eq!(log_probs(&source, [4]), log_probs(&expected, [4]));

    let polite = large.adapter("polite").unwrap();
    assert_eq!(polite.to_string(), "large[polite]");
    means("large[polite]", &polite);
    means(r#"adapter("polite", large)"#, &polite);
    means("2*large[tuned-small] - large[ polite ]", &(2.0 * large.adapter("tuned-small").unwrap() - &polite));
    means("`two words`[`an ``odd`` one`]", &named("two words").adapter("an `odd` one").unwrap());
    means("(large)[polite][tuned-small]", &large.adapter("tuned-small").unwrap());
    // The adapter is that of the model under the prompt.
    let hinted = large.under(PromptTransform::system("Hi")).adapter("polite").unwrap();
    means(r#"under("Hi", large)[polite]"#, &hinted);
    means(r#"under("Hi", large[polite])"#, &hinted);
}

#[test]
fn models_have_their_names_in_the_formula() {
    let engine = model("engine", 0);
    let source = parse("base + 0.5*base[polite]", [("base", &engine)]).unwrap();
    assert_eq!(source.to_string(), "base + 0.5·base[polite]");
    // The last model of a name counts.
    let source = parse("x", [("x", &engine), ("x", &model("other", 1))]).unwrap();
    assert_eq!(log_probs(&source, [1]), log_probs(&model("other", 1), [1]));
}

#[test]
fn long_sums_are_read() {
    let text = format!("large{}", " + 0.5*tuned - 0.5*small".repeat(20_000));
    let source = read(&text).unwrap();
    source.check().unwrap();
    let again = read(&format!("{source:#}")).unwrap();
    assert_eq!(format!("{again:#}"), format!("{source:#}"));
    assert!(source.to_string().ends_with(" + …"));
    let signs = format!("{}large", "-".repeat(100_000));
    assert_eq!(read(&signs).unwrap().to_string(), "large");
    assert_eq!(read(&format!("{}large", "1*".repeat(100_000))).unwrap().to_string(), "large");
}
