//! The part of a `tokenizer.json` that cannot be read: the library `tokenizers` does not name it.
use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper,
    PreTokenizerWrapper, TruncationParams,
};

/// Whether a value can be read as a part of a tokenizer.
type Reads = fn(&Value) -> bool;

/// The field at fault; `None` if each can be read by itself.
pub(super) fn field(bytes: &[u8]) -> Option<String> {
    let file: Value = serde_json::from_slice(bytes).ok()?;
    if file.get("version").is_some_and(|version| version != "1.0") {
        return Some("version".into());
    }
    let fields: [(&str, Reads); 7] = [
        ("truncation", reads::<Option<TruncationParams>>),
        ("padding", reads::<Option<PaddingParams>>),
        ("normalizer", reads::<Option<NormalizerWrapper>>),
        ("pre_tokenizer", reads::<Option<PreTokenizerWrapper>>),
        ("post_processor", reads::<Option<PostProcessorWrapper>>),
        ("decoder", reads::<Option<DecoderWrapper>>),
        ("model", reads::<ModelWrapper>),
    ];
    match fields.iter().find(|(field, reads)| !reads(&file[field])) {
        Some(("model", _)) => Some(of_model(&file["model"]).into()),
        Some((field, _)) => Some((*field).into()),
        None => added(&file["added_tokens"]),
    }
}

fn reads<T: for<'a> Deserialize<'a>>(value: &Value) -> bool {
    super::guarded::guarded(|| Ok(T::deserialize(value)?)).is_ok()
}

/// The field of a model that is at fault, or the model as a whole.
fn of_model(model: &Value) -> &'static str {
    let (vocab, merges) = (&model["vocab"], &model["merges"]);
    if model.is_object() && !vocab.is_object() && !vocab.is_array() {
        "model.vocab"
    } else if !merges.is_null() && !merges.is_array() {
        "model.merges"
    } else {
        "model"
    }
}

/// The added token that is at fault.
fn added(tokens: &Value) -> Option<String> {
    let Some(tokens) = tokens.as_array() else { return (!tokens.is_null()).then(|| "added_tokens".into()) };
    let is_right = |token: &Value| reads::<u32>(&token["id"]) && reads::<AddedToken>(token);
    let wrong = tokens.iter().position(|token| !is_right(token));
    wrong.map(|at| format!("added_tokens[{at}]"))
}
