//! Each kind of task against its definition, computed by plain loops.
use std::collections::BTreeMap;

use eft_core::{Decoding, EngineSpec, FnEngine, Host, Message, Prompt, Sampling, Source};
use eft_eval::report::Metric;
use eft_eval::run::Output;
use eft_eval::{
    Choices, Error, ExactMatch, Extract, FewShot, ImplicitReward, Item, Items, LengthNorm, Normalise,
    NumericMatch, PassFail, Results, Run, Task,
};

use crate::models::{
    Bytes, END, broken, bytes, exact, fails_at_a_row, log_prob, logits, model, rendered, vocab,
};

fn prompts(count: usize) -> Vec<Item> {
    let prompt = |n: usize| format!("{} {n}", "word ".repeat(n % 5));
    (0..count).map(|n| Item::new(format!("item-{n}"), prompt(n)).reference("a")).collect()
}

fn any() -> PassFail {
    PassFail::new("any", |_, _| Ok(true))
}

fn run<'t>(task: &'t Task, decoding: impl Into<Decoding>) -> Run<'t> {
    Run::new(task).quiet().decoding(decoding.into().max_tokens(12))
}

fn texts(results: &Results) -> BTreeMap<String, String> {
    let text = |output: &Output| match output {
        Output::Text { text, .. } => text.clone(),
        other => panic!("not a text: {other:?}"),
    };
    results.items.iter().map(|item| (item.item.clone(), text(&item.output))).collect()
}

#[test]
fn texts_depend_on_seed_and_id_alone() -> eft_eval::Result<()> {
    let sampling = Sampling::default().seed(5);
    let task = Task::texts(Items::of(prompts(30))?, any())?;
    let together = texts(&run(&task, sampling).batch(30).evaluate(&model(1))?);
    assert_eq!(together, texts(&run(&task, sampling).batch(7).evaluate(&model(1))?));
    assert_eq!(together, texts(&run(&task, sampling).batch(1).evaluate(&model(1))?));
    let reversed = Task::texts(Items::of(prompts(30).into_iter().rev())?, any())?;
    assert_eq!(together, texts(&run(&reversed, sampling).evaluate(&model(1))?));
    assert_ne!(together, texts(&run(&task, sampling.seed(6)).evaluate(&model(1))?));
    // Two items with the same prompt draw different numbers.
    let twice = Items::of((0..8).map(|n| Item::new(n.to_string(), "same")))?;
    let twice = Task::texts(twice, any())?;
    let drawn = texts(&run(&twice, sampling).evaluate(&model(1))?);
    assert!(drawn.values().any(|text| *text != drawn["0"]), "{drawn:?}");
    Ok(())
}

#[test]
fn greedy_texts_are_those_of_a_plain_loop() -> eft_eval::Result<()> {
    let task = Task::texts(Items::of(prompts(9))?, any())?;
    let results = run(&task, Sampling::greedy()).evaluate(&model(3))?;
    for (item, result) in task.items().iter().zip(&results.items) {
        let Some(Prompt::Text(prompt)) = &item.prompt else { panic!("a text") };
        let mut tokens = [vec![END], bytes(prompt)].concat();
        let mut written = Vec::new();
        while written.len() < 12 {
            let scores = logits(3, &tokens);
            let best = (0..=END).reduce(|a, b| if scores[b as usize] > scores[a as usize] { b } else { a });
            let Some(best) = best.filter(|best| *best != END) else { break };
            tokens.push(best);
            written.push(best as u8);
        }
        let Output::Text { text, tokens, .. } = &result.output else { panic!("a text") };
        assert_eq!(*text, String::from_utf8_lossy(&written));
        assert_eq!(*tokens, (written.len() + 1).min(12));
    }
    Ok(())
}

#[test]
fn stop_strings_end_texts() -> eft_eval::Result<()> {
    let task = Task::texts(Items::of(prompts(20))?, any())?;
    let free = texts(&run(&task, Sampling::default()).evaluate(&model(1))?);
    let stopped = texts(&run(&task, Sampling::default()).until("b").evaluate(&model(1))?);
    assert!(free.values().any(|text| text.contains('b')));
    for (id, text) in &free {
        assert_eq!(stopped[id], text.split('b').next().unwrap_or_default());
    }
    Ok(())
}

/// The grade of a text that a model always writes.
fn grade(
    text: &'static str,
    mut item: Item,
    grader: impl eft_eval::task::Grader + 'static,
) -> eft_eval::Result<(f64, Option<String>)> {
    let source = eft_core::from_fn(Host, vocab(), move |tokens| {
        let at = tokens.len() - 1;
        let next = text.as_bytes().get(at).map_or(END, |byte| u32::from(*byte));
        Ok((0..=END).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    });
    item.prompt = Some([0].into());
    let task = Task::texts(Items::of([item])?, grader)?;
    match Run::new(&task).quiet().evaluate(&source)?.items.remove(0).output {
        Output::Text { score, extracted, .. } => Ok((score, extracted)),
        other => panic!("not a text: {other:?}"),
    }
}

#[test]
fn answers_are_graded() -> eft_eval::Result<()> {
    let item = |reference: &str| Item::new("1", "").reference("other").reference(reference);
    let exact = ExactMatch::default;
    assert_eq!(grade(" A nurse.", item("A nurse."), exact())?, (1.0, None));
    assert_eq!(grade(" A nurse.", item("A nurse"), exact())?, (0.0, None));
    assert_eq!(grade(" A nurse.", item("A nurse."), exact().normalise(Normalise::AsGiven))?, (0.0, None));
    assert_eq!(grade("a Nurse", item("A nurse"), exact().normalise(Normalise::LowerCase))?, (1.0, None));
    assert_eq!(grade("the nurse!", item("A nurse."), exact().normalise(Normalise::Squad))?, (1.0, None));
    let extract = || Extract::first(r"is (\w+)|be (\w+)");
    assert_eq!(
        grade("It must be so, or is not", item("so"), exact().extract(extract()?))?,
        (1.0, Some("so".into()))
    );
    assert_eq!(grade("so", item("so"), exact().extract(extract()?))?, (0.0, None));
    let numeric = NumericMatch::default;
    let no_number =
        grade("72", item("it is #### 72"), numeric()).expect_err("`other` has no number").to_string();
    assert!(no_number.contains("`references`") && no_number.contains("`other`"), "{no_number}");
    let number = |reference: &str| Item::new("1", "").reference(reference);
    assert_eq!(grade("12 + 60 = 72.0.", number("it is #### 72"), numeric())?, (1.0, Some("72.0".into())));
    assert_eq!(grade("72.5", number("72"), numeric().absolute(0.5)?)?.0, 1.0);
    assert_eq!(grade("72.51", number("72"), numeric().absolute(0.5)?)?.0, 0.0);
    assert_eq!(grade("-101", number("-100"), numeric().relative(0.01)?)?.0, 1.0);
    assert_eq!(grade("none", number("0"), numeric())?, (0.0, None));
    let short = PassFail::new("short", |item, text| Ok(text.len() < item.references[0].len()));
    assert_eq!(grade("abc", number("abcd"), short)?, (1.0, None));
    Ok(())
}

#[test]
fn faults_of_settings_and_graders_are_errors() -> eft_eval::Result<()> {
    assert!(matches!(Extract::first("("), Err(Error::Pattern { .. })));
    assert!(matches!(NumericMatch::default().absolute(-1.0), Err(Error::Setting { name: "absolute", .. })));
    assert!(matches!(
        NumericMatch::default().relative(f64::NAN),
        Err(Error::Setting { name: "relative", .. })
    ));
    let items = || Items::of(prompts(2));
    let failing = Task::texts(items()?, PassFail::new("broken", |_, _| Err("no such program".into())))?;
    assert!(matches!(run(&failing, Sampling::greedy()).evaluate(&model(1)), Err(Error::Grader { .. })));
    let task = Task::texts(items()?, any())?;
    assert!(matches!(
        run(&task, Sampling::greedy()).batch(0).evaluate(&model(1)),
        Err(Error::Setting { .. })
    ));
    let wrong = Sampling::default().top_p(2.0);
    assert!(matches!(run(&task, wrong).evaluate(&model(1)), Err(Error::Core(_))));
    let Err(Error::Models { what, .. }) = run(&task, Sampling::greedy()).evaluate(&broken()) else {
        panic!("the model fails")
    };
    assert!(what.contains("2 items") && what.contains("item-"), "{what}");
    Ok(())
}

#[test]
fn choices_are_compared_by_their_log_likelihoods() -> eft_eval::Result<()> {
    let choices = ["a b", "bad", "a cabbage fed a bee", "é"];
    let items =
        || Items::of((0..12).map(|n| Item::new(n.to_string(), format!("q{n}")).choices(choices, n % 4)));
    let mut shares = Vec::new();
    for norm in [LengthNorm::None, LengthNorm::Token, LengthNorm::Byte] {
        let task = Task::choices(items()?, Choices::default().norm(norm))?;
        let results = Run::new(&task).quiet().batch(5).evaluate(&(2.0 * &model(2)))?;
        let doubled = |tokens: &[u32]| exact(2)(tokens).into_iter().map(|score| 2.0 * score).collect();
        let mut right = 0;
        for (n, result) in results.items.iter().enumerate() {
            let Output::Choices { label, choices: found } = &result.output else { panic!("choices") };
            assert_eq!(*label, n % 4);
            let prompt = [vec![END], bytes(&format!("q{n}"))].concat();
            let mut best = (f64::MIN, 0);
            for (index, (choice, found)) in choices.iter().zip(found).enumerate() {
                let expected = log_prob(doubled, &prompt, &bytes(&format!(" {choice}")));
                assert!(
                    (found.log_likelihood - expected).abs() < 1e-4,
                    "{} and {expected}",
                    found.log_likelihood
                );
                assert_eq!((found.tokens, found.bytes), (choice.len() + 1, choice.len()));
                let by = match norm {
                    LengthNorm::Token => choice.len() + 1,
                    LengthNorm::Byte => choice.len(),
                    _ => 1,
                };
                if expected / by as f64 > best.0 {
                    best = (expected / by as f64, index);
                }
            }
            right += usize::from(best.1 == *label);
        }
        let metrics = results.metrics()?;
        assert_eq!(metrics.len(), 3);
        assert_eq!(metrics[0].value(), right as f64 / 12.0);
        shares.push(metrics[0].value());
    }
    assert!(shares.iter().any(|share| *share != shares[0]), "the norms must matter: {shares:?}");
    Ok(())
}

#[test]
fn the_delimiter_depends_on_the_prompt_or_is_given() -> eft_eval::Result<()> {
    let tokens_of = |item: Item, choices: Choices| -> eft_eval::Result<usize> {
        let task = Task::choices(Items::of([item.choices(["ab", "c"], 0)])?, choices)?;
        match &Run::new(&task).quiet().evaluate(&model(1))?.items[0].output {
            Output::Choices { choices, .. } => Ok(choices[0].tokens),
            other => panic!("not choices: {other:?}"),
        }
    };
    assert_eq!(tokens_of(Item::new("1", "text"), Choices::default())?, 3);
    assert_eq!(tokens_of(Item::new("1", Prompt::chat("text")), Choices::default())?, 2);
    assert_eq!(tokens_of(Item::new("1", "text"), Choices::default().delimiter(""))?, 2);
    assert_eq!(tokens_of(Item::new("1", Prompt::chat("text")), Choices::default().delimiter(": "))?, 4);
    Ok(())
}

fn named<'m>(metrics: &'m [Metric], name: &str) -> &'m Metric {
    metrics.iter().find(|metric| metric.name == name).expect("the metric")
}

#[test]
fn likelihoods_are_counted_a_token_and_a_byte() -> eft_eval::Result<()> {
    let texts = ["a bad cab", "é", "feed a bee"];
    let items = || Items::of(texts.iter().enumerate().map(|(n, text)| Item::of_text(n.to_string(), *text)));
    let task = Task::likelihood(items()?)?;
    for begin in [true, false] {
        let source = rendered(4, begin, std::time::Duration::ZERO);
        let results = Run::new(&task).quiet().evaluate(&source)?;
        let (mut nats, mut count) = (0.0, 0.0);
        for text in texts {
            let ids = bytes(text);
            // Without a token that begins the text, nothing predicts its first token.
            let (prompt, scored) = if begin { (vec![END], &ids[..]) } else { (vec![ids[0]], &ids[1..]) };
            nats -= log_prob(exact(4), &prompt, scored);
            count += scored.len() as f64;
        }
        let metrics = results.metrics()?;
        assert!((named(&metrics, "nats a token").value() - nats / count).abs() < 1e-5);
        let bits = nats / std::f64::consts::LN_2 / count;
        assert!((named(&metrics, "bits a byte").value() - bits).abs() < 1e-5);
    }
    // After a prompt.
    let item = Item::new("1", "a cab").text(" bad");
    let task = Task::likelihood(Items::of([item])?)?;
    let results = Run::new(&task).quiet().evaluate(&model(4))?;
    let expected = -log_prob(exact(4), &[vec![END], bytes("a cab")].concat(), &bytes(" bad"));
    let Output::Likelihood { nats, tokens, bytes } = results.items[0].output else { panic!("a likelihood") };
    assert!((nats - expected).abs() < 1e-4, "{nats} and {expected}");
    assert_eq!((tokens, bytes), (4, 4));
    Ok(())
}

#[test]
fn an_excluded_token_makes_a_likelihood_infinite() -> eft_eval::Result<()> {
    let source = eft_core::from_fn(Host, vocab(), |_| {
        Ok((0..=END).map(|id| if id == 98 { f32::NEG_INFINITY } else { 0.0 }).collect())
    });
    let source = source.rendered_by(Bytes { begin: true })?;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("results.jsonl");
    let task = Task::likelihood(Items::of([Item::of_text("1", "abc"), Item::of_text("2", "a")])?)?;
    let results = Run::new(&task).quiet().file(&file).evaluate(&source)?;
    assert!(matches!(results.items[0].output, Output::Likelihood { nats: f64::INFINITY, .. }));
    assert_eq!(Results::read(&file)?, results);
    assert_eq!(results.metrics()?[0].value(), f64::INFINITY);
    Ok(())
}

#[test]
fn the_implicit_reward_is_that_of_its_definition() -> eft_eval::Result<()> {
    let task = Task::texts(Items::of(prompts(6))?, ImplicitReward::new(&model(8), &model(9)).beta(0.5))?;
    let results = run(&task, Sampling::default().seed(2)).evaluate(&model(1))?;
    let mut ended = 0;
    for (item, result) in task.items().iter().zip(&results.items) {
        let (Some(Prompt::Text(prompt)), Output::Text { text, score, tokens, .. }) =
            (&item.prompt, &result.output)
        else {
            panic!("a text")
        };
        let mut written = bytes(text);
        if *tokens == written.len() + 1 {
            written.push(END);
            ended += 1;
        }
        let prompt = [vec![END], bytes(prompt)].concat();
        let expected = 0.5 * (log_prob(exact(8), &prompt, &written) - log_prob(exact(9), &prompt, &written));
        assert!((score - expected).abs() < 1e-4, "{score} and {expected}");
    }
    assert!((1..6).contains(&ended), "both kinds of ends must occur: {ended}");
    Ok(())
}

#[test]
fn demonstrations_are_drawn_by_seed_and_never_include_the_item() -> eft_eval::Result<()> {
    let pool: Vec<_> =
        (0..6).map(|n| Item::new(format!("p{n}"), format!("Q{n}:")).reference(format!("A{n}"))).collect();
    let prompts = |pool: Vec<Item>, seed: u64| -> eft_eval::Result<Vec<Prompt>> {
        let items = Items::of((0..6).map(|n| Item::new(format!("p{n}"), format!("Q{n}:")).reference("x")))?;
        let task = Task::texts(items, any())?.few_shot(FewShot::new(Items::of(pool)?, 3).seed(seed))?;
        Ok(task.items().iter().filter_map(|item| item.prompt.clone()).collect())
    };
    let drawn = prompts(pool.clone(), 1)?;
    assert_eq!(drawn, prompts(pool.iter().rev().cloned().collect(), 1)?);
    assert_ne!(drawn, prompts(pool.clone(), 2)?);
    for (n, prompt) in drawn.iter().enumerate() {
        let Prompt::Text(text) = prompt else { panic!("a text") };
        let parts: Vec<_> = text.split("\n\n").collect();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[3], format!("Q{n}:"));
        for part in &parts[..3] {
            let other = part[1..2].to_owned();
            assert_eq!(*part, format!("Q{other}: A{other}"));
            assert_ne!(other, n.to_string());
        }
    }
    let too_many = Task::texts(Items::of(pool.clone())?, any())?.few_shot(FewShot::new(Items::of(pool)?, 6));
    let message = too_many.expect_err("five others").to_string();
    assert!(message.contains("item `p0`") && message.contains("only 5"), "{message}");
    Ok(())
}

#[test]
fn demonstrations_follow_the_system_message() -> eft_eval::Result<()> {
    let chat = vec![Message::new("system", "Be brief."), Message::new("user", "2 + 2?")];
    let pool = Items::of([Item::new("a", "1 + 1?").choices(["3", "2"], 1)])?;
    let task = Task::texts(Items::of([Item::new("b", Prompt::Chat(chat))])?, any())?
        .few_shot(FewShot::new(pool, 1))?;
    let expected = [("system", "Be brief."), ("user", "1 + 1?"), ("assistant", "2"), ("user", "2 + 2?")];
    let expected = expected.map(|(role, text)| Message::new(role, text));
    assert_eq!(task.items()[0].prompt, Some(Prompt::Chat(expected.into())));
    // A conversation cannot be part of a text.
    let pool = Items::of([Item::new("a", Prompt::chat("1 + 1?")).reference("2")])?;
    let mixed = Task::texts(Items::of([Item::new("b", "2 + 2?")])?, any())?.few_shot(FewShot::new(pool, 1));
    assert!(matches!(mixed, Err(Error::Field { field: "prompt", .. })));
    Ok(())
}

#[test]
fn items_that_do_not_fit_are_refused_and_the_others_run() -> eft_eval::Result<()> {
    let spec = EngineSpec::new("short", Host, vocab()).context(20);
    let source = Source::new(FnEngine::new(spec, |row| Ok(logits(1, &row.tokens))))
        .rendered_by(Bytes { begin: true })?;
    let long = "much too long for twenty tokens";
    let item = |id: &str, text: &str| Item::new(id, text).text(" bad").choices(["a", "b"], 0);
    let all = || Items::of([item("1", "ok"), item("2", long), item("3", "fine")]);
    let only = || Items::of([item("2", long)]);
    type Make = fn(Items) -> eft_eval::Result<Task>;
    let kinds: [Make; 3] = [
        |items| Task::texts(items, any()),
        |items| Task::choices(items, Choices::default()),
        Task::likelihood,
    ];
    for make in kinds {
        let results = Run::new(&make(all()?)?).quiet().evaluate(&source)?;
        let refused: Vec<_> =
            results.items.iter().map(|item| matches!(item.output, Output::Refused { .. })).collect();
        assert_eq!(refused, [false, true, false]);
        let Output::Refused { reason } = &results.items[1].output else { panic!("refused") };
        assert!(reason.contains("context"), "{reason}");
        assert_eq!(results.metrics()?[0].scored(), 2);
        // A batch of which nothing is left.
        let results = Run::new(&make(only()?)?).quiet().evaluate(&source)?;
        assert!(matches!(results.items[0].output, Output::Refused { .. }));
        assert!(matches!(results.metrics(), Err(Error::Results { .. })));
    }
    Ok(())
}

#[test]
fn a_failure_at_one_row_ends_the_run_and_is_no_result() -> eft_eval::Result<()> {
    let items = || Items::of(["1", "2"].map(|id| Item::new(id, "abc").reference("a")));
    let task = Task::texts(items()?, ExactMatch::default())?;
    let source = fails_at_a_row();
    let sources = [("one", source.clone()), ("two", 2.0 * &source)];
    for count in [1, 2] {
        let error = Run::new(&task).quiet().evaluate_each(&sources[..count]).unwrap_err();
        assert!(matches!(error, Error::Models { .. }), "{error:?}");
        assert!(eft_core::error::with_sources(&error).to_string().contains("the connection was lost"));
    }
    Ok(())
}
