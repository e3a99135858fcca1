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
    /// Starts a script of this folder with some arguments; `None` if the variable `python` names no interpreter. Waits
    /// until it is ready.
    pub(crate) fn start(python: &str, script: &str, arguments: &[&OsStr]) -> Option<Self> {
        let mut command = Self::command(python, script)?;
        command.args(arguments).stderr(Stdio::null());
        Some(Self::spawn(command).expect("the other program ended before it was ready"))
    }

    /// The command that runs a script of this folder; `None` if the variable `python` names no interpreter.
    pub(crate) fn command(python: &str, script: &str) -> Option<Command> {
        let mut command = Command::new(std::env::var_os(python)?);
        command.arg(format!("{}/benches/{script}", env!("CARGO_MANIFEST_DIR")));
        Some(command)
    }

    /// Starts a program, and waits until it is ready; `None` if it ends before.
    pub(crate) fn spawn(mut command: Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut theirs = Self { child, to, from };
        while !theirs.line()?.starts_with("ready") {}
        Some(theirs)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.from.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    /// Sends a command, and returns the line that answers it; `None` if the program has ended.
    pub(crate) fn try_ask(&mut self, command: &str) -> Option<String> {
        writeln!(self.to, "{command}").ok()?;
        let answer = self.line();
        // Its threads keep spinning for a while after their work.
        std::thread::sleep(Duration::from_millis(20));
        answer
    }

    /// Sends a command, and returns the line that answers it.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).expect("the other program ended")
    }

    /// Sends a command, which is answered by the seconds of each pass.
    pub(crate) fn seconds(&mut self, command: &str) -> Vec<f64> {
        numbers(&self.ask(command))
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The numbers of a line.
pub(crate) fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
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
