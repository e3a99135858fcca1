//! [`Warning`]: a possible problem with a model that was loaded nevertheless.
//!
//! ```no_run
//! use std::sync::{Arc, Mutex};
//!
//! use eft::Loader;
//!
//! // Without a function of your own, warnings are printed to standard error.
//! let warnings = Arc::new(Mutex::new(Vec::new()));
//! let collected = warnings.clone();
//! let loader = Loader::new("Qwen/Qwen2.5-0.5B")
//!     .on_warning(move |warning| collected.lock().unwrap().push(warning.to_string()));
//! let source = loader.load()?;
//! # Ok::<(), eft::Error>(())
//! ```
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eft_core::TokenId;
use eft_models::FieldWarning;

/// A possible problem with a model that was loaded nevertheless: see [`Loader::on_warning`](super::Loader::on_warning).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The hub did not answer, so the files in its cache were loaded, which may be older than those on the hub.
    CacheUsed {
        /// The model's id on the hub.
        id: String,
        /// The requested revision.
        revision: String,
        /// The commit whose files were loaded.
        commit: String,
        /// The reason why the hub did not answer.
        reason: String,
    },
    /// A field of a file is missing or wrong, and the model was loaded nevertheless: for example, an end-of-sequence id
    /// that is not a token was ignored.
    Field(FieldWarning),
    /// In the model's chat template, this token ends the assistant's turn, but no file of the model says that it ends a
    /// text, so texts may run on after the turn. [`Loader::end_at_turns`](super::Loader::end_at_turns) ends them there.
    EndOfTurn {
        /// The model's name.
        model: String,
        /// The token.
        token: String,
        /// Its id.
        id: TokenId,
    },
    /// A test of the model found something that may be wrong with it: for example, that the logits over its KV cache
    /// differ from those of the same tokens in one pass by more than rounding explains.
    Suspect {
        /// The model's name.
        model: String,
        /// What was found.
        finding: String,
    },
    /// This crate was compiled without optimisation (`opt-level = 0`, the default of debug builds). Reported once in a
    /// process.
    Unoptimised,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CacheUsed { id, revision, commit, reason } => write!(
                f,
                "`{id}` is loaded from the cache, as of commit {commit}, which may not be the newest of `{revision}`: {reason}"
            ),
            Self::Field(warning) => warning.fmt(f),
            Self::EndOfTurn { model, token, id } => write!(
                f,
                "in the chat template of `{model}`, `{token}` ({id}) ends a turn, but no file of the model says that it ends \
                 a text: texts may run on after the turn; `Loader::end_at_turns` ends them there"
            ),
            Self::Suspect { model, finding } => write!(f, "`{model}` may be wrong: {finding}"),
            Self::Unoptimised => f.write_str(
                "eft was compiled without optimisation, which makes models more than 100 times slower; compile with \
                 `--release`, or add to the Cargo.toml of your workspace:\n\n    [profile.dev.package.\"*\"]\n    \
                 opt-level = 3\n",
            ),
        }
    }
}

/// The function that is called with each warning.
#[derive(Clone)]
pub(super) struct OnWarning(Arc<dyn Fn(&Warning) + Send + Sync>);

impl OnWarning {
    pub(super) fn new(f: impl Fn(&Warning) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    pub(super) fn warn(&self, warning: &Warning) {
        (self.0)(warning);
    }

    /// Warns of fields.
    pub(super) fn fields(&self, warnings: &[FieldWarning]) {
        warnings.iter().for_each(|warning| self.warn(&Warning::Field(warning.clone())));
    }

    /// Warns if this crate was compiled without optimisation, the first time that this is called in a process.
    pub(super) fn check_optimised(&self) {
        static REPORTED: AtomicBool = AtomicBool::new(false);
        if cfg!(unoptimised) && !REPORTED.swap(true, Ordering::Relaxed) {
            self.warn(&Warning::Unoptimised);
        }
    }
}

impl Default for OnWarning {
    fn default() -> Self {
        Self::new(|warning| eprintln!("warning: {warning}"))
    }
}

impl fmt::Debug for OnWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWarning(..)")
    }
}
