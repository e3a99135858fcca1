//! Log-probs and contributions of terms, as the protocols write them.
use eft::decode::Detokenizer;
use eft::{Token, TokenId, Vocab};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use crate::schedule::Scored;

/// A token with its log-probability, as it is reported.
pub(super) struct Reported {
    id: TokenId,
    /// `None` for the first token of a text, which follows nothing.
    log_prob: Option<f32>,
    alternatives: Vec<(TokenId, f32)>,
}

impl Reported {
    pub(super) fn first(id: TokenId) -> Self {
        Self { id, log_prob: None, alternatives: Vec::new() }
    }

    pub(super) fn generated(token: &Token, most: usize) -> Self {
        let alternatives = token.alternatives.iter().take(most).map(|pick| (pick.token, pick.log_prob));
        Self { id: token.id, log_prob: Some(token.log_prob), alternatives: alternatives.collect() }
    }

    pub(super) fn scored(token: &Scored) -> Self {
        Self { id: token.id, log_prob: Some(token.log_prob), alternatives: token.alternatives.clone() }
    }
}

/// A number that JSON can write: OpenAI's protocol has −9999 for a probability of zero.
fn finite(log_prob: f32) -> f32 {
    log_prob.max(-9999.0)
}

/// The log-probs of a conversation's answer.
pub(super) fn of_chat(vocab: &Vocab, tokens: &[Token], most: usize) -> Value {
    let one = |id: TokenId, log_prob: f32| {
        let bytes = vocab.bytes(id).unwrap_or_default();
        json!({"token": String::from_utf8_lossy(bytes), "logprob": finite(log_prob), "bytes": bytes})
    };
    let content = tokens.iter().map(|token| {
        let mut value = one(token.id, token.log_prob);
        let top = token.alternatives.iter().take(most).map(|pick| one(pick.token, pick.log_prob));
        value["top_logprobs"] = top.collect();
        value
    });
    json!({"content": content.collect::<Value>(), "refusal": null})
}

/// Writes the log-probs of a completion, and keeps count of where its tokens begin.
pub(super) struct OfCompletion {
    vocab: Arc<Vocab>,
    detokenizer: Detokenizer,
    /// The number of characters so far.
    offset: usize,
}

impl OfCompletion {
    /// Begins with the first token of the answer, which may be that of a prompt that is echoed.
    pub(super) fn new(vocab: Arc<Vocab>) -> Self {
        Self { detokenizer: Detokenizer::new(vocab.clone()), vocab, offset: 0 }
    }

    /// The next tokens. `with_alternatives` says whether alternatives are reported, if only none.
    pub(super) fn write(&mut self, tokens: &[Reported], with_alternatives: bool) -> Value {
        let (mut texts, mut log_probs, mut top, mut offsets) = (vec![], vec![], vec![], vec![]);
        for token in tokens {
            texts.push(Value::from(self.text(token.id)));
            log_probs.push(token.log_prob.map_or(Value::Null, |log_prob| json!(finite(log_prob))));
            top.push(match token.log_prob {
                None => Value::Null,
                Some(log_prob) => {
                    let all = token.alternatives.iter().copied().chain([(token.id, log_prob)]);
                    let entries = all.map(|(id, log_prob)| (self.text(id), json!(finite(log_prob))));
                    Value::Object(entries.collect::<Map<_, _>>())
                }
            });
            offsets.push(self.offset);
            self.offset += self.detokenizer.push(token.id).chars().count();
        }
        let top = if with_alternatives { Value::from(top) } else { Value::Null };
        json!({"tokens": texts, "token_logprobs": log_probs, "top_logprobs": top, "text_offset": offsets})
    }

    /// The text of a token, or its bytes if they are no text, as OpenAI writes them.
    fn text(&self, id: TokenId) -> String {
        let bytes = self.vocab.bytes(id).unwrap_or_default();
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().fold("bytes:".into(), |text, byte| format!("{text}\\x{byte:02x}")),
        }
    }
}

/// What each term contributed to the choice of each token over its rivals.
pub(super) fn attribution(vocab: &Vocab, tokens: &[Token]) -> Value {
    let text = |id: TokenId| String::from_utf8_lossy(vocab.bytes(id).unwrap_or_default()).into_owned();
    let one = |token: &Token| {
        let attribution = token.attribution.as_ref()?;
        let terms = attribution.terms.iter().map(|term| {
            let all = |numbers: &[f32]| {
                numbers.iter().map(|number| number.clamp(-9999.0, 9999.0)).collect::<Vec<_>>()
            };
            json!({
                "name": term.name, "weight": term.weight, "logprob": finite(term.log_prob),
                "margins": all(&term.margins), "shares": all(&term.shares),
            })
        });
        Some(json!({
            "token": text(token.id), "id": token.id, "logprob": finite(token.log_prob),
            "rivals": attribution.rivals.iter().map(|id| text(*id)).collect::<Vec<_>>(),
            "terms": terms.collect::<Value>(),
        }))
    };
    tokens.iter().filter_map(one).collect()
}
