//! What a pass of up to 32 tokens yields for one of them does not depend, to the last bit, on the others: so a text is the same whether its
//! tokens are computed one by one or, as drafts are, several at once, alone or in a batch. Passes of more tokens, as for prompts, round otherwise.
use eft_backend_candle::{Candle, CandleNn, Gguf};
use eft_core::{Backend, Engine, EngineRow, RowFeed, Scores, TokenId};
use eft_models::{Checkpoint, DecoderEngine};

use crate::device::candle;

const ZOO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../zoo");

/// The number of tokens up to which passes agree to the last bit.
const FEW: usize = 32;

/// The log-probs and the likeliest tokens after each position, of each row of a batch.
fn read(scores: &Scores<Candle>) -> Vec<Vec<(TokenId, f32)>> {
    let row = |row| {
        let positions = scores.positions(row);
        let choices = candle().argmax(&positions, scores.width()).unwrap();
        choices.iter().map(|choice| (choice.token, choice.log_prob)).collect()
    };
    (0..scores.rows()).map(row).collect()
}

/// Checks that larger passes differ by `rounding` at most, in nats.
fn check(name: &str, engine: &DecoderEngine<CandleNn>, rounding: f32) {
    let text = |first: TokenId| (first..first + 70).collect::<Vec<_>>();
    let row = |tokens: &[TokenId]| EngineRow { adapter: None, tokens: tokens.to_vec() };
    let (first, second) = (text(5), text(300));
    // One token after another.
    let (mut session, scores) = engine.open(&[row(&first[..1])]).unwrap();
    let mut each = read(&scores).remove(0);
    for token in &first[1..] {
        each.extend(read(&session.extend(&[RowFeed::one(*token)]).unwrap()).remove(0));
    }
    // All at once, in parts, and beside another row.
    for parts in [&[69][..], &[1, 2, 4, 8, 16, 38], &[2, 9, 17, 41]] {
        let (mut session, _) = engine.open(&[row(&first[..1]), row(&second[..1])]).unwrap();
        let mut start = 1;
        for part in parts {
            let feed = RowFeed { tokens: first[start..start + part].to_vec(), wanted: *part };
            let other = RowFeed { tokens: second[start..start + part / 2].to_vec(), wanted: 0 };
            let found = read(&session.extend(&[feed, other]).unwrap()).swap_remove(0);
            for (found, each) in found.iter().zip(&each[start..]) {
                let close = found.0 == each.0 && (found.1 - each.1).abs() <= rounding;
                let same = found.0 == each.0 && found.1.to_bits() == each.1.to_bits();
                let is_few = part + part / 2 <= FEW;
                assert!(
                    same || close && !is_few,
                    "{name}: {part} tokens after {start} of {parts:?}: {found:?}, {each:?}"
                );
            }
            assert_eq!(found.len(), *part);
            start += part;
        }
    }
}

#[test]
fn passes_of_any_tokens_yield_the_same() {
    let nn = || CandleNn::new(candle());
    for folder in ["base-large", "base-small"] {
        let checkpoint = Checkpoint::open(format!("{ZOO}/{folder}")).unwrap();
        check(folder, &DecoderEngine::load(nn(), &checkpoint, None).unwrap(), 1e-4);
    }
    // What is rounded otherwise can become another activation of 8 bits.
    for (file, rounding) in [("base-wide-q8_0", 0.02), ("base-large-f16", 1e-4)] {
        let gguf = Gguf::open(format!("{ZOO}/gguf/{file}.gguf")).unwrap();
        check(file, &DecoderEngine::load(nn(), &gguf, gguf.vocab().cloned()).unwrap(), rounding);
    }
}
