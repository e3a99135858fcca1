//! From tokens to sources. Brackets are the only recursion, and it is limited; sums and products are loops.
use std::collections::BTreeMap;
use std::ops::Range;

use eft_core::{Backend, Source, combine};

use super::arguments::{Argument, Arguments, Given};
use super::lexer::{Placed, Token};
use super::names::{among, nearest};
use super::{Error, Result, rules};

/// How deeply brackets may be nested.
const MAX_DEPTH: usize = 128;

const DECIMAL_COMMA: &str = "a number has a decimal point, not a comma";

pub(super) struct Parser<'a, B: Backend> {
    text: &'a str,
    tokens: Vec<Placed>,
    next: usize,
    /// The number of brackets that are open.
    depth: usize,
    models: &'a BTreeMap<String, Source<B>>,
    /// The numbers that have names.
    numbers: &'a BTreeMap<String, f64>,
}

/// The value of a part of a formula.
enum Value<B: Backend> {
    Number(f64),
    /// A source, multiplied by a weight.
    Weighted(f64, Source<B>),
}

impl<B: Backend> Value<B> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Weighted(..) => "a model",
        }
    }
}

impl<'a, B: Backend> Parser<'a, B> {
    /// The tokens end with [`Token::End`] or [`Token::Fault`].
    pub(super) fn new(
        text: &'a str,
        tokens: Vec<Placed>,
        models: &'a BTreeMap<String, Source<B>>,
        numbers: &'a BTreeMap<String, f64>,
    ) -> Self {
        Self { text, tokens, next: 0, depth: 0, models, numbers }
    }

    /// The whole formula.
    pub(super) fn formula(mut self) -> Result<Source<B>> {
        if matches!(self.peek(), Token::End) {
            return Err(Error::at(self.text, &(0..0), "the formula is empty"));
        }
        let start = self.span();
        let value = self.sum()?;
        match self.peek() {
            Token::End => self.source(value, start.start..self.end()),
            Token::Comma if self.is_decimal() => self.error(&self.span(), DECIMAL_COMMA),
            Token::Open | Token::Name(_) | Token::Quoted(_) | Token::Number(_) => {
                self.expected("an operator (`*` to multiply) or the end of the formula")
            }
            _ => self.expected("an operator or the end of the formula"),
        }
    }

    /// Terms that are added and subtracted.
    fn sum(&mut self) -> Result<Value<B>> {
        let first = self.product()?;
        if !matches!(self.peek(), Token::Plus | Token::Minus) {
            return Ok(first);
        }
        let start = self.span();
        let (mut total, mut terms) = (0.0, Vec::new());
        let numbers = match first {
            Value::Number(number) => {
                total = number;
                true
            }
            Value::Weighted(weight, source) => {
                terms.push((weight as f32, source));
                false
            }
        };
        loop {
            let operator = self.span();
            let sign = match self.peek() {
                Token::Plus => 1.0,
                Token::Minus => -1.0,
                _ => break,
            };
            self.advance();
            match self.product()? {
                Value::Number(number) if numbers => total = self.finite(total + sign * number, &operator)?,
                Value::Weighted(weight, source) if !numbers => terms.push(((sign * weight) as f32, source)),
                // A number that is not complete, or lacks its `*`.
                _ if self.is_decimal() => return self.error(&self.span(), DECIMAL_COMMA),
                _ if matches!(self.peek(), Token::Open | Token::Name(_) | Token::Quoted(_)) => {
                    return self.expected("an operator (`*` to multiply)");
                }
                _ => {
                    let message = "models and numbers cannot be added; to weight a model, write `*`";
                    return self.error(&operator, message);
                }
            }
        }
        if numbers {
            return Ok(Value::Number(total));
        }
        let sum = combine::weighted(terms.iter().map(|(weight, source)| (*weight, source)));
        Ok(Value::Weighted(1.0, sum.map_err(|e| Error::at(self.text, &start, e.to_string()))?))
    }

    /// Factors that are multiplied and divided.
    fn product(&mut self) -> Result<Value<B>> {
        let mut product = self.signed()?;
        loop {
            let operator = self.span();
            let divides = match self.peek() {
                Token::Times => false,
                Token::Divide => true,
                _ => return Ok(product),
            };
            self.advance();
            let at = self.span();
            product = match (product, self.signed()?) {
                (_, Value::Number(0.0)) if divides => return self.error(&at, "division by zero"),
                (Value::Number(a), Value::Number(b)) => {
                    Value::Number(self.finite(if divides { a / b } else { a * b }, &operator)?)
                }
                (Value::Weighted(a, source), Value::Number(b)) => {
                    Value::Weighted(self.finite(if divides { a / b } else { a * b }, &operator)?, source)
                }
                (Value::Number(a), Value::Weighted(b, source)) if !divides => {
                    Value::Weighted(self.finite(a * b, &operator)?, source)
                }
                (left, right) => {
                    let action = if divides { "divided" } else { "multiplied" };
                    let message = format!("{} cannot be {action} by {}", left.kind(), right.kind());
                    return self.error(&operator, message);
                }
            };
        }
    }

    /// An operand after any number of signs.
    fn signed(&mut self) -> Result<Value<B>> {
        let mut sign = 1.0;
        while *self.peek() == Token::Minus {
            sign = -sign;
            self.advance();
        }
        Ok(match self.operand()? {
            Value::Number(number) => Value::Number(sign * number),
            Value::Weighted(weight, source) => Value::Weighted(sign * weight, source),
        })
    }

    /// A number, a model, a rule or a bracket, under any number of adapters.
    fn operand(&mut self) -> Result<Value<B>> {
        let start = self.span();
        let mut value = match self.peek().clone() {
            Token::Number(number) => {
                self.advance();
                Value::Number(number)
            }
            Token::Name(name) if self.peek_after() == &Token::Open => Value::Weighted(1.0, self.call(&name)?),
            Token::Name(name) | Token::Quoted(name) => {
                let value = match (self.models.get(&name), self.numbers.get(&name)) {
                    (Some(source), _) => Value::Weighted(1.0, source.clone()),
                    (None, Some(number)) if (*number as f32).is_finite() => Value::Number(*number),
                    (None, Some(number)) => {
                        return self
                            .error(&start, format!("`{name}` is {number}, which is not a finite number"));
                    }
                    (None, None) => return Err(self.unknown(&name)),
                };
                self.advance();
                value
            }
            Token::Open => {
                self.deeper()?;
                let value = self.sum()?;
                self.close("an operator or `)`")?;
                value
            }
            Token::Text(_) => {
                let message =
                    "a text is an argument of `under`, `adapter` or `guidance`; names stand in backquotes";
                return self.error(&start, message);
            }
            _ => return self.expected("a model, a number or `(`"),
        };
        while let Token::Adapter(name) = self.peek() {
            let (name, at) = (name.clone(), self.span());
            let base = self.source(value, start.start..at.start)?;
            let adapted = base.adapter(&name).map_err(|e| Error::at(self.text, &at, e.to_string()))?;
            self.advance();
            value = Value::Weighted(1.0, adapted);
        }
        Ok(value)
    }

    /// A rule with its arguments.
    fn call(&mut self, name: &str) -> Result<Source<B>> {
        let start = self.span();
        let Some(usage) = rules::usage(name) else {
            let message = match self.models.contains_key(name) {
                true => format!("`{name}` is a model and not a rule; to multiply, write `*`"),
                false => {
                    let known = rules::RULES.iter().map(|(name, _)| *name);
                    format!("there is no rule `{name}`{}", among(name, known))
                }
            };
            return self.error(&start, message);
        };
        self.advance();
        self.deeper()?;
        let mut given = Vec::new();
        if *self.peek() != Token::Close {
            given.push(self.argument()?);
            while *self.peek() == Token::Comma {
                self.advance();
                given.push(self.argument()?);
            }
        }
        let end = self.span();
        self.close("an operator, `,` or `)`")?;
        rules::build(name, &mut Arguments::new(self.text, start, end, usage, given))
    }

    /// An argument of a rule.
    fn argument(&mut self) -> Result<Argument<B>> {
        let mut keyword = None;
        if let (Token::Name(name), Token::Equals) = (self.peek(), self.peek_after()) {
            keyword = Some((name.clone(), self.span()));
            self.advance();
            self.advance();
        }
        let start = self.span().start;
        let mut given = match self.peek().clone() {
            Token::Text(text) => {
                self.advance();
                Given::Text(text)
            }
            Token::OpenList => Given::Ids(self.ids()?),
            _ => match self.sum()? {
                Value::Number(number) => Given::Number(number as f32),
                model => Given::Source(self.source(model, start..self.end())?),
            },
        };
        let (mut label, mut span) = (None, start..self.end());
        if let (Given::Number(number), Token::Colon, None) = (&given, self.peek(), &keyword) {
            label = Some(*number);
            self.advance();
            let start = self.span().start;
            let value = self.sum()?;
            given = Given::Source(self.source(value, start..self.end())?);
            span.end = self.end();
        }
        Ok(Argument { keyword, label, given, span })
    }

    /// A list of token ids.
    fn ids(&mut self) -> Result<Vec<u32>> {
        self.advance();
        let mut ids = Vec::new();
        while *self.peek() != Token::CloseList {
            if !ids.is_empty() {
                if *self.peek() != Token::Comma {
                    return self.expected("`,` or `]`");
                }
                self.advance();
            }
            match *self.peek() {
                Token::Number(id) if id.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&id) => {
                    ids.push(id as u32);
                }
                _ => return self.expected("a token id"),
            }
            self.advance();
        }
        self.advance();
        Ok(ids)
    }

    /// A value as a source.
    fn source(&self, value: Value<B>, span: Range<usize>) -> Result<Source<B>> {
        match value {
            Value::Weighted(1.0, source) => Ok(source),
            Value::Weighted(weight, source) => Ok(weight as f32 * source),
            Value::Number(_) => self.error(&span, "expected a model, found a number"),
        }
    }

    fn finite(&self, number: f64, operator: &Range<usize>) -> Result<f64> {
        match (number as f32).is_finite() {
            true => Ok(number),
            false => self.error(operator, "the result is too large"),
        }
    }

    /// Takes an opening bracket.
    fn deeper(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return self.error(&self.span(), format!("brackets are nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        self.advance();
        Ok(())
    }

    /// Takes a closing bracket.
    fn close(&mut self, expected: &str) -> Result<()> {
        if *self.peek() != Token::Close {
            return self.expected(expected);
        }
        self.depth -= 1;
        self.advance();
        Ok(())
    }

    /// Whether a comma comes next that is meant as a decimal point.
    fn is_decimal(&self) -> bool {
        self.depth == 0 && *self.peek() == Token::Comma && matches!(self.peek_after(), Token::Number(_))
    }

    fn unknown(&self, name: &str) -> Error {
        let span = self.span();
        if ["nan", "inf", "infinity"].contains(&&name.to_lowercase()[..]) {
            return Error::at(self.text, &span, "weights are finite numbers");
        }
        // `large-smallx` is a difference unless there is such a model, but may be a misspelt name.
        let rest = &self.text[span.start..];
        let run =
            &rest[..rest.find(|c: char| !c.is_alphanumeric() && !"_-./".contains(c)).unwrap_or(rest.len())];
        let known = || self.models.keys().chain(self.numbers.keys()).map(String::as_str);
        let (name, span) = match nearest(name, known()).is_none() && nearest(run, known()).is_some() {
            true => (run, span.start..span.start + run.len()),
            false => (name, span),
        };
        Error::at(self.text, &span, format!("there is no model `{name}`{}", among(name, known())))
    }

    /// The error of a token that does not fit. A fault fits nowhere.
    fn expected<T>(&self, what: &str) -> Result<T> {
        if let Token::Fault(error) = self.peek() {
            return Err((**error).clone());
        }
        self.error(&self.span(), format!("expected {what}, found {}", self.peek()))
    }

    fn error<T>(&self, span: &Range<usize>, message: impl Into<String>) -> Result<T> {
        Err(Error::at(self.text, span, message))
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].token
    }

    /// The place of the next token.
    fn span(&self) -> Range<usize> {
        self.tokens[self.next].span.clone()
    }

    /// The end of the token before the next one.
    fn end(&self) -> usize {
        self.tokens[self.next.saturating_sub(1)].span.end
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }
}
