//! SentencePiece BPE.
use std::collections::HashMap;

use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_models::{Error, Result};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::{DecoderWrapper, NormalizerWrapper};

use super::parts::{Parts, by_id};

pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    if fields.scores.is_empty() && !fields.tokens.is_empty() {
        return Err(fields.wrong("tokenizer.ggml.scores", "is missing"));
    }
    let bad = |e: tokenizers::Error| Error::BadFile { file: fields.file().into(), reason: e.to_string() };
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if fields.add_space.unwrap_or(true) {
        normalizers.push(Prepend::new("▁".into()).into());
    }
    normalizers.push(Replace::new(" ", "▁").map_err(bad)?.into());
    let spaces = Replace::new("▁", " ").map_err(bad)?;
    let decoders: [DecoderWrapper; 3] = [spaces.into(), ByteFallback::new().into(), Fuse::new().into()];
    Ok(Parts {
        merges: merges(fields),
        ignores_merges: false,
        falls_back: true,
        begins: true,
        normalizer: Some(Normalizers::new(normalizers).into()),
        pre_tokenizer: None,
        decoder: Decoders::new(decoders.into()).into(),
    })
}

/// All pairs of pieces that make a third piece, in descending order of its score. SentencePiece looks for them while it
/// merges; the library needs them in advance.
fn merges(fields: &TokenizerFields) -> Vec<(String, String)> {
    let normal = || by_id(fields).filter(|(_, _, kind)| *kind == TokenKind::Normal);
    let ids: HashMap<_, _> = normal().map(|(id, text, _)| (text.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (id, piece, _) in normal() {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(l), Some(r)) = (ids.get(left), ids.get(right)) {
                merges.push((fields.scores[id as usize], (id, *l, *r), left, right));
            }
        }
    }
    merges.sort_unstable_by(|(a, x, ..), (b, y, ..)| b.total_cmp(a).then_with(|| x.cmp(y)));
    merges.into_iter().map(|(_, _, left, right)| (left.to_owned(), right.to_owned())).collect()
}
