//! How examples print, and how they end: a reader of the output that has closed it, as `head` does, is no error.
#![allow(unused_macros, reason = "not every example prints lines with the macro")]
use std::io::ErrorKind;
use std::process::ExitCode;

/// Prints a line. Unlike `println!`, which panics, it returns an error if the reader of the output has closed it.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($part)*)?
    }};
}

/// The exit code of an example. Prints its error, if it has one.
pub(crate) fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_output = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    error.chain().any(of_output)
}
