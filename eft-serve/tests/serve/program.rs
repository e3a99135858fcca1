//! The program: its flags, and how it stops.
use std::io::{BufRead, BufReader};
#[cfg(unix)]
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{get, metric, post};
use crate::scheduling::until;

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_eft-serve"));
    program.env("RUST_LOG", "error");
    program
}

/// A running program, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts the program, and returns it with its address.
    fn start(flags: &[&str]) -> (Self, String) {
        let child = program().args(flags).args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Self(child);
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (running, line.trim().strip_prefix("listening on ").unwrap().to_owned())
    }

    #[cfg(unix)]
    fn terminate(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    #[cfg(unix)]
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let wrong: [(&[&str], &str); 5] = [
        (&["--formula", "large", "--alpha", "2"], "no number `alpha`"),
        (&["--host", "0.0.0.0"], "--api-key-env"),
        (&["--config", "no such file.toml"], "no such file.toml"),
        (&["--config", "a.toml", "--alpha", "2"], "--alpha"),
        (&["--formula", "large +"], "eft"),
    ];
    for (flags, reason) in wrong {
        let done = program().args(flags).args(["--port", "0"]).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && text.contains(reason), "{flags:?}: {text}");
    }
}

#[test]
fn flags_change_the_combination() {
    let (_running, url) = Running::start(&["--formula", "large + alpha*(tuned - small)", "--alpha", "-0.5"]);
    let model = get(&format!("{url}/v1/models/eft")).ok();
    assert_eq!(model["eft"]["numbers"]["alpha"], -0.5);
    let (_running, url) = Running::start(&["--formula", "0.5*large + 0.5*tuned"]);
    assert_eq!(get(&format!("{url}/v1/models/eft")).ok()["eft"]["numbers"], json!({}));
    let body = json!({"model": "eft", "prompt": "Who", "eft": {"alpha": 1}});
    assert_eq!(post(&format!("{url}/v1/completions"), body).refused(400), "eft.alpha");
}

/// The first signal lets texts go on; the second one ends them with what there is.
#[cfg(unix)]
#[test]
fn a_second_signal_ends_what_the_first_one_let_go_on() {
    let (mut running, url) = Running::start(&[]);
    let text = {
        let url = format!("{url}/v1/completions");
        // Without its end-of-sequence token, a text goes on to its limit.
        let bias = json!({"0": -100});
        let body = json!({"model": "large", "prompt": "Who", "max_tokens": 500, "logit_bias": bias, "n": 16});
        thread::spawn(move || post(&url, body))
    };
    until("the text", || metric(&url, "eft_running_rows") == 16.0);
    running.terminate();
    until("the first signal", || TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err());
    let ended = running.has_ended();
    running.terminate();
    let answer = text.join().unwrap().ok();
    let start = Instant::now();
    while !running.has_ended() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(running.has_ended());
    let cut = answer["choices"].as_array().unwrap().iter().any(|c| c["eft"]["ended_by"] == "shutdown");
    assert!(!ended && cut, "{ended} {}", answer["usage"]);
}
