//! SentencePiece's unigram model.
use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_models::Result;
use tokenizers::NormalizerWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Prepend, Replace, Sequence};

use super::parts::{End, Parts, bad, by_id, of_pieces, scores};
use super::replacements;

const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

/// The most likely pieces. Characters without a piece become tokens for their bytes if the file has all of those, as in
/// SentencePiece, and else the unknown token.
pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    let scores = scores(fields)?;
    let of_kind = |wanted| by_id(fields).filter(move |(_, _, kind)| *kind == wanted);
    let unknown = fields.unknown.or_else(|| of_kind(TokenKind::Unknown).map(|(id, ..)| id).next());
    let unknown = unknown.ok_or_else(|| fields.wrong(UNKNOWN, "is missing"))?;
    // A piece that the user has defined is preferred to all others. The least score of all belongs to normal pieces: the
    // library derives from it that of unknown text.
    let least =
        of_kind(TokenKind::Normal).map(|(id, ..)| scores[id as usize]).reduce(f32::min).unwrap_or(0.0);
    let piece = |(id, text, kind): (u32, &str, TokenKind)| match kind {
        TokenKind::UserDefined => (text.to_owned(), 0.0),
        _ => (text.to_owned(), f64::from(scores[id as usize].max(least))),
    };
    let falls_back = of_kind(TokenKind::Byte).count() == 256;
    let model = Unigram::from(by_id(fields).map(piece).collect(), Some(unknown as usize), falls_back);
    Ok(Parts {
        model: model.map_err(bad(fields))?.into(),
        normalizer: Some(normalizer(fields)?),
        pre_tokenizer: None,
        decoder: of_pieces(fields)?,
        begins: fields.add_bos.unwrap_or(false),
        end: End::of_sequence(fields, true),
    })
}

/// Replaces characters and marks spaces. If spaces are merged, every text begins with one, whatever the file says of
/// that, as in llama.cpp; and a text of spaces never does.
fn normalizer(fields: &TokenizerFields) -> Result<NormalizerWrapper> {
    let replace = |pattern: &str, with: &str| -> Result<NormalizerWrapper> {
        let pattern = ReplacePattern::Regex(pattern.into());
        Ok(Replace::new(pattern, with).map_err(bad(fields))?.into())
    };
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if let Some(replacements) = replacements::read(fields)? {
        // The library takes these two characters for one.
        let of_line = ["\r", "\n"].map(|line| replacements.transform(line));
        if of_line[0].is_some() && of_line[0] == of_line[1] {
            steps.push(replace("\r\n", "\n\n")?);
        }
        steps.push(replacements.into());
    }
    if fields.merge_spaces.unwrap_or(false) {
        steps.extend([replace(r"\A +| +\z", "")?, replace(" +", "▁")?, Prepend::new("▁".into()).into()]);
    } else {
        if fields.add_space.unwrap_or(false) {
            steps.push(replace(r"\A(?= *[^ ])", "▁")?);
        }
        steps.push(replace(" ", "▁")?);
    }
    Ok(Sequence::new(steps).into())
}
