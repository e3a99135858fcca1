//! Checks of rows that take tokens from the caches of other rows.
use eft_core::{Backend, EngineRow, RowFeed, Session, TokenId};

use super::goldens::Golden;
use super::{Verdict, require};
use crate::{Checkpoint, DecoderEngine, Nn};

/// Checkpoints whose layers keep all tokens, also with rotary angles that depend on the length, and some with sliding windows of
/// 6 tokens.
const FAMILIES: [&str; 4] = ["llama", "llama-dynamic", "mistral", "gemma2"];
/// With the second of these, layers with windows keep all tokens of the texts, so that their rows share them, too.
const FREE_ROLLBACKS: [usize; 2] = [8, 120];

/// Checks rows that begin alike, and rows that part and then go on as another one does: their logits are those of the same texts, read by
/// themselves.
///
/// # Errors
/// The first check that fails, in words.
pub fn check_sharing<N: Nn>(nn: &N) -> Verdict<()> {
    for (family, free) in FAMILIES.into_iter().flat_map(|family| FREE_ROLLBACKS.map(|free| (family, free))) {
        check(nn, family, free).map_err(|e| format!("{family}, {free} tokens of free rollback: {e}"))?;
    }
    Ok(())
}

fn check<N: Nn>(nn: &N, family: &str, free_rollback: usize) -> Verdict<()> {
    let checkpoint = Checkpoint::open(Golden::family(family)?.folder())?;
    let engine = DecoderEngine::load(nn.clone(), &checkpoint, None)?.free_rollback(free_rollback);
    let open = |texts: &[Vec<TokenId>]| {
        let rows: Vec<_> =
            texts.iter().map(|text| EngineRow { adapter: None, tokens: text.clone() }).collect();
        engine.session(&rows)
    };
    let last = |scores: &eft_core::Scores<N::Backend>| nn.backend().download(&scores.last()?, scores.width());
    let same = |what: &str, got: Vec<f32>, text: &[TokenId]| {
        let expected = last(&open(&[text.to_vec()])?.1)?;
        let far = got.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() > 1e-3 || a.is_nan());
        require(far.is_none() && got.len() == expected.len(), || format!("{what}: {far:?}"))
    };
    // Two rows that are the same, two that are beginnings of these, others that go on in another way, and one that parts early.
    let long: Vec<TokenId> = (0..100).map(|i| (i * 7 + i / 9) % 90 + 5).collect();
    let ends: [(usize, &[TokenId]); 6] =
        [(90, &[1, 2]), (90, &[1, 2]), (80, &[]), (90, &[3]), (90, &[]), (20, &[4])];
    let texts = ends.map(|(length, end)| [&long[..length], end].concat());
    let (_, scores) = open(&texts)?;
    for (row, text) in texts.iter().enumerate() {
        let got = nn.backend().download(&scores.positions(row), scores.width())?;
        same(&format!("row {row} of some that begin alike"), got, text)?;
    }

    let prompt: Vec<TokenId> = vec![5, 17, 3, 60];
    let mut texts = vec![prompt.clone(), prompt.clone(), vec![5, 17, 9]];
    let (mut session, _) = open(&texts)?;
    // One row goes ahead; another one follows by fewer, as many and more tokens, of which only the last ones are scored. The
    // third parts from both early.
    let steps: [(usize, [&[TokenId]; 3]); 6] = [
        (0, [&[7, 8, 9], &[], &[7]]),
        (0, [&[10], &[7, 8, 11], &[7, 8]]),
        (2, [&[12], &[9, 10, 13, 14], &[]]),
        (1, [&[40, 41, 42, 43], &[1], &[2]]),
        (1, [&[], &[40, 41, 42], &[60, 7, 8]]),
        (4, [&[1], &[2], &[7, 8, 9, 10, 12, 40]]),
    ];
    for (step, (drop, feeds)) in steps.into_iter().enumerate() {
        // The second row goes back.
        session.rollback(&[0, drop, 0])?;
        let left = texts[1].len() - drop;
        texts[1].truncate(left);
        let scores = session.extend(&feeds.map(|tokens| RowFeed::last(tokens.to_vec())))?;
        texts.iter_mut().zip(feeds).for_each(|(text, tokens)| text.extend(tokens));
        for (row, text) in texts.iter().enumerate().filter(|(row, _)| !feeds[*row].is_empty()) {
            let got = nn.backend().download(&scores.positions(row), scores.width())?;
            same(&format!("row {row} after step {step}"), got, text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::ReferenceNn;

    #[test]
    fn rows_take_tokens_from_each_other() {
        check_sharing(&ReferenceNn).unwrap();
    }
}
