//! Reports against the plain statistics, and pages that ask nobody for anything.
use eft_core::{Host, Sampling, Source};
use eft_eval::run::Output;
use eft_eval::stats::{Bootstrap, Clusters, sign_test};
use eft_eval::{Choices, Error, Item, Items, PassFail, Report, Results, Run, Task};

use crate::models::model;

fn items(count: usize) -> Items {
    let item = |n: usize| {
        Item::new(n.to_string(), format!("q{n}"))
            .field("group", n / 3)
            .field("question", format!("<q{n}> & co"))
    };
    Items::of((0..count).map(item)).expect("items")
}

fn results(source: &Source<Host>, count: usize) -> Results {
    let task = Task::texts(items(count), PassFail::new("has an a", |_, text| Ok(text.contains('a'))))
        .expect("a task");
    Run::new(&task).quiet().decoding(Sampling::default()).evaluate(source).expect("results")
}

fn scores(results: &Results) -> Vec<f64> {
    let score = |output: &Output| match output {
        Output::Text { score, .. } => *score,
        other => panic!("not a text: {other:?}"),
    };
    results.items.iter().map(|item| score(&item.output)).collect()
}

#[test]
fn summaries_agree_with_the_statistics_of_the_scores() {
    let (base, other) = (results(&model(1), 30), results(&model(2), 30));
    let (of_base, of_other) = (scores(&base), scores(&other));
    assert!(of_base != of_other && of_base.contains(&0.0) && of_base.contains(&1.0));
    let report = Report::new("Test").run("base", base).run("other", other);
    let groups = Clusters::by((0..30).map(|n| n / 3));
    for (report, clusters) in [(report.clone(), Clusters::each(30)), (report.cluster_by("group"), groups)] {
        let summaries = report.summaries().expect("summaries");
        for (summary, scores) in summaries.iter().zip([&of_base, &of_other]) {
            let expected = Bootstrap::default().mean(scores, &clusters).expect("a mean");
            let metric = &summary.metrics[0];
            assert_eq!((metric.value, metric.interval), (expected.value, Some(expected.interval)));
            assert_eq!((summary.items, summary.refused, metric.is_share), (30, 0, true));
        }
        assert_eq!(summaries[0].metrics[0].difference, None);
        let difference = summaries[1].metrics[0].difference.as_ref().expect("a difference");
        let expected = Bootstrap::default().difference(&of_other, &of_base, &clusters).expect("a difference");
        assert!((difference.value - expected.value).abs() < 1e-12);
        let (found, expected) = (difference.interval.expect("an interval"), expected.interval);
        assert!((found.low - expected.low).abs() < 1e-12 && (found.high - expected.high).abs() < 1e-12);
        let test = sign_test(&of_other, &of_base).expect("a test");
        assert_eq!((difference.higher, difference.lower), (test.wins, test.losses));
        let independent = clusters.len() == 30;
        assert_eq!(difference.p_value, independent.then_some(test.p_value));
    }
}

#[test]
fn ratios_are_resampled_as_ratios() {
    let texts = ["a", "a bad cab fed a bee", "a cab", "feed", "a bad egg had a bad cafe", "deed"];
    let task = Task::likelihood(
        Items::of(texts.iter().enumerate().map(|(n, text)| Item::of_text(n.to_string(), *text)))
            .expect("items"),
    );
    let task = task.expect("a task");
    let run = |seed| Run::new(&task).quiet().evaluate(&model(seed)).expect("results");
    let (a, b) = (run(1), run(2));
    let parts = |results: &Results| -> Vec<(f64, f64)> {
        let part = |output: &Output| match output {
            Output::Likelihood { nats, tokens, .. } => (*nats, *tokens as f64),
            other => panic!("not a likelihood: {other:?}"),
        };
        results.items.iter().map(|item| part(&item.output)).collect()
    };
    let (of_a, of_b) = (parts(&a), parts(&b));
    let ratio = |parts: &[(f64, f64)], drawn: &[usize]| {
        let total = |of: fn(&(f64, f64)) -> f64| drawn.iter().map(|index| of(&parts[*index])).sum::<f64>();
        total(|part| part.0) / total(|part| part.1)
    };
    let bootstrap = Bootstrap::default().resamples(500).seed(4);
    let report = Report::new("Test").bootstrap(bootstrap).run("a", a).run("b", b);
    let summaries = report.summaries().expect("summaries");
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} and {b}");
    let all: Vec<_> = (0..texts.len()).collect();
    for (summary, parts) in summaries.iter().zip([&of_a, &of_b]) {
        let metric = &summary.metrics[0];
        assert_eq!(metric.name, "nats a token");
        assert!(!metric.higher_is_better && !metric.is_share);
        close(metric.value, ratio(parts, &all));
        let expected =
            bootstrap.interval("ratio", 6, |drawn| Some(ratio(parts, drawn))).expect("an interval").interval;
        let found = metric.interval.expect("an interval");
        close(found.low, expected.low);
        close(found.high, expected.high);
    }
    let difference = summaries[1].metrics[0].difference.as_ref().expect("a difference");
    let expected =
        bootstrap.interval("difference", 6, |drawn| Some(ratio(&of_b, drawn) - ratio(&of_a, drawn)));
    let (found, expected) =
        (difference.interval.expect("an interval"), expected.expect("an interval").interval);
    close(found.low, expected.low);
    close(found.high, expected.high);
}

#[test]
fn items_that_one_run_refused_are_left_out_of_the_comparison() {
    let (base, mut other) = (results(&model(1), 12), results(&model(2), 12));
    other.items[3].output =
        serde_json::from_str(r#"{"kind": "refused", "reason": "too long"}"#).expect("an output");
    let without = |results: &Results| {
        let mut scores = scores_but(results, 3);
        scores.remove(3);
        scores
    };
    let (of_base, of_other) = (without(&base), without(&other));
    let report = Report::new("Test").run("base", base).run("other", other);
    let summary = report.summaries().expect("summaries").remove(1);
    assert_eq!((summary.items, summary.refused), (12, 1));
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let difference = summary.metrics[0].difference.as_ref().expect("a difference");
    assert!((difference.value - (mean(&of_other) - mean(&of_base))).abs() < 1e-12);
    let table = report.table().expect("a table");
    assert!(table.contains("refused") && table.contains("1 of 12"), "{table}");
}

/// The scores, with 0 for the item of an index, which may be refused.
fn scores_but(results: &Results, index: usize) -> Vec<f64> {
    let score = |(at, output): (usize, &Output)| match output {
        Output::Text { score, .. } => *score,
        _ if at == index => 0.0,
        other => panic!("not a text: {other:?}"),
    };
    results.items.iter().map(|item| &item.output).enumerate().map(score).collect()
}

#[test]
fn runs_must_be_about_the_same_items_and_metrics() {
    let base = results(&model(1), 6);
    let mut reversed = base.clone();
    reversed.items.reverse();
    let summaries =
        Report::new("").run("a", base.clone()).run("b", reversed).summaries().expect("the same items");
    assert_eq!(summaries[1].metrics[0].difference.as_ref().map(|d| (d.higher, d.lower)), Some((0, 0)));
    let fault = |report: Report, part: &str| {
        let error = report.summaries().expect_err(part);
        assert!(matches!(error, Error::Results { .. }) && error.to_string().contains(part), "{error}");
    };
    fault(Report::new("empty"), "no runs");
    fault(Report::new("").run("a", base.clone()).run("b", results(&model(1), 7)), "same items");
    fault(Report::new("").run("a", base.clone()).cluster_by("colour"), "no field `colour`");
    let task = Task::choices(items(6).filter(|_| true), Choices::default());
    assert!(task.is_err(), "these items have no choices");
    let chosen =
        Items::of((0..6).map(|n| Item::new(n.to_string(), "q").choices(["a", "b"], 0))).expect("items");
    let chosen =
        Run::new(&Task::choices(chosen, Choices::default()).expect("a task")).quiet().evaluate(&model(1));
    fault(Report::new("").run("a", base.clone()).run("b", chosen.expect("results")), "other metrics");
    fault(Report::new("").run("a", base).bootstrap(Bootstrap::default().level(2.0)), "no interval");
}

fn page(report: &Report) -> String {
    report.html().expect("a page")
}

#[test]
fn pages_need_no_other_host() {
    let mut report = Report::new("<b>Title</b>").note("A & B").run("base <x>", results(&model(1), 12));
    for (n, alpha) in [0.5, 1.0, 2.0].into_iter().enumerate() {
        report = report.run_at(format!("α = {alpha}"), alpha, results(&model(n as u64 + 2), 12));
    }
    let html = page(&report);
    for forbidden in
        ["http:", "https:", "//", "src=", "@import", "url(", "<script", "<link", "<b>", "<x>", "<q1>"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for wanted in [
        "&lt;b&gt;Title",
        "A &amp; B",
        "base &lt;x&gt;",
        "&lt;q",
        "α = 0.5",
        "prefers-color-scheme: dark",
        "width=device-width",
        "<svg role=\"img\"",
        "model-1",
        "&quot;temperature&quot;",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    // Every colour of a plot is one that the style sheet sets.
    let plot = &html[html.find("<svg role").expect("a plot")..html.find("</svg>").expect("its end")];
    for colour in plot.split("=\"#").skip(1).map(|rest| &rest[..6]) {
        assert!(html.contains(&format!("=\"#{colour}\"] {{")), "{colour}");
    }
    assert!(plot.matches("<circle").count() >= 3);
}

#[test]
fn pages_are_the_same_each_time_and_without_a_sweep() {
    let report = Report::new("Test").run("one", results(&model(1), 5)).run("two", results(&model(2), 5));
    assert_eq!(page(&report), page(&report));
    assert_eq!(page(&report).matches("<circle").count(), 2);
    // A single item has no interval, and its plot no width.
    let single = Report::new("Test").run("one", results(&model(1), 1));
    assert_eq!(single.summaries().expect("summaries")[0].metrics[0].interval, None);
    assert!(page(&single).contains("<circle"));
}
