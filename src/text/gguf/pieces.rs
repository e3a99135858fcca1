//! BPE of SentencePiece's pieces: in the order of scores, or of a list of merges.
use std::collections::HashMap;

use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_models::Result;
use tokenizers::NormalizerWrapper;
use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::normalizers::{Prepend, Replace, Sequence};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::parts::{End, Parts, bad, by_id, listed_merges, of_pieces, pairs, scores};

/// In the order of scores, as in Llama 2. A sequence begins with a space.
pub(super) fn scored(fields: &TokenizerFields) -> Result<Parts> {
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if fields.add_space.unwrap_or(true) {
        normalizers.push(Prepend::new("▁".into()).into());
    }
    normalizers.push(Replace::new(" ", "▁").map_err(bad(fields))?.into());
    Ok(Parts {
        model: pairs(fields, scored_merges(fields, scores(fields)?), false, true)?,
        normalizer: Some(Sequence::new(normalizers).into()),
        pre_tokenizer: None,
        decoder: of_pieces(fields)?,
        begins: fields.add_bos.unwrap_or(true),
        end: End::of_sequence(fields, false),
    })
}

/// In the order of a list of merges, as in Gemma 4. Runs of line breaks are words of their own.
pub(super) fn listed(fields: &TokenizerFields) -> Result<Parts> {
    let lines =
        Split::new(SplitPattern::Regex(r"[^\n]+|\n+".into()), Isolated, false).map_err(bad(fields))?;
    // llama.cpp overrules files of this rule.
    let always_begins = !matches!(fields.pre.as_deref(), Some("sarvam-moe"));
    Ok(Parts {
        model: pairs(fields, listed_merges(fields)?, false, true)?,
        normalizer: Some(Replace::new(" ", "▁").map_err(bad(fields))?.into()),
        pre_tokenizer: Some(lines.into()),
        decoder: of_pieces(fields)?,
        begins: always_begins || fields.add_bos.unwrap_or(false),
        end: End::of_sequence(fields, false),
    })
}

/// All pairs of pieces that make a third piece, in descending order of its score. SentencePiece looks for them while it
/// merges; the library needs them in advance.
fn scored_merges(fields: &TokenizerFields, scores: &[f32]) -> Vec<(String, String)> {
    let normal = || by_id(fields).filter(|(_, _, kind)| *kind == TokenKind::Normal);
    let ids: HashMap<_, _> = normal().map(|(id, text, _)| (text, id)).collect();
    let mut merges = Vec::new();
    for (id, piece, _) in normal() {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(l), Some(r)) = (ids.get(left), ids.get(right)) {
                merges.push((scores[id as usize], (id, *l, *r), left, right));
            }
        }
    }
    merges.sort_unstable_by(|(a, x, ..), (b, y, ..)| b.total_cmp(a).then_with(|| x.cmp(y)));
    merges.into_iter().map(|(_, _, left, right)| (left.to_owned(), right.to_owned())).collect()
}
