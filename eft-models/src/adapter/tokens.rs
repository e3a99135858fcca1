//! [`TrainedTokens`]: the tokens that have rows of their own in an adapter.
use eft_core::TokenId;
use serde_json::Value;

use crate::Result;
use crate::config::Config;

/// The field of the configuration.
pub(super) const FIELD: &str = "trainable_token_indices";

/// The tokens that have rows of their own in an adapter, for each module that has such rows.
#[derive(Debug, Clone, Default)]
pub(super) struct TrainedTokens {
    /// The end of the module's name, `None` for the embedding; and its tokens.
    modules: Vec<(Option<String>, Vec<TokenId>)>,
}

impl TrainedTokens {
    /// Reads `trainable_token_indices`: a list of tokens, for the embedding, or one for each of several modules.
    pub(super) fn read(config: &Config<'_>) -> Result<Self> {
        let tokens = |value: &Value| {
            let list =
                value.as_array().map(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
            let list = list.flatten().map(|list| list.into_iter().map(TokenId::try_from).collect());
            let tokens: Option<std::result::Result<Vec<TokenId>, _>> = list;
            let Some(Ok(tokens)) = tokens else {
                return Err(config.error(FIELD, format!("is {value}; expected token ids")));
            };
            let mut sorted = tokens.clone();
            sorted.sort_unstable();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(config.error(FIELD, format!("lists the token {} twice", twice[0])));
            }
            Ok(tokens)
        };
        let modules = match config.get(FIELD) {
            None => Vec::new(),
            Some(Value::Object(modules)) => {
                let of = |(name, value): (&String, &Value)| Ok((Some(name.clone()), tokens(value)?));
                modules.iter().map(of).collect::<Result<_>>()?
            }
            Some(list) => vec![(None, tokens(list)?)],
        };
        Ok(Self { modules: modules.into_iter().filter(|(_, tokens)| !tokens.is_empty()).collect() })
    }

    /// The tokens that have rows of their own in a module; `None` if there are none.
    pub(super) fn of(&self, module: &str, is_embedding: bool) -> Option<&[TokenId]> {
        let belongs = |name: &Option<String>| match name {
            Some(end) => module.ends_with(end.as_str()),
            None => is_embedding,
        };
        self.modules.iter().find(|(name, _)| belongs(name)).map(|(_, tokens)| tokens.as_slice())
    }
}
