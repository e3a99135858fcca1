//! The vector instructions of the processor, and the choice among them at run time.
use std::cell::Cell;
use std::sync::LazyLock;

use fearless_simd::Level;

/// A set of vector instructions that this processor has.
///
/// The functions of this crate use the widest set. Sets differ in speed and in the rounding of their results, so this
/// type serves to compare them, and to compute what a processor with fewer instructions would.
///
/// ```
/// use eft_cpu::Instructions;
/// use eft_cpu::ops::rms_norm;
///
/// for instructions in Instructions::available() {
///     let normalised = instructions.run(|| rms_norm(&[3.0, 3.0], &[1.0, 2.0], 0.0));
///     assert_eq!(normalised, [1.0, 2.0], "{instructions:?}");
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Instructions(Level);

impl Instructions {
    /// Returns the sets that this processor has and this crate is compiled for, the widest first. The list is empty if
    /// the processor is not [supported](is_supported).
    #[must_use]
    pub fn available() -> Vec<Self> {
        let level = *LEVEL;
        #[cfg(target_arch = "x86_64")]
        {
            let all = [
                level.as_avx512().map(Level::Avx512),
                level.as_avx2().map(Level::Avx2),
                level.as_sse4_2().map(Level::Sse4_2),
            ];
            all.into_iter().flatten().map(Self).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self(level)]
    }

    /// Calls a function, and returns its result. Until it returns, the functions of this crate that are called on this
    /// thread use these instructions, also in the parts of their work that they hand to other threads. A
    /// thread of rayon's pool also uses them for other work that it takes over while it waits for such parts.
    pub fn run<T>(self, function: impl FnOnce() -> T) -> T {
        /// Restores the choice that was made before, also after a panic.
        struct Restore(Option<Level>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _restore = Restore(CHOSEN.replace(Some(self.0)));
        function()
    }
}

impl std::fmt::Debug for Instructions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns whether this processor has the instructions that the functions of this crate need: SSE4.2 on x86, which all
/// have had since 2008. Elsewhere they need none. Without them, [`Matrix::new`](crate::Matrix::new) returns `None`, and
/// the other functions must not be called.
///
/// ```
/// if eft_cpu::is_supported() {
///     assert_eq!(eft_cpu::ops::rms_norm(&[3.0, 3.0], &[1.0, 2.0], 0.0), [1.0, 2.0]);
/// }
/// ```
#[must_use]
pub fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    return LEVEL.as_sse4_2().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// The instructions of this processor.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

thread_local! {
    /// The choice of [`Instructions::run`] on this thread.
    static CHOSEN: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Returns the instructions that are chosen on this thread: the widest, unless [`Instructions::run`] chose others.
/// Functions that split their work over threads read them before they do.
pub(super) fn current() -> Level {
    CHOSEN.get().unwrap_or_else(|| *LEVEL)
}
