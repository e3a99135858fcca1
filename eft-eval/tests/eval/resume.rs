//! A run that is interrupted at any moment goes on to the same file as one that is not.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use eft_core::sample::{Purpose, Uniforms};
use eft_core::{Decoding, Host, Sampling, Source};
use eft_eval::{Error, Item, Items, PassFail, Results, Run, Task};

use crate::models::{counted, model, rendered};

const BATCH: usize = 4;

fn items(count: usize) -> Items {
    let item =
        |n: usize| Item::new(format!("item {n}"), "word ".repeat(1 + n * 7 % 11)).field("group", n % 3);
    Items::of((0..count).map(item)).expect("items")
}

fn task(count: usize) -> Task {
    Task::texts(items(count), PassFail::new("has an a", |_, text| Ok(text.contains('a')))).expect("a task")
}

fn run<'t>(task: &'t Task, file: &Path) -> Run<'t> {
    let decoding = Decoding::from(Sampling::default().temperature(0.9).seed(11)).max_tokens(6);
    Run::new(task).quiet().decoding(decoding).batch(BATCH).file(file)
}

/// The file of a run that was not interrupted, and one that has all batches, in the order in which they were computed,
/// but has not been put into order.
fn whole_and_unordered(folder: &Path, count: usize) -> (Vec<u8>, Vec<u8>) {
    let whole = folder.join("whole.jsonl");
    run(&task(count), &whole).evaluate(&model(1)).expect("a run");
    let whole = fs::read(whole).expect("a file");
    // A grader that fails in the last batch leaves the others in the file.
    let graded = std::sync::atomic::AtomicUsize::new(0);
    let failing = PassFail::new("has an a", move |_, text| match graded.fetch_add(1, Ordering::Relaxed) {
        n if n < count - BATCH => Ok(text.contains('a')),
        _ => Err("on purpose".into()),
    });
    let unordered = folder.join("unordered.jsonl");
    let failing = Task::texts(items(count), failing).expect("a task");
    assert!(matches!(run(&failing, &unordered).evaluate(&model(1)), Err(Error::Grader { .. })));
    let mut unordered = fs::read(unordered).expect("a file");
    // The last batch has the items with the shortest prompts, in the order of their lengths.
    let mut order: Vec<_> = (0..count).collect();
    order.sort_by_key(|n| std::cmp::Reverse(n * 7 % 11));
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    order[count - BATCH..].iter().for_each(|n| unordered.extend(lines[n + 1]));
    assert_eq!(unordered.len(), whole.len());
    assert_ne!(unordered, whole);
    (whole, unordered)
}

#[test]
fn a_file_cut_at_any_byte_is_completed_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, unordered) = whole_and_unordered(folder.path(), 12);
    let (task, file) = (task(12), folder.path().join("cut.jsonl"));
    let header = whole.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
    // Every moment about the end of a line, and many within lines.
    let near_an_end =
        |cut: &usize| unordered[cut.saturating_sub(2)..(cut + 2).min(unordered.len())].contains(&b'\n');
    for cut in (0..=unordered.len()).filter(|cut| cut % 7 == 0 || near_an_end(cut)) {
        fs::write(&file, &unordered[..cut]).expect("a file");
        let (source, rows) = counted(1);
        let results = run(&task, &file).evaluate(&source).expect("the run goes on");
        assert!(fs::read(&file).expect("a file") == whole, "cut after {cut} bytes");
        assert_eq!(results, Results::read(&file).expect("results"));
        // Only the batches that are not complete are computed. Every item needs at least one row.
        let lines = unordered[header.min(cut)..cut].iter().filter(|byte| **byte == b'\n').count();
        let batches = (12 - lines).div_ceil(BATCH);
        let rows = rows.load(Ordering::Relaxed);
        assert!(rows >= batches * BATCH && rows <= batches * BATCH * 6, "{rows} rows for {batches} batches");
    }
}

#[test]
fn a_finished_run_computes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, file) = (task(12), folder.path().join("results.jsonl"));
    let first = run(&task, &file).evaluate(&model(1)).expect("a run");
    // What a run that was killed while it put its file into order leaves behind.
    let beside = folder.path().join("results.jsonl.tmp");
    fs::write(&beside, "half").expect("a file");
    let (source, rows) = counted(1);
    assert_eq!(run(&task, &file).evaluate(&source).expect("a run"), first);
    assert_eq!(rows.load(Ordering::Relaxed), 0);
    // In memory only.
    let decoding = Decoding::from(Sampling::default().temperature(0.9).seed(11)).max_tokens(6);
    let in_memory =
        Run::new(&task).quiet().decoding(decoding).batch(BATCH).evaluate(&model(1)).expect("a run");
    assert_eq!(in_memory, first);
}

#[test]
fn a_run_with_other_settings_is_refused_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, file) = (task(12), folder.path().join("results.jsonl"));
    run(&task, &file).evaluate(&model(1)).expect("a run");
    let before = fs::read(&file).expect("a file");
    let refused = |run: Run<'_>, source: &Source<Host>, names: &[&str]| {
        let error = run.evaluate(source).expect_err("another run");
        let Error::OtherRun { differences, .. } = &error else { panic!("{error}") };
        assert_eq!(differences.len(), names.len(), "{differences:?}");
        for name in names {
            let named = |difference: &String| difference.contains(&format!("`{name}`"));
            assert!(differences.iter().any(named), "{differences:?} lacks {name}");
        }
        assert!(error.to_string().contains("results.jsonl"), "{error}");
    };
    refused(run(&task, &file), &model(2), &["formula"]);
    refused(run(&task, &file).batch(5), &model(1), &["batch"]);
    refused(run(&task, &file).model("large", "12"), &model(1), &["models.large"]);
    refused(run(&task, &file).note("who", "me"), &model(1), &["notes.who"]);
    refused(run(&task, &file).version("eft", "9"), &model(1), &["versions.eft"]);
    refused(run(&task, &file).until("x"), &model(1), &["decoding.until"]);
    let hotter = Decoding::from(Sampling::default().temperature(1.1).seed(12)).max_tokens(6);
    let names = ["decoding.sampling.seed", "decoding.sampling.temperature"];
    refused(run(&task, &file).decoding(hotter), &model(1), &names);
    let fewer = Task::texts(items(12).take(11), PassFail::new("other", |_, _| Ok(true))).expect("a task");
    refused(run(&fewer, &file), &model(1), &["task.items", "task.kind", "task.sha256"]);
    let changed =
        Task::texts(items(12), PassFail::new("has an a", |_, _| Ok(true)).version("2")).expect("a task");
    refused(run(&changed, &file), &model(1), &["task.settings.version"]);
    assert_eq!(fs::read(&file).expect("a file"), before);
}

#[test]
fn a_damaged_file_is_an_error_that_names_the_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, file) = (task(12), folder.path().join("results.jsonl"));
    run(&task, &file).evaluate(&model(1)).expect("a run");
    let whole = fs::read_to_string(&file).expect("a file");
    let lines: Vec<_> = whole.lines().collect();
    let fault = |text: String, parts: &[&str]| {
        fs::write(&file, &text).expect("a file");
        let error = run(&task, &file).evaluate(&model(1)).expect_err("a damaged file");
        assert!(matches!(error, Error::Line { .. }), "{error:?}");
        parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{error} lacks {part}"));
        assert_eq!(fs::read_to_string(&file).expect("a file"), text, "the file must not change");
    };
    fault("a shopping list".into(), &["results.jsonl", "not a file of results"]);
    fault("a shopping list\nmilk\n".into(), &["results.jsonl", "not a file of results"]);
    fault(format!("{}\n{}\nmilk\n{}\n", lines[0], lines[1], lines[2]), &["results.jsonl, line 3"]);
    fault(format!("{}\n{}\n{}\n", lines[0], lines[1], lines[1]), &["line 3", "item 0", "earlier"]);
    let unknown = lines[1].replace("item 0", "item x");
    fault(format!("{}\n{unknown}\n", lines[0]), &["line 2", "no item `item x`"]);
}

#[test]
fn two_processes_do_not_write_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, file) = (task(12), folder.path().join("results.jsonl"));
    let other = fs::File::create(&file).expect("a file");
    other.lock().expect("a lock");
    assert!(matches!(run(&task, &file).evaluate(&model(1)), Err(Error::Busy { .. })));
    drop(other);
    assert!(run(&task, &file).evaluate(&model(1)).is_ok());
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("no/such/folder/results.jsonl");
    let error = run(&task(12), &missing).evaluate(&model(1)).expect_err("no folder");
    assert!(
        matches!(error, Error::File { action: "write", .. }) && error.to_string().contains("no/such"),
        "{error}"
    );
}

#[test]
fn several_sources_together_give_what_each_gives_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, single) = (task(12), folder.path().join("alone.jsonl"));
    let (one, two) = (model(1), model(2));
    let sources: Vec<_> =
        [0.0, 0.5, 1.0].map(|alpha| (format!("alpha-{alpha}"), &one + alpha * (&two - &one))).into();
    let run = run(&task, &single).folder(folder.path());
    let together = run.evaluate_each(&sources).expect("a run");
    for ((name, source), results) in sources.iter().zip(&together) {
        let alone = run.evaluate(source).expect("a run");
        assert_eq!(alone, *results);
        let bytes = |file: &Path| fs::read(file).expect("a file");
        assert!(bytes(&single) == bytes(&folder.path().join(format!("{name}.jsonl"))), "{name}");
        fs::remove_file(&single).expect("a file");
    }
    // Of one that is cut in the middle and one that is missing, all that is missing is computed.
    let files = ["alpha-0.5", "alpha-1"].map(|name| folder.path().join(format!("{name}.jsonl")));
    let whole = files.each_ref().map(|file| fs::read(file).expect("a file"));
    fs::write(&files[0], &whole[0][..whole[0].len() / 2]).expect("a file");
    fs::remove_file(&files[1]).expect("a file");
    assert_eq!(run.evaluate_each(&sources).expect("a run"), together);
    assert!(files.each_ref().map(|file| fs::read(file).expect("a file")) == whole);
    // A value that is added later runs alone.
    let (counting, rows) = counted(3);
    let more: Vec<_> = sources.iter().cloned().chain([("more".to_owned(), counting)]).collect();
    let added = run.evaluate_each(&more).expect("a run");
    assert_eq!(added[..3], together);
    assert!(rows.load(Ordering::Relaxed) > 0);
    let none: [(&str, Source<Host>); 0] = [];
    assert_eq!(run.evaluate_each(&none).expect("no runs"), []);
}

#[test]
fn names_of_sources_must_be_those_of_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (task, file) = (task(4), folder.path().join("unused.jsonl"));
    let run = run(&task, &file).folder(folder.path());
    for names in [["same", "same"], ["", "b"], ["a/b", "c"]] {
        let sources = names.map(|name| (name, model(1)));
        assert!(matches!(run.evaluate_each(&sources), Err(Error::Setting { name: "name", .. })), "{names:?}");
    }
}

/// The name of the variable that makes [`the_child`] run.
const CHILD: &str = "EFT_EVAL_TEST_FILE";

/// The process that the next test kills. In an ordinary run of the tests it does nothing.
#[test]
fn the_child() {
    if let Some(file) = std::env::var_os(CHILD) {
        let slow = rendered(1, true, Duration::from_micros(500));
        run(&task(40), Path::new(&file)).evaluate(&slow).expect("a run");
    }
}

#[test]
fn killed_twenty_times_it_ends_in_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, _) = whole_and_unordered(folder.path(), 40);
    let file = folder.path().join("killed.jsonl");
    let child = || {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "resume::the_child"]).env(CHILD, &file);
        command.stdout(Stdio::null()).spawn().expect("a child")
    };
    let lines = || fs::read(&file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let (mut kills, mut tries, mut kept, mut midway) = (0, 0, 0, 0);
    // The longest time before a kill. It grows while no batch is finished, on a machine that is slow or busy.
    let mut longest = 50_000.0;
    while kills < 20 || midway == 0 {
        let mut running = child();
        let uniform = Uniforms::new(3).at(0, tries, Purpose::Draw);
        tries += 1;
        std::thread::sleep(Duration::from_micros(5_000 + (longest * uniform) as u64));
        if running.try_wait().expect("a child").is_some() {
            // It was finished first: check, and begin again.
            assert!(fs::read(&file).expect("a file") == whole);
            fs::remove_file(&file).expect("a file");
            (kept, longest) = (0, 50_000.0);
            continue;
        }
        running.kill().expect("a child");
        running.wait().expect("a child");
        kills += 1;
        // Complete batches are never lost. The first line is the header.
        let batches = lines().saturating_sub(1) / BATCH;
        assert!(batches >= kept, "{batches} batches are left of {kept}");
        midway += usize::from(batches > kept);
        longest *= if batches > kept { 1.0 } else { 1.2 };
        kept = batches;
    }
    assert!(child().wait().expect("a child").success());
    assert!(fs::read(&file).expect("a file") == whole);
}
