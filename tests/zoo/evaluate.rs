//! The example `evaluate`, run as a user runs it.
use std::path::Path;
use std::process::{Command, Output};

use super::examples::example;
use super::zoo;

fn evaluate(out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(example("evaluate"));
    command.arg("--out").arg(out).args(arguments);
    command.output().expect("the example `evaluate` starts")
}

/// What a run that must succeed prints.
fn printed(out: &Path, arguments: &[&str]) -> String {
    let output = evaluate(out, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The files of results, by name, and their contents.
fn results(out: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(out.join("task")).expect("a folder of results");
    let mut files: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn writes_a_table_results_and_a_page_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("whole");
    let task = zoo("questions/test-short.jsonl").display().to_string();
    let arguments = ["--task", &task, "--limit", "6", "--batch", "3", "--alpha", "0,1", "--until", "\n"];
    let table = printed(&out, &arguments);
    let written = results(&out);
    let names: Vec<_> = written.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, ["alpha-0.jsonl", "alpha-1.jsonl", "base.jsonl", "reference.jsonl", "tuned.jsonl"]);
    for line in ["base", "tuned", "reference", "α = 0", "α = 1"] {
        assert!(table.lines().any(|row| row.contains(line)), "no line for {line}:\n{table}");
    }
    let texts = |name: &str| {
        let (_, text) = written.iter().find(|(file, _)| file == name).expect("a file");
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.filter_map(|line| Some(line.pointer("/output/text")?.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(texts("base.jsonl").len(), 6);
    assert_eq!(texts("alpha-0.jsonl"), texts("base.jsonl"), "with a weight of 0, the delta does nothing");
    assert_ne!(texts("alpha-1.jsonl"), texts("base.jsonl"));

    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("α = 1"));
    let loads = ["src=\"http", "href=\"http", "url(http", "@import"];
    assert!(loads.iter().all(|load| !page.contains(load)), "the page asks another host for something");

    // A file that lacks its last batch, as an interruption leaves it, and one that is not there at all.
    let interrupted = out.join("task/alpha-1.jsonl");
    let whole = std::fs::read_to_string(&interrupted).expect("text");
    let kept: String =
        whole.lines().take(whole.lines().count() - 3).map(|line| format!("{line}\n")).collect();
    std::fs::write(&interrupted, kept).expect("a shorter file");
    std::fs::remove_file(out.join("task/tuned.jsonl")).expect("one file fewer");
    assert_eq!(printed(&out, &arguments), table);
    assert_eq!(results(&out), written);

    // The results of another run are not overwritten, and the flag that helps is named.
    let other = evaluate(&out, &[&arguments[..], &["--max-tokens", "7"]].concat());
    let stderr = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && stderr.contains("`--out`"), "{stderr}");
    assert_eq!(results(&out), written);

    // A formula that says the same gives the same answers.
    let formula = folder.path().join("formula");
    let arguments = [&arguments[..], &["--formula", "large + alpha*(tuned - small)"]].concat();
    printed(&formula, &arguments);
    let of_formula = std::fs::read_to_string(formula.join("task/alpha-1.jsonl")).expect("text");
    let answers = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(answers(&of_formula), answers(&whole));
}

#[test]
fn errors_name_what_is_at_fault() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broken = folder.path().join("broken.jsonl");
    std::fs::write(&broken, "{\"question\": \"Where?\", \"answer\": \"Here.\"}\n{\"question\": \n")
        .expect("a file");
    let broken = broken.display().to_string();
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--task", "no-such-task.jsonl"], &["no-such-task.jsonl"]),
        (&["--task", &broken], &["broken.jsonl", "line 2"]),
        (&["--task", &broken, "--alpha", "0,x"], &["--alpha", "`x` is not a number"]),
        (
            &["--large", "nowhere/at-all", "--small", "b", "--tuned", "c", "--task", &broken],
            &["nowhere/at-all"],
        ),
        (&["--formula", "large + alpha*(tuned - tiny)"], &["tiny"]),
        (&["--large", "a", "--small", "b", "--tuned", "c"], &["--task"]),
        (&["--tolerance", "0.1"], &["--tolerance", "exact"]),
        (&["--score", "numeric", "--normalise", "trim"], &["--normalise", "numeric"]),
        (&["--delimiter", " "], &["--delimiter"]),
        (&["--score", "choices", "--extract", "x"], &["--extract", "choices"]),
        (&["--beta", "2"], &["--beta", "amplified"]),
    ];
    for (arguments, named) in cases {
        let output = evaluate(&folder.path().join("out"), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        for name in named {
            assert!(stderr.contains(name), "{arguments:?} does not name {name}: {stderr}");
        }
    }
}
