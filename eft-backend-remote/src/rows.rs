//! [`Rows`]: how much of each score row is asked for.

/// How much of each score row is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The log-probs of all tokens.
    Whole,
    /// Those of the `k` likeliest tokens.
    Top(usize),
}
