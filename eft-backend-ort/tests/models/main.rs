//! Exported decoders: what they compute, in which company, and what is refused.
mod broken;
mod files;
mod goldens;
mod ragged;
mod tiny;
