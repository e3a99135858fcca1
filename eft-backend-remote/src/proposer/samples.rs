//! Requests for sampled text, in the form of OpenAI's completions.
use eft_core::Sampling;
use serde_json::{Value, json};

use crate::kind::Kind;

/// The path of the requests: every kind of server has it.
pub(super) const PATH: &str = "/v1/completions";

/// What a server has appended to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) text: String,
    /// How many tokens were sampled; an estimate if the text has ended and others were sampled with it.
    pub(super) tokens: usize,
    /// The text has ended; otherwise it was cut after as many tokens as were asked for.
    pub(super) ended: bool,
}

/// Asks for `count` continuations of one prompt, of up to `tokens` tokens. The `i`-th has the seed `seed + i`: so vLLM and
/// llama-server number them.
pub(super) fn request(
    (kind, model): (Kind, &str),
    prompt: Value,
    (count, tokens): (usize, usize),
    sampling: &Sampling,
    seed: u64,
) -> Value {
    let mut body = json!({
        "model": model,
        "prompt": prompt,
        "n": count,
        "max_tokens": tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p.unwrap_or(1.0),
        "seed": seed,
    });
    let mut set = |name: &str, value: Value| body[name] = value;
    match kind {
        Kind::OpenAi => {}
        Kind::LlamaServer => {
            set("top_k", sampling.top_k.unwrap_or(0).into());
            set("min_p", sampling.min_p.unwrap_or(0.0).into());
            set("repeat_penalty", 1.into());
            set("samplers", json!(["temperature", "top_k", "top_p", "min_p"]));
            set("cache_prompt", true.into());
        }
        Kind::Vllm | Kind::Sglang => {
            set("top_k", sampling.top_k.map_or(json!(-1), Value::from));
            set("min_p", sampling.min_p.unwrap_or(0.0).into());
            set("repetition_penalty", 1.into());
        }
    }
    body
}

/// Reads the continuations of up to `tokens` tokens, in their order. Errors describe the fault.
pub(super) fn read(answer: &Value, tokens: usize) -> Result<Vec<Sample>, String> {
    let choices = answer["choices"].as_array().filter(|choices| !choices.is_empty());
    let choices = choices.ok_or("it has no list `choices` with an entry")?;
    let mut samples = Vec::new();
    for choice in choices {
        let text = choice["text"].as_str().ok_or("an entry of `choices` has no `text`")?;
        let reason = choice["finish_reason"].as_str();
        let ended = reason.ok_or("an entry of `choices` has no `finish_reason`")? != "length";
        let index = choice["index"].as_u64().unwrap_or(samples.len() as u64);
        samples.push((index, Sample { text: text.into(), tokens, ended }));
    }
    samples.sort_by_key(|(index, _)| *index);
    let mut samples: Vec<_> = samples.into_iter().map(|(_, sample)| sample).collect();

    // The server counts the tokens of all samples together. Those that were cut have as many as were asked for.
    let ended = samples.iter().filter(|sample| sample.ended).count();
    let sampled = answer["usage"]["completion_tokens"].as_u64().unwrap_or(0) as usize;
    let others = sampled.saturating_sub((samples.len() - ended).saturating_mul(tokens));
    for sample in samples.iter_mut().filter(|sample| sample.ended) {
        sample.tokens = (others / ended).clamp(1, tokens.max(1));
    }
    for sample in samples.iter_mut().filter(|sample| !sample.ended) {
        // A cut within a character leaves its first bytes out, or this in their place.
        sample.text.truncate(sample.text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_filters_are_switched_off() {
        let of = |kind, sampling: &Sampling| request((kind, "m"), "a".into(), (2, 5), sampling, 7);
        let plain = Sampling::default();
        let llama = of(Kind::LlamaServer, &plain);
        assert_eq!(
            (&llama["top_k"], &llama["min_p"], &llama["top_p"]),
            (&json!(0), &json!(0.0), &json!(1.0))
        );
        assert_eq!(of(Kind::Vllm, &plain)["top_k"], json!(-1));
        assert_eq!(of(Kind::Sglang, &plain.top_k(9))["top_k"], json!(9));
        assert!(of(Kind::OpenAi, &plain)["top_k"].is_null());
    }

    #[test]
    fn samples_keep_their_order_and_share_the_count_of_tokens() {
        let answer = json!({
            "choices": [
                {"index": 1, "text": " b\u{fffd}", "finish_reason": "length"},
                {"index": 0, "text": " a\u{fffd}", "finish_reason": "stop"},
            ],
            "usage": {"completion_tokens": 8},
        });
        let sample = |text: &str, tokens, ended| Sample { text: text.into(), tokens, ended };
        assert_eq!(read(&answer, 5), Ok(vec![sample(" a\u{fffd}", 3, true), sample(" b", 5, false)]));
    }

    #[test]
    fn wrong_answers_are_described() {
        for (answer, fault) in [
            (json!({}), "no list `choices`"),
            (json!({"choices": []}), "no list `choices`"),
            (json!({"choices": [{"finish_reason": "stop"}]}), "no `text`"),
            (json!({"choices": [{"text": "a", "finish_reason": null}]}), "no `finish_reason`"),
        ] {
            assert!(read(&answer, 5).unwrap_err().contains(fault), "{answer}");
        }
    }
}
