//! Models by their ids, from a hub that these tests run.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use eft::Prompt;
use eft::load::{Error, Loader};

use crate::loading::folder;

/// Answers as the hub does, for one model, `org/tiny`, and writes down what it was asked.
pub(crate) struct Hub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    pub(crate) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &log);
            }
        });
        Self { url, asked }
    }

    /// With the files of a folder.
    fn of(folder: &Path) -> Self {
        let file = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
        };
        Self::new(std::fs::read_dir(folder).unwrap().map(file).collect())
    }

    pub(crate) fn loader(&self, name: &str, cache: &Path) -> Loader {
        Loader::new(name).endpoint(&self.url).cache(cache.join("hub")).quiet()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) {
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
            log.lock().unwrap().push(token.trim().to_owned());
        }
        if let Some(range) = header.to_lowercase().strip_prefix("range: bytes=") {
            from = range.split('-').next().unwrap().parse().unwrap();
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    log.lock().unwrap().push(path.clone());
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        // Whoever asked may have seen enough.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    if path.contains("org/gated") {
        return send("401 Unauthorized", "", b"");
    }
    if path == "/api/models/org/tiny/revision/main" {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"sha": "0123abcd", "siblings": siblings});
        return send("200 OK", "content-type: application/json\r\n", info.to_string().as_bytes());
    }
    match path.strip_prefix("/org/tiny/resolve/main/").and_then(|file| Some((file, files.get(file)?))) {
        Some((file, bytes)) => {
            let range = format!("content-range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            let headers = format!("x-repo-commit: 0123abcd\r\netag: \"etag-of-{file}\"\r\n{range}");
            send("206 Partial Content", &headers, &bytes[from..]);
        }
        None => send("404 Not Found", "", b""),
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
    // A hub that is away does not matter to what was fetched.
    assert!(loader.endpoint("http://127.0.0.1:1").load().is_ok());
}

/// Run by the test below, with variables of its own.
#[test]
#[ignore = "by itself, it asks the real hub"]
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
fn repositories_of_gguf_files_ask_for_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["tiny-q4.gguf", "tiny-q8.gguf"].map(|name| (name.to_owned(), b"GGUF".to_vec()));
    let hub = Hub::new(files.into());
    let error = hub.loader("org/tiny", dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("`org/tiny:tiny-q4.gguf`") && error.contains("tiny-q8.gguf"), "{error}");
    let broken = hub.loader("org/tiny:tiny-q8.gguf", dir.path()).load().unwrap_err();
    assert!(matches!(broken, Error::Files(_)) && broken.to_string().contains("tiny-q8.gguf"), "{broken}");
}

#[test]
fn what_cannot_be_had_is_told_in_one_line() {
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
    says(error(hub.loader("org/new", dir.path()).offline()), &["org/new", "config.json", "offline"]);
    says(
        error(hub.loader("org/new", dir.path()).endpoint("http://127.0.0.1:1")),
        &["org/new", "HF_HUB_OFFLINE"],
    );
    for name in ["no-such-folder", "./no/such/folder", "a/b/c"] {
        says(error(Loader::new(name)), &[name, "organisation/model"]);
    }
    assert!(matches!(Loader::new("nothing").load(), Err(Error::NotFound { .. })));
}
