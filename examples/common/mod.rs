//! What the examples share: a model of someone's own, texts for it to learn, and the way from text to token ids.
#![allow(dead_code)] // No example uses all of it.

pub(crate) mod ngram;

use eft::{Error, Host, Prompt, Renderer, Result, Source, TokenId, Vocab, from_fn};
use ngram::{END, Ngram, State};

/// A text, cut into what is learnt and what is held out to be scored: paragraphs of prose, or sonnets.
pub(crate) struct Corpus {
    learnt: Vec<String>,
    held_out: Vec<String>,
}

impl Corpus {
    /// Two chapters of *Alice's Adventures in Wonderland*.
    pub(crate) fn prose() -> Self {
        // Lines of the file end where the editor was full.
        Self::of(include_str!("../data/alice.txt"), " ")
    }

    /// Thirty-two of Shakespeare's sonnets.
    pub(crate) fn verse() -> Self {
        Self::of(include_str!("../data/sonnets.txt"), "\n")
    }

    fn of(file: &str, line_end: &str) -> Self {
        let texts = file.split("\n\n").map(|text| text.trim().replace('\n', line_end)).enumerate();
        let (held_out, learnt): (Vec<_>, Vec<_>) = texts.partition(|(index, _)| index % 8 == 7);
        let texts = |list: Vec<(usize, String)>| list.into_iter().map(|(_, text)| text).collect();
        Self { learnt: texts(learnt), held_out: texts(held_out) }
    }

    /// What a model is given to learn.
    pub(crate) fn learnt(&self) -> impl Iterator<Item = &str> {
        self.learnt.iter().map(String::as_str)
    }

    /// The mean log-probability of a symbol of the held-out texts, in nats: nearer to 0 is better.
    pub(crate) fn held_out_score(&self, source: &Source<Host>) -> Result<f64> {
        let texts = self.held_out.iter().map(|text| ("", text.bytes().map(u32::from).chain([END]).collect()));
        let scored = source.score_batch(texts)?;
        let symbols: usize = scored.iter().map(|s| s.tokens.len()).sum();
        Ok(scored.iter().map(|s| s.total).sum::<f64>() / symbols as f64)
    }
}

/// What the models' symbols stand for. Its last one begins and ends a text.
pub(crate) fn vocab() -> Result<Vocab> {
    Vocab::new("bytes", (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]))?.with_eos([END])
}

/// The tokenizer: makes token ids of prompts, in the way the models were trained on.
pub(crate) struct Bytes;

impl Renderer for Bytes {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids.clone()),
            Prompt::Text(text) => Ok([END].into_iter().chain(text.bytes().map(u32::from)).collect()),
            Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "it is no chat model".into(),
            }),
        }
    }
}

/// A model as a function of the tokens so far, and that as a source which takes text.
pub(crate) fn from_ngram(name: &str, model: Ngram, vocab: &Vocab) -> Result<Source<Host>> {
    let logits = move |tokens: &[TokenId]| {
        let mut state = State::new();
        // No model here looks back further.
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
