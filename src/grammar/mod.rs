//! Texts that follow a grammar: a JSON Schema, a regular expression, a grammar in Lark's notation, or a list of choices.
//!
//! A [`Grammar`] is a [`Processor`]: at every position it excludes the tokens after which the text could no longer follow
//! the grammar, and it lets the text end only where it is complete. It works with every combination, in batches, with
//! speculative decoding, search and samples, since it depends on nothing but the tokens so far. Parsing is done by the
//! library [llguidance](https://docs.rs/llguidance).
//!
//! ```
//! use eft::grammar::{Grammar, GrammarTokens};
//! use eft::{Decoding, Loader, Sampling};
//! use eft::candle::{Candle, CandleNn};
//!
//! let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small");
//! let model = Loader::new(folder).load_on(CandleNn::new(Candle::cpu()))?;
//! let tokens = GrammarTokens::of(&model)?; // made once for a model
//!
//! let schema = r#"{"type": "object", "properties": {"plays": {"enum": ["fiddle", "harp"]}},
//!     "required": ["plays"], "additionalProperties": false}"#;
//! let grammar = Grammar::json_schema(&tokens, schema)?;
//! let decoding = Decoding::from(Sampling::greedy()).processor(grammar);
//! let text: String = model.source.generate("Which instrument?", decoding)?.text()?.collect::<eft::Result<_>>()?;
//! assert!([r#"{"plays": "fiddle"}"#, r#"{"plays": "harp"}"#].contains(&&*text));
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! # Forced tokens
//! Where the grammar leaves only one text, such as the name of a property that must come next, that text is spelled as the
//! tokenizer spells it, and plain decoding reads all of its tokens in one pass. In speculative decoding they are drafted
//! like other tokens, and always accepted.
//!
//! # Limits of tokens
//! A text that reaches its limit of tokens is cut off and does not follow the grammar. Grammars with unlimited parts, such
//! as strings without a `maxLength`, let a model write for as long as it wants.
mod error;
mod locate;
mod nesting;
mod schema;
mod states;
mod text_state;
mod tokens;

use std::sync::Arc;

use eft_core::sample::{History, Processor};
use eft_core::{Edit, TokenId, TokenMask};
use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher};
use serde_json::{Value, json};

pub use error::Error;
pub use tokens::GrammarTokens;

use states::States;

/// A grammar that texts follow: see the [module](self).
///
/// Clones share what has been computed.
#[derive(Clone)]
pub struct Grammar {
    tokens: GrammarTokens,
    states: Arc<States>,
}

/// The most tokens that are forced at once, so that a grammar that forces a text without end is not read for ever.
const MOST_FORCED: usize = 64;

impl Grammar {
    /// Lets texts be JSON that is valid under this schema, with properties in the order of the schema.
    ///
    /// The JSON is written in one line, with `", "` between items and `": "` after names, as most models would write it.
    /// A schema with the field `x-guidance` decides for itself: `{"x-guidance": {"whitespace_flexible": true}}` lets the
    /// model choose. Which keywords of JSON Schema are supported is described in
    /// [llguidance's documentation](https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md); others are
    /// errors. References must begin with `#/`.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the place in the schema, if it is not JSON, not a schema, cannot be satisfied, has
    /// keywords that are not supported, or is too complex.
    pub fn json_schema(tokens: &GrammarTokens, schema: &str) -> Result<Self, Error> {
        let what = "JSON schema";
        let mut schema: Value = serde_json::from_str(schema).map_err(|error| Error::Invalid {
            what,
            at: None,
            reason: error.to_string(),
        })?;
        if let Value::Bool(_) = schema {
            schema = json!({ "allOf": [schema] });
        }
        if let Some(at) = nesting::of_schema(&schema) {
            let at = (!at.is_empty()).then(|| format!("#{at}"));
            return Err(Error::Invalid { what, at, reason: nesting::reason() });
        }
        let compile = |schema: &Value| matcher(tokens, of_schema(schema.clone()));
        compile(&schema)
            .map_err(|reason| locate::error(&schema, reason, |part| compile(part).map(drop)))
            .map(|matcher| Self::new(tokens, matcher))
    }

    /// Lets texts be those that match this regular expression as a whole, in the syntax of the crate
    /// [regex](https://docs.rs/regex/latest/regex/#syntax).
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not a regular expression, matches no text, or is too complex.
    pub fn regex(tokens: &GrammarTokens, pattern: &str) -> Result<Self, Error> {
        let what = "regular expression";
        if nesting::of_regex(pattern) {
            return Err(Error::Invalid { what, at: None, reason: nesting::reason() });
        }
        Self::compiled(tokens, what, TopLevelGrammar::from_regex(pattern))
    }

    /// Lets texts be those that a grammar in llguidance's variant of Lark's notation describes, beginning with the rule
    /// `start`: see [its documentation](https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md). A special token
    /// stands in the grammar as it is spelled in the vocabulary, if it is spelled in angle brackets: `<|tool_call|>`.
    ///
    /// ```
    /// use eft::grammar::{Grammar, GrammarTokens};
    /// use eft::Vocab;
    ///
    /// let vocab = Vocab::new("letters", ["a", "b", "(", ")", "</s>"])?.with_eos([4])?;
    /// let tokens = GrammarTokens::of_vocab(&vocab)?;
    /// assert!(Grammar::lark(&tokens, r#"start: "(" start ")" | /[ab]+/"#).is_ok());
    ///
    /// let error = Grammar::lark(&tokens, "start: \"(\" inner \")\"").err().unwrap();
    /// assert!(error.to_string().contains("inner"), "{error}");
    /// # Ok::<(), eft::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the line, if it is not a grammar, or is too complex.
    pub fn lark(tokens: &GrammarTokens, grammar: &str) -> Result<Self, Error> {
        let what = "Lark grammar";
        if nesting::of_lark(grammar) {
            return Err(Error::Invalid { what, at: None, reason: nesting::reason() });
        }
        Self::compiled(tokens, what, TopLevelGrammar::from_lark(grammar.into()))
    }

    /// Lets texts be one of these.
    ///
    /// ```
    /// use eft::grammar::{Grammar, GrammarTokens};
    /// use eft::{Decoding, Host, Sampling, Vocab, from_fn};
    ///
    /// let vocab = Vocab::new("letters", ["y", "e", "s", "n", "o", "</s>"])?.with_eos([5])?;
    /// let model = from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 0.0, 0.0, 1.0, 0.0, 9.0]));
    /// let choices = Grammar::choices(&GrammarTokens::of_vocab(&vocab)?, ["yes", "no"])?;
    /// let decoding = Decoding::from(Sampling::greedy()).processor(choices);
    /// let text: String = model.generate([0], decoding)?.text()?.collect::<eft::Result<_>>()?;
    /// assert_eq!(text, "no");
    /// # Ok::<(), eft::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are no choices, or they are too long.
    pub fn choices<T: AsRef<str>>(
        tokens: &GrammarTokens,
        choices: impl IntoIterator<Item = T>,
    ) -> Result<Self, Error> {
        // A string of Lark's notation is written as one of JSON.
        let quoted = |text: T| Value::from(text.as_ref()).to_string();
        let choices: Vec<_> = choices.into_iter().map(quoted).collect();
        if choices.is_empty() {
            return Err(Error::Invalid { what: "list of choices", at: None, reason: "it is empty".into() });
        }
        let grammar = format!("start: {}", choices.join(" | "));
        Self::compiled(tokens, "list of choices", TopLevelGrammar::from_lark(grammar))
    }

    fn compiled(tokens: &GrammarTokens, what: &'static str, grammar: TopLevelGrammar) -> Result<Self, Error> {
        let matcher = matcher(tokens, grammar).map_err(|reason| Error::Invalid { what, at: None, reason })?;
        Ok(Self::new(tokens, matcher))
    }

    fn new(tokens: &GrammarTokens, start: Matcher) -> Self {
        Self { tokens: tokens.clone(), states: Arc::new(States::new(start)) }
    }

    /// Returns the tokens that may come after the tokens of a text.
    fn mask(&self, history: &History<'_>, generated: &[TokenId]) -> eft_core::Result<Arc<TokenMask>> {
        // After an end-of-sequence token, if it has not ended the text, nothing else may follow.
        if generated.iter().any(|token| self.tokens.ends().contains(token)) {
            return Ok(self.tokens.ends_mask());
        }
        self.states
            .with(history.row, |state| state.mask(&self.tokens, generated))
            .map_err(|error| eft_core::Error::source("the grammar", error))
    }
}

/// The schema as a grammar, in one line unless it says otherwise.
fn of_schema(mut schema: Value) -> TopLevelGrammar {
    let options = JsonCompileOptions {
        item_separator: ", ".into(),
        key_separator: ": ".into(),
        whitespace_flexible: false,
        ..JsonCompileOptions::default()
    };
    if let Value::Object(fields) = &schema
        && !fields.contains_key("x-guidance")
    {
        options.apply_to(&mut schema);
    }
    schema::with_real_dates(&mut schema);
    TopLevelGrammar::from_json_schema(schema)
}

/// The parser of a grammar, at the beginning of a text; or why there is none.
fn matcher(tokens: &GrammarTokens, grammar: TopLevelGrammar) -> Result<Matcher, String> {
    let mut matcher = Matcher::new(tokens.factory().create_parser(grammar));
    // Some grammars are found to be too complex, or to match no text, only when the first token is looked for.
    let usable = matcher.compute_mask_or_eos();
    usable.map_err(|error| error::plain(&error.to_string()))?;
    Ok(matcher)
}

impl Processor for Grammar {
    fn edits(&self, history: &History<'_>) -> eft_core::Result<Vec<Edit>> {
        Ok(vec![Edit::Allow(self.mask(history, history.generated)?)])
    }

    fn forced(&self, history: &History<'_>) -> eft_core::Result<Vec<TokenId>> {
        let mut text = history.generated.to_vec();
        let before = text.len();
        while text.len() < before + MOST_FORCED {
            match only(&*self.mask(history, &text)?) {
                Some(token) => text.push(token),
                None => break,
            }
            if text.last().is_some_and(|token| self.tokens.ends().contains(token)) {
                break;
            }
        }
        Ok(text.split_off(before))
    }
}

/// The token of a set that has only one.
fn only(mask: &TokenMask) -> Option<TokenId> {
    let mut words = mask.words().iter().enumerate().filter(|(_, word)| **word != 0);
    let (index, word) = words.next()?;
    (words.next().is_none() && word.is_power_of_two()).then(|| index as TokenId * 64 + word.trailing_zeros())
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
