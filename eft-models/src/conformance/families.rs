//! Checks of every family, without adapters.
use eft_core::conformance::{SourceTest, check_engine, check_joins, check_source, check_traffic};
use eft_core::{Decoding, Sampling, Source, TokenId};
use rayon::prelude::*;

use super::TOLERANCE;
use super::goldens::{Difference, FAMILIES, FORMATS, Golden, blocks_model, engine, model, texts};
use super::{Verdict, require};
use crate::Nn;

/// The families whose rows are checked while others join: full attention, and a sliding window. The others keep their caches
/// in the same way.
const JOINED: [&str; 2] = ["llama", "gemma2"];

/// Checkpoints whose passes consist of the same operations as those of others: the laws of engines and of sources hold for
/// both or for neither, so they are not checked twice.
const ALIKE: [&str; 10] = [
    "llama-untied",
    "llama-partial",
    "llama-dynamic",
    "ministral",
    "mixtral",
    "olmo3",
    "phi4",
    "cohere",
    "starcoder2",
    "gpt-neox-serial",
];

/// A checkpoint with weights in blocks that libraries may multiply as they are, and the tolerance of its logits then: a
/// library may round activations to eight bits.
const BLOCKS: (&str, f32) = ("gpt-oss-mxfp4", 0.1);

/// Checks the logits and greedy texts of every family against those of transformers, the logits of checkpoints in other formats,
/// the laws of engines and of sources, and prompts that take several passes. Returns the largest difference of the logits
/// for each family.
///
/// # Errors
/// Returns the first check that fails, in words.
pub fn check_families<N: Nn>(nn: &N) -> Verdict<Vec<Difference>> {
    let mut differences = Vec::new();
    for (name, base) in FORMATS {
        let golden = Golden::variant(name, base)?;
        differences.push(golden.check_logits(&model(nn, name, &[])?)?);
        if name == BLOCKS.0 {
            let tolerance = if nn.takes_blocks() { BLOCKS.1 } else { TOLERANCE };
            differences.push(golden.check_logits_within(&blocks_model(nn, name)?, tolerance)?);
        }
    }
    let families: Result<Vec<_>, String> = FAMILIES
        .par_iter()
        .map(|family| check_family(nn, family).map_err(|failure| format!("{family}: {failure}")))
        .collect();
    differences.extend(families?);
    check_pieces(nn)?;
    Ok(differences)
}

/// Checks one family. Returns the largest difference of its logits.
fn check_family<N: Nn>(nn: &N, family: &str) -> Verdict<Difference> {
    // The tiny windows are shorter than the texts, and a rollback by more than two tokens forgets what they need.
    let (golden, engine) = (Golden::family(family)?, engine(nn, family, &[])?.free_rollback(2));
    let test = SourceTest::new(golden.prompts.clone()).tolerance(1e-3).steps(20).walks(2);
    if !ALIKE.contains(&family) {
        check_engine(&engine, &test)?;
    }
    let source = Source::new(engine);
    let difference = golden.check_logits(&source)?;
    golden.check_greedy(&source)?;
    if !ALIKE.contains(&family) {
        check_source(&source, &test.clone().walks(1).steps(10))?;
        check_traffic(&source, &test)?;
    }
    if JOINED.contains(&family) {
        check_joins(&source, &test.clone().steps(10))?;
    }
    Ok(difference)
}

/// Prompts that are read in several passes give the same text: seven rows of 100 tokens are more than one pass takes,
/// and the context of the tiny models is 128.
fn check_pieces<N: Nn>(nn: &N) -> Verdict<()> {
    let source = model(nn, "mistral", &[])?;
    let prompts: Vec<Vec<TokenId>> =
        (0..7).map(|row| (0..100).map(|i| (i * 7 + row * 13) % 96).collect()).collect();
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(4);
    let together = texts(source.generate_batch(prompts.clone(), &decoding)?, prompts.len())?;
    for (prompt, text) in prompts.iter().zip(together) {
        let alone = texts(source.generate_batch([prompt], &decoding)?, 1)?;
        require(alone[0] == text, || {
            format!("a long prompt in a batch gives {text:?}, alone {:?}", alone[0])
        })?;
    }
    Ok(())
}
