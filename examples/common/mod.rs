//! Code that the examples share: a model that does not depend on `eft`, texts to train it on, and a byte tokenizer.
#![allow(dead_code)] // No example uses all of this.

pub(crate) mod ngram;

use eft::{Error, Host, Prompt, Renderer, Result, Source, TokenId, Vocab, from_fn};
use ngram::{END, Ngram, State};

/// A text, split into a part to train on and a part that is held out: paragraphs of prose, or sonnets.
pub(crate) struct Corpus {
    training: Vec<String>,
    held_out: Vec<String>,
}

impl Corpus {
    /// Two chapters of *Alice's Adventures in Wonderland*.
    pub(crate) fn prose() -> Self {
        // The lines of the file are wrapped.
        Self::of(include_str!("../data/alice.txt"), " ")
    }

    /// Thirty-two of Shakespeare's sonnets.
    pub(crate) fn verse() -> Self {
        Self::of(include_str!("../data/sonnets.txt"), "\n")
    }

    fn of(file: &str, line_end: &str) -> Self {
        let texts = file.split("\n\n").map(|text| text.trim().replace('\n', line_end)).enumerate();
        let (held_out, training): (Vec<_>, Vec<_>) = texts.partition(|(index, _)| index % 8 == 7);
        let texts = |list: Vec<(usize, String)>| list.into_iter().map(|(_, text)| text).collect();
        Self { training: texts(training), held_out: texts(held_out) }
    }

    /// The texts to train on.
    pub(crate) fn training(&self) -> impl Iterator<Item = &str> {
        self.training.iter().map(String::as_str)
    }

    /// The mean log-probability of a symbol of the held-out texts, in nats: closer to 0 is better.
    pub(crate) fn held_out_score(&self, source: &Source<Host>) -> Result<f64> {
        let texts = self.held_out.iter().map(|text| ("", text.bytes().map(u32::from).chain([END]).collect()));
        let scored = source.score_batch(texts)?;
        let symbols: usize = scored.iter().map(|s| s.tokens.len()).sum();
        Ok(scored.iter().map(|s| s.total).sum::<f64>() / symbols as f64)
    }
}

/// The models' vocabulary: all bytes, and a symbol that begins and ends a text.
pub(crate) fn vocab() -> Result<Vocab> {
    Vocab::new("bytes", (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]))?.with_eos([END])
}

/// The tokenizer: makes token ids of prompts the way the models were trained.
pub(crate) struct Bytes;

impl Renderer for Bytes {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids.clone()),
            Prompt::Text(text) => Ok([END].into_iter().chain(text.bytes().map(u32::from)).collect()),
            Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "it is not a chat model".into(),
            }),
        }
    }
}

/// Makes a source that takes text from a model, as a function of the tokens so far.
pub(crate) fn from_ngram(name: &str, model: Ngram, vocab: &Vocab) -> Result<Source<Host>> {
    let logits = move |tokens: &[TokenId]| {
        let mut state = State::new();
        // No model here looks at more than the last five symbols.
        tokens[tokens.len().saturating_sub(5)..].iter().for_each(|token| model.read(&mut state, *token));
        Ok(model.log_probs(&state))
    };
    from_fn(Host, vocab.clone().named(name), logits).rendered_by(Bytes)
}

/// Token ids as text.
pub(crate) fn decode(ids: impl IntoIterator<Item = TokenId>) -> String {
    let bytes: Vec<_> = ids.into_iter().filter_map(|id| u8::try_from(id).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
