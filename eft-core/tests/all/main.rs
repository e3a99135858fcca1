//! The tests of the algebra, in one program: most of their time is compiling, and generic code is compiled once a program.
mod bad_input;
mod bad_scores;
mod bytes;
mod common;
mod conformance;
mod evaluator;
mod generation;
mod host_ops;
mod joining;
mod joint;
mod laws;
mod search;
mod speculate;
mod text;
mod token_map;
mod vocabularies;
