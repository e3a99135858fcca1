//! The rules of combination, by name.
use eft_core::{Backend, Source, combine};

use super::Result;
use super::arguments::Arguments;

/// The name of each rule, and how it is written.
pub(super) const RULES: &[(&str, &str)] = &[
    ("adapter", r#"adapter("name", model)"#),
    ("amplified_delta", "amplified_delta(base, tuned, untuned, beta=1)"),
    ("arithmetic", "arithmetic(formula)"),
    ("balanced_delta", "balanced_delta(base, tuned, untuned, alpha=1, beta=1)"),
    ("delta", "delta(base, tuned, untuned, alpha=1)"),
    ("gate", "gate(sure, unsure, gamma=0.4)"),
    ("guidance", r#"guidance(model, "system message", gamma=0.5)"#),
    ("intersection", "intersection(model, model)"),
    ("mixture", "mixture(0.5: model, 0.5: model)"),
    ("multi_objective", "multi_objective(base, 0.7: tuned, untuned, 0.3: tuned, untuned)"),
    ("nucleus_delta", "nucleus_delta(tuned, base, untuned, beta=1, p=0.9)"),
    ("plausibility", "plausibility(source, expert, alpha=0.1)"),
    ("power_mean", "power_mean(0.5: model, 0.5: model, alpha=1)"),
    ("product_of_experts", "product_of_experts(1: model, 3: model)"),
    ("realign", "realign(reference, aligned, lambda=1.5)"),
    ("under", r#"under("system message", model)"#),
    ("union", "union(model, model)"),
    ("weighted", "weighted(0.7: model, 0.3: model)"),
];

/// How a rule is written; `None` if there is no such rule.
pub(super) fn usage(name: &str) -> Option<&'static str> {
    RULES.iter().find(|(rule, _)| *rule == name).map(|(_, usage)| *usage)
}

/// Makes a source of the rule of this name, one of [`RULES`].
pub(super) fn build<B: Backend>(name: &str, args: &mut Arguments<'_, B>) -> Result<Source<B>> {
    let built = match name {
        "adapter" => {
            let (adapter, model) = (args.text("adapter")?, args.source("model")?);
            model.adapter(&adapter)
        }
        "under" => {
            let transform = args.transform()?;
            Ok(args.source("model")?.under(transform))
        }
        "guidance" => {
            let (model, transform) = (args.source("model")?, args.transform()?);
            combine::guidance(&model, transform, args.number("gamma", None)?)
        }
        "delta" => {
            let [base, tuned, untuned] = args.sources(["base", "tuned", "untuned"])?;
            combine::delta(&base, &tuned, &untuned, args.number("alpha", Some(1.0))?)
        }
        "amplified_delta" => {
            let [base, tuned, untuned] = args.sources(["base", "tuned", "untuned"])?;
            combine::amplified_delta(&base, &tuned, &untuned, args.number("beta", Some(1.0))?)
        }
        "balanced_delta" => {
            let [base, tuned, untuned] = args.sources(["base", "tuned", "untuned"])?;
            let (alpha, beta) = (args.number("alpha", Some(1.0))?, args.number("beta", Some(1.0))?);
            combine::balanced_delta(&base, &tuned, &untuned, alpha, beta)
        }
        "nucleus_delta" => {
            let [tuned, base, untuned] = args.sources(["tuned", "base", "untuned"])?;
            let (beta, p) = (args.number("beta", Some(1.0))?, args.number("p", None)?);
            combine::nucleus_delta(&base, &tuned, &untuned, beta, p)
        }
        "multi_objective" => {
            let (base, pairs) = (args.source("base")?, args.weighted_pairs()?);
            combine::multi_objective(&base, pairs.iter().map(|(lambda, t, u)| (*lambda, t, u)))
        }
        "realign" => {
            let [reference, aligned] = args.sources(["reference", "aligned"])?;
            combine::realign(&reference, &aligned, args.number("lambda", None)?)
        }
        "plausibility" => {
            let [source, expert] = args.sources(["source", "expert"])?;
            combine::plausibility(&source, &expert, args.number("alpha", None)?)
        }
        "gate" => {
            let [sure, unsure] = args.sources(["sure", "unsure"])?;
            combine::gate(&sure, &unsure, args.number("gamma", None)?)
        }
        "arithmetic" => combine::arithmetic(&args.source("formula")?),
        "union" => combine::union(&args.all()?),
        "intersection" => combine::intersection(&args.all()?),
        "power_mean" => {
            let terms = args.weighted()?;
            combine::power_mean(pairs(&terms), args.number("alpha", None)?)
        }
        "mixture" => combine::mixture(pairs(&args.weighted()?)),
        "product_of_experts" => combine::product_of_experts(pairs(&args.weighted()?)),
        // The names are those of the list above.
        _ => combine::weighted(pairs(&args.weighted()?)),
    };
    args.end()?;
    args.built(built)
}

fn pairs<B: Backend>(terms: &[(f32, Source<B>)]) -> impl Iterator<Item = (f32, &Source<B>)> {
    terms.iter().map(|(weight, source)| (*weight, source))
}
