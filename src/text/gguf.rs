//! Tokenizers of GGUF files.
