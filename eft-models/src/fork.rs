//! [`fork`]: rows of a cache selected, for tensor libraries whose caches are written in place.
//!
//! ```
//! let mut caches = vec![String::from("a"), String::from("b")];
//! eft_models::fork(&mut caches, &[1, 1, 0], |cache, row| Ok::<_, ()>(format!("{cache}{row}")))?;
//! // Row 1 was taken over by the first to name it, and copied for the second.
//! assert_eq!(caches, ["b", "b1", "a"]);
//! # Ok::<(), ()>(())
//! ```

/// Makes row `i` what row `rows[i]` was. The first to name a row takes it over, the others get a `copy` of it.
///
/// # Errors
/// That of a copy; the rows are then as they were.
pub fn fork<T: Default, E>(
    caches: &mut Vec<T>,
    rows: &[usize],
    copy: impl Fn(&T, usize) -> Result<T, E>,
) -> Result<(), E> {
    let forks: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| rows[..i].contains(row).then(|| copy(&caches[*row], *row)).transpose())
        .collect::<Result<_, E>>()?;
    let moved = rows.iter().zip(forks);
    *caches = moved.map(|(row, fork)| fork.unwrap_or_else(|| std::mem::take(&mut caches[*row]))).collect();
    Ok(())
}
