//! Checks of LoRA adapters, also of several in one pass.
use eft_core::conformance::{SourceTest, check_engine, check_joins, check_source};
use eft_core::{Backend, Evaluator, Prompt, Scores, Source};

use super::goldens::{Difference, Golden, engine, model};
use super::{Verdict, require};
use crate::{Adapter, Checkpoint, DecoderEngine, Error, Nn};

/// Adapters of the tiny checkpoints, by the name of their base.
const ADAPTERS: [(&str, &[&str]); 4] = [
    (
        "qwen2",
        &[
            "qwen2-lora",
            "qwen2-rslora",
            "qwen2-patterns-lora",
            "qwen2-layers-rslora",
            "qwen2-dora",
            "qwen2-outer-lora",
            "qwen2-saved-lora",
            "qwen2-tokens-lora",
            "qwen2-sum",
            "qwen2-outer-sum",
        ],
    ),
    ("llama", &["llama-tokens-lora"]),
    ("gpt2", &["gpt2-lora", "gpt2-dora", "gpt2-saved-lora"]),
    ("falcon-new", &["falcon-new-lora", "falcon-new-biased-lora", "falcon-new-sum"]),
];

/// Checks logits under adapters against those of PEFT, and that rows under different adapters, and under none, obey the
/// laws of engines and give the same logits in one pass as alone. Returns the largest difference from PEFT for each
/// adapter.
///
/// # Errors
/// Returns the first check that fails, in words.
pub fn check_adapters<N: Nn>(nn: &N) -> Verdict<Vec<Difference>> {
    let mut differences = Vec::new();
    for (base, names) in ADAPTERS {
        let engine = engine(nn, base, names)?;
        let test = SourceTest::new([vec![3], vec![14, 15, 9]]).tolerance(1e-3).steps(20);
        check_engine(&engine, &test).map_err(|failure| format!("{base} with adapters: {failure}"))?;
        let source = Source::new(engine);
        Golden::family(base)?.check_logits(&source)?;
        for name in names {
            differences.push(Golden::variant(name, base)?.check_logits(&source.adapter(name)?)?);
        }
    }
    check_together(nn)?;
    check_foreign(nn)?;
    Ok(differences)
}

/// Rows under different adapters give the same logits in one pass as alone.
fn check_together<N: Nn>(nn: &N) -> Verdict<()> {
    let names = [
        "qwen2-lora",
        "qwen2-rslora",
        "qwen2-dora",
        "qwen2-outer-lora",
        "qwen2-saved-lora",
        "qwen2-tokens-lora",
        "qwen2-sum",
    ];
    let source = model(nn, "qwen2", &names)?;
    let adapted = names.iter().map(|name| source.adapter(name)).collect::<Result<Vec<_>, _>>()?;
    let roots: Vec<_> = std::iter::once(&source).chain(&adapted).collect();
    let prompts = Golden::family("qwen2")?.prompts;
    let opened: Vec<Prompt> = prompts.iter().map(Prompt::from).collect();
    let pushed = [vec![3, 4], vec![], vec![5]];
    let mut together = Evaluator::open(&roots, &opened)?;
    together.push(&pushed)?;
    let numbers = |scores: &Scores<N::Backend>| nn.backend().download(&scores.last()?, scores.width());
    for (root, alone) in roots.iter().enumerate() {
        let mut alone = Evaluator::open(&[*alone], &opened)?;
        alone.push(&pushed)?;
        let (got, expected) = (numbers(&together.eval_last(root)?)?, numbers(&alone.eval_last(0)?)?);
        let far = got.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() >= 1e-4);
        require(far.is_none(), || {
            format!("{}: logits of one pass and of rows alone differ: {far:?}", roots[root])
        })?;
    }
    let mixed = &source + 0.5 * (&adapted[0] - &source) + 0.5 * (&adapted[4] - &source);
    let test = SourceTest::new(prompts).tolerance(1e-3);
    check_source(&mixed, &test)?;
    Ok(check_joins(&mixed, &test.walks(2).steps(10))?)
}

/// An adapter of another base is refused, with an error that names its first tensor.
fn check_foreign<N: Nn>(nn: &N) -> Verdict<()> {
    let checkpoint = Checkpoint::open(Golden::family("gpt2")?.folder())?;
    let adapter = Adapter::open(Golden::variant("qwen2-lora", "qwen2")?.folder())?;
    let first = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight";
    match DecoderEngine::with_adapters(nn.clone(), &checkpoint, &[adapter], None).map(drop) {
        Err(Error::BadTensor { tensor, .. }) if tensor == first => Ok(()),
        Err(error) => Err(format!("an adapter of another base: {error}").into()),
        Ok(()) => Err("an adapter of another base was accepted".into()),
    }
}
