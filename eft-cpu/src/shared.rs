//! Work that several threads share.
use std::sync::{Mutex, PoisonError};
use std::vec::IntoIter;

use super::team;

/// How much larger the work must be to be split outside a pass, where other threads have to be woken first.
const OUTSIDE_PASS: usize = 32;

/// Whether work of this size is split. `threshold` is the size from which that pays in a [`pass`](team::pass).
pub(crate) fn pays(work: usize, threshold: usize) -> bool {
    let threshold = if team::is_present() { threshold } else { OUTSIDE_PASS * threshold };
    work >= threshold && rayon::current_num_threads() > 1
}

/// Calls a function with each item, on this thread and those that help.
pub(crate) fn for_each<T: Send>(items: Vec<T>, f: impl Fn(T) + Sync) {
    for_each_with(items, || (), |(), item| f(item));
}

/// The same with something that each thread makes once.
pub(crate) fn for_each_with<T: Send, S>(
    items: Vec<T>,
    make: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, T) + Sync,
) {
    let others = rayon::current_num_threads().min(items.len()).saturating_sub(1);
    let queue = Mutex::new(items.into_iter());
    let take_all = |take: fn(&mut IntoIter<T>) -> Option<T>| {
        let mut made = make();
        loop {
            let next = take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner));
            let Some(item) = next else { return };
            f(&mut made, item);
        }
    };
    // This thread takes items from the front and others from the back, so that each core finds what it has used before in its cache.
    team::share(others, || take_all(IntoIter::next), &|| take_all(IntoIter::next_back));
}
