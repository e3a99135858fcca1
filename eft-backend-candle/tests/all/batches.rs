//! What a pass yields does not depend on what else is in it: so a text is the same whether its tokens are computed one by one or, as
//! drafts are, several at once, alone or in a batch.
use eft_backend_candle::{Candle, CandleNn, Gguf};
use eft_core::{Backend, Engine, EngineRow, RowFeed, Scores, TokenId};
use eft_models::{Checkpoint, DecoderEngine};

use crate::device::candle;

const ZOO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../zoo");

/// The log-probs and the likeliest tokens after each position, of each row of a batch.
fn read(scores: &Scores<Candle>) -> Vec<Vec<(TokenId, u32)>> {
    let row = |row| {
        let positions = scores.positions(row);
        let choices = candle().argmax(&positions, scores.width()).unwrap();
        choices.iter().map(|choice| (choice.token, choice.log_prob.to_bits())).collect()
    };
    (0..scores.rows()).map(row).collect()
}

fn check(name: &str, engine: &DecoderEngine<CandleNn>) {
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
            assert_eq!(found, each[start..start + part], "{name}: {part} tokens after {start} of {parts:?}");
            start += part;
        }
    }
}

#[test]
fn passes_of_any_tokens_yield_the_same() {
    let nn = || CandleNn::new(candle());
    for folder in ["base-large", "base-small"] {
        let checkpoint = Checkpoint::open(format!("{ZOO}/{folder}")).unwrap();
        check(folder, &DecoderEngine::load(nn(), &checkpoint, None).unwrap());
    }
    for file in ["base-wide-q8_0", "base-large-f16"] {
        let gguf = Gguf::open(format!("{ZOO}/gguf/{file}.gguf")).unwrap();
        check(file, &DecoderEngine::load(nn(), &gguf, gguf.vocab().cloned()).unwrap());
    }
}
