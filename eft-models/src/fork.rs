//! [`fork`]: selects rows of a cache, for tensor libraries whose caches are written in place.
//!
//! ```
//! let mut caches = vec![String::from("a"), String::from("b")];
//! eft_models::fork(&mut caches, &[1, 1, 0], |cache, row| Ok::<_, ()>(format!("{cache}{row}")))?;
//! // The first new row made from row 1 is row 1 itself, the second is a copy of it.
//! assert_eq!(caches, ["b", "b1", "a"]);
//! # Ok::<(), ()>(())
//! ```

/// Replaces row `i` by the old row `rows[i]`. If several entries of `rows` are the same, the old row is moved to the
/// first of these places. The others get a copy that `copy` makes from the old row and its index.
///
/// # Errors
/// The first error of `copy`; the rows are then unchanged.
///
/// # Panics
/// Panics if an index is out of range.
pub fn fork<T: Default, E>(
    caches: &mut Vec<T>,
    rows: &[usize],
    copy: impl Fn(&T, usize) -> Result<T, E>,
) -> Result<(), E> {
    let mut taken = vec![false; caches.len()];
    let forks: Vec<_> = rows
        .iter()
        .map(|row| std::mem::replace(&mut taken[*row], true).then(|| copy(&caches[*row], *row)).transpose())
        .collect::<Result<_, E>>()?;
    let moved = rows.iter().zip(forks);
    *caches = moved.map(|(row, fork)| fork.unwrap_or_else(|| std::mem::take(&mut caches[*row]))).collect();
    Ok(())
}
