//! The decoding of one backend, compiled once for all programs of a debug build.
//!
//! At low levels of optimisation the compiler shares instances of generic functions between crates: a program does not
//! compile again what a crate that it uses has compiled. So the crate of a backend uses the entry points of this crate in a
//! function that is never called, and programs, tests and examples compile only code of their own.
use crate::backend::Backend;
use crate::decode::Batch;
use crate::search::{ChunkBeamSearch, ImplicitReward};
use crate::{Decoding, Evaluator, Prompt, Result, Source, combine};

/// Uses the entry points of this crate with one backend. For the crate of a backend: see the module.
pub fn of_backend<B: Backend>(source: &Source<B>) -> Result<()> {
    let decoding = Decoding::default();
    let prompt = || Prompt::from("");
    let combination = combine::delta(source, source, source, 1.0)?;
    combination.generate(prompt(), &decoding)?.text()?.for_each(drop);
    combination.generate_batch([prompt()], &decoding)?.text()?.read();
    source.generate([0], &decoding)?.for_each(drop);
    source.generate_batch([[0]], &decoding)?.for_each(drop);
    let speculative = combination.speculate().draft(source);
    speculative.generate(prompt(), &decoding)?.text()?.for_each(drop);
    speculative.generate_batch([prompt()], &decoding)?.text()?.read();
    source.score(prompt(), &[])?;
    source.score_batch([(prompt(), vec![])])?;
    ChunkBeamSearch::new(source, ImplicitReward::new(source, source)).run(prompt())?;
    let _bytes = source.bytes()?;
    source.check()?;
    let mut evaluator = Evaluator::open(&[source], &[prompt()])?;
    evaluator.reopen(&[prompt()])?;
    evaluator.push(&[vec![]])?;
    evaluator.eval_last(0)?;
    Batch::over(evaluator, decoding)?.for_each(drop);
    Ok(())
}

/// The instances of the host backend; never called.
#[cfg(debug_assertions)]
pub fn of_host(source: &Source<crate::Host>) -> Result<()> {
    of_backend(source)
}
