//! Strings in expressions: read as Python reads them, and written as the library reads them.

/// The length of a string with its quotes.
pub(super) fn string_length(text: &str, quote: char) -> Option<usize> {
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
pub(super) fn decoded(text: &str) -> String {
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
        '0'..='7' => (0, escape.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count(), 8),
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
pub(super) fn quoted(text: &str) -> String {
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
