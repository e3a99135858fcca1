//! A real server, started for a test and stopped after it.
#![allow(dead_code)] // Not every test uses all of this.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(300);

/// The program that an environment variable names; if it names none, says that the test is skipped.
pub(crate) fn program(variable: &str) -> Option<String> {
    let program = std::env::var(variable).ok();
    if program.is_none() {
        println!("SKIPPED: {variable} does not name the program of the server");
    }
    program
}

/// A process that is stopped when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    /// Starts llama-server on a file, and returns its address.
    pub(crate) fn llama_server(program: &str, file: &Path) -> (Self, String) {
        let mut command = Command::new(program);
        command.arg(file).arg("0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Self::start(&mut command);
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find(|line| line.starts_with("http://"));
        (process, address.expect("the server prints its address"))
    }

    /// Starts a server whose program takes a model and a port of 127.0.0.1, and tries to connect until it answers.
    pub(crate) fn connected<T, E: Display>(
        program: &str,
        model: &Path,
        connect: impl Fn(String) -> Result<T, E>,
    ) -> (Self, T) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.arg(model).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Self::start(&mut command);
        let began = Instant::now();
        loop {
            let last = match connect(format!("http://127.0.0.1:{port}")) {
                Ok(server) => return (process, server),
                Err(error) => error,
            };
            assert!(!process.has_ended() && began.elapsed() < START, "the server does not start: {last}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A server that is asked to stop also stops the processes that it has started.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..100 {
            if asked.as_ref().is_ok_and(ExitStatus::success) && !self.has_ended() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
