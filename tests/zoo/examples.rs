//! The examples that combine models, run as a user runs them: flags and inputs that they refuse, and how they end.
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::zoo;

/// An example, which `cargo test` builds beside the tests. Where only this test program was built, an example from an
/// earlier build is run if there is one; otherwise it is built now.
pub(super) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let profile = test.ancestors().nth(2).expect("the folder of the build profile");
    let example = profile.join(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX));
    if !example.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "eft", "--example", name]);
        assert!(build.status().expect("cargo").success(), "the example `{name}` cannot be built");
    }
    example
}

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(example(name)).args(arguments).output().expect("the example starts")
}

/// Checks that an example ends with an error that names these things, and prints nothing else.
#[track_caller]
fn refused(name: &str, arguments: &[&str], named: &[&str]) {
    let output = run(name, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{name} {arguments:?} succeeded");
    assert!(output.stdout.is_empty() && !stderr.contains("panicked"), "{name} {arguments:?}: {stderr}");
    for part in named {
        assert!(stderr.contains(part), "{name} {arguments:?} does not name {part}: {stderr}");
    }
}

#[test]
fn flags_that_have_no_part_are_refused() {
    refused("upscale", &["--beta", "2"], &["--beta", "`up`", "`amplified` or `filtered`"]);
    refused("upscale", &["--nucleus", "0.5", "--mode", "amplified"], &["--nucleus", "`filtered`"]);
    refused("upscale", &["--alpha", "2", "--mode", "filtered"], &["--alpha", "`up` or `down`"]);
    refused("upscale", &["--prune", "0.1"], &["--prune", "--bytes"]);
    refused("upscale", &["--covering", "0.1"], &["--covering", "--bytes"]);
    refused("upscale", &["--covering", "0.1", "--bytes"], &["--covering", "it is known"]);
    refused("upscale", &["--prune", "0.1", "--map-tokens"], &["--prune", "--map-tokens"]);
    refused("upscale", &["--limit", "1", "Who?"], &["--limit"]);
    refused("speculative", &["--beta", "2"], &["--beta"]);
    refused(
        "speculative",
        &["--reference", "x", "--large", "a", "--small", "b", "--tuned", "c"],
        &["--reference"],
    );
    refused("weak_to_strong", &["--alpha", "2"], &["--alpha"]);
    refused("inspect", &["--nucleus", "0.5"], &["--nucleus"]);
}

#[test]
fn values_without_a_meaning_are_refused() {
    refused("speculative", &["--block", "0"], &["--block", "0 is not in 1.."]);
    for name in ["upscale", "speculative", "weak_to_strong", "inspect"] {
        refused(name, &[" "], &["the question is empty"]);
    }
    refused("upscale", &["--formula", ""], &["the formula is empty"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("prompts.jsonl");
    std::fs::write(&file, "{\"prompt\": \"Who?\"}\n{\"prompt\": \"\"}\n").expect("a file");
    refused("upscale", &["--file", &file.display().to_string()], &["line 2", "the question is empty"]);
}

#[test]
fn types_of_weights_are_checked() {
    refused(
        "upscale",
        &["--weight-type", "q3_k", "Who?"],
        &["--weight-type", "`q3_k`", "q8_0, q5_0 or q4_0"],
    );
    refused("speculative", &["--draft-weight-type", "bf16"], &["--draft-weight-type", "`bf16`"]);
    refused(
        "speculative",
        &["--draft-weight-type", "stored"],
        &["--draft-weight-type", "as the files store it"],
    );
    let same = ["--weight-type", "q4_0", "--draft-weight-type", "q4_0"];
    refused("speculative", &same, &["`--draft-weight-type` must differ"]);
    for flag in ["--weight-type", "--draft-weight-type"] {
        refused("speculative", &["--backend", "ort", flag, "q4_0"], &["only candle"]);
    }
}

#[test]
fn models_whose_weights_are_quantised_score_otherwise() {
    let answers = |kind: &str| {
        let output = run(
            "upscale",
            &["--weight-type", kind, "--max-tokens", "12", "--json", "Where does Nora Abbot live?"],
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_ne!(answers("q4_0"), answers("stored"));
}

#[test]
fn a_copy_in_another_type_drafts_the_same_text() {
    let zoo = |name: &str| zoo(name).display().to_string();
    let adapter = [
        "--large",
        &zoo("base-large"),
        "--small",
        &zoo("base-small"),
        "--tuned",
        &zoo("adapters/tuned-small"),
    ];
    for models in [&[][..], &["--bytes"], &["--map-tokens"], &adapter] {
        let flags = ["--draft-weight-type", "q4_0", "--max-tokens", "8", "Who is Nora Abbot?"];
        let output = run("speculative", &[models, &flags].concat());
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let copy = lines.lines().find(|line| line.starts_with("by its copy in q4_0"));
        let same = copy.is_some_and(|line| line.ends_with("1 of 1 texts identical"));
        assert!(same, "{models:?}: {lines}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_missing_tokenizer_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(zoo(&format!("base-small/{file}")), folder.path().join(file)).expect("a copy");
    }
    let (large, path) = (zoo("base-large").display().to_string(), folder.path().display().to_string());
    refused(
        "upscale",
        &["--large", &large, "--small", &path, "--tuned", &path, "Who?"],
        &["tokenizer.json", &path],
    );
}

#[test]
fn an_empty_text_is_continued_from_its_beginning() {
    let output = run("upscale", &["--raw", "", "--max-tokens", "2", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let cases: [(&str, &[&str]); 3] = [
        ("upscale", &["--max-tokens", "1", "Who?"]),
        ("speculative", &["--max-tokens", "2"]),
        ("reproduce", &["--only", "4"]),
    ];
    for (name, arguments) in cases {
        let mut command = Command::new(example(name));
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the example starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("UTF-8");
        let status = child.wait().expect("an exit code");
        assert!(status.success(), "{name}: {status}, {stderr}");
    }
}
