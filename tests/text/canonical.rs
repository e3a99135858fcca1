//! Which token sequences tokenizers make of texts, compared with the library `tokenizers` itself.
use std::path::Path;
use std::sync::{Arc, LazyLock};

use eft::canonical::Canonical;
use eft::text::{TextRenderer, Tokenizer};
use eft::{Prompt, Renderer, TokenId, Vocab};
use proptest::prelude::*;

use crate::here;

/// Stretches of text that expressions treat in different ways.
const STRETCHES: [&str; 42] = [
    "a", "the", "x", "S", "Re", "'", "'s", "'re", "'r", "'LL", "'v", "'l", "'t", "ll", "e", " ", "  ", "   ",
    "\n", "\n\n", " \n", "\r\n", "\t", "\t\t", "1", "12", "2026", " 7", "½", "Ⅷ", ".", "...", "!?", "(",
    "((", "é", "Ж", "中文", "😀", "\u{a0}", "ſ", "\u{301}",
];

/// Tokenizers with each of the expressions that are known.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = vec![Known::of("GPT-2", Tokenizer::open(zoo()).unwrap())];
    let llama = Known::of("Llama 3", Tokenizer::open(here("byte-level/tokenizer.json")).unwrap());
    let known = known.into_iter().chain([llama]);
    #[cfg(feature = "candle")]
    let known = known.chain(["gpt-2", "llama-bpe", "qwen2", "smollm"].map(|name| {
        let file = eft::candle::Gguf::open(here(&format!("gguf/{name}.gguf"))).unwrap();
        Known::of(name, eft::text::gguf::tokenizer(file.tokenizer().unwrap()).unwrap())
    }));
    known.collect()
});

fn zoo() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/base-large/tokenizer.json")
}

struct Known {
    name: &'static str,
    tokenizer: Tokenizer,
    vocab: Vocab,
    canonical: Arc<dyn Canonical>,
}

impl Known {
    fn of(name: &'static str, tokenizer: Tokenizer) -> Self {
        let vocab = tokenizer.vocab(name, 1 << 20).unwrap();
        let canonical = tokenizer.canonical().unwrap();
        Self { name, tokenizer, vocab, canonical }
    }

    /// All token sequences of a text that are accepted; at most three.
    fn accepted(&self, text: &[u8]) -> Vec<Vec<TokenId>> {
        let tokens: Vec<_> =
            (0..self.vocab.real() as TokenId).filter(|id| self.canonical.is_text(*id)).collect();
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), self.canonical.start(), text)];
        while let Some((ids, state, rest)) = open.pop() {
            if rest.is_empty() {
                found.extend(self.canonical.may_end(state).then_some(ids));
                if found.len() == 3 {
                    break;
                }
                continue;
            }
            for token in &tokens {
                let Some(rest) = rest.strip_prefix(self.vocab.bytes(*token).unwrap()) else { continue };
                if let Some(state) = self.canonical.after(state, *token) {
                    open.push(([&ids[..], &[*token]].concat(), state, rest));
                }
            }
        }
        found
    }

    /// Whether some text that begins with these tokens' bytes is encoded so that it begins with these tokens.
    fn begins_a_text(&self, ids: &[TokenId]) -> bool {
        let bytes = self.vocab.decode(ids);
        let Ok(text) = std::str::from_utf8(&bytes) else { return true };
        if self.vocab.decode(&self.tokenizer.encode(text, false).unwrap()) != bytes {
            // A tokenizer that composes characters makes tokens of another text.
            return true;
        }
        let more = [
            "", " a", "a", "e", "l", "1", ".", "\n", " \n", "  ", "é", "\t", "中", "'", "q", "Q", " é",
            "\u{301}",
        ];
        let starts =
            |more: &&str| self.tokenizer.encode(&format!("{text}{more}"), false).unwrap().starts_with(ids);
        more.iter().any(starts)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_only_sequence_accepted_is_what_the_tokenizer_makes(
        stretches in proptest::collection::vec(proptest::sample::select(&STRETCHES[..]), 1..7),
    ) {
        let text = stretches.concat();
        for known in &*KNOWN {
            let ids = known.tokenizer.encode(&text, false).unwrap();
            // A tokenizer that composes characters makes tokens of another text.
            if known.vocab.decode(&ids) == text.as_bytes() {
                prop_assert_eq!(known.accepted(text.as_bytes()), [ids], "{}: {:?}", known.name, text);
            }
        }
    }

    #[test]
    fn all_answers_about_the_next_token_agree(
        stretches in proptest::collection::vec(proptest::sample::select(&STRETCHES[..]), 1..5),
    ) {
        let text = stretches.concat();
        for known in &*KNOWN {
            let tokens = 0..known.vocab.real() as TokenId;
            let mut state = known.canonical.start();
            for id in known.tokenizer.encode(&text, false).unwrap() {
                let after: Vec<_> =
                    tokens.clone().map(|token| known.canonical.after(state, token).is_some()).collect();
                prop_assert_eq!(known.canonical.allowed(state, after.len()), &*after, "{}", known.name);
                for (token, after) in tokens.clone().zip(after) {
                    prop_assert_eq!(known.canonical.allows_any(state, &[token]), after, "{}: {}", known.name, token);
                }
                let Some(next) = known.canonical.after(state, id) else { break };
                state = next;
            }
        }
    }

    #[test]
    fn what_is_accepted_can_become_a_text(choices in proptest::collection::vec(0usize..1 << 20, 1..6)) {
        for known in &*KNOWN {
            let tokens: Vec<_> = (0..known.vocab.real() as TokenId).collect();
            let (mut ids, mut state) = (Vec::new(), known.canonical.start());
            for choice in &choices {
                let allowed = known.canonical.allowed(state, tokens.len());
                let allowed: Vec<_> = tokens.iter().copied().filter(|id| allowed[*id as usize]).collect();
                prop_assert!(!allowed.is_empty(), "{}: nothing can follow {:?}", known.name, ids);
                let token = allowed[choice % allowed.len()];
                ids.push(token);
                state = known.canonical.after(state, token).unwrap();
            }
            let bytes = known.vocab.decode(&ids);
            prop_assert!(known.begins_a_text(&ids), "{}: {:?} {:?}", known.name, ids, String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn other_tokenizers_are_refused_with_the_reason() {
    let pieces = Tokenizer::open(here("pieces/tokenizer.json")).unwrap();
    assert!(pieces.canonical().map(drop).unwrap_err().contains("normalizer"));
    let json = std::fs::read_to_string(zoo()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(json.contains(from));
        let inner: ::tokenizers::Tokenizer = json.replace(from, to).parse().unwrap();
        Tokenizer::new(inner, "changed").unwrap().canonical().map(drop).unwrap_err()
    };
    assert!(changed(r#""normalizer": null"#, r#""normalizer": {"type": "Lowercase"}"#).contains("Lowercase"));
    assert!(changed(r#""add_prefix_space": false"#, r#""add_prefix_space": true"#).contains("ByteLevel"));
    assert!(changed(r#""dropout": null"#, r#""dropout": 0.5"#).contains("dropout"));
}

#[test]
fn a_renderer_says_it_of_its_tokenizer() {
    let tokenizer = Tokenizer::open(zoo()).unwrap();
    let renderer = TextRenderer::new(tokenizer);
    let ids = renderer.render("m", &Prompt::from("Ada Brook")).unwrap();
    let canonical = renderer.canonical("m").unwrap();
    assert!(!canonical.is_text(ids[0]) && canonical.is_text(ids[1]));
}
