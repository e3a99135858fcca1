//! [`rewritten`]: a template's source, with what the library reads differently than Jinja in Python replaced by what it
//! reads in the same way.
//!
//! * Strings: escapes are Python's, among them a backslash before a line break, which removes both; and strings that
//!   stand side by side are one.
//! * `%`: also formats strings. It becomes a call of [`PERCENT`].
//! * `{% generation %}`: a block of transformers that marks what the assistant says. It becomes a block that does nothing
//!   but limit the scope of assignments.

/// The function that `%` becomes.
pub(super) const PERCENT: &str = "__percent";

/// Words that end an operand on their right or left.
const KEYWORDS: [&str; 20] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "do",
    "with",
    "recursive",
    "print",
    "call",
    "include",
    "import",
    "from",
    "filter",
    "macro",
];

/// Returns the source to be given to the library.
pub(crate) fn rewritten(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        rest = match tag.as_bytes().get(1) {
            Some(b'#') => copied(&mut out, tag, tag.find("#}").map(|end| end + 2)),
            Some(b'{') => expression(&mut out, tag, "}}"),
            Some(b'%') => expression(&mut out, tag, "%}"),
            _ => copied(&mut out, tag, Some(1)),
        };
        if let Some(raw) = raw_length(&out, tag, rest) {
            rest = copied(&mut out, rest, Some(raw));
        }
    }
    out + rest
}

/// Copies the first `length` bytes, or everything, and returns the rest.
fn copied<'s>(out: &mut String, text: &'s str, length: Option<usize>) -> &'s str {
    let (copy, rest) = text.split_at(length.unwrap_or(text.len()));
    out.push_str(copy);
    rest
}

/// The length of the text of a raw block, if the tag that was copied last begins one.
fn raw_length(out: &str, tag: &str, rest: &str) -> Option<usize> {
    let consumed = &tag[..tag.len() - rest.len()];
    let inside = consumed.strip_prefix("{%")?.strip_suffix("%}")?;
    let name = |inside: &str| inside.trim_matches(['-', '+']).trim() == "raw";
    if !name(inside) || !out.ends_with("%}") {
        return None;
    }
    // Up to the tag that ends the block.
    let mut at = 0;
    while let Some(start) = rest[at..].find("{%") {
        let inside = rest[at + start + 2..].trim_start_matches(['-', '+']).trim_start();
        if inside.starts_with("endraw") {
            return Some(at + start);
        }
        at += start + 2;
    }
    None
}

/// A token of an expression, with the white space before it.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    space: String,
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Number,
    /// Its text is the decoded value.
    String,
    Operator,
}

impl Token {
    fn is(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }

    fn opens(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text.as_str(), "(" | "[" | "{")
    }

    fn closes(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text.as_str(), ")" | "]" | "}")
    }

    fn is_keyword(&self) -> bool {
        self.kind == Kind::Name && KEYWORDS.contains(&self.text.as_str())
    }

    /// Whether an operand may end with the token.
    fn ends_operand(&self) -> bool {
        self.closes() || (self.kind != Kind::Operator && !self.is_keyword())
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.space);
        match self.kind {
            Kind::String => out.push_str(&quoted(&self.text)),
            _ => out.push_str(&self.text),
        }
    }
}

/// Rewrites a tag up to its end, and returns what follows. A tag that cannot be read is copied as it is: the library
/// names the fault.
fn expression<'s>(out: &mut String, tag: &'s str, end: &str) -> &'s str {
    let Some((tokens, space, rest)) = tokens(&tag[2..], end) else { return copied(out, tag, None) };
    let consumed = tag.len() - rest.len();
    out.push_str(&tag[..2]);
    let mut tokens = joined(tokens);
    if end == "%}" {
        generation(&mut tokens);
    }
    percents(&mut tokens);
    tokens.iter().for_each(|token| token.write(out));
    out.push_str(&space);
    let closing =
        if tag[..consumed].ends_with(&format!("-{end}")) || tag[..consumed].ends_with(&format!("+{end}")) {
            &tag[consumed - 3..consumed]
        } else {
            end
        };
    out.push_str(closing);
    rest
}

/// Reads the tokens up to the end of a tag. Returns them, the white space before the end, and what follows; `None` if
/// the tag has no end, or a string has none.
fn tokens<'s>(text: &'s str, end: &str) -> Option<(Vec<Token>, String, &'s str)> {
    let (mut tokens, mut depth) = (Vec::new(), 0usize);
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let space = rest[..rest.len() - trimmed.len()].to_owned();
        rest = trimmed;
        // Two braces may also close two dictionaries.
        if depth == 0 || end == "%}" {
            let signs = ["-", "+", ""];
            if let Some(sign) =
                signs.iter().find(|sign| rest.strip_prefix(**sign).is_some_and(|r| r.starts_with(end)))
            {
                return Some((tokens, space, &rest[sign.len() + end.len()..]));
            }
        }
        let first = rest.chars().next()?;
        let (kind, length, text) = if matches!(first, '"' | '\'') {
            let length = string_length(rest, first)?;
            (Kind::String, length, decoded(&rest[1..length - 1]))
        } else {
            let (kind, length) = match first {
                c if c.is_alphabetic() || c == '_' => {
                    (Kind::Name, run(rest, |c| c.is_alphanumeric() || c == '_'))
                }
                c if c.is_ascii_digit() => (Kind::Number, number_length(rest)),
                _ => {
                    let known = ["//", "**", "==", "!=", "<=", ">="];
                    let long = known.iter().find(|operator| rest.starts_with(**operator));
                    (Kind::Operator, long.map_or(first.len_utf8(), |operator| operator.len()))
                }
            };
            (kind, length, rest[..length].to_owned())
        };
        rest = &rest[length..];
        let token = Token { space, kind, text };
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
        tokens.push(token);
    }
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of a number: digits, a fraction, an exponent.
fn number_length(text: &str) -> usize {
    let digits = |at: usize| at + run(&text[at..], |c| c.is_ascii_alphanumeric() || c == '_');
    let mut length = digits(0);
    let fraction =
        |at: usize| text[at..].starts_with('.') && text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    if fraction(length) {
        length = digits(length + 1);
    }
    if text[..length].ends_with(['e', 'E'])
        && !text.starts_with("0x")
        && text[length..].starts_with(['+', '-'])
    {
        length = digits(length + 1);
    }
    length
}

/// The length of a string with its quotes.
fn string_length(text: &str, quote: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()?),
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The value of a string's text, as Python's `unicode-escape` decodes it. Escapes that are not valid are kept.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let Some(c) = escape.chars().next() else {
            out.push('\\');
            return out;
        };
        let after = &escape[c.len_utf8()..];
        let plain = match c {
            '\n' => Some(None),
            'a' => Some(Some('\u{7}')),
            'b' => Some(Some('\u{8}')),
            'f' => Some(Some('\u{c}')),
            'n' => Some(Some('\n')),
            'r' => Some(Some('\r')),
            't' => Some(Some('\t')),
            'v' => Some(Some('\u{b}')),
            '\\' | '\'' | '"' => Some(Some(c)),
            _ => None,
        };
        rest = if let Some(plain) = plain {
            out.extend(plain);
            after
        } else if let Some((character, after)) = by_number(c, escape) {
            out.push(character);
            after
        } else {
            out.push('\\');
            out.push(c);
            after
        };
    }
    out + rest
}

/// The character that an escape names by its number, and the text after the escape.
fn by_number(kind: char, escape: &str) -> Option<(char, &str)> {
    let (from, width, radix) = match kind {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, run(&escape[..escape.len().min(3)], |c| matches!(c, '0'..='7')), 8),
        _ => return None,
    };
    let digits = escape.get(from..from + width)?;
    let number = |digits: &str| u32::from_str_radix(digits, radix).ok();
    let (code, after) = (number(digits)?, &escape[from + width..]);
    // Two escapes may be the halves of one character.
    if let Some(low) = after.strip_prefix("\\u").and_then(|low| number(low.get(..4)?))
        && (0xD800..0xDC00).contains(&code)
        && (0xDC00..0xE000).contains(&low)
    {
        let joined = 0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        return Some((char::from_u32(joined)?, &after[6..]));
    }
    Some((char::from_u32(code)?, after))
}

/// A string as the library reads it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Joins strings that stand side by side.
fn joined(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    for token in tokens {
        match out.last_mut() {
            Some(last) if last.kind == Kind::String && token.kind == Kind::String => {
                last.text.push_str(&token.text)
            }
            _ => out.push(token),
        }
    }
    out
}

/// Replaces the name of a block of transformers. A sign after `{%` may come first.
fn generation(tokens: &mut [Token]) {
    let signs = usize::from(tokens.first().is_some_and(|token| token.is("-") || token.is("+")));
    if let [token] = &mut tokens[signs..] {
        match token.text.as_str() {
            "generation" => token.text = "with".into(),
            "endgeneration" => token.text = "endwith".into(),
            _ => {}
        }
    }
}

/// Replaces each `left % right` by a call, from left to right.
fn percents(tokens: &mut Vec<Token>) {
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

#[cfg(test)]
mod tests {
    use super::rewritten;

    #[test]
    fn other_text_stays_as_it_is() {
        for source in [
            "a {{ b }} {%- if c -%} d {%+ endif +%} {# 5 % 3 #} { {} } {{ {'a': {'b': 1}} }} {% ",
            "{% raw %}{{ 'a\\\nb' % c }}{% generation %}{%- endraw %}{{ 1 }}",
            "{{ 'not closed }}",
            "100 % {{",
        ] {
            assert_eq!(rewritten(source), source.replace("{'a': {'b': 1}}", "{\"a\": {\"b\": 1}}"));
        }
    }

    #[test]
    fn generation_blocks_do_nothing() {
        let source =
            "{%- generation %} b {% endgeneration -%} {% set generation = 1 %}{%generation%}{{ generation }}";
        let expected = "{%- with %} b {% endwith -%} {% set generation = 1 %}{%with%}{{ generation }}";
        assert_eq!(rewritten(source), expected);
    }

    #[test]
    fn strings_are_pythons() {
        let cases = [
            ("'a\\\nb'", "\"ab\""),
            (r#"'\x41\101\u00e9\q\'"'"#, r#""AAé\\q'\"""#),
            (r"'\ud83d\ude00' 'b'", "\"😀b\""),
            (r"'\U0001F600\ud83d'", r#""😀\\ud83d""#),
            ("'%}' ~ \"}}\"", "\"%}\" ~ \"}}\""),
        ];
        for (source, expected) in cases {
            assert_eq!(rewritten(&format!("{{{{ {source} }}}}")), format!("{{{{ {expected} }}}}"));
        }
    }

    #[test]
    fn percents_become_calls_with_both_operands() {
        let cases = [
            ("a % b", "__percent(a , b)"),
            ("1 + a % b == 0", "1 + __percent(a , b) == 0"),
            ("a * b % c % d", "__percent(__percent(a * b , c) , d)"),
            (
                "x if not -a.b[0](1)|f % -b|g(2) ** 3 else y",
                "x if not __percent(-a.b[0](1)|f , -b|g(2) ** 3) else y",
            ),
            ("f(a % b, [c % d])", "f(__percent(a , b), [__percent(c , d)])"),
            ("'%s' % (a % b, c)", "__percent(\"%s\" , (__percent(a , b), c))"),
            ("a - b % c", "a - __percent(b , c)"),
        ];
        for (source, expected) in cases {
            assert_eq!(rewritten(&format!("{{{{ {source} }}}}")), format!("{{{{ {expected} }}}}"));
        }
        assert_eq!(rewritten("{%- if a % 2 %}"), "{%- if __percent(a , 2) %}");
        assert_eq!(rewritten("{{- -a % 2 -}}"), "{{- __percent(-a , 2) -}}");
        assert_eq!(rewritten("{%-if loop.index0 %2-%}"), "{%-if __percent(loop.index0 ,2)-%}");
    }
}
