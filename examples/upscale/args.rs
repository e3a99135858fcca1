//! The command line.
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

use super::flags::{DecodingFlags, ModelFlags};
use super::settings::TextFlags;

/// Emulated fine-tuning, side by side with the models that it combines.
///
/// Without models, those of the zoo answer questions that are not in the texts they were tuned on.
#[derive(Parser)]
pub(crate) struct Args {
    /// The question to answer, or with `--raw` the text to continue. That text may be empty, if the models' tokenizers begin
    /// every text with a token
    pub(crate) prompt: Option<String>,
    /// A file of prompts, one a line; in a `.jsonl` file, each line is an object with a `prompt`, a `question` or
    /// `messages`, and optionally an `answer` to compare with
    #[arg(long, conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,
    /// The maximum number of prompts of the file, or of each kind of the zoo's questions
    #[arg(long, value_name = "N", conflicts_with = "prompt")]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Continue the prompt as plain text, instead of answering it
    #[arg(long)]
    pub(crate) raw: bool,
    /// A system message before every prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    /// Print one JSON object per text, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) models: ModelFlags,
    #[command(flatten)]
    pub(crate) decoding: DecodingFlags,
    #[command(flatten)]
    pub(crate) texts: TextFlags,
}
