//! Checks of arguments that every session makes before it touches anything: for sessions of one's own, too.
//!
//! ```
//! use eft_core::{check, Error, RowFeed};
//!
//! // Two rows, of which the second has room for one more token; ids are below 10.
//! let feeds = [RowFeed::one(3), RowFeed::all(vec![4, 5])];
//! let refused = check::feeds("model", &feeds, &[8, 1], 10);
//! assert!(matches!(refused, Err(Error::ContextFull { row: 1, asked: 2, room: 1, .. })));
//! ```
use crate::{Error, Result, RowFeed, TokenId};

/// There is one entry for each row.
pub(crate) fn per_row(what: &str, rows: usize, entries: usize) -> Result<()> {
    crate::backend::check_same_length(what, rows, entries)
}

/// Feeds fit the rows, the vocabulary (ids below `tokens`) and the context (`room` for each row).
///
/// # Errors
/// [`Error::Shape`], [`Error::TokenOutOfRange`], [`Error::ContextFull`], naming `term`.
pub fn feeds(term: &str, feeds: &[RowFeed], room: &[usize], tokens: usize) -> Result<()> {
    per_row("feeds", room.len(), feeds.len())?;
    for (row, (feed, room)) in feeds.iter().zip(room).enumerate() {
        if feed.wanted > feed.tokens.len() {
            let expected = format!("at most {}", feed.tokens.len());
            return Err(Error::shape(format!("wanted positions of row {row}"), expected, feed.wanted));
        }
        within(term, row, &feed.tokens, tokens)?;
        if feed.tokens.len() > *room {
            return Err(Error::ContextFull { term: term.into(), row, asked: feed.tokens.len(), room: *room });
        }
    }
    Ok(())
}

/// Every token is below `limit`.
pub(crate) fn within(term: &str, row: usize, tokens: &[TokenId], limit: usize) -> Result<()> {
    match tokens.iter().find(|t| **t as usize >= limit) {
        Some(&token) => Err(Error::TokenOutOfRange { term: term.into(), row, token, limit }),
        None => Ok(()),
    }
}

/// A rollback drops no more of each row than it may.
///
/// # Errors
/// [`Error::Shape`], [`Error::RollbackTooFar`].
pub fn rollback(drop: &[usize], limits: &[usize]) -> Result<()> {
    per_row("rollback", limits.len(), drop.len())?;
    for (row, (&asked, &limit)) in drop.iter().zip(limits).enumerate() {
        if asked > limit {
            return Err(Error::RollbackTooFar { row, asked, limit });
        }
    }
    Ok(())
}

/// A selection names at least one row, and only rows there are.
///
/// # Errors
/// [`Error::EmptyBatch`], [`Error::RowOutOfRange`].
pub fn select(rows: &[usize], of: usize) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::EmptyBatch { what: "select" });
    }
    match rows.iter().find(|row| **row >= of) {
        Some(&row) => Err(Error::RowOutOfRange { what: "select", row, rows: of }),
        None => Ok(()),
    }
}
