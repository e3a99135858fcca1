//! Prompts: a prompt that ends within a word continues as its text would.
use eft_core::bytes::{self, ByteSettings, END};
use eft_core::{Error, Message};

use super::*;

fn first_row(source: &Source<Host>, prompt: impl Into<Prompt>) -> Vec<f32> {
    values(&eft_core::Evaluator::open(&[source], &[prompt.into()]).unwrap().eval_last(0).unwrap()).remove(0)
}

#[test]
fn a_prompt_is_no_boundary() {
    let toy = toy();
    let bytes = toy.model(7).bytes().unwrap();
    let text = "abcaab bca ab";
    for length in 0..=text.len() {
        let (prompt, rest) = text.split_at(length);
        let mut evaluator = eft_core::Evaluator::open(&[&bytes], &[Prompt::from("")]).unwrap();
        evaluator.push(&[bytes::tokens(prompt)]).unwrap();
        let fed = values(&evaluator.eval_last(0).unwrap()).remove(0);
        assert_near(&first_row(&bytes, prompt), &fed, 1e-5);
        let total = |prompt: &str, rest: &str| bytes.score(prompt, &bytes::tokens(rest)).unwrap().total;
        if !rest.is_empty() && !prompt.is_empty() {
            assert!((total(prompt, rest) - (total("", text) - total("", prompt))).abs() < 1e-4, "{prompt:?}");
        }
    }
}

#[test]
fn the_first_token_of_all_is_kept() {
    let toy = toy();
    let model = toy.model(7);
    let bytes = model.bytes().unwrap();
    // "ab" is one token, and no special token comes before it.
    let prompt = Prompt::Chat(vec![Message::new("user", "ab")]);
    let row = first_row(&bytes, prompt);
    let ids = toy.bpe.encode(b"ab").unwrap();
    assert_eq!(ids.len(), 1);
    let scores = toy.logits(7, &ids);
    let total: f64 = (EOS..toy.vocab.real() as TokenId).map(|id| f64::from(scores[id as usize]).exp()).sum();
    let end = (f64::from(scores[EOS as usize]).exp() / total).ln();
    // Every token that merges make may follow, whether or not it would be merged with the first.
    assert!(toy.bpe.unmerged().is_empty());
    assert!((f64::from(row[END as usize]) - end).abs() < 1e-5);
}

#[test]
fn a_text_that_no_tokenizer_makes_is_spelled() {
    let toy = toy();
    let bytes = toy.model(7).bytes().unwrap();
    let refused = bytes.score("ab", &bytes::tokens("xa")).unwrap_err();
    assert!(
        matches!(refused, Error::Unsupported { .. }) && refused.to_string().contains("0x78"),
        "{refused}"
    );

    // Bytes that are not UTF-8, of a tokenizer that has tokens for them.
    let vocab = Vocab::new("v", [&b"<s>"[..], b"</s>", b"a", b"\xc3", b"\xa9", b"\xc3\xa9"]).unwrap();
    let vocab = vocab.with_special([BEGIN]).unwrap().with_eos([EOS]).unwrap();
    let bpe = Bpe::new(&vocab, [(3, 4)]).unwrap();
    let canonical = Arc::new(BpeTokens::new(bpe.clone(), Pieces::new(PieceRules::whole())));
    let toy = Toy { vocab: Arc::new(vocab), bpe, canonical };
    let bytes = toy.model(7).bytes().unwrap();
    let row = first_row(&bytes, "a");
    assert!(row[0xA9] < -1000.0 && row[0xC3] > -20.0, "only the first byte of a character can follow");
    // "\u{e9}" is one token, so the token of its first byte cannot be followed by that of its second.
    let next = toy.logits(7, &[BEGIN, 2]).iter().map(|x| f64::from(*x).exp()).collect::<Vec<_>>();
    let share = next[5] / (next[EOS as usize] + next[2] + next[5]);
    assert!((f64::from(row[0xC3]) - share.ln()).abs() < 1e-5);
    let score = bytes.score("a", &[0xA9, u32::from(b'a'), 0xC3, 0xA9, END]).unwrap();
    assert!(score.total.is_finite() && score.tokens[0] < -1000.0 && score.tokens[1] > -20.0, "{score:?}");
}

#[test]
fn a_tokenizer_that_is_not_known_is_refused() {
    let model = eft_core::from_fn(Host, toy().vocab.clone(), |_| Ok(vec![0.0; 3]));
    assert!(matches!(model.bytes(), Err(Error::CannotRender { .. })));
    let (a, b) = (toy().model(1), toy().model(2));
    assert!(matches!((a + b).bytes(), Err(Error::Unsupported { .. })));
    for share in [-0.1, 1.0, f64::NAN] {
        let refused = toy().model(1).bytes_with(ByteSettings::default().prune(share));
        assert!(matches!(refused, Err(Error::InvalidParameter { name: "prune", .. })));
    }
    for tokens in [vec![], vec![2], vec![1000]] {
        let refused = toy().model(1).bytes_with(ByteSettings::default().control("<role>", tokens));
        assert!(matches!(refused, Err(Error::BadVocab { .. })));
    }
}

#[test]
fn a_control_is_a_symbol_of_its_own() {
    let toy = toy();
    let bytes = toy.model(7).bytes_with(ByteSettings::default().control("<begin>", [BEGIN])).unwrap();
    let row = first_row(&bytes, "");
    assert_eq!(row.len(), 258);
    let scores = toy.logits(7, &[BEGIN]);
    let ratio = f64::from(row[257] - row[256]);
    assert!((ratio - f64::from(scores[BEGIN as usize] - scores[EOS as usize])).abs() < 1e-5);
    // What follows it is what follows the same token in a prompt.
    let fed = bytes.score("ab", &[vec![257], bytes::tokens("ca")].concat()).unwrap();
    let prompt = [vec![257], bytes::tokens("ab"), vec![257]].concat();
    let after = bytes.score(prompt, &bytes::tokens("ca")).unwrap();
    assert_near(&fed.tokens[1..], &after.tokens, 1e-5);
}
