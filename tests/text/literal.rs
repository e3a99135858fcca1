//! Special tokens in messages, kept as text.
use std::path::Path;
use std::sync::{Arc, OnceLock};

use eft::load::Loader;
use eft::text::{ChatTemplate, PlainTemplate, TextRenderer, Tokenizer};
use eft::{Message, Prompt, Renderer, TokenId};
use proptest::prelude::*;

use crate::{here, json};

/// A renderer that keeps special tokens in messages as text, and the data to check it with.
struct Case {
    renderer: TextRenderer,
    /// The library's own way to take all special tokens for text.
    plain: tokenizers::Tokenizer,
    /// The special tokens that the template writes before and after a message.
    around: [TokenId; 2],
}

impl Case {
    fn new(tokenizer: Tokenizer, begin: &str, end: &str) -> Self {
        let around = [begin, end].map(|token| tokenizer.id(token).unwrap());
        let mut plain = tokenizer.inner().clone();
        plain.set_encode_special_tokens(true);
        Self { renderer: chat(tokenizer, begin, end), plain, around }
    }

    #[track_caller]
    fn check(&self, content: &str) {
        let middle = self.plain.encode(content.trim(), false).unwrap();
        let [begin, end] = self.around;
        assert_eq!(
            ids(&self.renderer, content).unwrap(),
            [&[begin], middle.get_ids(), &[end]].concat(),
            "{content:?}"
        );
    }
}

/// The tokenizers of these tests and of the zoo.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/tuned-small/tokenizer.json");
        vec![
            Case::new(open("byte-level"), "<|user|>", "<|end|>"),
            Case::new(open("small"), "<|user|>", "<|end|>"),
            Case::new(open("pieces"), "<s>", "</s>"),
            Case::new(Tokenizer::open(zoo).unwrap(), "<|end|>", "<|end|>"),
        ]
    })
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::open(here(name).join("tokenizer.json")).unwrap()
}

/// The tokenizer of a file after a change.
fn changed(name: &str, change: impl FnOnce(&mut serde_json::Value)) -> Tokenizer {
    let mut file = json(&format!("{name}/tokenizer.json"));
    change(&mut file);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, file.to_string()).unwrap();
    Tokenizer::open(path).unwrap()
}

fn template(begin: &str, end: &str) -> ChatTemplate {
    let source = format!("{{% for m in messages %}}{begin}{{{{ m.content | trim }}}}{end}{{% endfor %}}");
    ChatTemplate::new("template", &source).unwrap()
}

fn chat(tokenizer: Tokenizer, begin: &str, end: &str) -> TextRenderer {
    TextRenderer::new(tokenizer).chat(template(begin, end)).literal_messages()
}

fn ids(renderer: &TextRenderer, content: &str) -> eft::Result<Vec<TokenId>> {
    renderer.render("it", &Prompt::chat(content))
}

/// The ids of a text whose special tokens are all meant as text.
fn as_text(tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    let mut inner = tokenizer.inner().clone();
    inner.set_encode_special_tokens(true);
    inner.encode(text, false).unwrap().get_ids().to_vec()
}

const CONTENTS: [&str; 9] = [
    "What does <|end|> mean?",
    "<|end|>",
    "  </s> and <s>, <|user|> and <|end|><|end|>  ",
    "<|end<|end|>|>",
    "<<s>/s></s",
    "<|end|>\n<|user|>the café 日本",
    "<unk> <tool> <|begin|>",
    "no special token",
    "",
];

#[test]
fn special_tokens_in_messages_are_text_and_those_of_the_template_are_not() {
    cases().iter().for_each(|case| CONTENTS.iter().for_each(|content| case.check(content)));
}

#[test]
fn by_default_they_become_special_tokens_as_in_transformers() {
    let tokenizer = open("byte-level");
    let end = tokenizer.id("<|end|>").unwrap();
    let renderer = TextRenderer::new(tokenizer).chat(template("<|user|>", "<|end|>"));
    let ids = ids(&renderer, "a<|end|>b").unwrap();
    assert_eq!(ids.iter().filter(|id| **id == end).count(), 2);
}

#[test]
fn plain_templates_and_loaded_models_keep_them_as_text_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/tuned-small");
    let loader = Loader::new(path.to_str().unwrap());
    let ends = |loader: Loader| {
        let source = loader.load().unwrap();
        let ids = source.render(Prompt::chat("Who is <|end|>?")).unwrap();
        ids.iter().filter(|id| **id == 0).count()
    };
    // The template begins with the token, and so does every text of this tokenizer.
    assert_eq!(ends(loader.clone()), 2);
    assert_eq!(ends(loader.clone().literal_messages()), 1);
    let plain = loader.plain(PlainTemplate::default());
    assert_eq!(ends(plain.clone()), 2);
    assert_eq!(ends(plain.literal_messages()), 1);
}

#[test]
fn an_open_message_is_continued() {
    let renderer = chat(open("byte-level"), "<|user|>", "<|end|>");
    let talk = [Message::new("user", "<|end|>"), Message::new("assistant", "<|user|> is")];
    let ids = renderer.render("it", &Prompt::Chat(talk.to_vec())).unwrap();
    let tokenizer = renderer.tokenizer();
    let [user, end] = ["<|user|>", "<|end|>"].map(|token| tokenizer.id(token).unwrap());
    let [asked, answer] = ["<|end|>", "<|user|> is"].map(|text| as_text(tokenizer, text));
    assert_eq!(ids, [&[user], &asked[..], &[end, user], &answer[..]].concat());
}

#[test]
fn a_space_before_the_first_word_stays_before_the_first_word() {
    let metaspace = changed("pieces", |file| {
        file["normalizer"] = serde_json::Value::Null;
        file["pre_tokenizer"] = serde_json::json!(
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    });
    let [plain, spelled] = ["the", "the</s>"].map(|content| content.to_owned());
    let renderer = chat(metaspace, "<s>", "</s>");
    let (plain, spelled) = (ids(&renderer, &plain).unwrap(), ids(&renderer, &spelled).unwrap());
    let (_, until) = plain.split_last().unwrap();
    assert!(spelled.starts_with(until), "{spelled:?} {plain:?}");
}

#[test]
fn tokens_that_strip_white_space_strip_it_still() {
    let strips = changed("byte-level", |file| {
        for token in file["added_tokens"].as_array_mut().unwrap() {
            token["rstrip"] = (token["content"] == "<|user|>").into();
            token["lstrip"] = (token["content"] == "<|end|>").into();
        }
    });
    let [user, end] = ["<|user|>", "<|end|>"].map(|token| strips.id(token).unwrap());
    let source = "{% for m in messages %}<|user|>\n{{ m.content }}\n<|end|>{% endfor %}";
    let template = ChatTemplate::new("template", source).unwrap();
    let renderer = TextRenderer::new(strips).chat(template).literal_messages();
    let middle = as_text(renderer.tokenizer(), "a <|end|> b");
    assert_eq!(ids(&renderer, "a <|end|> b").unwrap(), [&[user], &middle[..], &[end]].concat());
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let tokenizer = Arc::new(open("byte-level"));
    let refused = |source: &str, content: &str| {
        let template = ChatTemplate::new("template", source).unwrap();
        let renderer = TextRenderer::new(tokenizer.clone()).chat(template).literal_messages();
        ids(&renderer, content).unwrap_err().to_string()
    };
    for source in ["{{ messages[0].content.split('<|end|>')[0] }}", "{{ messages[0].content | length }}"] {
        let error = refused(source, "a<|end|>b");
        assert!(error.contains("its template does not insert messages"), "{error}");
    }
    let error = refused("{{ messages[0].content }}", "a\u{10FFFD}");
    assert!(error.contains("private-use"), "{error}");
}

proptest! {
    #[test]
    fn random_messages_never_write_special_tokens(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "<|end|>", "<|user|>", "<s>", "</s>", "<|", "end", "|>", "<", ">", "s", " ", "\n", "é", "日", "the",
            ]),
            0..12,
        ),
    ) {
        let content = parts.concat();
        cases().iter().for_each(|case| case.check(&content));
    }
}

#[test]
fn fields_of_messages_are_kept_as_text_too() {
    let tokenizer = open("byte-level");
    let end = tokenizer.id("<|end|>").unwrap();
    let source = "{% for m in messages %}{{ m.calls | tojson }}{{ m.content }}<|end|>{% endfor %}";
    let renderer = TextRenderer::new(tokenizer).chat(ChatTemplate::new("template", source).unwrap());
    let calls = r#"[{"name": "a\"<|end|>\n", "z": [1, "<|end|>"], "b": null}]"#;
    let prompt = Prompt::Chat(vec![Message::new("user", "<|end|>").field("calls", calls)]);
    let ends = |renderer: &TextRenderer| {
        renderer.render("it", &prompt).unwrap().into_iter().filter(|id| *id == end).count()
    };
    assert_eq!(ends(&renderer), 4);
    assert_eq!(ends(&renderer.clone().literal_messages()), 1);
    // A plain template has no place for them.
    let plain = renderer.plain(PlainTemplate::default()).render("it", &prompt).unwrap_err().to_string();
    assert!(plain.contains("`calls`"), "{plain}");
}
