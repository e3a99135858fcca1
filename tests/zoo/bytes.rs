//! Models of two tokenizers, combined over bytes.
use eft::bytes::{self, ByteSettings, END, Work};
use eft::candle::Candle;
use eft::decode::Request;
use eft::text::{PlainTemplate, TextRenderer, Tokenizer};
use eft::{Backend, Decoding, Evaluator, Prompt, Renderer, Sampling, Source, TokenId};

use crate::candle::nn;
use crate::{folders, zoo};

fn model(path: &str) -> Source<Candle> {
    folders::model(&nn(), path)
}

/// The logarithm of the probability of a text and its end, by its tokens: each in the distribution over those that may
/// follow.
fn by_tokens(model: &Source<Candle>, prompt: &str, text: &str) -> f64 {
    let tokenizer = Tokenizer::open(zoo("base-large/tokenizer.json")).unwrap();
    let canonical = TextRenderer::new(tokenizer).plain(PlainTemplate::default()).canonical("model").unwrap();
    let (short, long) = (model.render(prompt).unwrap(), model.render(format!("{prompt}{text}")).unwrap());
    assert!(long.starts_with(&short), "the text begins at a boundary of tokens");
    let end = *model.vocab().eos().first().unwrap();
    let tokens = [&long[short.len()..], &[end]].concat();
    // The first token begins the text, and is not of text itself.
    let mut state =
        short[1..].iter().try_fold(canonical.start(), |state, id| canonical.after(state, *id)).unwrap();
    let mut evaluator = Evaluator::open(&[model], &[Prompt::from(prompt)]).unwrap();
    evaluator.push(std::slice::from_ref(&tokens)).unwrap();
    let scores = evaluator.eval_from(0, &[0]).unwrap();
    let (backend, width) = (model.backend(), scores.width());
    let rows = backend.download(&scores.positions(0), width).unwrap();
    let ids: Vec<_> = (0..width as TokenId).collect();
    let mut total = 0.0;
    for (row, token) in rows.chunks(width).zip(&tokens) {
        let allowed = canonical.allowed(state, width);
        let counts = |id: &TokenId| allowed[*id as usize] || *id == end && canonical.may_end(state);
        let sum: f64 = ids.iter().filter(|id| counts(id)).map(|id| f64::from(row[*id as usize]).exp()).sum();
        assert!(counts(token));
        total += f64::from(row[*token as usize]) - sum.ln();
        state = canonical.after(state, *token).unwrap_or(canonical.start());
    }
    total
}

#[test]
fn bytes_are_as_probable_as_tokens() {
    let model = model("base-large");
    let bytes = model.bytes().unwrap();
    let prompt = "Question: Where does Nora Abbot live?\nAnswer:";
    for text in
        [" In Foxton.", " A nurse, unless I am wrong.", " Nobody (has) told me: it's 1, 2  or\n\n 34!"]
    {
        let expected = by_tokens(&model, prompt, text);
        let got = bytes.score(prompt, &[bytes::tokens(text), vec![END]].concat()).unwrap().total;
        assert!((got - expected).abs() < 2e-3, "{text:?}: {got}, expected {expected}");
    }
}

#[test]
fn a_prompt_that_ends_within_a_word_goes_on() {
    let bytes = model("base-large").bytes().unwrap();
    let whole = "Question: Where does Nora Abbot live?\nAnswer:";
    let total = |prompt: &str, text: &str| bytes.score(prompt, &bytes::tokens(text)).unwrap().total;
    for split in [20, 24, 29, whole.len() - 4] {
        let (prompt, rest) = whole.split_at(split);
        let all = total("Question:", &whole["Question:".len()..]);
        let parts = total("Question:", &prompt["Question:".len()..]) + total(prompt, rest);
        assert!((all - parts).abs() < 2e-3, "{prompt:?}: {parts}, expected {all}");
    }
    let text = bytes
        .generate("Question: Where does Nora Abbot li", Decoding::from(Sampling::greedy()).max_tokens(4));
    let text: String = text.unwrap().text().unwrap().collect::<eft::Result<_>>().unwrap();
    assert_eq!(text, "ve?\n");
}

#[test]
fn all_sequences_answer_as_canonical_ones() {
    let (model, work) = (model("tuned-large"), Work::default());
    let all = model.bytes_with(ByteSettings::default().covering(0.01).count(&work)).unwrap();
    let canonical = model.bytes().unwrap();
    let prompts = ["Where does Nora Abbot live?", "Which instrument does Nora Abbot play?"];
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(40);
    let answers = |source: &Source<Candle>| {
        let batch = source.generate_batch(prompts.map(|p| Request::new(Prompt::chat(p))), &decoding).unwrap();
        batch.text().unwrap().read().into_iter().map(|text| text.unwrap()).collect::<Vec<String>>()
    };
    let written = answers(&all);
    assert_eq!(written, answers(&canonical));
    let bytes: usize = written.iter().map(String::len).sum();
    assert!(work.positions() < 3 * bytes && work.dropped() < 0.05, "{work:?}, {bytes} bytes");
    // All sequences are at least as probable as the canonical ones, but for those that were dropped and the mask.
    let text = [bytes::tokens(&written[0]), vec![END]].concat();
    let total = |source: &Source<Candle>| source.score(Prompt::chat(prompts[0]), &text).unwrap().total;
    let (all, canonical) = (total(&all), total(&canonical));
    assert!((all - canonical).abs() < 0.5, "{all}, {canonical}");
}

#[test]
fn a_pair_of_another_tokenizer_up_scales() {
    let (large, tuned, small) =
        (model("base-large"), model("experiments/other-tuned-small"), model("experiments/other-base-small"));
    assert!((&large + (&tuned - &small)).check().is_err(), "the vocabularies differ");
    let work = Work::default();
    let bytes = |source: &Source<Candle>| source.bytes_with(ByteSettings::default().count(&work)).unwrap();
    let upscaled = bytes(&large) + (bytes(&tuned) - bytes(&small));
    let questions = std::fs::read_to_string(zoo("questions/test-short.jsonl")).unwrap();
    let questions: Vec<serde_json::Value> =
        questions.lines().step_by(26).map(|line| serde_json::from_str(line).unwrap()).collect();
    let prompts = questions.iter().map(|q| Request::new(Prompt::chat(q["question"].as_str().unwrap())));
    let batch = upscaled.generate_batch(prompts, Decoding::from(Sampling::greedy()).max_tokens(60)).unwrap();
    let answers = batch.text().unwrap().read();
    let right = |(answer, q): (Result<String, _>, &serde_json::Value)| {
        let answer: Result<String, std::sync::Arc<eft::Error>> = answer;
        answer.unwrap().trim() == q["answer"].as_str().unwrap()
    };
    let right = answers.into_iter().zip(&questions).map(right).filter(|right| *right).count();
    assert!(right * 10 >= questions.len() * 9, "{right} of {} answers are right", questions.len());
    assert!(work.most_rows() <= 8 * questions.len());
}
