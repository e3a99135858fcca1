//! What the examples share: a model of someone's own, texts for it to learn, and the way from text to token ids.
pub(crate) mod ngram;

use eft::{Error, Prompt, Renderer, Result, TokenId, Vocab};
use ngram::END;

/// A text, cut into what is learnt and what is held out to be scored: paragraphs of prose, or sonnets.
pub(crate) struct Corpus {
    pub(crate) learnt: Vec<String>,
    pub(crate) held_out: Vec<String>,
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

    /// What is learnt.
    pub(crate) fn learnt(&self) -> impl Iterator<Item = &str> {
        self.learnt.iter().map(String::as_str)
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

/// Text as it is scored: its bytes, and its end.
pub(crate) fn whole(text: &str) -> Vec<TokenId> {
    text.bytes().map(u32::from).chain([END]).collect()
}

/// Token ids as text.
pub(crate) fn decode(ids: impl IntoIterator<Item = TokenId>) -> String {
    let bytes: Vec<_> = ids.into_iter().filter_map(|id| u8::try_from(id).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
