//! Models by their ids, from a server that these tests run in place of the hub.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use eft::Prompt;
use eft::load::{Error, Loader, Warning};

use crate::loading::folder;

/// The files of one commit, by their paths.
type Files = BTreeMap<String, Vec<u8>>;

/// The commit that `main` points to at first.
const FIRST: &str = "0123abcd";

/// A server that answers as the hub does, for the one model `org/tiny`, and records the requests it gets.
pub(crate) struct Hub {
    url: String,
    state: Arc<Mutex<State>>,
}

/// The state of `org/tiny` on the server.
#[derive(Default)]
struct State {
    /// Branches and tags, with the commits they point to.
    refs: BTreeMap<String, String>,
    commits: BTreeMap<String, Files>,
    /// The file after whose download `main` moves, and the commit that it moves to.
    moves_after: Option<(String, String)>,
    /// The paths that are answered with a status of this kind: all that contain the text.
    failing: Option<(String, &'static str)>,
    asked: Vec<String>,
}

impl State {
    /// The commit that a branch, a tag or a commit's own name stands for.
    fn commit(&self, revision: &str) -> Option<(String, &Files)> {
        let commit = self.refs.get(revision).map_or(revision, String::as_str);
        Some((commit.to_owned(), self.commits.get(commit)?))
    }
}

impl Hub {
    pub(crate) fn new(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self { url, state: Arc::default() };
        hub.push(FIRST, files);
        let state = hub.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mut state.lock().unwrap());
            }
        });
        hub
    }

    /// A server with the files of a folder.
    fn of(folder: &Path) -> Self {
        Self::new(files_of(folder))
    }

    /// Adds a commit and lets `main` point to it.
    fn push(&self, commit: &str, files: Files) {
        let mut state = self.state.lock().unwrap();
        state.commits.insert(commit.into(), files);
        state.refs.insert("main".into(), commit.into());
    }

    /// Answers requests whose path contains `part` with this status.
    fn fail(&self, part: &str, status: &'static str) {
        self.state.lock().unwrap().failing = Some((part.into(), status));
    }

    pub(crate) fn loader(&self, name: &str, cache: &Path) -> Loader {
        Loader::new(name).endpoint(&self.url).cache(cache.join("hub")).quiet()
    }

    /// The requests since the last call of this.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn files_of(folder: &Path) -> Files {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

fn answer(mut stream: TcpStream, state: &mut State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut from) = (String::new(), 0);
    reader.read_line(&mut request).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(token) = header.strip_prefix("authorization: ") {
            state.asked.push(token.trim().to_owned());
        }
        if let Some(range) = header.to_lowercase().strip_prefix("range: bytes=") {
            from = range.split('-').next().unwrap().parse().unwrap();
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    state.asked.push(path.clone());
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        // The client may close the connection before it has read everything.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    if path.contains("org/gated") {
        return send("401 Unauthorized", "", b"");
    }
    if let Some((part, status)) = &state.failing
        && path.contains(part.as_str())
    {
        return send(status, "", b"");
    }
    if let Some(revision) = path.strip_prefix("/api/models/org/tiny/revision/")
        && let Some((commit, files)) = state.commit(revision)
    {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"sha": commit, "siblings": siblings});
        return send("200 OK", "content-type: application/json\r\n", info.to_string().as_bytes());
    }
    let asked = path.strip_prefix("/org/tiny/resolve/").and_then(|path| path.split_once('/'));
    let found = asked.and_then(|(revision, file)| {
        let (commit, files) = state.commit(revision)?;
        Some((commit, file, files.get(file)?))
    });
    let Some((commit, file, bytes)) = found else { return send("404 Not Found", "", b"") };
    let range = format!("content-range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
    let headers = format!("x-repo-commit: {commit}\r\netag: \"{commit}-{file}\"\r\n{range}");
    send("206 Partial Content", &headers, &bytes[from..]);
    if let Some((after, commit)) = &state.moves_after
        && after == file
    {
        state.refs.insert("main".into(), commit.clone());
    }
}

#[test]
fn models_are_fetched_once_and_load_offline() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    std::fs::write(folder.join("pytorch_model.bin"), "not needed").unwrap();
    let hub = Hub::of(&folder);
    let loader = hub.loader("org/tiny", dir.path());
    let source = loader.load().unwrap();
    assert_eq!(source.name(), "org/tiny");
    let ids = source.render(Prompt::chat("the")).unwrap();
    assert_eq!(ids, eft::load(folder.to_str().unwrap()).unwrap().render(Prompt::chat("the")).unwrap());
    assert!(hub.asked().iter().all(|path| !path.contains("pytorch_model")));

    assert!(loader.load().is_ok());
    assert_eq!(hub.asked(), ["/api/models/org/tiny/revision/main"]);
    assert!(loader.clone().offline().load().is_ok());
    assert!(hub.asked().is_empty());
}

/// The files of `folder` with another chat template, which renders `word` and nothing else.
fn with_template(folder: &Path, word: &str) -> Files {
    let mut files = files_of(folder);
    let config = serde_json::json!({"eos_token": "<|end|>", "chat_template": word});
    files.insert("tokenizer_config.json".into(), config.to_string().into_bytes());
    files
}

/// Whether conversations are rendered as `word`.
#[track_caller]
fn assert_renders(loader: &Loader, word: &str) {
    let source = loader.load().unwrap();
    assert_eq!(source.render(Prompt::chat("?")).unwrap(), source.render(word).unwrap(), "{word}");
}

#[test]
fn all_files_are_of_one_commit_though_main_moves_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let hub = Hub::new(with_template(&folder, "the"));
    hub.state.lock().unwrap().commits.insert("4567cdef".into(), with_template(&folder, "cat"));
    hub.state.lock().unwrap().moves_after = Some(("config.json".into(), "4567cdef".into()));
    let loader = hub.loader("org/tiny", dir.path());
    assert_renders(&loader, "the");
    assert_eq!(hub.state.lock().unwrap().refs["main"], "4567cdef");
    assert_renders(&loader, "cat");
}

#[test]
fn a_cache_of_an_older_commit_is_not_taken_for_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let hub = Hub::new(with_template(&folder, "the"));
    let loader = hub.loader("org/tiny", dir.path());
    assert_renders(&loader, "the");
    hub.push("4567cdef", with_template(&folder, "cat"));
    // A download that breaks off leaves the cache with the older commit, whole.
    hub.fail("model.safetensors", "503 Service Unavailable");
    let error = loader.load().unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("503"), "{error}");
    assert_renders(&loader.clone().offline(), "the");
    hub.fail("nothing", "");
    assert_renders(&loader, "cat");
    assert_renders(&loader.offline(), "cat");
}

#[test]
fn revisions_are_branches_tags_or_commits() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    let hub = Hub::new(with_template(&folder, "the"));
    hub.push("4567cdef", with_template(&folder, "cat"));
    hub.state.lock().unwrap().refs.insert("v1".into(), FIRST.into());
    let loader = hub.loader("org/tiny", dir.path());
    assert_renders(&loader, "cat");
    let [tag, commit] = ["v1", FIRST].map(|revision| loader.clone().revision(revision));
    assert_renders(&tag, "the");
    assert_renders(&commit, "the");
    assert_renders(&tag.offline(), "the");
    assert_renders(&commit.offline(), "the");
    assert_renders(&loader.clone().offline(), "cat");
    for revision in ["", "../main", "a//b", "/etc/passwd"] {
        let error = loader.clone().revision(revision).load().unwrap_err().to_string();
        assert!(error.contains("revision"), "{revision}: {error}");
    }
}

#[test]
fn a_refusal_is_an_error_even_with_a_full_cache() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::of(&folder(dir.path(), "llama"));
    let loader = hub.loader("org/tiny", dir.path());
    let _ = loader.load().unwrap();
    for (status, words) in [
        ("401 Unauthorized", ["401", "HF_TOKEN"]),
        ("403 Forbidden", ["403", "HF_TOKEN"]),
        ("404 Not Found", ["404", "spelled"]),
    ] {
        hub.fail("org/tiny", status);
        let error = loader.load().unwrap_err().to_string();
        let named = ["org/tiny", "list of files", "HF_HUB_OFFLINE"];
        words.iter().chain(&named).for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    }
    assert!(loader.offline().load().is_ok());
}

#[test]
fn while_the_hub_is_away_the_cache_is_used_and_the_user_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::of(&folder(dir.path(), "llama"));
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let loader = hub.loader("org/tiny", dir.path());
    let loader = loader.on_warning(move |warning| heard.lock().unwrap().push(warning.clone()));
    let heard = || std::mem::take(&mut *warnings.lock().unwrap());
    let _ = loader.load().unwrap();
    assert_eq!(heard(), []);
    for (loader, reason) in
        [(loader.clone(), "503"), (loader.clone().endpoint("http://127.0.0.1:1"), "does not answer")]
    {
        hub.fail("org/tiny", "503 Service Unavailable");
        let _ = loader.load().unwrap();
        let [warning] = &heard()[..] else { panic!("not one warning") };
        assert!(
            matches!(warning, Warning::CacheUsed { id, commit, .. } if id == "org/tiny" && commit == FIRST)
        );
        let warning = warning.to_string();
        for word in [reason, "org/tiny", "main", FIRST] {
            assert!(warning.contains(word), "{word}: {warning}");
        }
    }
    // Offline mode was requested by the user, so it is not a reason to warn.
    let _ = loader.clone().offline().load().unwrap();
    assert_eq!(heard(), []);
    // A cache without the weights cannot be used, and the error says why the hub did not send them.
    let snapshot = dir.path().join("hub/models--org--tiny/snapshots").join(FIRST);
    std::fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    let error = loader.load().unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("503"), "{error}");
}

/// Run by the test below, in a process with other environment variables.
#[test]
#[ignore = "run alone, it would ask the real hub"]
fn as_the_environment_says() {
    let source = Loader::new("org/tiny").quiet().load().unwrap();
    assert_eq!(source.name(), "org/tiny");
}

#[test]
fn the_environment_is_that_of_other_libraries() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::of(&folder(dir.path(), "llama"));
    let run = |offline: &str| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "hub::as_the_environment_says", "--ignored"]);
        test.env_remove("HF_HUB_CACHE").env("HF_ENDPOINT", &hub.url).env("HF_HOME", dir.path().join("home"));
        test.env("HF_TOKEN", "a-token").env("HF_HUB_OFFLINE", offline);
        test.output().unwrap().status.success()
    };
    assert!(!run("1") && hub.asked().is_empty());
    assert!(run("0"));
    assert!(hub.asked().contains(&"Bearer a-token".to_owned()));
    assert!(dir.path().join("home/hub/models--org--tiny/snapshots").exists());
    assert!(run("yes") && hub.asked().is_empty());
}

#[test]
fn shards_are_fetched_by_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "llama");
    std::fs::rename(folder.join("model.safetensors"), folder.join("model-1.safetensors")).unwrap();
    let index = r#"{"weight_map": {"model.norm.weight": "model-1.safetensors"}}"#;
    std::fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    let hub = Hub::of(&folder);
    assert!(hub.loader("org/tiny", dir.path()).load().is_ok());
    let escaping = r#"{"weight_map": {"model.norm.weight": "../../model-1.safetensors"}}"#;
    std::fs::write(folder.join("model.safetensors.index.json"), escaping).unwrap();
    let refused = Hub::of(&folder).loader("org/tiny", &dir.path().join("other")).load().unwrap_err();
    assert!(refused.to_string().contains("outside its folder"), "{refused}");
}

#[test]
fn files_of_pytorch_are_fetched_if_there_are_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path(), "qwen2");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/eft-models/goldens/qwen2-torch");
    let shards = files_of(Path::new(golden)).into_iter().filter(|(name, _)| name.contains(".bin"));
    let hub = Hub::new(files_of(&folder).into_iter().chain(shards).collect());
    assert!(hub.loader("org/tiny", dir.path()).load().is_ok());
    let asked: BTreeSet<_> = hub.asked().into_iter().filter(|path| path.contains("pytorch_model")).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(hub.loader("org/tiny", dir.path()).offline().load().is_ok());
}

#[test]
fn a_repository_of_gguf_files_or_of_an_adapter_is_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["tiny-q4.gguf", "tiny-q8.gguf"].map(|name| (name.to_owned(), b"GGUF".to_vec()));
    let hub = Hub::new(files.into());
    let error = hub.loader("org/tiny", dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("`org/tiny:tiny-q4.gguf`") && error.contains("tiny-q8.gguf"), "{error}");
    let adapter = Hub::new(BTreeMap::from([("adapter_config.json".into(), b"{}".to_vec())]));
    let error = adapter.loader("org/tiny", dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("PEFT adapter") && error.contains("Loader::adapter"), "{error}");
    let broken = hub.loader("org/tiny:tiny-q8.gguf", dir.path()).load().unwrap_err();
    assert!(matches!(broken, Error::Files(_)) && broken.to_string().contains("tiny-q8.gguf"), "{broken}");
}

#[test]
fn errors_of_the_hub_are_one_line_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::new(BTreeMap::from([("config.json".into(), b"{}".to_vec())]));
    let error = |loader: Loader| {
        let error = loader.load().unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let says = |error: String, words: &[&str]| {
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    };
    says(error(hub.loader("org/gated", dir.path())), &["org/gated", "401", "HF_TOKEN"]);
    says(error(hub.loader("org/missing", dir.path())), &["org/missing", "404", "spelled"]);
    says(error(hub.loader("org/tiny", dir.path()).revision("v2")), &["org/tiny", "404", "revision"]);
    says(error(hub.loader("org/tiny", dir.path())), &["org/tiny", "model.safetensors", "404"]);
    says(
        error(hub.loader("org/new", dir.path()).offline()),
        &["org/new", "main", "not in the cache", "offline"],
    );
    says(
        error(hub.loader("org/new", dir.path()).endpoint("http://127.0.0.1:1")),
        &["org/new", "does not answer", "try again"],
    );
    // A misspelled folder looks like an id.
    says(error(hub.loader("zooo/base-large", dir.path())), &["no folder or file `zooo/base-large`", "404"]);
    for name in ["no-such-folder", "./no/such/folder", "a/b/c"] {
        says(error(Loader::new(name)), &[name, "organisation/model"]);
    }
    assert!(matches!(Loader::new("nothing").load(), Err(Error::NotFound { .. })));
}
