//! Values as Python writes them: `str`, `repr` and `pprint.pformat`.
use minijinja::Value;
use minijinja::value::ValueKind;

/// `str(value)`.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => repr(value),
        _ => value.to_string(),
    }
}

/// A floating-point number as `repr` writes it: the shortest digits that are read back as the same number.
pub(super) fn float(x: f64) -> String {
    if !x.is_finite() {
        return if x.is_nan() { "nan".into() } else { if x > 0.0 { "inf" } else { "-inf" }.into() };
    }
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = x.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// Whether a number is a floating-point number, and which.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    if is_float { f64::try_from(value.clone()).ok() } else { None }
}

/// The entries of a dictionary, in order; `None` for other values.
pub(super) fn entries(value: &Value) -> Option<Vec<(Value, Value)>> {
    if value.kind() != ValueKind::Map {
        return None;
    }
    Some(value.as_object()?.try_iter_pairs()?.collect())
}

/// The items of a list or tuple; `None` for other values.
pub(super) fn items(value: &Value) -> Option<Vec<Value>> {
    if value.kind() != ValueKind::Seq { None } else { Some(value.try_iter().ok()?.collect()) }
}

/// `repr(value)`.
pub(super) fn repr(value: &Value) -> String {
    if let Some(x) = as_float(value) {
        return float(x);
    }
    if let Some(entries) = entries(value) {
        let entries = entries.iter().map(|(key, value)| format!("{}: {}", repr(key), repr(value)));
        return format!("{{{}}}", entries.collect::<Vec<_>>().join(", "));
    }
    if let Some(items) = items(value) {
        let inside = items.iter().map(repr).collect::<Vec<_>>().join(", ");
        let comma = if items.len() == 1 { "," } else { "" };
        return if value.is_tuple() { format!("({inside}{comma})") } else { format!("[{inside}]") };
    }
    format!("{value:?}")
}

/// The width of a line of `pprint`.
const WIDTH: usize = 80;

/// `pprint.pformat(value)`.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    Pretty { out: &mut out }.write(value, 0, 0, 1);
    out
}

/// The writer of `pprint`. `indent` is the column where a value begins, `allowance` the room that brackets after it need,
/// `level` how deep it lies.
struct Pretty<'o> {
    out: &'o mut String,
}

impl Pretty<'_> {
    fn write(&mut self, value: &Value, indent: usize, allowance: usize, level: usize) {
        let whole = sorted_repr(value);
        if whole.chars().count() + indent + allowance <= WIDTH {
            self.out.push_str(&whole);
        } else if let Some(mut entries) = entries(value) {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.out.push('{');
            let count = entries.len();
            for (index, (key, value)) in entries.iter().enumerate() {
                let key = repr(key);
                self.begin_line(index, indent + 1);
                self.out.push_str(&key);
                self.out.push_str(": ");
                let after = if index + 1 == count { allowance + 1 } else { 1 };
                self.write(value, indent + 1 + key.chars().count() + 2, after, level + 1);
            }
            self.out.push('}');
        } else if let Some(items) = items(value) {
            let (open, close) = match (value.is_tuple(), items.len()) {
                (false, _) => ("[", "]"),
                (true, 1) => ("(", ",)"),
                (true, _) => ("(", ")"),
            };
            self.out.push_str(open);
            let count = items.len();
            for (index, item) in items.iter().enumerate() {
                self.begin_line(index, indent + 1);
                let after = if index + 1 == count { allowance + close.len() } else { 1 };
                self.write(item, indent + 1, after, level + 1);
            }
            self.out.push_str(close);
        } else if let Some(text) = value.as_str() {
            self.string(text, indent, allowance, level);
        } else {
            self.out.push_str(&whole);
        }
    }

    fn begin_line(&mut self, index: usize, indent: usize) {
        if index > 0 {
            self.out.push_str(",\n");
            self.out.push_str(&" ".repeat(indent));
        }
    }

    /// A long string, in parts that end at white space.
    fn string(&mut self, text: &str, mut indent: usize, mut allowance: usize, level: usize) {
        if level == 1 {
            indent += 1;
            allowance += 1;
        }
        let repr = |text: &str| format!("{:?}", Value::from(text));
        let width = |text: &str| repr(text).chars().count();
        let room = WIDTH.saturating_sub(indent);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut parts: Vec<String> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let is_last = index + 1 == lines.len();
            let room_at_end = if is_last { room.saturating_sub(allowance) } else { room };
            if width(line) <= room_at_end {
                parts.push((*line).to_owned());
                continue;
            }
            let words = words(line);
            let mut current = String::new();
            for (at, word) in words.iter().enumerate() {
                let room = if is_last && at + 1 == words.len() { room_at_end } else { room };
                let candidate = format!("{current}{word}");
                if width(&candidate) > room {
                    if !current.is_empty() {
                        parts.push(current);
                    }
                    current = (*word).to_owned();
                } else {
                    current = candidate;
                }
            }
            if !current.is_empty() {
                parts.push(current);
            }
        }
        if parts.len() == 1 {
            self.out.push_str(&repr(text));
            return;
        }
        let lines: Vec<_> = parts.iter().map(|part| repr(part)).collect();
        let joined = lines.join(&format!("\n{}", " ".repeat(indent)));
        self.out.push_str(&if level == 1 { format!("({joined})") } else { joined });
    }
}

/// Words with the white space after them.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let space = rest[word..].find(|c: char| !c.is_whitespace()).map_or(rest.len(), |at| word + at);
        let (first, after) = rest.split_at(space);
        words.push(first);
        rest = after;
    }
    words
}

/// `repr` with the keys of dictionaries in order, as `pprint` has them.
fn sorted_repr(value: &Value) -> String {
    if let Some(mut entries) = entries(value) {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let entries = entries.iter().map(|(key, value)| format!("{}: {}", repr(key), sorted_repr(value)));
        return format!("{{{}}}", entries.collect::<Vec<_>>().join(", "));
    }
    if let Some(items) = items(value) {
        let inside = items.iter().map(sorted_repr).collect::<Vec<_>>().join(", ");
        let comma = if items.len() == 1 { "," } else { "" };
        return if value.is_tuple() { format!("({inside}{comma})") } else { format!("[{inside}]") };
    }
    repr(value)
}
