//! vLLM's completions, with its extensions of OpenAI's interface.
//!
//! Tested with vLLM 0.32 on a CPU. Whole rows need `--max-logprobs -1` when the server is started.
use serde_json::{Value, json};

use super::{Answer, Question, list, log_prob};
use crate::told::Wanted;

pub(super) fn request(question: &Question<'_>) -> Value {
    let mut body = json!({
        "model": question.model,
        "prompt": question.prompts,
        "max_tokens": 1,
        "temperature": 0,
        "return_tokens_as_token_ids": true,
    });
    match question.wanted {
        Wanted::Top(k) => body["logprobs"] = k.into(),
        Wanted::Whole => body["logprobs"] = (-1).into(),
        Wanted::Named(ids) => {
            body["logprobs"] = 0.into();
            body["logprob_token_ids"] = ids.into();
        }
    }
    body
}

pub(super) fn read(answer: &Value, question: &Question<'_>) -> Result<Vec<Answer>, String> {
    let lengths: usize = question.prompts.iter().map(|prompt| prompt.len()).sum();
    match answer["usage"]["prompt_tokens"].as_u64() {
        Some(read) if read != lengths as u64 => {
            Err(format!("the server has read {read} tokens of prompts with {lengths}"))
        }
        _ => list(&answer["choices"], "choices")?.iter().map(of_choice).collect(),
    }
}

fn of_choice(choice: &Value) -> Result<Answer, String> {
    let index = choice["index"].as_u64().ok_or("a choice has no `index`")? as usize;
    let first = list(&choice["logprobs"]["top_logprobs"], "top_logprobs")?.first();
    let told = first.and_then(Value::as_object).ok_or("its list `top_logprobs` is empty")?;
    let entry = |(key, value): (&String, &Value)| {
        let id = key.strip_prefix("token_id:").and_then(|id| id.parse().ok());
        Ok((id.ok_or_else(|| format!("{key:?} is not of the form `token_id:N`"))?, log_prob(value)?))
    };
    Ok((index, told.iter().map(entry).collect::<Result<Vec<_>, String>>()?.into()))
}
