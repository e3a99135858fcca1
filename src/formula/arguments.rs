//! The arguments of a rule, by position or by name.
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use eft_core::{Backend, PromptTransform, Source};

use super::names::{among, nearest};
use super::{Error, Result};

/// The weight of a tuned model, the model, and the same model before it was tuned.
pub(super) type WeightedPair<B> = (f32, Source<B>, Source<B>);

/// An argument as it was given.
pub(super) struct Argument<B: Backend> {
    /// The name before `=`.
    pub(super) keyword: Option<(String, Range<usize>)>,
    /// The number before `:`.
    pub(super) label: Option<f32>,
    pub(super) given: Given<B>,
    /// The bytes of the value in the formula.
    pub(super) span: Range<usize>,
}

/// The value of an argument.
pub(super) enum Given<B: Backend> {
    Number(f32),
    Text(String),
    Ids(Vec<u32>),
    Source(Source<B>),
}

impl<B: Backend> fmt::Display for Given<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Ids(_) => "a list of token ids",
            Self::Source(_) => "a model",
        })
    }
}

/// The arguments of a rule that are left to be taken.
pub(super) struct Arguments<'a, B: Backend> {
    text: &'a str,
    rule: Range<usize>,
    /// The closing bracket, which is at fault if an argument is missing.
    end: Range<usize>,
    /// How the rule is written, for messages.
    usage: &'static str,
    left: VecDeque<Argument<B>>,
    /// The names that were asked for.
    names: Vec<&'static str>,
    /// The arguments that were taken, by name.
    taken: Vec<(&'static str, Range<usize>)>,
}

impl<'a, B: Backend> Arguments<'a, B> {
    pub(super) fn new(
        text: &'a str,
        rule: Range<usize>,
        end: Range<usize>,
        usage: &'static str,
        given: Vec<Argument<B>>,
    ) -> Self {
        Self { text, rule, end, usage, left: given.into(), names: Vec::new(), taken: Vec::new() }
    }

    /// Takes the argument of this name, or else the next one without a name.
    fn take(&mut self, name: &'static str) -> Option<Argument<B>> {
        let positional = self.left.iter().position(|a| a.keyword.is_none());
        let index = self.by_name(name).or(positional)?;
        let argument = self.left.remove(index)?;
        self.taken.push((name, argument.span.clone()));
        Some(argument)
    }

    /// The index of the argument that was given by this name.
    fn by_name(&mut self, name: &'static str) -> Option<usize> {
        self.names.push(name);
        let given = |a: &Argument<B>| a.keyword.as_ref().is_some_and(|(k, _)| in_latin(k) == name);
        self.left.iter().position(given)
    }

    /// The error of an argument that is not given; or that its name is misspelt.
    fn missing<T>(&self, name: &'static str, what: impl fmt::Display) -> Result<T> {
        let keywords = self.left.iter().filter_map(|a| a.keyword.as_ref());
        for (keyword, span) in keywords {
            if nearest(in_latin(keyword), [name].into_iter()).is_some() {
                return self.error(span, format!("there is no argument `{keyword}`; did you mean `{name}`?"));
            }
        }
        self.error(&self.end, format!("expected {what}; the rule is written {}", self.usage))
    }

    fn wrong<T>(&self, argument: &Argument<B>, what: impl fmt::Display) -> Result<T> {
        let found = match argument.label {
            Some(_) => "a weight and a model".into(),
            None => argument.given.to_string(),
        };
        self.error(
            &argument.span,
            format!("expected {what}, found {found}; the rule is written {}", self.usage),
        )
    }

    fn error<T>(&self, span: &Range<usize>, message: impl Into<String>) -> Result<T> {
        Err(Error::at(self.text, span, message))
    }

    /// Takes a model.
    pub(super) fn source(&mut self, name: &'static str) -> Result<Source<B>> {
        match self.take(name) {
            Some(Argument { label: None, given: Given::Source(source), .. }) => Ok(source),
            Some(other) => self.wrong(&other, format!("a model (`{name}`)")),
            None => self.missing(name, format!("a model (`{name}`)")),
        }
    }

    /// Takes a model for each name.
    pub(super) fn sources<const N: usize>(&mut self, names: [&'static str; N]) -> Result<[Source<B>; N]> {
        let sources = names.into_iter().map(|name| self.source(name)).collect::<Result<Vec<_>>>()?;
        sources.try_into().or_else(|_| self.missing("model", "a model"))
    }

    /// Takes all models that are left, at least one.
    pub(super) fn all(&mut self) -> Result<Vec<Source<B>>> {
        let mut sources = vec![self.source("model")?];
        while self.left.iter().any(|a| a.keyword.is_none()) {
            sources.push(self.source("model")?);
        }
        Ok(sources)
    }

    /// Takes a number; `default` if it is not given.
    pub(super) fn number(&mut self, name: &'static str, default: Option<f32>) -> Result<f32> {
        match (self.take(name), default) {
            (Some(Argument { label: None, given: Given::Number(number), .. }), _) => Ok(number),
            (Some(other), _) => self.wrong(&other, format!("a number (`{name}`)")),
            (None, Some(default)) => Ok(default),
            (None, None) => self.missing(name, format!("a number (`{name}`)")),
        }
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String> {
        match self.take(name) {
            Some(Argument { label: None, given: Given::Text(text), .. }) => Ok(text),
            Some(other) => self.wrong(&other, format!("a text in double quotes (`{name}`)")),
            None => self.missing(name, format!("a text in double quotes (`{name}`)")),
        }
    }

    /// Takes a prompt transform: a system message, or another kind by its name.
    pub(super) fn transform(&mut self) -> Result<PromptTransform> {
        for name in ["preamble", "prefix", "prompt"] {
            let Some(index) = self.by_name(name) else { continue };
            let Some(argument) = self.left.remove(index) else { continue };
            return match (name, argument.given) {
                ("preamble", Given::Text(text)) => Ok(PromptTransform::preamble(text)),
                ("prefix", Given::Ids(ids)) => Ok(PromptTransform::prefix(ids)),
                ("prompt", Given::Text(text)) => Ok(PromptTransform::fixed(text)),
                ("prompt", Given::Ids(ids)) => Ok(PromptTransform::fixed(ids)),
                (_, given) => {
                    let what = match name {
                        "preamble" => "a text in double quotes",
                        "prefix" => "a list of token ids",
                        _ => "a text in double quotes or a list of token ids",
                    };
                    self.error(&argument.span, format!("expected {what} (`{name}`), found {given}"))
                }
            };
        }
        Ok(PromptTransform::system(self.text("system")?))
    }

    /// Takes models with weights, while there are any; at least one.
    pub(super) fn weighted(&mut self) -> Result<Vec<(f32, Source<B>)>> {
        let mut weighted = Vec::new();
        while weighted.is_empty() || self.left.iter().any(|a| a.label.is_some()) {
            weighted.push(self.weight()?);
        }
        Ok(weighted)
    }

    /// Takes groups of a weight, a model and another model, to the end.
    pub(super) fn weighted_pairs(&mut self) -> Result<Vec<WeightedPair<B>>> {
        let mut pairs = Vec::new();
        while self.left.iter().any(|a| a.keyword.is_none()) {
            let (weight, tuned) = self.weight()?;
            pairs.push((weight, tuned, self.source("untuned")?));
        }
        Ok(pairs)
    }

    fn weight(&mut self) -> Result<(f32, Source<B>)> {
        const WHAT: &str = "a weight and a model, as in `0.5: model`";
        match self.take("model") {
            Some(Argument { label: Some(weight), given: Given::Source(source), .. }) => Ok((weight, source)),
            Some(other) => self.wrong(&other, WHAT),
            None => self.missing("model", WHAT),
        }
    }

    /// Refuses arguments that were not taken.
    pub(super) fn end(&self) -> Result<()> {
        let Some(extra) = self.left.front() else { return Ok(()) };
        match &extra.keyword {
            None => {
                self.error(&extra.span, format!("one argument too many; the rule is written {}", self.usage))
            }
            Some((keyword, span)) if self.taken.iter().any(|(name, _)| *name == in_latin(keyword)) => {
                self.error(span, format!("the argument `{keyword}` is given twice"))
            }
            Some((keyword, span)) => {
                let known = self.names.iter().copied();
                self.error(span, format!("there is no argument `{keyword}`{}", among(keyword, known)))
            }
        }
    }

    /// The result of a rule, with an error at the argument that it refuses.
    pub(super) fn built(&self, result: eft_core::Result<Source<B>>) -> Result<Source<B>> {
        result.map_err(|error| {
            let name = match &error {
                eft_core::Error::InvalidParameter { name, .. } => name,
                eft_core::Error::Unknown { kind, .. } => kind,
                _ => "",
            };
            let span =
                self.taken.iter().find(|(taken, _)| *taken == name).map_or(&self.rule, |(_, span)| span);
            Error::at(self.text, span, eft_core::error::with_sources(&error))
        })
    }
}

/// The name of an argument, with Greek letters by their Latin names.
fn in_latin(name: &str) -> &str {
    match name {
        "α" => "alpha",
        "β" => "beta",
        "γ" => "gamma",
        "λ" => "lambda",
        other => other,
    }
}
