//! A tiny model, a tokenizer of letters for it, and a sampler.
use eft_core::{Host, Prompt, Renderer, Source, TokenId, Vocab, from_fn};

pub(crate) const WIDTH: usize = 24;

pub(crate) fn vocab() -> Vocab {
    let tokens = (0..WIDTH as u8).map(|id| if id == 0 { b"<end>".to_vec() } else { vec![b'a' + id - 1] });
    Vocab::new("toy", tokens.collect::<Vec<_>>()).unwrap().with_special([0]).unwrap()
}

/// The log-probs of the toy model: a function of all tokens.
pub(crate) fn log_probs(tokens: &[TokenId], seed: u64) -> Vec<f32> {
    let mut state = tokens.iter().fold(seed ^ 0x9E37_79B9, |hash, id| {
        (hash ^ u64::from(*id + 1)).wrapping_mul(0x0100_0000_01B3).rotate_left(23)
    });
    let mut logits = Vec::new();
    for _ in 0..WIDTH {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        logits.push((state % 1000) as f64 / 125.0);
    }
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| (x - sum.ln()) as f32).collect()
}

/// The toy model without a server.
pub(crate) fn local(seed: u64) -> Source<Host> {
    from_fn(Host, vocab(), move |tokens| Ok(log_probs(tokens, seed)))
}

/// The toy tokenizer: letters that are tokens, everything else is dropped.
pub(crate) fn tokenize(text: &str) -> Vec<TokenId> {
    text.bytes()
        .filter(|b| (b'a'..b'a' + WIDTH as u8 - 1).contains(b))
        .map(|b| TokenId::from(b - b'a') + 1)
        .collect()
}

/// The id that ends a text.
pub(crate) const END: TokenId = 0;

/// A text that the toy model has sampled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) tokens: usize,
    pub(crate) ended: bool,
}

/// Samples up to `count` tokens after these, as a server does that is given a seed.
pub(crate) fn write(tokens: &[TokenId], seed: u64, temperature: f64, count: usize) -> Written {
    let (mut all, mut state) = (tokens.to_vec(), seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1);
    let mut text = String::new();
    for drawn in 1..=count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let row = log_probs(&all, 1);
        // Of tokens that are equally likely, a greedy text takes the first.
        let best = (0..WIDTH).rev().max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let weight = |id: usize| match temperature > 0.0 {
            true => (f64::from(row[id]) / temperature).exp(),
            false => f64::from(u8::from(Some(id) == best)),
        };
        let weights: Vec<f64> = (0..WIDTH).map(weight).collect();
        let mut left = (state >> 11) as f64 / (1u64 << 53) as f64 * weights.iter().sum::<f64>();
        let found = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        let id = found.unwrap_or(WIDTH - 1) as TokenId;
        if id == END {
            return Written { text, tokens: drawn, ended: true };
        }
        text.push(char::from(b'a' + id as u8 - 1));
        all.push(id);
    }
    Written { text, tokens: count, ended: false }
}

/// Makes token ids of texts by the toy tokenizer.
pub(crate) struct Letters;

impl Renderer for Letters {
    fn render(&self, _: &str, prompt: &Prompt) -> eft_core::Result<Vec<TokenId>> {
        Ok(match prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) => tokenize(text),
            Prompt::Chat(messages) => {
                messages.iter().flat_map(|message| tokenize(&message.content)).collect()
            }
        })
    }

    fn continuation(&self, _: &str, text: &str) -> eft_core::Result<Vec<TokenId>> {
        Ok(tokenize(text))
    }
}
