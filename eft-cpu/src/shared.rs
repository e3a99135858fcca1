//! Work that the threads of rayon's pool share.
use std::sync::{Mutex, PoisonError};
use std::vec::IntoIter;

/// How much larger the work must be to be split by a thread outside rayon's pool. Such a thread does not share the
/// work: it hands it to the pool and sleeps until it is done, which costs more than waking a worker from inside.
const OUTSIDE_POOL: usize = 32;

/// Whether work of this size is split over the threads of rayon's pool. `threshold` is the size from which that pays on
/// a thread of the pool.
pub(crate) fn pays(work: usize, threshold: usize) -> bool {
    let threshold =
        if rayon::current_thread_index().is_some() { threshold } else { OUTSIDE_POOL * threshold };
    work >= threshold && rayon::current_num_threads() > 1
}

/// Calls a function with each item, on the threads of rayon's pool.
pub(crate) fn for_each<T: Send>(items: Vec<T>, f: impl Fn(T) + Sync) {
    for_each_with(items, || (), |(), item| f(item));
}

/// The same with something that each thread makes once.
///
/// Rayon's parallel iterators are not used, because a thread that takes a half of their items waits for a quarter of them, and
/// takes up any other work meanwhile. If that work takes long, or waits for the end of the very operation that these items belong
/// to, this operation takes as long, or never ends. Here a thread takes one item after another and waits for nothing; only the
/// caller waits.
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
    // The caller takes items from the front and others from the back, so that each core finds what it has used before in its cache.
    rayon::scope(|scope| {
        (0..others).for_each(|_| scope.spawn(|_| take_all(IntoIter::next_back)));
        take_all(IntoIter::next);
    });
}
