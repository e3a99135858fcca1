//! [`Grammars`]: the grammars that texts follow.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use eft::candle::Candle;
use eft::grammar::{Error, Grammar, GrammarTokens};
use eft::sample::Processor;
use eft::text::Tokenizer;
use eft::{Source, TokenId};

/// The tokens of vocabularies as grammars need them, which are made once for each vocabulary and set of stop ids.
#[derive(Default)]
pub(crate) struct Grammars(Mutex<HashMap<(u128, Vec<TokenId>), GrammarTokens>>);

impl Grammars {
    /// A processor that lets texts be JSON that is valid under a schema.
    pub(crate) fn json_schema(
        &self,
        source: &Source<Candle>,
        tokenizer: Option<&Arc<Tokenizer>>,
        schema: &str,
    ) -> Result<Arc<dyn Processor>, Error> {
        let (vocab, ends) = (source.vocab(), source.stop_ids());
        let key = (vocab.fingerprint(), ends.iter().copied().collect());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = match known.get(&key) {
            Some(tokens) => tokens.clone(),
            None => {
                let tokens = match tokenizer {
                    Some(tokenizer) => GrammarTokens::with_tokenizer(vocab, tokenizer.clone())?,
                    None => GrammarTokens::of_vocab(vocab)?,
                };
                let tokens = tokens.with_ends(ends)?;
                known.insert(key, tokens.clone());
                tokens
            }
        };
        drop(known);
        Ok(Arc::new(Grammar::json_schema(&tokens, schema)?))
    }
}
