//! Running a task with a source.
