//! WordPiece.
use eft_backend_candle::gguf::TokenizerFields;
use eft_models::Result;
use tokenizers::PreTokenizerWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;

use super::parts::{End, Parts, bad, of_pieces, text, vocab};

/// The number of characters from which on a word is unknown, as in BERT's tokenizer, with the mark of its beginning.
const LONGEST: usize = 100 + 1;

/// The longest pieces from the left of each word, which begins with `▁`; punctuation marks and Chinese characters are
/// words. Every sequence begins with `[CLS]` and ends with `[SEP]`, which files give as the begin-of-sequence token and
/// the separator.
pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    let unknown = fields.unknown.and_then(|id| text(fields, id));
    let unknown = unknown.ok_or_else(|| fields.wrong("tokenizer.ggml.unknown_token_id", "is missing"))?;
    let model = WordPiece::builder()
        .vocab(vocab(fields))
        .unk_token(unknown.to_owned())
        .continuing_subword_prefix(String::new())
        .max_input_chars_per_word(LONGEST);
    let begin = Metaspace::new('▁', PrependScheme::Always, false);
    let words: [PreTokenizerWrapper; 2] = [BertPreTokenizer.into(), begin.into()];
    let lowercase = fields.lowercase.unwrap_or(true);
    Ok(Parts {
        model: model.build().map_err(bad(fields))?.into(),
        normalizer: Some(BertNormalizer::new(true, true, fields.strip_accents, lowercase).into()),
        pre_tokenizer: Some(Sequence::new(words.into()).into()),
        decoder: of_pieces(fields)?,
        begins: true,
        end: Some(End { field: "tokenizer.ggml.seperator_token_id", id: fields.separator }),
    })
}
