//! [`GenerationDefaults`]: the settings of generation that a model's authors recommend.
use std::fmt;
use std::path::{Path, PathBuf};

use eft_core::sample::{
    ForbidFirst, ForbiddenSequences, LogitBias, MinNewTokens, NoRepeatNgram, RepetitionPenalty, Typical,
};
use eft_core::{Decoding, Sampling, TokenId, Vocab};
use eft_models::Error;
use serde_json::{Map, Value};

use super::error::Result;
use crate::text::config::read_json;

/// The settings in a model's `generation_config.json`, as transformers reads them. They are not applied unless they are
/// asked for: see [`Model::decoding`](super::Model::decoding).
///
/// Displayed, it says which settings are taken, and which ones are not supported.
///
/// ```
/// use eft::Loader;
/// use eft::candle::{Candle, CandleNn};
///
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small");
/// let model = Loader::new(folder).load_on(CandleNn::new(Candle::cpu()))?;
/// let defaults = model.defaults.expect("the folder has the file");
/// assert_eq!(defaults.to_string(), "greedy");
/// # Ok::<(), eft::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GenerationDefaults {
    /// How tokens are drawn. Without `do_sample`, it is greedy. When tokens are drawn, the default of `top_k` is 50, as in
    /// transformers; 0 in the file keeps all tokens.
    pub sampling: Sampling,
    /// The mass of locally typical sampling.
    pub typical_p: Option<f32>,
    /// The penalty on tokens of the prompt and of the text.
    pub repetition_penalty: Option<f32>,
    /// The length of sequences of tokens that must not occur twice.
    pub no_repeat_ngram: Option<usize>,
    /// Tokens that are never chosen.
    pub suppressed: Vec<TokenId>,
    /// Sequences of tokens that must not occur in a text.
    pub bad_words: Vec<Vec<TokenId>>,
    /// Tokens that are not chosen as the first of a text.
    pub suppressed_first: Vec<TokenId>,
    /// The least number of tokens of a text.
    pub min_new_tokens: Option<usize>,
    /// The largest number of tokens of a text.
    pub max_new_tokens: Option<usize>,
    /// The largest number of tokens of prompt and text. It counts only without `max_new_tokens`.
    pub max_length: Option<usize>,
    /// Further fields that change what transformers generates, and are not supported here, with their values.
    pub unsupported: Vec<(String, String)>,
    /// The file, for errors.
    file: PathBuf,
}

/// The fields that change what is generated and are not supported, with the values that change nothing.
const UNSUPPORTED: [(&str, f64); 11] = [
    ("num_beams", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("penalty_alpha", 0.0),
    ("guidance_scale", 1.0),
    ("top_h", 0.0),
    ("diversity_penalty", 0.0),
    ("min_length", 0.0),
    ("dola_layers", f64::NAN),
];

/// Fields whose presence changes what is generated.
const UNSUPPORTED_LISTS: [&str; 5] = [
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "sequence_bias",
];

impl GenerationDefaults {
    /// Reads `generation_config.json` in a folder; `None` if there is no such file.
    ///
    /// # Errors
    /// * [`Error::Io`] if the file cannot be read, [`Error::BadFile`] if it is not a JSON object.
    /// * [`Error::Config`] if a field has a value of another type.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let file = folder.as_ref().join("generation_config.json");
        if !file.exists() {
            return Ok(None);
        }
        let Value::Object(fields) = read_json(&file)? else {
            return Err(Error::BadFile { file, reason: "it is not a JSON object".into() }.into());
        };
        let reader = Reader { file, fields };
        let number = |name: &str| reader.number(name).map(|x| x.map(|x| x as f32));
        let (mut sampling, mut typical_p) = (Sampling::greedy(), None);
        if reader.flag("do_sample")? {
            let top_k = reader.size("top_k")?.unwrap_or(50);
            sampling = Sampling::default().temperature(number("temperature")?.unwrap_or(1.0));
            sampling = sampling.top_k(Some(top_k).filter(|k| *k > 0));
            sampling = sampling
                .top_p(number("top_p")?.filter(|p| *p < 1.0))
                .min_p(number("min_p")?.filter(|p| *p != 0.0));
            typical_p = number("typical_p")?.filter(|p| *p < 1.0);
        }
        let other = |value: &Value, neutral: f64| !value.is_null() && value.as_f64() != Some(neutral);
        let numbers =
            UNSUPPORTED.iter().filter(|(name, neutral)| reader.get(name).is_some_and(|v| other(v, *neutral)));
        let lists = UNSUPPORTED_LISTS.iter().filter(|name| reader.get(name).is_some());
        let names = numbers.map(|(name, _)| *name).chain(lists.copied());
        let unsupported =
            names.map(|name| (name.to_owned(), reader.get(name).map_or_else(String::new, Value::to_string)));
        Ok(Some(Self {
            sampling,
            typical_p,
            repetition_penalty: number("repetition_penalty")?.filter(|penalty| *penalty != 1.0),
            no_repeat_ngram: reader.size("no_repeat_ngram_size")?.filter(|n| *n > 0),
            suppressed: reader.ids("suppress_tokens")?,
            bad_words: reader.bad_words()?,
            suppressed_first: reader.ids("begin_suppress_tokens")?,
            min_new_tokens: reader.size("min_new_tokens")?.filter(|n| *n > 0),
            max_new_tokens: reader.size("max_new_tokens")?,
            max_length: reader.size("max_length")?,
            unsupported: unsupported.collect(),
            file: reader.file.clone(),
        }))
    }

    /// Returns the settings for texts after a prompt of `prompt` tokens. `term` is the name of the model in the
    /// combination that generates, `vocab` its vocabulary.
    ///
    /// # Errors
    /// [`eft_core::Error::Load`], naming the field, if a value is out of its range, or names a token that is not in the
    /// vocabulary.
    pub fn decoding(&self, term: &str, vocab: &Vocab, prompt: usize) -> eft_core::Result<Decoding> {
        for (field, ids) in [
            ("suppress_tokens", &self.suppressed),
            ("begin_suppress_tokens", &self.suppressed_first),
            ("bad_words_ids", &self.bad_words.concat()),
        ] {
            if let Some(id) = ids.iter().find(|id| **id as usize >= vocab.width()) {
                let reason = format!("names the token {id}, but the model has only {}", vocab.width());
                return Err(self.error(field, reason));
            }
        }
        self.in_range(self.sampling.validate(), None)?;
        let mut decoding = Decoding::from(self.sampling);
        if let Some(penalty) = self.repetition_penalty {
            let penalty = self.in_range(RepetitionPenalty::new(penalty), Some("repetition_penalty"))?;
            decoding = decoding.processor(penalty.with_prompt_of(term));
        }
        if let Some(length) = self.no_repeat_ngram {
            decoding = decoding.processor(NoRepeatNgram::new(length)?.with_prompt_of(term));
        }
        if let Some(least) = self.min_new_tokens {
            decoding = decoding.processor(MinNewTokens::new(least, vocab.eos().iter().copied()));
        }
        if !self.suppressed.is_empty() {
            decoding = decoding.processor(LogitBias::forbid(self.suppressed.iter().copied()));
        }
        if !self.bad_words.is_empty() {
            let words = ForbiddenSequences::new(self.bad_words.iter().cloned());
            let words = self.in_range(words, Some("bad_words_ids"))?;
            decoding = decoding.processor(words.with_prompt_of(term));
        }
        if !self.suppressed_first.is_empty() {
            decoding = decoding.processor(ForbidFirst::new(self.suppressed_first.iter().copied()));
        }
        if let Some(mass) = self.typical_p {
            decoding = decoding.truncation(self.in_range(Typical::new(mass), Some("typical_p"))?);
        }
        let left = self.max_length.map(|length| length.saturating_sub(prompt));
        if let Some(most) = self.max_new_tokens.or(left) {
            decoding = decoding.max_tokens(most);
        }
        Ok(decoding)
    }

    fn error(&self, field: &str, reason: String) -> eft_core::Error {
        eft_core::Error::load(Error::Config { file: self.file.clone(), field: field.into(), reason })
    }

    /// A setting, or an error that names its field: `field`, or the one that the setting's own error names.
    fn in_range<T>(&self, setting: eft_core::Result<T>, field: Option<&str>) -> eft_core::Result<T> {
        setting.map_err(|error| match error {
            eft_core::Error::InvalidParameter { name, value, expected } => {
                self.error(field.unwrap_or(name), format!("is {value}; expected {expected}"))
            }
            other => other,
        })
    }
}

impl fmt::Display for GenerationDefaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut taken = Vec::new();
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        match self.sampling.is_greedy() {
            true => taken.push("greedy".to_owned()),
            false => taken.push(format!("temperature {temperature}")),
        }
        let mut add =
            |name: &str, value: Option<String>| taken.extend(value.map(|value| format!("{name} {value}")));
        let count = |ids: &[TokenId]| (!ids.is_empty()).then(|| format!("{} tokens", ids.len()));
        add("top-k", top_k.map(|k| k.to_string()));
        add("top-p", top_p.map(|p| p.to_string()));
        add("min-p", min_p.map(|p| p.to_string()));
        add("typical", self.typical_p.map(|p| p.to_string()));
        add("repetition penalty", self.repetition_penalty.map(|x| x.to_string()));
        add("no repeated sequence of tokens of length", self.no_repeat_ngram.map(|n| n.to_string()));
        add("never", count(&self.suppressed));
        add("bad words", (!self.bad_words.is_empty()).then(|| self.bad_words.len().to_string()));
        add("not at first", count(&self.suppressed_first));
        add("tokens: at least", self.min_new_tokens.map(|n| n.to_string()));
        add("tokens: at most", self.max_new_tokens.map(|n| n.to_string()));
        let length = self.max_length.filter(|_| self.max_new_tokens.is_none());
        add("tokens with the prompt: at most", length.map(|n| n.to_string()));
        f.write_str(&taken.join(", "))?;
        if !self.unsupported.is_empty() {
            let names = self.unsupported.iter().map(|(name, value)| format!("{name} {value}"));
            write!(f, "; not supported: {}", names.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// Typed access to the fields of the file.
struct Reader {
    file: PathBuf,
    fields: Map<String, Value>,
}

impl Reader {
    /// A field that is there and not null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(&self, name: &str, expected: &str, of: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || {
            let reason = format!("is {value}; expected {expected}");
            Error::Config { file: self.file.clone(), field: name.into(), reason }
        };
        Ok(Some(of(value).ok_or_else(wrong)?))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.read(name, "a number", Value::as_f64)
    }

    fn size(&self, name: &str) -> Result<Option<usize>> {
        self.read(name, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    fn ids(&self, name: &str) -> Result<Vec<TokenId>> {
        Ok(self.read(name, "a list of token ids", ids)?.unwrap_or_default())
    }

    fn bad_words(&self) -> Result<Vec<Vec<TokenId>>> {
        let lists = |value: &Value| value.as_array()?.iter().map(ids).collect();
        Ok(self.read("bad_words_ids", "a list of lists of token ids", lists)?.unwrap_or_default())
    }
}

fn ids(value: &Value) -> Option<Vec<TokenId>> {
    value.as_array()?.iter().map(|id| TokenId::try_from(id.as_u64()?).ok()).collect()
}
