//! Texts that follow a grammar.
mod validator;

use std::sync::{Arc, LazyLock};

use eft::candle::{Candle, CandleNn};
use eft::decode::{Event, FinishReason, Request};
use eft::grammar::{Error, Grammar, GrammarTokens};
use eft::load::Model;
use eft::sample::{History, Processor, RowId};
use eft::{Decoding, Edit, Host, Loader, Sampling, Source, TokenId, TokenMask, Vocab, from_fn};
use serde_json::Value;

use crate::here;

fn zoo(name: &str) -> Model<Candle> {
    let folder = format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"));
    Loader::new(folder).load_on(CandleNn::new(Candle::cpu())).unwrap()
}

static MODEL: LazyLock<(Model<Candle>, GrammarTokens)> = LazyLock::new(|| {
    let model = zoo("tuned-small");
    let tokens = GrammarTokens::of(&model).unwrap();
    (model, tokens)
});

/// A combination of the zoo's models, whose tokens are those of `MODEL`.
static UPSCALED: LazyLock<Source<Candle>> =
    LazyLock::new(|| &zoo("base-large").source + (&MODEL.0.source - &zoo("base-small").source));

fn tokens() -> &'static GrammarTokens {
    &MODEL.1
}

/// A schema whose texts are not long.
const SCHEMA: &str = r#"{"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 12},
    "plays": {"type": "array", "items": {"enum": ["fiddle", "harp", "drum"]}, "minItems": 1, "maxItems": 3},
    "age": {"type": "integer", "minimum": 18, "maximum": 99}},
    "required": ["name", "plays"], "additionalProperties": false}"#;

fn sampled(seed: u64) -> Decoding {
    Decoding::from(Sampling::default().seed(seed)).max_tokens(400)
}

/// The text of a source and why it ended.
fn text(source: &Source<Candle>, decoding: Decoding) -> (String, FinishReason) {
    let mut generation = source.generate("Who is", decoding).unwrap().text().unwrap();
    let text = generation.by_ref().map(|piece| piece.unwrap().text).collect();
    (text, generation.finished().unwrap().reason.clone())
}

fn complete(reason: &FinishReason) -> bool {
    matches!(reason, FinishReason::EndOfSequence(_))
}

#[test]
fn texts_are_valid_under_their_schemas() {
    let schemas = std::fs::read_to_string(here("grammar/schemas.jsonl")).unwrap();
    let mut finished = 0;
    for (seed, line) in (0..).zip(schemas.lines()) {
        let schema: Value = serde_json::from_str(line).unwrap();
        let grammar = Grammar::json_schema(tokens(), line).unwrap();
        let (text, reason) = text(&MODEL.0.source, sampled(seed).processor(grammar));
        if complete(&reason) {
            finished += 1;
            let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(validator::fault(&schema, &value, &schema), None, "{text}");
        }
    }
    assert_eq!(finished, schemas.lines().count());
}

/// A processor that forces nothing.
struct Unforced(Grammar);

impl Processor for Unforced {
    fn edits(&self, history: &History<'_>) -> eft::Result<Vec<Edit>> {
        self.0.edits(history)
    }
}

#[test]
fn forced_tokens_change_no_text() {
    let mut forced = 0;
    for seed in 0..6 {
        let grammar = || Grammar::json_schema(tokens(), SCHEMA).unwrap();
        let forcing = grammar().forced(&History::new(&[])).unwrap();
        forced += forcing.len();
        let decoding =
            |sampling: Sampling| Decoding::from(sampling.seed(seed)).max_tokens(120).alternatives(2);
        for sampling in [Sampling::default(), Sampling::greedy()] {
            let with: Vec<_> = UPSCALED
                .generate("Who is", decoding(sampling).processor(grammar()))
                .unwrap()
                .collect::<eft::Result<_>>()
                .unwrap();
            let without: Vec<_> = UPSCALED
                .generate("Who is", decoding(sampling).processor(Unforced(grammar())))
                .unwrap()
                .collect::<eft::Result<_>>()
                .unwrap();
            assert_eq!(with.len(), without.len());
            for (a, b) in with.iter().zip(&without) {
                assert_eq!((a.id, a.position), (b.id, b.position));
                assert!((a.log_prob - b.log_prob).abs() < 1e-3, "{a:?} {b:?}");
                assert_eq!(a.alternatives.len(), b.alternatives.len());
            }
        }
    }
    assert!(forced > 0);
}

#[test]
fn drafts_are_masked_too() {
    let grammar = || Grammar::json_schema(tokens(), SCHEMA).unwrap();
    for seed in 0..3 {
        for sampling in [Sampling::greedy(), Sampling::default().seed(seed)] {
            let decoding = || Decoding::from(sampling).max_tokens(300).processor(grammar());
            let (plain, reason) = text(&UPSCALED, decoding());
            assert!(complete(&reason), "{plain}");
            let drafted = |speculative: eft::speculate::Speculative<Candle>| {
                let mut generation =
                    speculative.block(4).generate("Who is", decoding()).unwrap().text().unwrap();
                generation.by_ref().map(|piece| piece.unwrap().text).collect::<String>()
            };
            assert_eq!(drafted(UPSCALED.speculate().same_text()), plain);
            let other = drafted(UPSCALED.speculate());
            let schema: Value = serde_json::from_str(SCHEMA).unwrap();
            let value = serde_json::from_str(&other).unwrap_or_else(|error| panic!("{error}: {other}"));
            assert_eq!(validator::fault(&schema, &value, &schema), None, "{other}");
        }
    }
}

#[test]
fn rows_of_a_batch_and_samples_are_what_they_are_alone() {
    let grammar = Grammar::json_schema(tokens(), SCHEMA).unwrap();
    let request = |prompt: &str, id| Request::new(prompt).id(id).samples(2);
    let requests = [request("Who is", 0), request("Which instrument", 1), request("Where", 2)];
    let batch = |requests: &[Request]| -> Vec<Vec<TokenId>> {
        let decoding = sampled(5).processor(grammar.clone());
        let mut rows = vec![Vec::new(); requests.len() * 2];
        for event in MODEL.0.source.generate_batch(requests.to_vec(), decoding).unwrap() {
            match event.unwrap() {
                Event::Token { row, token } => rows[row].push(token.id),
                Event::Finished { finished, .. } => assert!(complete(&finished.reason)),
                Event::Failed { error, .. } => panic!("{error}"),
            }
        }
        rows
    };
    let together = batch(&requests);
    let alone: Vec<_> = requests.iter().flat_map(|request| batch(std::slice::from_ref(request))).collect();
    assert_eq!(together, alone);
}

fn mask(grammar: &Grammar, history: &History<'_>) -> TokenMask {
    match &grammar.edits(history).unwrap()[..] {
        [Edit::Allow(mask)] => mask.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_allowed_tokens_depend_on_the_tokens_alone() {
    // Two texts of one row, and one of another, whose positions are visited forwards and backwards.
    let grammar = Grammar::json_schema(tokens(), SCHEMA).unwrap();
    let texts: Vec<Vec<TokenId>> = (0..3)
        .map(|seed| {
            let decoding = sampled(seed).processor(grammar.clone());
            MODEL.0.source.generate("Who is", decoding).unwrap().map(|token| token.unwrap().id).collect()
        })
        .collect();
    let mut random = 7usize;
    let fresh = Grammar::json_schema(tokens(), SCHEMA).unwrap();
    for visit in 0..120u64 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let text = &texts[(random >> 33) % texts.len()];
        let length = (random >> 40) % (text.len() + 1);
        let row = RowId::from(visit % 2);
        let history = History::new(&text[..length]).with_row(row);
        // A row that has not been seen is parsed from the beginning.
        let expected = mask(&fresh, &History::new(&text[..length]).with_row(1000 + visit));
        assert_eq!(mask(&grammar, &history), expected, "{length}");
        let forced = grammar.forced(&history).unwrap();
        if let Some(first) = forced.first() {
            assert_eq!(expected, TokenMask::from_iter([*first]));
        }
        // An end-of-sequence token is allowed only where the text is complete.
        let ends = MODEL.0.source.stop_ids();
        assert_eq!(ends.iter().any(|end| expected.contains(*end)), length == text.len());
    }
}

#[test]
fn a_grammar_that_allows_everything_changes_no_text() {
    let all = Grammar::regex(tokens(), "(?s:.*)").unwrap();
    for (prompt, seed) in [("Who is", 0), ("Which instrument does", 1), ("Where", 2)] {
        for sampling in [Sampling::greedy(), Sampling::default().temperature(0.7).seed(seed)] {
            let decoding = Decoding::from(sampling).max_tokens(60);
            let ids = |decoding: Decoding| -> Vec<TokenId> {
                UPSCALED.generate(prompt, decoding).unwrap().map(|token| token.unwrap().id).collect()
            };
            assert_eq!(ids(decoding.clone().processor(all.clone())), ids(decoding));
        }
    }
}

#[test]
fn every_kind_of_grammar_is_followed() {
    let written = |grammar: Grammar, seed| text(&MODEL.0.source, sampled(seed).processor(grammar));
    for seed in 0..4 {
        let (date, reason) = written(Grammar::regex(tokens(), "[0-9]{4}-(0[1-9]|1[0-2])").unwrap(), seed);
        assert!(complete(&reason) && date.len() == 7 && date.as_bytes()[4] == b'-', "{date}");
        assert!((1..=12).contains(&date[5..].parse::<u32>().unwrap()), "{date}");

        let lark = "start: pair (\", \" pair){0,2}\npair: NAME \"=\" /[0-9]{1,3}/\nNAME: /[a-z]{1,5}/";
        let (pairs, reason) = written(Grammar::lark(tokens(), lark).unwrap(), seed);
        let right = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap();
            (1..=5).contains(&name.len()) && value.parse::<u32>().is_ok_and(|value| value < 1000)
        };
        assert!(complete(&reason) && pairs.split(", ").all(right), "{pairs}");

        let names = ["naïve \"quoted\"\n", "a", "ab", "日本"];
        let (choice, reason) = written(Grammar::choices(tokens(), names).unwrap(), seed);
        assert!(complete(&reason) && names.contains(&&*choice), "{choice}");
    }
    // Whitespace is as the schema says, or as most models write it.
    let text = |schema: &str| written(Grammar::json_schema(tokens(), schema).unwrap(), 1).0;
    assert_eq!(text(r#"{"const": {"a": [1, 2], "b": null}}"#), r#"{"a": [1, 2], "b": null}"#);
    let dense = r#"{"const": {"a": [1, 2]}, "x-guidance": {"whitespace_flexible": false}}"#;
    assert_eq!(text(dense), r#"{"a":[1,2]}"#);
    assert!(Grammar::json_schema(tokens(), "true").is_ok());
}

#[test]
fn invalid_grammars_are_refused_with_the_place_at_fault() {
    let refused = |schema: &str| Grammar::json_schema(tokens(), schema).unwrap_err().to_string();
    let nested = r#"{"type": "object", "properties": {"a/b": {"items": {"anyOf": [{"type": "null"}, {"type": "strnig"}]}}}}"#;
    for (schema, expected) in [
        ("{\"type\": \"object\",\n \"properties\": {]}", vec!["line 2 column 17"]),
        ("", vec!["EOF"]),
        ("7", vec!["object or boolean"]),
        (nested, vec!["#/properties/a~1b/items/anyOf/1", "strnig"]),
        (
            r#"{"type": "string", "uniqueItems": true, "unevaluatedProperties": false}"#,
            vec!["unevaluatedProperties"],
        ),
        (r##"{"properties": {"x": {"$ref": "#/$defs/missing"}}}"##, vec!["missing"]),
        (r#"{"properties": {"x": {"type": "string", "pattern": "(a"}}}"#, vec!["#/properties/x", "(a"]),
        (r#"{"type": "integer", "minimum": 5, "maximum": 3}"#, vec!["5", "3"]),
        (
            r##"{"$defs": {"a": {"type": "object", "required": 3}}, "anyOf": [{"$ref": "#/$defs/a"}]}"##,
            vec!["required"],
        ),
        ("false", vec!["nsatisfiable"]),
    ] {
        let error = refused(schema);
        for part in expected {
            assert!(error.contains(part), "{schema}: {error}");
        }
        assert!(error.len() < 1000 && !error.contains("panic"), "{error}");
    }
    let regex = |pattern: &str| Grammar::regex(tokens(), pattern).unwrap_err().to_string();
    for pattern in ["(a", "[z-a]", "a{3,1}", "\\p{Nonsense}"] {
        let error = regex(pattern);
        assert!(error.contains("regular expression") && !error.contains("panic"), "{pattern}: {error}");
    }
    let lark = Grammar::lark(tokens(), "start: \"a\" other\nother: missing \"b\"\n").unwrap_err().to_string();
    assert!(lark.contains("missing"), "{lark}");
    let lark = Grammar::lark(tokens(), "start: \"a\"\nbroken \"b\" (\n").unwrap_err().to_string();
    assert!(lark.contains('2'), "{lark}");
    assert!(Grammar::choices(tokens(), [""; 0]).is_err());
}

/// Whether a grammar over bytes accepts a text.
fn accepts(grammar: &Grammar, text: &str) -> bool {
    let ids: Vec<TokenId> = text.bytes().map(TokenId::from).chain([256]).collect();
    (0..ids.len()).all(|length| mask(grammar, &History::new(&ids[..length])).contains(ids[length]))
}

#[test]
fn dates_and_times_are_those_that_exist() {
    let bytes = (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]);
    let vocab = Vocab::new("bytes", bytes).unwrap().with_eos([256]).unwrap();
    let tokens = GrammarTokens::of_vocab(&vocab).unwrap();
    for (format, right, wrong) in [
        (
            "date",
            vec!["2024-02-29", "2000-02-29", "1999-12-31"],
            vec!["2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01"],
        ),
        ("time", vec!["23:59:59Z", "00:00:00.5+01:30"], vec!["23:59:60Z", "24:00:00Z", "12:00:00"]),
        ("date-time", vec!["2024-02-29T12:00:00Z"], vec!["2023-02-29T12:00:00Z", "2024-02-28T12:00:60Z"]),
    ] {
        let schema = serde_json::json!({"properties": {"format": {"format": format}}, "type": "object",
            "required": ["format"], "additionalProperties": {"const": {"format": format}}});
        let grammar = Grammar::json_schema(&tokens, &schema.to_string()).unwrap();
        let accepted = |text: &&str| accepts(&grammar, &format!("{{\"format\": \"{text}\"}}"));
        assert!(right.iter().all(accepted), "{right:?}");
        assert!(!wrong.iter().any(accepted), "{wrong:?}");
        let other = format!("{{\"format\": {:?}, \"a\": {{\"format\": {format:?}}}}}", right[0]);
        assert!(accepts(&grammar, &other), "{other}");
    }
}

#[test]
fn vocabularies_are_checked() {
    let digits = || Vocab::new("digits", ["0", "1", "</s>"]).unwrap();
    let error = GrammarTokens::of_vocab(&digits()).unwrap_err();
    assert!(matches!(error, Error::Vocab { .. }), "{error}");
    assert!(GrammarTokens::of_vocab(&Vocab::anonymous("unknown", 4).unwrap()).is_err());
    let tokens = GrammarTokens::of_vocab(&digits().with_eos([2]).unwrap()).unwrap();
    assert!(tokens.with_ends([7]).is_err() && tokens.with_ends([]).is_err());

    // Rows that are padded past the tokens: the padding is never chosen, and two tokens may end a text.
    let vocab = digits().with_eos([2]).unwrap().with_width(5).unwrap();
    let model = from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0, 2.0, 9.0, 9.0]));
    let grammar = Grammar::regex(&GrammarTokens::of_vocab(&vocab).unwrap(), "[01]{3}").unwrap();
    let decoding = Decoding::from(Sampling::greedy()).processor(grammar);
    let text: String =
        model.generate([0], decoding).unwrap().text().unwrap().collect::<eft::Result<_>>().unwrap();
    assert_eq!(text, "111");

    let both = tokens.with_ends([1, 2]).unwrap();
    let grammar = Grammar::regex(&both, "0").unwrap();
    let after = mask(&grammar, &History::new(&[0]));
    assert_eq!(after, TokenMask::from_iter([1, 2]));
    assert_eq!(mask(&grammar, &History::new(&[0, 2, 2])), after);
}

#[test]
fn a_text_that_leaves_the_grammar_is_an_error() {
    let vocab = Vocab::new("digits", ["0", "1", "</s>"]).unwrap().with_eos([2]).unwrap();
    let grammar = Grammar::regex(&GrammarTokens::of_vocab(&vocab).unwrap(), "01+").unwrap();
    let error = grammar.edits(&History::new(&[0, 1, 0])).unwrap_err();
    let error = eft::error::with_sources(&error).to_string();
    assert!(error.contains("position 2") && error.contains("token 0"), "{error}");
    // The next text is not affected.
    assert_eq!(mask(&grammar, &History::new(&[0])), TokenMask::from_iter([1]));
    let shared = Arc::new(grammar);
    assert_eq!(shared.forced(&History::new(&[])).unwrap(), [0, 1]);
}
