//! How the texts of an example are written: recommended settings, grammars, and the flags that are given instead.
use anyhow::Result;
use clap::Args;
use eft::{Decoding, Prompt, Source};

use super::flags::DecodingFlags;
use super::models::Models;

/// What texts follow.
#[derive(Args)]
pub(crate) struct TextFlags {
    /// Use the settings of generation that the tuned model's `generation_config.json` recommends; flags that are given come
    /// before them. `--verbose` prints them
    #[arg(long)]
    pub(crate) recommended: bool,
    /// Write JSON that is valid under the schema in this file
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["regex", "lark"])]
    pub(crate) json_schema: Option<std::path::PathBuf>,
    /// Write texts that match this regular expression as a whole
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "PATTERN", conflicts_with = "lark")]
    pub(crate) regex: Option<String>,
    /// Write texts that the grammar in this file describes, in llguidance's variant of Lark's notation
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "FILE")]
    pub(crate) lark: Option<std::path::PathBuf>,
}

impl TextFlags {
    /// The settings for a text of one of the models, or of their combination, after this prompt.
    pub(crate) fn decoding<B: eft::Backend>(
        &self,
        models: &Models<B>,
        source: &Source<B>,
        prompt: &Prompt,
        flags: &DecodingFlags,
    ) -> Result<Decoding> {
        let decoding = match &models.recommended {
            Some(defaults) if self.recommended => {
                // Penalties count the prompt as a single model reads it.
                let alone = source.name() != models.combined.name();
                let term = if alone { source } else { &models.tuned };
                let length = term.render(prompt.clone())?.len();
                flags.over(defaults.decoding(&term.name(), term.vocab(), length)?)
            }
            _ => flags.decoding(),
        };
        self.with_grammar(models, source, decoding)
    }

    /// Says which of the recommended settings are used.
    pub(crate) fn report<B: eft::Backend>(&self, models: &Models<B>) {
        let tuned = models.tuned.name();
        match &models.recommended {
            _ if !self.recommended => {}
            Some(defaults) => {
                eprintln!("texts are written as {tuned} recommends: {defaults}; and as the flags say")
            }
            None => eprintln!("{tuned} recommends no settings: `--recommended` changes nothing"),
        }
    }

    #[cfg(not(feature = "grammar"))]
    fn with_grammar<B: eft::Backend>(
        &self,
        _: &Models<B>,
        _: &Source<B>,
        decoding: Decoding,
    ) -> Result<Decoding> {
        Ok(decoding)
    }

    #[cfg(feature = "grammar")]
    fn with_grammar<B: eft::Backend>(
        &self,
        models: &Models<B>,
        source: &Source<B>,
        decoding: Decoding,
    ) -> Result<Decoding> {
        use anyhow::Context;
        use eft::grammar::{Grammar, GrammarTokens};

        let read = |file: &std::path::Path| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        if self.json_schema.is_none() && self.regex.is_none() && self.lark.is_none() {
            return Ok(decoding);
        }
        let tokens = match &models.tokenizer {
            Some(tokenizer) => GrammarTokens::with_tokenizer(source.vocab(), tokenizer.clone())?,
            None => GrammarTokens::of_vocab(source.vocab())?,
        };
        let tokens = tokens.with_ends(source.stop_ids())?;
        let grammar = match (&self.json_schema, &self.regex, &self.lark) {
            (Some(file), ..) => Grammar::json_schema(&tokens, &read(file)?)
                .with_context(|| format!("in {}", file.display()))?,
            (_, Some(pattern), _) => Grammar::regex(&tokens, pattern)?,
            (.., Some(file)) => {
                Grammar::lark(&tokens, &read(file)?).with_context(|| format!("in {}", file.display()))?
            }
            _ => return Ok(decoding),
        };
        Ok(decoding.processor(grammar))
    }
}
