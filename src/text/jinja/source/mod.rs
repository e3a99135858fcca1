//! [`rewritten`]: a template's source, with what the library reads differently than Jinja in Python replaced by what it
//! reads in the same way.
//!
//! * Strings: escapes are Python's, among them a backslash before a line break, which removes both; and strings that
//!   stand side by side are one.
//! * `%`: also formats strings. It becomes a call of [`PERCENT`].
//! * `{% generation %}`: a block of transformers that marks what the assistant says. It becomes a block that does nothing
//!   but limit the scope of assignments.
mod percent;
mod strings;
mod tokens;

pub(super) use percent::PERCENT;
use percent::percents;
use tokens::{Token, joined, tokens};

/// The most operators of one tag. The library reads them one within the other, and runs out of stack at some thousands.
const MOST_OPERATORS: usize = 400;

const OPERATORS: [&str; 8] = ["+", "-", "*", "/", "%", "~", "|", "."];

/// Returns the source to be given to the library, or the line of a tag that has too many operators.
pub(crate) fn rewritten(source: &str) -> Result<String, usize> {
    let mut out = String::new();
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        if matches!(tag.as_bytes().get(1), Some(b'{' | b'%')) && has_too_many_operators(tag) {
            return Err(1 + source[..source.len() - tag.len()].matches('\n').count());
        }
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
    Ok(out + rest)
}

/// Whether a tag has more operators than the library can read. Of one without an end, the whole rest counts.
fn has_too_many_operators(tag: &str) -> bool {
    let end = if tag.starts_with("{%") { "%}" } else { "}}" };
    let count = match tokens(&tag[2..], end) {
        Some((tokens, ..)) => {
            let counts =
                |token: &&Token| token.is_keyword() || OPERATORS.iter().any(|operator| token.is(operator));
            tokens.iter().filter(counts).count()
        }
        None => OPERATORS.iter().chain(&["not "]).map(|operator| tag.matches(operator).count()).sum(),
    };
    count > MOST_OPERATORS
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

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests {
    /// Rewrites a source that is not nested too deeply.
    fn rewritten(source: &str) -> String {
        super::rewritten(source).unwrap_or_else(|at| panic!("refused at {at}: {source}"))
    }

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
            ("'\\0€\\1é'", "\"\0€\u{1}é\""),
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
