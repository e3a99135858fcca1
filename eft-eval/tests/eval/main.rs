//! Tests of tasks, runs and reports, with models whose numbers are computed here a second time.
mod files;
mod models;
mod report;
mod resume;
mod tasks;
