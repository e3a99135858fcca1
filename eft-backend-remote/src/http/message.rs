//! A server's own message about a failure.
use serde_json::Value;

use super::Key;

/// The longest message that is kept, in characters.
const LONGEST: usize = 300;

/// The message in the body of an answer, on one line, cut short, without the key.
pub(super) fn of_engine(body: &[u8], key: Option<&Key>) -> String {
    let parsed = serde_json::from_slice::<Value>(body).ok();
    let text = parsed
        .as_ref()
        .and_then(told)
        .map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    let text = key.map_or_else(|| text.clone(), |key| key.hidden_in(&text));
    match text.trim() {
        "" => "no message".into(),
        text => shorten(text),
    }
}

/// The message where OpenAI's interface, llama-server or FastAPI put it.
fn told(answer: &Value) -> Option<&str> {
    let error = &answer["error"];
    [&error["message"], error, &answer["message"], &answer["detail"]].into_iter().find_map(Value::as_str)
}

/// The text on one line, with at most [`LONGEST`] characters.
pub(crate) fn shorten(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST { short + "…" } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_own_message_is_found_and_cut_short() {
        let of = |body: &str| of_engine(body.as_bytes(), Some(&Key::of("sk-1")));
        assert_eq!(of(r#"{"error":{"message":"too long","code":400}}"#), "too long");
        assert_eq!(of(r#"{"error":"no model"}"#), "no model");
        assert_eq!(of(r#"{"detail":"not found"}"#), "not found");
        assert_eq!(of("<html>\n502"), "<html> 502");
        assert_eq!(of(""), "no message");
        assert_eq!(of("bad key sk-1"), "bad key (key)");
        assert_eq!(of(&"ä".repeat(5000)), "ä".repeat(LONGEST) + "…");
    }
}
