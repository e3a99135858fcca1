//! [`check_backend`]: every operation of a backend against its reference, on rows like those of models and on
//! adversarial ones.
mod checker;
mod operations;
mod refusals;

use super::Result;
use super::extremes::check_extremes;
use super::rows::KINDS;
use crate::backend::Backend;
use checker::{Checker, Rows};

/// The numbers of columns of the rows that [`check_backend`] checks, up to the widest vocabulary in use.
///
/// ```
/// assert!(eft_core::conformance::WIDTHS.contains(&262_144));
/// ```
pub const WIDTHS: [usize; 5] = [1, 2, 7, 1000, 262_144];

/// Checks every operation of a backend against its [reference](super::reference), on rows of 1 to 262,144 columns.
/// Wrong arguments must be refused, and unsound rows must stay unsound.
///
/// ```no_run
/// use eft_core::{Host, conformance::check_backend};
///
/// check_backend(&Host)?; // your own backend
/// # Ok::<(), eft_core::conformance::Failure>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold.
pub fn check_backend<B: Backend>(backend: &B) -> Result {
    check_backend_at(backend, &WIDTHS)
}

/// As [`check_backend`], on rows of the given numbers of columns only. This is for backends that forward to one that
/// passes [`check_backend`]: what they can do wrong does not depend on the width.
///
/// ```
/// use eft_core::{Host, conformance::{TrafficCounter, check_backend_at}};
///
/// check_backend_at(&TrafficCounter::new(Host), &[1, 7])?;
/// # Ok::<(), eft_core::conformance::Failure>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold.
pub fn check_backend_at<B: Backend>(backend: &B, widths: &[usize]) -> Result {
    for &width in widths {
        let rows: Vec<_> = KINDS.iter().map(|kind| kind.row(width, 11)).collect();
        let others: Vec<_> = KINDS.iter().map(|kind| kind.row(width, 12)).collect();
        let checker = Checker::new(backend, &rows, width)?;
        checker.round_trip(&rows)?;
        checker.linear()?;
        checker.pools()?;
        checker.clamps()?;
        checker.filters()?;
        checker.choices()?;
        checker.edits()?;
        checker.residuals(&Rows::new(backend, &others, width)?)?;
        checker.picks()?;
        checker.unsound_rows()?;
    }
    check_extremes(backend)?;
    refusals::wrong_arguments(backend)
}
