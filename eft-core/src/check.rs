//! Checks of arguments that every session makes before it touches anything.
use crate::{Error, Result, RowFeed, TokenId};

/// There is one entry for each row.
pub(crate) fn per_row(what: &str, rows: usize, entries: usize) -> Result<()> {
    crate::backend::check_same_length(what, rows, entries)
}

/// Feeds fit the rows, the vocabulary and the context.
pub(crate) fn feeds(term: &str, feeds: &[RowFeed], room: &[usize], tokens: usize) -> Result<()> {
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

/// A rollback drops no more than it may.
pub(crate) fn rollback(drop: &[usize], limits: &[usize]) -> Result<()> {
    per_row("rollback", limits.len(), drop.len())?;
    for (row, (&asked, &limit)) in drop.iter().zip(limits).enumerate() {
        if asked > limit {
            return Err(Error::RollbackTooFar { row, asked, limit });
        }
    }
    Ok(())
}

/// A selection names at least one row, and only rows there are.
pub(crate) fn select(rows: &[usize], of: usize) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::EmptyBatch { what: "select" });
    }
    match rows.iter().find(|row| **row >= of) {
        Some(&row) => Err(Error::RowOutOfRange { what: "select", row, rows: of }),
        None => Ok(()),
    }
}
