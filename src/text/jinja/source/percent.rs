//! The operator `%`, which becomes a call.
use super::tokens::{Kind, Token};

/// The function that `%` becomes.
pub(in crate::text::jinja) const PERCENT: &str = "__percent";

/// Replaces each `left % right` by a call, from left to right.
pub(super) fn percents(tokens: &mut Vec<Token>) {
    let mut at = 0;
    while let Some(found) = tokens[at..].iter().position(|token| token.is("%")) {
        let operator = at + found;
        let (from, to) = (left(tokens, operator), right(tokens, operator));
        if from == operator || to == operator + 1 {
            // Not an operator between two operands: the library names the fault.
            at = operator + 1;
            continue;
        }
        let space = std::mem::take(&mut tokens[from].space);
        let plain = |kind, text: &str| Token { space: String::new(), kind, text: text.into() };
        tokens.insert(to, plain(Kind::Operator, ")"));
        tokens[operator].text = ",".into();
        tokens.insert(from, plain(Kind::Operator, "("));
        tokens.insert(from, Token { space, ..plain(Kind::Name, PERCENT) });
        // The right operand may have further ones within brackets.
        at = operator + 2;
    }
}

/// Where the left operand of the operator at `end` begins: at the first token after one that binds less tightly.
fn left(tokens: &[Token], end: usize) -> usize {
    let mut depth = 0usize;
    for at in (0..end).rev() {
        let token = &tokens[at];
        if token.closes() {
            depth += 1;
        } else if token.opens() {
            if depth == 0 {
                return at + 1;
            }
            depth -= 1;
        } else if depth == 0 {
            let is_sign = (token.is("-") || token.is("+")) && !(at > 0 && tokens[at - 1].ends_operand());
            let binds = is_sign || ["*", "/", "//", "**", ".", "|"].iter().any(|operator| token.is(operator));
            if token.is_keyword() || (token.kind == Kind::Operator && !binds) {
                return at + 1;
            }
            // The sign after `{%` or `{{` is not part of the expression.
            if at == 0 && is_sign && token.space.is_empty() {
                return 1;
            }
        }
    }
    0
}

/// Where the right operand of the operator at `start` ends: after a value with its attributes, calls, filters and
/// powers.
fn right(tokens: &[Token], start: usize) -> usize {
    let sign = |at: usize| tokens.get(at).is_some_and(|token| token.is("-") || token.is("+"));
    let mut at = start + 1;
    while sign(at) {
        at += 1;
    }
    if !tokens
        .get(at)
        .is_some_and(|token| token.opens() || (token.kind != Kind::Operator && !token.is_keyword()))
    {
        return start + 1;
    }
    at = group(tokens, at);
    loop {
        let Some(token) = tokens.get(at) else { return at };
        if token.is(".") || token.is("|") {
            at += 2;
        } else if token.is("(") || token.is("[") {
            at = group(tokens, at);
        } else if token.is("**") {
            at += 1;
            while sign(at) {
                at += 1;
            }
            at = group(tokens, at);
        } else {
            return at.min(tokens.len());
        }
    }
}

/// The end of the token at `at`, or of the group that it opens.
fn group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}
