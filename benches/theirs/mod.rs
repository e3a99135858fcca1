//! Another program under comparison, which is asked over its standard input and output.
#![allow(dead_code, reason = "each benchmark uses a part")]
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Another program, which reads and writes one line for each measurement.
pub(crate) struct Theirs {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Theirs {
    /// Starts a script of this folder with one argument and the number of threads; `None` if the variable `python` names
    /// no interpreter. Waits until it is ready.
    pub(crate) fn start(python: &str, script: &str, argument: &OsStr) -> Option<Self> {
        let python = std::env::var_os(python)?;
        let script = format!("{}/benches/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python)
            .args([OsStr::new(&script), argument, OsStr::new(&threads().to_string())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut theirs = Self { child, to, from };
        while !theirs.line().starts_with("ready") {}
        Some(theirs)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.from.read_line(&mut line).unwrap() > 0, "the other program ended");
        line
    }

    /// Sends a command, and returns the line that answers it.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        writeln!(self.to, "{command}").unwrap();
        self.line()
    }

    /// Sends a command of numbers, which is answered by the seconds of each pass.
    pub(crate) fn measure(&mut self, command: &[usize]) -> Vec<f64> {
        let command: Vec<_> = command.iter().map(usize::to_string).collect();
        self.seconds(&command.join(" "))
    }

    /// Sends a command, which is answered by the seconds of each pass.
    pub(crate) fn seconds(&mut self, command: &str) -> Vec<f64> {
        let answer = self.ask(command);
        // Its threads keep spinning for a while after their work.
        std::thread::sleep(Duration::from_millis(20));
        answer.split_whitespace().map(|seconds| seconds.parse().unwrap()).collect()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The number of threads that all programs under comparison use.
pub(crate) fn threads() -> usize {
    let set = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    set.unwrap_or_else(|| std::thread::available_parallelism().unwrap().get())
}
