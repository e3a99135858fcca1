//! Checks of arguments that every session makes before it changes anything, for your own sessions too.
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

/// Checks that there is one entry for each row.
pub(crate) fn per_row(what: &str, rows: usize, entries: usize) -> Result<()> {
    crate::backend::check_same_length(what, rows, entries)
}

/// Checks the arguments of [`Session::extend`](crate::Session::extend): feeds for `room.len()` rows, each of which has
/// room for `room[i]` tokens, with ids below `width`. Errors name `term`.
///
/// # Errors
/// * [`Error::Shape`] unless there is a feed for each row, or if a feed wants more positions than it has tokens.
/// * [`Error::TokenOutOfRange`] if a token is not below `width`.
/// * [`Error::ContextFull`] if a feed is longer than the row's room.
pub fn feeds(term: &str, feeds: &[RowFeed], room: &[usize], width: usize) -> Result<()> {
    per_row("feeds", room.len(), feeds.len())?;
    for (row, (feed, room)) in feeds.iter().zip(room).enumerate() {
        if feed.wanted > feed.tokens.len() {
            let expected = format!("at most {}", feed.tokens.len());
            return Err(Error::shape(format!("wanted positions of row {row}"), expected, feed.wanted));
        }
        within(term, row, &feed.tokens, width)?;
        if feed.tokens.len() > *room {
            return Err(Error::ContextFull { term: term.into(), row, asked: feed.tokens.len(), room: *room });
        }
    }
    Ok(())
}

/// Checks that every token is below `limit`.
pub(crate) fn within(term: &str, row: usize, tokens: &[TokenId], limit: usize) -> Result<()> {
    match tokens.iter().find(|t| **t as usize >= limit) {
        Some(&token) => Err(Error::TokenOutOfRange { term: term.into(), row, token, limit }),
        None => Ok(()),
    }
}

/// Checks the arguments of [`Session::rollback`](crate::Session::rollback), of rows that may drop `limits[i]` tokens.
///
/// ```
/// use eft_core::{check, Error};
///
/// assert!(check::rollback(&[2, 0], &[2, 5]).is_ok());
/// let refused = check::rollback(&[3, 0], &[2, 5]);
/// assert!(matches!(refused, Err(Error::RollbackTooFar { row: 0, asked: 3, limit: 2 })));
/// ```
///
/// # Errors
/// * [`Error::Shape`] unless there is a number for each row.
/// * [`Error::RollbackTooFar`] if a number exceeds its limit.
pub fn rollback(drop: &[usize], limits: &[usize]) -> Result<()> {
    per_row("rollback", limits.len(), drop.len())?;
    for (row, (&asked, &limit)) in drop.iter().zip(limits).enumerate() {
        if asked > limit {
            return Err(Error::RollbackTooFar { row, asked, limit });
        }
    }
    Ok(())
}

/// Checks the arguments of [`Session::select`](crate::Session::select), in a session of `of` rows.
///
/// ```
/// use eft_core::{check, Error};
///
/// assert!(check::select(&[1, 1, 0], 2).is_ok());
/// assert!(matches!(check::select(&[2], 2), Err(Error::RowOutOfRange { row: 2, rows: 2, .. })));
/// ```
///
/// # Errors
/// * [`Error::EmptyBatch`] if `rows` is empty.
/// * [`Error::RowOutOfRange`] if a row does not exist.
pub fn select(rows: &[usize], of: usize) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::EmptyBatch { what: "select" });
    }
    match rows.iter().find(|row| **row >= of) {
        Some(&row) => Err(Error::RowOutOfRange { what: "select", row, rows: of }),
        None => Ok(()),
    }
}
