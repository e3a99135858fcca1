//! A printed combination gives the same combination when it is read.
use super::*;
use proptest::prelude::*;

/// A combination by the functions and operators of the library.
#[derive(Debug, Clone)]
enum Tree {
    Model(usize),
    Adapter(usize, usize),
    Scale(f32, Box<Tree>),
    Plus(Box<Tree>, Box<Tree>),
    Minus(Box<Tree>, Box<Tree>),
    Weighted(Vec<(f32, Tree)>),
    Named(Box<Tree>),
    Under(usize, Box<Tree>),
    /// A rule by its index, with a number between 0 and 1.
    Rule(usize, f32, Box<[Tree; 3]>),
}

const ADAPTERS: [&str; 3] = ["polite", "tuned-small", "an `odd` one"];

fn tree(number: impl Strategy<Value = f32> + Clone + 'static, rules: usize) -> impl Strategy<Value = Tree> {
    let weight = number.clone();
    let leaf = prop_oneof![
        (0..NAMES.len()).prop_map(Tree::Model),
        (0..NAMES.len(), 0..ADAPTERS.len()).prop_map(|(model, adapter)| Tree::Adapter(model, adapter)),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let part = || inner.clone().prop_map(Box::new);
        let signed =
            (weight.clone(), any::<bool>()).prop_map(|(w, minus)| if minus { -3.0 * w } else { 3.0 * w });
        prop_oneof![
            (signed.clone(), part()).prop_map(|(w, t)| Tree::Scale(w, t)),
            (part(), part()).prop_map(|(a, b)| Tree::Plus(a, b)),
            (part(), part()).prop_map(|(a, b)| Tree::Minus(a, b)),
            prop::collection::vec((signed, inner.clone()), 1..4).prop_map(Tree::Weighted),
            part().prop_map(Tree::Named),
            (0usize..4, part()).prop_map(|(kind, t)| Tree::Under(kind, t)),
            (0..rules, weight.clone(), [inner.clone(), inner.clone(), inner.clone()])
                .prop_map(|(rule, number, parts)| Tree::Rule(rule, number, parts.into())),
        ]
    })
}

/// The number of rules, the last of which divide by a sum of weights.
const RULES: usize = 16;
const DIVIDING: usize = 2;

impl Tree {
    /// The source, or the source of the first part if a rule refuses its parts. Adds the named parts to `names`.
    fn source(&self, names: &mut Vec<(String, Source<Host>)>) -> Source<Host> {
        match self {
            Self::Model(i) => models()[*i].1.clone(),
            Self::Adapter(i, a) => models()[*i].1.adapter(ADAPTERS[*a]).unwrap(),
            Self::Scale(w, t) => *w * t.source(names),
            Self::Plus(a, b) => a.source(names) + b.source(names),
            Self::Minus(a, b) => a.source(names) - b.source(names),
            Self::Weighted(terms) => {
                let terms: Vec<_> = terms.iter().map(|(w, t)| (*w, t.source(names))).collect();
                combine::weighted(terms.iter().map(|(w, s)| (*w, s))).unwrap()
            }
            Self::Named(t) => {
                let name = format!("part {}", names.len());
                let source = t.source(names).named(&name);
                names.push((name, source.clone()));
                source
            }
            Self::Under(kind, t) => t.source(names).under(match kind {
                0 => PromptTransform::system("Be \"brief\".\n"),
                1 => PromptTransform::preamble("\\ ü "),
                2 => PromptTransform::fixed("Hello"),
                _ => PromptTransform::fixed([1, 5, 2]),
            }),
            Self::Rule(rule, x, parts) => {
                let [a, b, c] = parts.each_ref().map(|part| part.source(names));
                let pairs = [(*x, &a), (1.0 - x, &b)];
                let built = match rule {
                    0 => combine::delta(&a, &b, &c, *x),
                    1 => combine::amplified_delta(&a, &b, &c, *x),
                    2 => combine::balanced_delta(&a, &b, &c, *x, 2.0),
                    3 => combine::nucleus_delta(&a, &b, &c, 1.5, *x),
                    4 => combine::multi_objective(&a, [(*x, &b, &c)]),
                    5 => combine::realign(&a, &b, *x),
                    6 => combine::guidance(&a, PromptTransform::system("Hi"), *x),
                    7 => combine::weighted(pairs),
                    8 => combine::mixture(pairs),
                    9 => combine::power_mean(pairs, -2.0),
                    10 => combine::union([&a, &b, &c]),
                    11 => combine::intersection([&a, &b]),
                    12 => combine::plausibility(&a, &b, *x),
                    13 => combine::gate(&a, &b, *x),
                    14 => combine::product_of_experts([(*x, &a), (2.0, &b)]),
                    _ => combine::arithmetic(&a),
                };
                built.unwrap_or(a)
            }
        }
    }
}

/// Reads what is printed, with the names of the models and of the named parts.
fn again(source: &Source<Host>, names: &[(String, Source<Host>)]) -> Source<Host> {
    let text = format!("{source:#}");
    let all = models().iter().map(|(name, source)| (name.to_string(), source.clone()));
    let all: Vec<_> = all.chain(names.iter().cloned()).collect();
    parse(&text, all.iter().map(|(name, source)| (name, source))).unwrap_or_else(|e| panic!("{e}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn printed_combinations_are_read_as_they_were(tree in tree(0.0f32..1.0, RULES)) {
        let mut names = Vec::new();
        let source = tree.source(&mut names);
        prop_assert_eq!(format!("{:#}", again(&source, &names)), format!("{source:#}"));
    }

    /// With weights whose products are exact in single precision, and without a rule that occurs twice, so that the scores
    /// are equal and not only near.
    #[test]
    fn and_score_as_they_did(
        tree in tree((0u8..=8).prop_map(|eighths| f32::from(eighths) / 8.0), RULES - DIVIDING),
    ) {
        let mut names = Vec::new();
        let source = tree.source(&mut names);
        prop_assert_eq!(log_probs(&again(&source, &names), "text"), log_probs(&source, "text"));
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_read_or_refused(text in "(large|a-b|union|under|\\(|\\)|[-+*/−·,:=.…`\"\\\\\\[\\]]|[0-9]|e| |ü|\n){0,30}") {
        if let Err(error) = read(&text) {
            let line = text.split('\n').nth(error.line() - 1).unwrap();
            prop_assert!(error.column() <= line.chars().count() + 1);
            let message = error.to_string();
            match message.split_once('\n') {
                Some((_, excerpt)) => {
                    let mark = excerpt.lines().last().unwrap().trim_end_matches('^');
                    prop_assert!(mark.chars().all(|c| c == ' '));
                }
                // An empty line is not shown.
                None => prop_assert!(line.trim().is_empty()),
            }
        }
    }
}

#[test]
fn brackets_are_printed_where_they_matter() {
    let (a, b, c) = (named("a"), named("b"), named("small"));
    let sum = |terms: &[(f32, &Source<Host>)]| combine::weighted(terms.iter().copied()).unwrap();
    for (source, printed) in [
        (sum(&[(1.0, &(&a + &b)), (1.0, &c)]), "(a + b) + small"),
        (sum(&[(0.5, &(2.0 * &a))]), "a"),
        (sum(&[(-1.0, &(&a - &b))]), "−(a − b)"),
        (sum(&[(1.0, &(&a - &b))]), "a − b"),
        (3.0 * (1.0 / 3.0 * (&a + &b)), "a + b"),
        (-(-(&a + &b)), "a + b"),
        (0.0 * &a - 0.0 * &b, "0·a + 0·b"),
        (
            1e-45 * &a + f32::MAX * &b,
            "0.000000000000000000000000000000000000000000001·a + 340282350000000000000000000000000000000·b",
        ),
    ] {
        assert_eq!(source.to_string(), printed);
        assert_eq!(again(&source, &[]).to_string(), printed);
    }
}

#[test]
fn what_has_no_formula_is_printed_as_such() {
    let own = named("a").under(PromptTransform::new(|prompt| Ok(prompt.clone())));
    assert_eq!(own.to_string(), "under(…, a)");
    assert!(read(&own.to_string()).unwrap_err().message().starts_with("`…` stands for a part"));
}
