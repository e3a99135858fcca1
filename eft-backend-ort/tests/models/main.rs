//! Tests of exported decoders: their logits, in batches and alone, and the errors for files that cannot be used.
mod broken;
mod files;
mod goldens;
mod ragged;
mod tiny;
