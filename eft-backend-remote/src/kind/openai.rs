//! OpenAI's completions: what every compatible server has.
//!
//! The log-probs come in one of two forms. The older one names tokens by their text, so tokens whose text several ids
//! share, or whose bytes are not UTF-8, stay unknown. The newer one is that of chat completions, and has bytes; some
//! servers add ids to it.
use std::collections::HashMap;
use std::sync::OnceLock;

use eft_core::{TokenId, Vocab};
use serde_json::{Value, json};

use super::{Answer, Question, list, log_prob, token_id};
use crate::told::{Entries, Wanted};

pub(super) fn request(question: &Question<'_>) -> Value {
    let log_probs = match question.wanted {
        Wanted::Top(k) => k,
        // Neither is asked of such a server.
        Wanted::Whole | Wanted::Named(_) => question.vocab.width(),
    };
    json!({
        "model": question.model,
        "prompt": question.prompts,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": log_probs,
    })
}

pub(super) fn read(answer: &Value, question: &Question<'_>) -> Result<Vec<Answer>, String> {
    let choices = list(&answer["choices"], "choices")?;
    choices.iter().enumerate().map(|(place, choice)| of_choice(place, choice, question)).collect()
}

fn of_choice(place: usize, choice: &Value, question: &Question<'_>) -> Result<Answer, String> {
    let index = choice["index"].as_u64().map_or(place, |index| index as usize);
    let log_probs = &choice["logprobs"];
    let id = |text: &str| question.ids.of_text(text, question.vocab);
    let told: Vec<_> = match log_probs["content"].as_array() {
        Some(content) => {
            let first = content.first().ok_or("its list `content` is empty")?;
            let entries = list(&first["top_logprobs"], "top_logprobs")?.iter();
            entries.map(|entry| of_entry(entry, question)).collect::<Result<_, _>>()?
        }
        None => {
            let first = list(&log_probs["top_logprobs"], "top_logprobs")?.first();
            let entries = first.and_then(Value::as_object).ok_or("its list `top_logprobs` is empty")?.iter();
            entries.map(|(text, value)| Ok((id(text), log_prob(value)?))).collect::<Result<_, String>>()?
        }
    };
    let nameless = told.iter().filter(|(id, _)| id.is_none()).map(|(_, log_prob)| *log_prob);
    let nameless = nameless.fold(f32::NEG_INFINITY, f32::max);
    let known = told.into_iter().filter_map(|(id, log_prob)| Some((id?, log_prob))).collect();
    Ok((index, Entries { known, nameless }))
}

/// An entry in the form of chat completions.
fn of_entry(entry: &Value, question: &Question<'_>) -> Result<(Option<TokenId>, f32), String> {
    let log_prob = log_prob(&entry["logprob"])?;
    if !entry["id"].is_null() {
        return Ok((Some(token_id(&entry["id"])?), log_prob));
    }
    let bytes = entry["bytes"].as_array().map(|bytes| bytes.iter().map(byte).collect::<Result<Vec<_>, _>>());
    let id = match (bytes.transpose()?, entry["token"].as_str()) {
        (Some(bytes), _) => question.ids.of_bytes(&bytes, question.vocab),
        (None, Some(text)) => question.ids.of_text(text, question.vocab),
        (None, None) => return Err("an entry of `top_logprobs` has no token".into()),
    };
    Ok((id, log_prob))
}

fn byte(value: &Value) -> Result<u8, String> {
    let byte = value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    byte.ok_or_else(|| format!("{value} is not a byte"))
}

/// The ids of a vocabulary's tokens by their bytes. Made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct IdsByBytes(OnceLock<HashMap<Vec<u8>, Option<TokenId>>>);

impl IdsByBytes {
    /// The id of the token with these bytes, if it is the only one.
    fn of_bytes(&self, bytes: &[u8], vocab: &Vocab) -> Option<TokenId> {
        let ids = self.0.get_or_init(|| {
            let mut ids = HashMap::new();
            for id in 0..vocab.real() as TokenId {
                if let Some(bytes) = vocab.bytes(id) {
                    ids.entry(bytes.to_vec()).and_modify(|found| *found = None).or_insert(Some(id));
                }
            }
            ids
        });
        ids.get(bytes).copied().flatten()
    }

    /// The id of the token with this text, if it is the only one.
    fn of_text(&self, text: &str, vocab: &Vocab) -> Option<TokenId> {
        if let Some(id) = text.strip_prefix("token_id:").and_then(|id| id.parse().ok()) {
            return Some(id);
        }
        // Bytes that are not UTF-8 look like this; which ones they were is lost.
        let lost = text.contains(char::REPLACEMENT_CHARACTER);
        if lost { None } else { self.of_bytes(text.as_bytes(), vocab) }
    }
}
