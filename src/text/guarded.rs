//! Panics of the library `tokenizers` as errors.
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether panics of this thread are caught, and not reported.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs the library, and turns its panics into errors. It trusts indices from the file and panics if they are wrong,
/// for example if a merge makes a token that does not exist. Such panics are not reported: a hook is put before the
/// program's own, once, which leaves them out.
pub(super) fn guarded<T>(f: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                report(panic);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    CAUGHT.set(outer);
    result.unwrap_or_else(|_| Err("it contradicts itself, and the tokenizer panicked".into()))
}
