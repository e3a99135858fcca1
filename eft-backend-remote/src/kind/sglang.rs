//! SGLang's own interface, `/generate`.
//!
//! Its answers are those of SGLang 0.5.23 on a CPU. All positions are scored by one prompt: `logprob_start_len` says from
//! which of its tokens on log-probs are returned, and what precedes that token is taken from the prefix cache.
use serde_json::{Value, json};

use super::{Answer, Question, list, log_prob, token_id};
use crate::told::Wanted;

pub(super) fn request(question: &Question<'_>) -> Value {
    let start = match question.prompts {
        [first, _, ..] => first.len() as i64 - 1,
        // Only what follows the prompt.
        _ => -1,
    };
    let mut body = json!({
        "input_ids": question.longest(),
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        "return_logprob": true,
        "logprob_start_len": start,
    });
    match question.wanted {
        Wanted::Top(k) => body["top_logprobs_num"] = k.into(),
        // More of the likeliest than the model has tokens would end the server, so all tokens are named instead.
        Wanted::Whole => body["token_ids_logprob"] = (0..question.vocab.real()).collect(),
        Wanted::Named(ids) => body["token_ids_logprob"] = ids.into(),
    }
    body
}

pub(super) fn read(answer: &Value, question: &Question<'_>) -> Result<Vec<Answer>, String> {
    let (told, tokens) = (&answer["meta_info"], question.longest());
    if let Some(read) = told["prompt_tokens"].as_u64().filter(|read| *read != tokens.len() as u64) {
        return Err(format!("the server has read {read} tokens of a prompt of {}", tokens.len()));
    }
    let (within, after) = match question.wanted {
        Wanted::Top(_) => ("input_top_logprobs", "output_top_logprobs"),
        Wanted::Whole | Wanted::Named(_) => ("input_token_ids_logprobs", "output_token_ids_logprobs"),
    };
    let mut positions = Vec::new();
    let before = question.prompts.len().saturating_sub(1);
    if before > 0 {
        // The first entry stands for the token at which the log-probs begin, and has no log-prob.
        let scored = list(&told["input_token_logprobs"], "input_token_logprobs")?;
        let scored = scored.iter().map(|entry| token_id(&entry[1])).collect::<Result<Vec<_>, _>>()?;
        if scored != tokens[tokens.len() - before - 1..] {
            return Err("the server has scored other tokens of the prompt than those asked for".into());
        }
        positions.extend(list(&told[within], within)?.iter().skip(1));
    }
    positions.push(list(&told[after], after)?.first().ok_or_else(|| format!("its list `{after}` is empty"))?);
    let entry = |entry: &Value| Ok((token_id(&entry[1])?, log_prob(&entry[0])?));
    let of_position = |(index, position): (usize, &Value)| {
        let entries = list(position, "log-probs of a position")?.iter().map(entry);
        Ok((index, entries.collect::<Result<Vec<_>, String>>()?.into()))
    };
    positions.into_iter().enumerate().map(of_position).collect()
}
