//! Evaluation of models and of their combinations: tasks, resumable runs, intervals, and reports.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod report;
pub mod run;
pub mod task;
