//! llama-server's own interface, `/completion`.
//!
//! Tested with the llama.cpp of the wheel `xllamacpp` 2026.10.11549.
use serde_json::{Value, json};

use super::{Answer, Question, list, log_prob, token_id};
use crate::told::Wanted;

pub(super) fn request(question: &Question<'_>) -> Value {
    let probabilities = match question.wanted {
        Wanted::Top(k) => k,
        // It has no request for named tokens, and is not asked for any.
        Wanted::Whole | Wanted::Named(_) => question.vocab.width(),
    };
    json!({
        "prompt": question.prompts,
        "n_predict": 1,
        "n_probs": probabilities,
        // Log-probs of the model itself, not of what temperature and filters make of them.
        "post_sampling_probs": false,
        "temperature": 0,
        "cache_prompt": true,
        "response_fields": ["index", "model", "tokens_evaluated", "completion_probabilities"],
    })
}

pub(super) fn read(answer: &Value, question: &Question<'_>) -> Result<Vec<Answer>, String> {
    // The answer for a single prompt may be an object instead of a list.
    let answers = answer.as_array().map_or(std::slice::from_ref(answer), Vec::as_slice);
    answers.iter().enumerate().map(|(place, answer)| of_prompt(place, answer, question)).collect()
}

fn of_prompt(place: usize, answer: &Value, question: &Question<'_>) -> Result<Answer, String> {
    let index = answer["index"].as_u64().map_or(place, |index| index as usize);
    let length = question.prompts.get(index).map_or(0, |prompt| prompt.len());
    // A prompt that was cut, or got a token at its beginning, would have another length.
    if let Some(read) = answer["tokens_evaluated"].as_u64().filter(|read| *read != length as u64) {
        return Err(format!("the server has read {read} tokens of a prompt of {length}"));
    }
    let first = &list(&answer["completion_probabilities"], "completion_probabilities")?.first();
    let first = first.ok_or("its list `completion_probabilities` is empty")?;
    let entry = |entry: &Value| Ok((token_id(&entry["id"])?, log_prob(&entry["logprob"])?));
    let entries = list(&first["top_logprobs"], "top_logprobs")?.iter().map(entry);
    Ok((index, entries.collect::<Result<Vec<_>, String>>()?.into()))
}
