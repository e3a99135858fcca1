/// Runs jobs one after another, or each in a separate thread.
pub(super) fn for_each<J: Send, R: Send>(jobs: Vec<J>, parallel: bool, f: impl Fn(J) -> R + Sync) -> Vec<R> {
    if !parallel || jobs.len() < 2 {
        return jobs.into_iter().map(f).collect();
    }
    let f = &f;
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.into_iter().map(|job| scope.spawn(move || f(job))).collect();
        let joined = threads.into_iter().map(|t| t.join());
        // A model's panic continues in the calling thread.
        joined.map(|r| r.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
