//! Bytes of models with tokenizers whose canonical sequences are not known, compared with sums over all token sequences.
use std::sync::Arc;

use eft::bytes::{self, ByteSettings, END};
use eft::decode::Detokenizer;
use eft::text::{TextRenderer, Tokenizer};
use eft::{Decoding, Host, Prompt, Sampling, Source, TokenId, Vocab, from_fn};
use serde_json::{Value, json};

use crate::here;

/// A tokenizer, the bytes of its tokens as this test reads them from the file, and its tokens that have no text.
struct Case {
    name: &'static str,
    tokenizer: Arc<Tokenizer>,
    bytes: Vec<Vec<u8>>,
    end: TokenId,
}

/// The beginning of a text, before which a model has read one token.
const BEGIN: &str = "<s>";
const SPECIAL: [&str; 3] = ["<unk>", BEGIN, "</s>"];

/// Words of the toy tokenizers, without the space before them.
const WORDS: [&str; 10] = ["the", "there", "he", "her", "on", "once", "a", "an", "and", "caf"];

fn specials() -> Value {
    let special = |(id, token): (usize, &&str)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    SPECIAL.iter().enumerate().map(special).collect()
}

fn begun() -> Value {
    let begin = json!({"SpecialToken": {"id": BEGIN, "type_id": 0}});
    let single = json!([begin, {"Sequence": {"id": "A", "type_id": 0}}]);
    json!({"type": "TemplateProcessing", "single": single, "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
           "special_tokens": {BEGIN: {"id": BEGIN, "ids": [1], "tokens": [BEGIN]}}})
}

fn tokenizer(model: Value, parts: Value) -> Arc<Tokenizer> {
    let mut file = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": specials(),
                          "normalizer": null, "pre_tokenizer": null, "post_processor": begun(), "model": model});
    file.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    let inner: ::tokenizers::Tokenizer = file.to_string().parse().unwrap();
    Arc::new(Tokenizer::new(inner, "toy").unwrap())
}

/// A Unigram tokenizer as SentencePiece makes them, with tokens for all bytes.
fn unigram() -> Case {
    let mut vocab: Vec<(String, f64)> = SPECIAL.iter().map(|token| ((*token).to_owned(), 0.0)).collect();
    vocab.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), -20.0)));
    vocab.extend("▁abcdefghijklmnopqrstuvwxyz.,".chars().map(|letter| (letter.to_string(), -6.0)));
    vocab.extend(WORDS.iter().map(|word| (format!("▁{word}"), -5.0 - 0.1 * word.len() as f64)));
    vocab.extend(["er", "re", "nd", "the"].iter().map(|part| ((*part).to_owned(), -5.5)));
    let bytes = vocab.iter().map(|(token, _)| of_pieces(token)).collect();
    let model = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": true});
    let parts = json!({
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "decoder": pieces_decoder(),
    });
    Case { name: "Unigram", tokenizer: tokenizer(model, parts), bytes, end: 2 }
}

/// SentencePiece's BPE with byte fallback, as in Llama 2.
fn pieces() -> Case {
    let tokenizer = Arc::new(Tokenizer::open(here("pieces/tokenizer.json")).unwrap());
    let count = tokenizer.inner().get_vocab_size(true) as TokenId;
    let bytes = (0..count).map(|id| of_pieces(&tokenizer.inner().id_to_token(id).unwrap())).collect();
    Case { name: "BPE of pieces", tokenizer, bytes, end: 2 }
}

/// WordPiece, whose tokens are lower-case words and parts of words.
fn words() -> Case {
    let mut tokens: Vec<String> = SPECIAL.iter().map(|token| (*token).to_owned()).collect();
    tokens
        .extend(('a'..='z').chain(['.', ',']).flat_map(|letter| [letter.to_string(), format!("##{letter}")]));
    tokens.extend(WORDS.iter().filter(|word| word.len() > 1).map(|word| (*word).to_owned()));
    tokens.extend(["##er", "##re", "##nd", "##é"].map(str::to_owned));
    let of_word = |token: &String| match token.strip_prefix("##") {
        Some(part) => part.as_bytes().to_vec(),
        None => format!(" {token}").into_bytes(),
    };
    let bytes = tokens.iter().map(of_word).collect();
    let vocab: serde_json::Map<_, _> =
        (0..).zip(&tokens).map(|(id, token): (usize, _)| (token.clone(), id.into())).collect();
    let model = json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": vocab});
    let parts = json!({
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
    });
    Case { name: "WordPiece", tokenizer: tokenizer(model, parts), bytes, end: 2 }
}

/// Byte-level BPE with a regular expression that is not known here.
fn unknown_expression() -> Case {
    let json = std::fs::read_to_string(here("byte-level/tokenizer.json")).unwrap();
    let mut file: Value = serde_json::from_str(&json).unwrap();
    file["pre_tokenizer"]["pretokenizers"][0]["pattern"] = json!({"Regex": r"\s?\S+|\s+"});
    let inner: ::tokenizers::Tokenizer = file.to_string().parse().unwrap();
    let tokenizer = Arc::new(Tokenizer::new(inner, "byte-level").unwrap());
    // This test does not spell byte-level tokens by itself: `tests/text/tokenizers.rs` does.
    let vocab = tokenizer.vocab("byte-level", 640).unwrap();
    let bytes = (0..vocab.real() as TokenId).map(|id| vocab.bytes(id).unwrap().to_vec()).collect();
    let end = tokenizer.id("<|end|>").unwrap();
    Case { name: "unknown expression", tokenizer, bytes, end }
}

fn of_pieces(token: &str) -> Vec<u8> {
    match token.strip_prefix("<0x") {
        Some(digits) => vec![u8::from_str_radix(&digits[..2], 16).unwrap()],
        None => token.replace('▁', " ").into_bytes(),
    }
}

fn pieces_decoder() -> Value {
    json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]})
}

fn cases() -> [Case; 4] {
    [unigram(), pieces(), words(), unknown_expression()]
}

impl Case {
    fn vocab(&self) -> Vocab {
        let vocab = self.tokenizer.vocab(self.name, self.bytes.len()).unwrap();
        vocab.with_eos([self.end]).unwrap()
    }

    /// A model of this tokenizer, whose probabilities depend on the last tokens.
    fn model(&self) -> Source<Host> {
        let width = self.bytes.len();
        let model = from_fn(Host, self.vocab(), move |tokens| Ok(logits(tokens, width)));
        model.rendered_by(TextRenderer::new(self.tokenizer.clone())).unwrap()
    }

    /// The probability that a text begins with these bytes after some tokens, or that it is these bytes.
    fn probability(&self, vocab: &Vocab, before: &[TokenId], rest: &[u8], whole: bool) -> f64 {
        if rest.is_empty() && !whole {
            return 1.0;
        }
        let row: Vec<_> =
            logits(before, self.bytes.len()).iter().map(|logit| f64::from(*logit).exp()).collect();
        let counts = |id: &usize| !vocab.is_special(*id as TokenId) || *id == self.end as usize;
        let total: f64 = (0..row.len()).filter(counts).map(|id| row[id]).sum();
        if rest.is_empty() {
            return row[self.end as usize] / total;
        }
        let mut sum = 0.0;
        for (id, bytes) in self.bytes.iter().enumerate().filter(|(id, _)| !vocab.is_special(*id as TokenId)) {
            if bytes.is_empty() {
                continue;
            }
            if let Some(rest) = rest.strip_prefix(&bytes[..]) {
                let longer = [before, &[id as TokenId]].concat();
                sum += row[id] / total * self.probability(vocab, &longer, rest, whole);
            } else if !whole && bytes.starts_with(rest) {
                sum += row[id] / total;
            }
        }
        sum
    }
}

/// Logits that look random, but depend on the last three tokens only.
fn logits(tokens: &[TokenId], width: usize) -> Vec<f32> {
    let last = tokens.iter().rev().take(3);
    let seed = last.fold(17u64, |seed, token| (seed ^ u64::from(*token)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = |id: u64| {
        let mixed = (seed ^ id.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 31)
    };
    (0..width as u64).map(|id| (mixed(id) >> 40) as f32 / (1 << 23) as f32).collect()
}

fn all() -> ByteSettings {
    ByteSettings::default().covering(0.0)
}

#[test]
fn without_the_setting_they_are_refused_and_it_is_named() {
    for case in cases() {
        let refused = case.model().bytes().unwrap_err().to_string();
        assert!(refused.contains("ByteSettings::covering"), "{}: {refused}", case.name);
    }
}

#[test]
fn probabilities_are_sums_over_all_token_sequences() {
    for case in cases() {
        let (vocab, bytes) = (case.vocab(), case.model().bytes_with(all()).unwrap());
        let before = case.tokenizer.encode("", true).unwrap();
        assert_eq!(before.len(), 1, "{}: {before:?}", case.name);
        for text in [" the", " on, a", "\u{e9}", " caf\u{e9}"] {
            let symbols = [bytes::tokens(text), vec![END]].concat();
            let scored = bytes.score("", &symbols).unwrap();
            let begins = |length: usize| case.probability(&vocab, &before, &text.as_bytes()[..length], false);
            for (length, got) in scored.tokens[..text.len()].iter().enumerate() {
                let expected = (begins(length + 1) / begins(length)).ln();
                let got = f64::from(*got);
                assert!(
                    (got - expected).abs() < 1e-5,
                    "{}, {text:?} at {length}: {got}, {expected}",
                    case.name
                );
            }
            let expected = case.probability(&vocab, &before, text.as_bytes(), true).ln();
            assert!(
                (scored.total - expected).abs() < 1e-4,
                "{}, {text:?}: {}, {expected}",
                case.name,
                scored.total
            );
        }
    }
}

#[test]
fn a_prompt_is_written_by_the_tokenizer_and_goes_on_within_a_word() {
    for case in cases() {
        let (vocab, model) = (case.vocab(), case.model());
        let bytes = model.bytes_with(all()).unwrap();
        for prompt in ["on the", "the, on", "on th", "a and"] {
            let ids = model.render(prompt).unwrap();
            let rest = |kept: usize| {
                ids[kept..].iter().flat_map(|id| case.bytes[*id as usize].clone()).collect::<Vec<_>>()
            };
            let longer = |rest: &[u8]| {
                case.bytes.iter().any(|bytes| bytes.starts_with(rest) && bytes.len() > rest.len())
            };
            let kept = (1..ids.len()).find(|kept| longer(&rest(*kept))).unwrap_or(ids.len());
            let begins = |more: &str| {
                case.probability(&vocab, &ids[..kept], &[&rest(kept)[..], more.as_bytes()].concat(), false)
            };
            for more in ["e", "re", " a"] {
                let got = bytes.score(prompt, &bytes::tokens(more)).unwrap().total;
                let expected = (begins(more) / begins("")).ln();
                assert!(
                    (got - expected).abs() < 1e-4,
                    "{}, {prompt:?}, {more:?}: {got}, {expected}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn texts_are_those_of_tokens() {
    for case in cases() {
        let vocab = Arc::new(case.vocab());
        for text in ["on the once, a her", "there", "a caf\u{e9}."] {
            let ids = case.tokenizer.encode(text, false).unwrap();
            let spelled: Vec<u8> = ids.iter().flat_map(|id| case.bytes[*id as usize].clone()).collect();
            let mut detokenizer = Detokenizer::new(vocab.clone());
            let written: String =
                ids.iter().map(|id| detokenizer.push(*id)).collect::<String>() + &detokenizer.finish();
            assert_eq!(written.as_bytes(), spelled, "{}", case.name);
            let decoded = case.tokenizer.inner().decode(&ids, true).unwrap();
            assert_eq!(written.trim_start(), decoded, "{}", case.name);
        }
        // What is generated over bytes is text that the model's tokens spell.
        let bytes = case.model().bytes_with(ByteSettings::default().covering(0.1)).unwrap();
        let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(12);
        let text: String = bytes
            .generate(Prompt::from("on the"), decoding)
            .unwrap()
            .text()
            .unwrap()
            .map(|p| p.unwrap().text)
            .collect();
        assert!(!text.is_empty(), "{}", case.name);
    }
}
