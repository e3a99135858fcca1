//! Loading folders.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use eft::load::Loader;
use eft::text::PlainTemplate;
use eft::{Decoding, Error, Message, Prompt, Sampling, Source, error};

use crate::folders::without;
use crate::here;

const TEMPLATE: &str = "{% for m in messages %}<|user|>{{ m.content }}{{ eos_token }}{% endfor %}\
    {% if add_generation_prompt %}<|user|>{% endif %}";

/// Writes a tiny checkpoint to a folder, with a tokenizer of 96 tokens.
pub(crate) fn folder(dir: &Path, family: &str) -> PathBuf {
    let folder = dir.join(family);
    std::fs::create_dir(&folder).unwrap();
    let golden: PathBuf = [env!("CARGO_MANIFEST_DIR"), "eft-models", "goldens", family].iter().collect();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), folder.join(file)).unwrap();
    }
    std::fs::copy(here("small/tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let config = serde_json::json!({"eos_token": {"content": "<|end|>"}, "chat_template": TEMPLATE});
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

fn load(folder: &Path) -> eft::Source<eft::candle::Candle> {
    eft::load(folder.to_str().unwrap()).unwrap()
}

#[test]
fn folders_load_with_tokenizer_and_template() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    std::fs::write(folder.join("generation_config.json"), r#"{"eos_token_id": [2, 93]}"#).unwrap();
    let source = load(&folder);
    assert_eq!(source.name(), "llama");
    // From `config.json`, `generation_config.json` and `tokenizer_config.json`.
    assert_eq!(source.stop_ids().into_iter().collect::<Vec<_>>(), [2, 93, 95]);
    let chat = source.render(Prompt::chat("the")).unwrap();
    assert_eq!(chat, source.render("<|user|>the<|end|><|user|>").unwrap());
    assert_eq!((chat[0], *chat.last().unwrap()), (94, 94));

    let begun = [source.render("the").unwrap(), source.continuation(" cat").unwrap()].concat();
    assert_eq!(begun, source.render("the cat").unwrap());

    let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(40);
    let ids: Vec<_> =
        source.generate("the", decoding.clone()).unwrap().map(|token| token.unwrap().id).collect();
    let text: String =
        source.generate("the", decoding).unwrap().text().unwrap().collect::<eft::Result<_>>().unwrap();
    assert_eq!(text.as_bytes(), source.vocab().decode(&ids));
    assert!(!text.is_empty());
}

/// The warnings of loading a model.
pub(crate) fn warnings(loader: Loader) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = heard.clone();
    let loader = loader.on_warning(move |warning| hear.lock().unwrap().push(warning.to_string()));
    let _ = loader.load().unwrap();
    std::mem::take(&mut *heard.lock().unwrap())
}

#[test]
fn end_of_sequence_ids_that_are_no_tokens_are_ignored_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let config = folder.join("config.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    for id in [-1i64, 96, 4_294_967_295] {
        let name = id.to_string();
        fields["eos_token_id"] = serde_json::json!([2, id]);
        std::fs::write(&config, fields.to_string()).unwrap();
        std::fs::write(folder.join("generation_config.json"), format!(r#"{{"eos_token_id": {id}}}"#))
            .unwrap();
        let found = warnings(Loader::new(folder.to_str().unwrap()));
        assert_eq!(found.len(), 2, "{found:?}");
        for (warning, file) in found.iter().zip(["config.json", "generation_config.json"]) {
            for word in [file, "`eos_token_id`", &name, "ignored"] {
                assert!(warning.contains(word), "{word}: {warning}");
            }
        }
        assert_eq!(load(&folder).stop_ids().into_iter().collect::<Vec<_>>(), [2, 95]);
    }
}

#[test]
fn a_token_that_ends_turns_but_no_text_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let template = "{% for m in messages %}{{ m.content }}\n<|end|>{% endfor %}";
    let config = serde_json::json!({"eos_token": "<|user|>", "chat_template": template});
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    let loader = || Loader::new(folder.to_str().unwrap());
    let found = warnings(loader());
    assert!(
        found.len() == 1 && found[0].contains("`<|end|>` (95)") && found[0].contains("`llama`"),
        "{found:?}"
    );
    let stops = |loader: Loader| loader.load().unwrap().stop_ids().into_iter().collect::<Vec<_>>();
    assert_eq!(stops(loader().on_warning(|_| ())), [2, 94]);
    assert!(warnings(loader().end_at_turns()).is_empty());
    assert_eq!(stops(loader().end_at_turns()), [2, 94, 95]);
    // A template of the caller's says nothing about the model.
    assert!(warnings(loader().plain(PlainTemplate::default())).is_empty());
}

#[test]
fn texts_end_at_a_token_that_only_the_tokenizers_configuration_adds() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let write =
        |file: &str, value: serde_json::Value| std::fs::write(folder.join(file), value.to_string()).unwrap();
    write("tokenizer.json", without(&[94, 95]));
    let token = |content| serde_json::json!({"content": content, "special": true, "normalized": false});
    let added = serde_json::json!({"94": token("<|user|>"), "95": token("<|end|>")});
    write(
        "tokenizer_config.json",
        serde_json::json!({"added_tokens_decoder": added, "eos_token": "<|end|>", "chat_template": TEMPLATE}),
    );
    write("generation_config.json", serde_json::json!({"eos_token_id": 94}));
    let source = load(&folder);
    assert_eq!(source.stop_ids().into_iter().collect::<Vec<_>>(), [2, 94, 95]);
    let chat = source.render(Prompt::chat("the")).unwrap();
    assert_eq!((chat[0], *chat.last().unwrap()), (94, 94));
    assert!(chat.contains(&95));
}

#[test]
fn each_term_renders_with_its_own_template() {
    let dir = tempfile::tempdir().unwrap();
    let large = Loader::new(folder(dir.path(), "llama").to_str().unwrap()).plain(PlainTemplate::default());
    let large = large.named("large").load().unwrap();
    let tuned = load(&folder(dir.path(), "qwen2"));
    let chat = Prompt::Chat(vec![Message::new("user", "why"), Message::new("assistant", "as")]);
    assert_eq!(large.render(&chat).unwrap(), large.render("user: why\nassistant: as").unwrap());
    assert_eq!(tuned.render(&chat).unwrap(), tuned.render("<|user|>why<|end|><|user|>as").unwrap());

    let combined = &large + (&tuned - &large);
    combined.check().unwrap();
    let combined = 2.0 * &large - &tuned;
    assert_eq!(combined.name(), "2·large − qwen2");
    let texts = combined.generate_batch([chat, "the".into()], Sampling::default().seed(1)).unwrap();
    assert_eq!(texts.text().unwrap().until("e").unwrap().read().into_iter().map(Result::unwrap).count(), 2);
}

#[test]
fn without_a_template_conversations_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    std::fs::remove_file(folder.join("tokenizer_config.json")).unwrap();
    let source = load(&folder);
    assert!(source.render("the").is_ok());
    let refused = source.render(Prompt::chat("the")).unwrap_err();
    assert!(matches!(&refused, Error::CannotRender { term, .. } if term == "llama"), "{refused}");
    assert!(refused.to_string().contains("no chat template"), "{refused}");

    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    let source = load(&folder);
    assert!(source.render([1, 2]).is_ok());
    assert!(matches!(source.render("the"), Err(Error::CannotRender { .. })));
}

#[test]
fn adapters_load_under_their_names_and_share_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "qwen2");
    let adapter: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "eft-models", "goldens", "qwen2-lora"].iter().collect();
    let loader = Loader::new(folder.to_str().unwrap()).adapter("lora", &adapter);
    let base = loader.load().unwrap();
    let tuned = base.adapter("lora").unwrap();
    assert_eq!((&base + (&tuned - &base)).name(), "qwen2 + (qwen2[lora] − qwen2)");
    // The adapter renders as its base does.
    let chat = Prompt::chat("the");
    assert_eq!(tuned.render(&chat).unwrap(), base.render(&chat).unwrap());
    let error = Loader::new(folder.to_str().unwrap()).adapter("lora", &folder).load().unwrap_err();
    assert!(error.to_string().contains("adapter_config.json"), "{error}");
    // Several adapters as one: two halves of a change are the change, and what cancels is none.
    let two = |weights: [f32; 2]| weights.map(|weight| (adapter.clone(), weight));
    let loader = loader.adapters("halves", two([0.5, 0.5])).adapters("none", two([1.0, -1.0]));
    let base = loader.load().unwrap();
    let score = |source: &Source<_>| source.score([1, 5], &[9, 60, 33, 7]).unwrap().total;
    let [lora, halves, none] = ["lora", "halves", "none"].map(|name| score(&base.adapter(name).unwrap()));
    assert!((lora - halves).abs() < 1e-4 && (none - score(&base)).abs() < 1e-4, "{lora} {halves} {none}");
    assert!((lora - none).abs() > 0.1, "{lora} {none}");
    let error = loader.adapter("pirate", "pirate.gguf").load().unwrap_err();
    assert!(error::with_sources(&error).contains("pirate.gguf"), "{error}");
    // The reverse mistake: an adapter given as a model.
    let error = eft::load(adapter.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("PEFT adapter") && error.contains("Loader::adapter"), "{error}");
}
