//! Combinations as text.
use eft::{Host, Source, Vocab, formula, from_fn};

#[test]
fn formulas() {
    let all = ["large", "small", "tuned"].map(|name| (name, model(name)));
    let models = || all.iter().map(|(name, source)| (*name, source));
    let good = "large + 0.5*(tuned - small)";
    assert!(formula::parse(good, models()).is_ok());
    let mut broken: Vec<String> = (0..good.len()).map(|at| good[..at].to_owned()).collect();
    // These are formulas by themselves.
    broken.retain(|text| !["large", "large "].contains(&text.as_str()));
    for (from, to) in [
        ("large", "larger"),
        ("large", "`large"),
        ("large", "\u{0}"),
        ("large", "1e999"),
        ("large", "-1e999*large"),
        ("large", "NaN*large"),
        ("large", "\"large\""),
        ("large", "large[rude]"),
        ("large", "large["),
        ("large", "large]"),
        ("+", "+ + *"),
        ("+", "^"),
        ("+", "++ /"),
        ("0.5", "0.5.5"),
        ("0.5", "1/0"),
        ("0.5", "0x1p3q"),
        ("0.5*", "0.5"),
        ("(tuned", "((tuned"),
        ("small)", "small))"),
        ("small)", "small"),
        ("tuned - small", ""),
        ("tuned - small", "tuned, small"),
        ("tuned - small", "tuned*small"),
        ("tuned", "union(tuned"),
        ("tuned", "union(tuned,)"),
        ("tuned", "nonsense(tuned)"),
        ("tuned", "gate(tuned, small, gamma=)"),
        ("tuned", "under(prefix=[1, -2], tuned)"),
        ("tuned", "under(prefix=[1, 99999999999], tuned)"),
        ("tuned", "under(\"\\u{110000}\", tuned)"),
    ] {
        broken.push(good.replacen(from, to, 1));
    }
    for (open, close) in [("(", ")"), ("-", ""), ("union(large, ", ")"), ("2*(", ")"), ("under(\"a\", ", ")")]
    {
        broken.push(format!("{}larger{}", open.repeat(100_000), close.repeat(100_000)));
    }
    broken.push(format!("{}x", "large + ".repeat(20_000)));
    broken.push("9".repeat(200_000));
    broken.push(format!("{}large", "`".repeat(100_001)));
    assert!(broken.len() >= 60);
    for text in broken {
        let what: String = text.chars().take(200).collect();
        let mut read = None;
        let used = allocation_counter::measure(|| read = Some(formula::parse(&text, models()))).bytes_max;
        let error = read.unwrap().map(drop).expect_err(&what);
        assert!(error.to_string().contains("column") && error.column() > 0, "{what}: {error}");
        // Each character may be a part of the formula, with its place.
        assert!(used <= 256 * text.len() as u64 + (1 << 20), "{what}: {used} bytes of memory");
    }
}

/// A source of which nothing but its name matters.
fn model(name: &str) -> Source<Host> {
    from_fn(Host, Vocab::new(name, ["a", "b"]).unwrap(), |_| Ok(vec![0.0; 2]))
}
