//! Reading items from files.
use std::path::PathBuf;

use eft_core::{Message, Prompt};
use eft_eval::{Error, ExactMatch, Items, Task};

fn file(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("questions.jsonl");
    std::fs::write(&path, lines).expect("a file");
    (folder, path)
}

fn read(lines: &str) -> eft_eval::Result<Items> {
    let (_folder, path) = file(lines);
    Items::read(path)
}

#[test]
fn fields_have_their_meaning_and_others_are_kept() {
    let items = read(concat!(
        r#"{"id": 7, "messages": [{"role": "user", "content": "Hi"}], "question": "Hi", "answer": 4.5, "about": {"x": 1}}"#,
        "\n\n",
        r#"{"prompt": "The sky is", "references": ["blue", "grey"], "choices": ["blue", "red"], "label": "red"}"#,
        "\n",
        r#"{"prompt": [1, 2], "text": "more", "answer": null, "label": "spam"}"#,
    ))
    .expect("a valid file");
    assert_eq!(items[0].id, "7");
    assert_eq!(items[0].prompt, Some(Prompt::Chat(vec![Message::new("user", "Hi")])));
    assert_eq!(items[0].references, ["4.5"]);
    assert_eq!(items[0].fields["about"]["x"], 1);
    assert_eq!(items[0].fields["question"], "Hi");
    assert_eq!(items[1].id, "questions:3");
    assert_eq!((&items[1].references[..], items[1].label), (&["blue".into(), "grey".into()][..], Some(1)));
    assert_eq!(items[2].prompt, Some(Prompt::Tokens(vec![1, 2])));
    assert_eq!((items[2].text.as_deref(), &items[2].fields["label"]), (Some("more"), &"spam".into()));
}

#[test]
fn errors_name_file_line_and_field() {
    for (line, parts) in [
        (r#"{"prompt": 3}"#, &["line 2", "`prompt`", "must be text, but is 3"][..]),
        (r#"{"prompt": [1, -2]}"#, &["line 2", "`prompt`", "token ids, but is -2"]),
        (r#"{"question": ["x"]}"#, &["line 2", "`question`"]),
        (r#"{"messages": []}"#, &["line 2", "`messages`", "empty"]),
        (r#"{"messages": [{"role": "user"}]}"#, &["line 2", "`messages`", "`content`"]),
        (r#"{"references": [true]}"#, &["line 2", "`references`", "true"]),
        (r#"{"answer": {}}"#, &["line 2", "`answer`"]),
        (r#"{"choices": "x"}"#, &["line 2", "`choices`", "list"]),
        (r#"{"choices": ["a", "b"], "label": 2}"#, &["line 2", "`label`", "below 2", "is 2"]),
        (r#"{"choices": ["a", "b"], "label": "c"}"#, &["line 2", "`label`", "\"c\""]),
        (r#"{"text": []}"#, &["line 2", "`text`"]),
        (r#"{"id": []}"#, &["line 2", "`id`"]),
        (r#"{"id": "first"}"#, &["line 2", "`id`", "also the id of", "line 1"]),
        (r#"["x"]"#, &["line 2", "not a JSON object"]),
        (r#"{"x": "#, &["line 2", "not valid JSON"]),
    ] {
        let result = read(&format!("{}\n{line}\n", r#"{"id": "first", "prompt": "?"}"#));
        let message = result.expect_err(line).to_string();
        assert!(message.contains("questions.jsonl"), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{line}: {message:?} lacks {part:?}"));
    }
}

#[test]
fn files_without_items_are_refused() {
    assert!(matches!(read("\n \n"), Err(Error::NoItems { .. })));
    assert!(matches!(Items::read_all::<PathBuf>([]), Err(Error::NoItems { .. })));
    assert!(matches!(Items::of([]), Err(Error::NoItems { .. })));
}

#[test]
fn tasks_name_the_item_that_lacks_a_field() {
    let (_folder, path) = file("{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\": \"c\"}\n");
    let items = || Items::read(&path).expect("a valid file");
    let fault = |task: eft_eval::Result<Task>| task.expect_err("a field is missing").to_string();
    let message = fault(Task::texts(items(), ExactMatch::default()));
    assert!(message.contains("line 2") && message.contains("`references`"), "{message}");
    let message = fault(Task::choices(items(), Default::default()));
    assert!(message.contains("line 1") && message.contains("`choices`"), "{message}");
    let message = fault(Task::likelihood(items()));
    assert!(message.contains("line 1") && message.contains("`text`"), "{message}");
    assert!(matches!(Task::likelihood(items().filter(|_| false)), Err(Error::NoItems { .. })));
}

#[test]
fn hashes_are_those_of_sha256sum() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("b")).expect("a folder");
    std::fs::write(folder.path().join("c"), "").expect("a file");
    std::fs::write(folder.path().join("b/a"), "abc").expect("a file");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(eft_eval::content_hash(folder.path().join("c")).expect("a hash"), empty);
    // printf '%s  b/a\n%s  c\n' "$(printf abc | sha256sum | head -c 64)" "$(sha256sum </dev/null | head -c 64)" |
    // sha256sum
    let whole = "e50cb1de79667b96c522f3a52c36d01bd0f39534a385a57a0055fe5905b8192c";
    assert_eq!(eft_eval::content_hash(folder.path()).expect("a hash"), whole);
    assert!(matches!(eft_eval::content_hash(folder.path().join("none")), Err(Error::File { .. })));
}
