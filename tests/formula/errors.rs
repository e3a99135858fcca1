//! Every error, with its column and the mark under it.
use super::*;

/// Checks that a formula is refused at the character where `mark` has its first `^`.
#[track_caller]
fn refused(text: &str, mark: &str, message: &str) {
    let error = read(text).expect_err(text);
    assert_eq!(error.message(), message, "{text}");
    assert_eq!((error.line(), error.column()), (1, mark.find('^').unwrap() + 1), "{text}");
    let column = mark.find('^').unwrap() + 1;
    assert_eq!(error.to_string(), format!("column {column}: {message}\n  {text}\n  {mark}"));
}

#[track_caller]
fn begins(text: &str, column: usize, message: &str) {
    let error = read(text).expect_err(text);
    assert!(error.message().starts_with(message), "{text}: {}", error.message());
    assert_eq!(error.column(), column, "{text}: {error}");
}

#[test]
fn syntax() {
    for empty in ["", "  ", "\n\n", "\t"] {
        let error = read(empty).expect_err(empty);
        assert_eq!(error.to_string(), "column 1: the formula is empty", "{empty:?}");
    }
    refused("large + ", "        ^", "expected a model, a number or `(`, found the end of the formula");
    refused("large + )", "        ^", "expected a model, a number or `(`, found `)`");
    refused("(large + small", "              ^", "expected an operator or `)`, found the end of the formula");
    refused("large)", "     ^", "expected an operator or the end of the formula, found `)`");
    refused(
        "0.7(large)",
        "   ^",
        "expected an operator (`*` to multiply) or the end of the formula, found `(`",
    );
    refused(
        "large small",
        "      ^^^^^",
        "expected an operator (`*` to multiply) or the end of the formula, found the name `small`",
    );
    refused(
        "0.7large",
        "^^^^^^^^",
        "expected `*` after the number, or backquotes around a name that begins with a digit",
    );
    refused("large + 0.7(small)", "           ^", "expected an operator (`*` to multiply), found `(`");
    refused(
        "large + 0.7 small",
        "            ^^^^^",
        "expected an operator (`*` to multiply), found the name `small`",
    );
    refused("large + 0,7*small", "         ^", "a number has a decimal point, not a comma");
    refused("0,7*large", " ^", "a number has a decimal point, not a comma");
    // There, a comma is between arguments.
    refused(
        "union(large + 1, 7*small)",
        "            ^",
        "models and numbers cannot be added; to weight a model, write `*`",
    );
    refused("large ? small", "      ^", "unexpected character `?`");
    refused(
        "large + …",
        "        ^",
        "`…` stands for a part that is not printed; the format `{:#}` prints large formulas in full",
    );
    refused("1.2.3*large", "^^^^^", "`1.2.3` is not a number");
    refused("large + `tuned", "        ^^^^^^", "the name has no closing backquote");
    refused("under(\"Hi, large)", "      ^^^^^^^^^^^", "the text has no closing double quote");
    refused(
        r#"under("a\q", large)"#,
        r"        ^^",
        r#"no such escape; there are \", \\, \', \n, \r, \t, \0 and \u{…}"#,
    );
    refused(
        r#"under("\u{d800}", large)"#,
        r"       ^^",
        r#"no such escape; there are \", \\, \', \n, \r, \t, \0 and \u{…}"#,
    );
    refused("large[polite", "     ^^^^^^^", "expected `]` after the name of the adapter");
    refused("large[]", "     ^", "expected the name of an adapter and `]` after `[`");
    refused(
        r#"large + "small""#,
        "        ^^^^^^^",
        "a text is an argument of `under`, `adapter` or `guidance`; names stand in backquotes",
    );
    refused("union(large, )", "             ^", "expected a model, a number or `(`, found `)`");
    refused("union(large; small)", "           ^", "unexpected character `;`");
    refused(
        "union(large small)",
        "            ^^^^^",
        "expected an operator, `,` or `)`, found the name `small`",
    );
    refused(
        "under(prefix=[1, 2.5], large)",
        "                 ^^^",
        "expected a token id, found the number 2.5",
    );
    refused("under(prefix=[1 2], large)", "                ^", "expected `,` or `]`, found the number 2");
}

#[test]
fn numbers() {
    refused("large/0", "      ^", "division by zero");
    refused("1/0*large", "  ^", "division by zero");
    refused("1/(2 - 2)*large", "  ^", "division by zero");
    refused("NaN*large", "^^^", "weights are finite numbers");
    refused("large + inf*small", "        ^^^", "weights are finite numbers");
    refused("1e39*large", "^^^^", "the number is too large");
    refused("1e30*1e30*large", "    ^", "the result is too large");
    refused("1e30*(1e30*large)", "    ^", "the result is too large");
    refused("large/1e-30/1e-30", "           ^", "the result is too large");
    refused("3e38 + 3e38", "     ^", "the result is too large");
    refused("large + 1", "      ^", "models and numbers cannot be added; to weight a model, write `*`");
    refused("1 - large", "  ^", "models and numbers cannot be added; to weight a model, write `*`");
    refused("large*small", "     ^", "a model cannot be multiplied by a model");
    refused("large/small", "     ^", "a model cannot be divided by a model");
    refused("1/small", " ^", "a number cannot be divided by a model");
    refused("1 + 2", "^^^^^", "expected a model, found a number");
    refused("(1 + 2)[polite]", "^^^^^^^", "expected a model, found a number");
}

#[test]
fn names() {
    const KNOWN: &str = "known: `/models/x`, `7B`, `Qwen/Qwen2.5-0.5B`, ````, `a`, `a-b`, `b`, `large`, `small`, `tuned`, \
                         `two words`";
    refused(
        "large + smallx",
        "        ^^^^^^",
        &format!("there is no model `smallx`; did you mean `small`?; {KNOWN}"),
    );
    refused(
        "large-smallx",
        "      ^^^^^^",
        &format!("there is no model `smallx`; did you mean `small`?; {KNOWN}"),
    );
    refused("elephant*2", "^^^^^^^^", &format!("there is no model `elephant`; {KNOWN}"));
    refused(
        "2*Qwen/Qwen2.5-0.6B",
        "  ^^^^^^^^^^^^^^^^^",
        &format!("there is no model `Qwen/Qwen2.5-0.6B`; did you mean `Qwen/Qwen2.5-0.5B`?; {KNOWN}"),
    );
    refused(
        "`two words `",
        "^^^^^^^^^^^^",
        &format!("there is no model `two words `; did you mean `two words`?; {KNOWN}"),
    );
    let none = parse::<Host, &str>("x", []).unwrap_err();
    assert_eq!(none.message(), "there is no model `x`; none is known");
    begins(
        "mixturex(0.5: a, 0.5: b)",
        1,
        "there is no rule `mixturex`; did you mean `mixture`?; known: `adapter`, ",
    );
    refused("large(small)", "^^^^^", "`large` is a model and not a rule; to multiply, write `*`");
    begins("large[rude]", 6, "no adapter named `rude`; available: polite, tuned-small");
    begins(r#"adapter("rude", large)"#, 9, "no adapter named `rude`; available: polite, tuned-small");
    begins(r#"adapter("polite", large - small)"#, 1, "large − small does not support adapters");
}

#[test]
fn arguments() {
    begins(
        "gate(large, small)",
        18,
        "expected a number (`gamma`); the rule is written gate(sure, unsure, gamma=0.4)",
    );
    begins("gate(large, 0.5)", 13, "expected a model (`unsure`), found a number; the rule is written gate(");
    begins("gate(large, small, tuned)", 20, "expected a number (`gamma`), found a model");
    begins("gate(large, small, 0.5, 0.6)", 25, "one argument too many; the rule is written gate(");
    begins("gate(large, small, gammax=0.5)", 20, "there is no argument `gammax`; did you mean `gamma`?");
    begins(
        "delta(large, tuned, small, alphax=0.5)",
        28,
        "there is no argument `alphax`; did you mean `alpha`?; known: `base`, ",
    );
    begins("gate(large, small, gamma=0.5, gamma=0.5)", 31, "the argument `gamma` is given twice");
    begins("gate(large, small, gamma=2)", 26, "gamma is 2, but must be from 0 to 1");
    begins("gate(large, small, 0 - 1)", 20, "gamma is -1, but must be from 0 to 1");
    begins("nucleus_delta(tuned, large, small, p=1.5)", 38, "p is 1.5, but must be above 0 and at most 1");
    begins(
        "mixture(large, small)",
        9,
        "expected a weight and a model, as in `0.5: model`, found a model; the rule is",
    );
    begins("mixture(0.5, large)", 9, "expected a weight and a model, as in `0.5: model`, found a number");
    begins("mixture(0.5: 2)", 14, "expected a model, found a number");
    begins("mixture()", 9, "expected a weight and a model, as in `0.5: model`; the rule is");
    begins("mixture(0.5: large, 0.2: small)", 1, "sum of the weights is 0.7, but must be 1");
    begins("mixture(0.5: large, 0.5: small, tuned)", 33, "one argument too many");
    begins("union(0.5: large, small)", 7, "expected a model (`model`), found a weight and a model");
    begins("union()", 7, "expected a model (`model`); the rule is written union(model, model)");
    begins("under(large, \"Hi\")", 7, "expected a text in double quotes (`system`), found a model");
    begins("under(prefix=\"Hi\", large)", 14, "expected a list of token ids (`prefix`), found a text");
    begins(
        "under(preamble=[1], large)",
        16,
        "expected a text in double quotes (`preamble`), found a list of token ids",
    );
    begins(
        "under(prompt=2, large)",
        14,
        "expected a text in double quotes or a list of token ids (`prompt`), found a number",
    );
    begins("arithmetic(large - small)", 1, "sum of the formula's weights is 0");
    begins("multi_objective(large, 0.5: tuned)", 34, "expected a model (`untuned`)");
}

#[test]
fn depth_is_limited() {
    for open in ["(", "union(", "-(", "mixture(1: "] {
        let deep = |levels: usize| format!("{}large{}", open.repeat(levels), ")".repeat(levels));
        assert!(read(&deep(128)).is_ok(), "{open}");
        let error = read(&deep(100_000)).unwrap_err();
        assert_eq!(error.message(), "brackets are nested more than 128 deep");
        assert_eq!(error.column(), 128 * open.len() + open.find('(').unwrap() + 1, "{open}");
    }
}

#[test]
fn long_and_broken_lines_are_shown_in_part() {
    let error = read("large +\n\n  0.5*smallx -\n tuned").unwrap_err();
    assert_eq!((error.line(), error.column()), (3, 7));
    assert!(error.to_string().starts_with("line 3, column 7: there is no model `smallx`"), "{error}");
    assert!(error.to_string().ends_with("\n    0.5*smallx -\n        ^^^^^^"), "{error}");

    let error = read(&format!("{}+ x{}", "large + ".repeat(100), " + large".repeat(100))).unwrap_err();
    assert_eq!(error.column(), 801);
    let shown = error.to_string();
    let lines: Vec<_> = shown.lines().skip(1).collect();
    let mark = lines[1].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[0].chars().nth(mark), Some('+'), "{shown}");
    assert!(
        lines[0].starts_with("  …") && lines[0].ends_with('…') && lines[0].chars().count() < 120,
        "{shown}"
    );

    // Columns count characters, and a tab is as wide as a space.
    let error = read("large\t− ·").unwrap_err();
    assert_eq!(error.column(), 9);
    assert!(error.to_string().ends_with("\n  large − ·\n          ^"), "{error}");
}

#[test]
fn the_error_converts_into_that_of_the_library() {
    let error: eft::Error = read("smallx").unwrap_err().into();
    assert!(matches!(error, eft::Error::Formula(_)));
    assert!(error.to_string().starts_with("column 1: there is no model `smallx`"));
}

#[test]
fn numbers_with_names_stand_wherever_numbers_may() {
    let read = |text, alpha| {
        let models = models().iter().map(|(name, source)| (*name, source));
        parse_with(text, models, [("alpha", alpha), ("α", alpha), ("small", 7.0)])
    };
    let printed = |text| read(text, 0.5).unwrap().to_string();
    assert_eq!(printed("large + alpha*(tuned - small)"), printed("large + 0.5*(tuned - small)"));
    assert_eq!(printed("large + (1 - α)*tuned"), printed("large + 0.5*tuned"));
    assert_eq!(printed("mixture(alpha: a, 1 - alpha: b)"), printed("mixture(0.5: a, 0.5: b)"));
    assert_eq!(
        printed("delta(large, tuned, small, alpha=alpha)"),
        printed("delta(large, tuned, small, alpha=0.5)")
    );
    let error = |text, alpha| read(text, alpha).map(|source| source.to_string()).unwrap_err();
    assert_eq!(error("large + alpha", 0.5).column(), 7);
    let not_finite = error("large + alpha*tuned", f64::NAN);
    assert_eq!(
        (not_finite.column(), not_finite.message()),
        (9, "`alpha` is NaN, which is not a finite number")
    );
    let misspelt = error("large + alpa*tuned", 0.5);
    assert_eq!(misspelt.column(), 9);
    assert!(misspelt.message().contains("did you mean `alpha`?"), "{misspelt}");
    // Without the numbers, it is an unknown name.
    assert_eq!(super::read("large + alpha*tuned").map(|source| source.to_string()).unwrap_err().column(), 9);
}
