use std::collections::BTreeSet;
use std::sync::Arc;

use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId, Vocab};

/// Forbids words in the generated text, however tokens spell them: every token that would complete one.
///
/// A word is forbidden wherever its bytes occur, also within longer words, and with tokens that begin before it or end
/// after it. Only the generated text counts, not the prompt. Words that differ in case are different.
///
/// ```
/// use eft_core::sample::BadWords;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("letters", ["b", "ad", "d", "a"])?;
/// let model = from_fn(Host, vocab.clone(), |tokens| {
///     Ok(if tokens.len() == 1 { vec![9.0, 0.0, 0.0, 0.0] } else { vec![0.0, 9.0, 1.0, 8.0] })
/// });
/// let decoding = Decoding::from(Sampling::greedy()).max_tokens(3).processor(BadWords::new(&vocab, ["bad"])?);
/// let text: String = model.generate([2], decoding)?.text()?.collect::<eft_core::Result<_>>()?;
/// assert_eq!(text, "baad"); // neither "b" + "ad" nor "ba" + "d"
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BadWords {
    vocab: Arc<Vocab>,
    words: Vec<Word>,
}

/// One word.
#[derive(Debug, Clone)]
struct Word {
    bytes: Vec<u8>,
    /// For each number of bytes of the word that the text ends with, the tokens that complete the word.
    completing: Vec<Vec<TokenId>>,
}

impl BadWords {
    /// Forbids these words in the texts of models with this vocabulary.
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`] if a word is empty.
    /// * [`Error::Unsupported`] if the vocabulary does not know the bytes of its tokens.
    pub fn new<W: Into<String>>(vocab: &Vocab, words: impl IntoIterator<Item = W>) -> Result<Self> {
        if vocab.is_anonymous() {
            let who = format!("the vocabulary `{}`", vocab.name());
            return Err(Error::Unsupported {
                who,
                what: "forbidden words: the bytes of its tokens are not known".into(),
            });
        }
        let word = |word: W| {
            let bytes = word.into().into_bytes();
            match bytes.is_empty() {
                true => Err(Error::parameter("bad word", "\"\"", "at least one character")),
                false => Ok(Word { completing: completing(vocab, &bytes), bytes }),
            }
        };
        Ok(Self {
            vocab: Arc::new(vocab.clone()),
            words: words.into_iter().map(word).collect::<Result<_>>()?,
        })
    }
}

/// For each number of bytes of a word that a text ends with, the tokens that complete the word. Special tokens have no
/// text.
fn completing(vocab: &Vocab, word: &[u8]) -> Vec<Vec<TokenId>> {
    let mut lists = vec![Vec::new(); word.len()];
    for id in 0..vocab.real() as TokenId {
        let Some(token) = vocab.bytes(id).filter(|_| !vocab.is_special(id)) else { continue };
        for (begun, list) in lists.iter_mut().enumerate() {
            let completes = match begun {
                0 => token.windows(word.len()).any(|part| part == word),
                _ => token.starts_with(&word[begun..]),
            };
            if completes {
                list.push(id);
            }
        }
    }
    lists
}

impl Processor for BadWords {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        let longest = self.words.iter().map(|word| word.bytes.len()).max().unwrap_or(0);
        // The end of the text, as long as it can matter.
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut length = 0;
        for id in history.generated.iter().rev().filter(|id| !self.vocab.is_special(**id)) {
            if length + 1 >= longest {
                break;
            }
            let bytes = self.vocab.bytes(*id).unwrap_or_default();
            length += bytes.len();
            parts.push(bytes);
        }
        parts.reverse();
        let end = parts.concat();
        let mut forbidden = BTreeSet::new();
        for Word { bytes, completing } in &self.words {
            let lists = completing.iter().enumerate().filter(|(begun, _)| end.ends_with(&bytes[..*begun]));
            forbidden.extend(lists.flat_map(|(_, list)| list));
        }
        Ok(super::forbid(forbidden))
    }
}
