use eft_core::{Backend, Source};

use super::Report;
use crate::Result;
use crate::run::Run;

impl Report {
    /// Runs a task with a source for each value of a setting, which share the passes of their models, and adds the
    /// runs. In the [folder](Run::folder) of the run, their files are named after the setting and the value.
    ///
    /// ```
    /// use eft_core::combine::delta;
    /// use eft_core::{from_fn, Host, Vocab};
    /// use eft_eval::{Item, Items, PassFail, Report, Run, Task};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b", "</s>"])?.with_eos([2])?;
    /// let model = |logits: [f32; 3]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
    /// let (large, tuned, small) = (model([1., 0., 0.]), model([0., 0., 3.]), model([0., 0., 0.]));
    /// let items = Items::of([Item::new("1", [0]), Item::new("2", [1])])?;
    /// let task = Task::texts(items, PassFail::new("empty", |_, text| Ok(text.is_empty())))?;
    ///
    /// let run = Run::new(&task).quiet();
    /// let report = Report::new("Empty").sweep(&run, "α", [0.0, 1.0], |alpha| delta(&large, &tuned, &small, alpha))?;
    /// assert!(report.table()?.contains("α = 1"));
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of the function, and those of [`Run::evaluate_each`].
    pub fn sweep<B: Backend>(
        mut self,
        run: &Run<'_>,
        setting: &str,
        values: impl IntoIterator<Item = f32>,
        source: impl Fn(f32) -> eft_core::Result<Source<B>>,
    ) -> Result<Self> {
        let values: Vec<_> = values.into_iter().collect();
        let named = values.iter().map(|value| Ok((format!("{setting}-{value}"), source(*value)?)));
        let results = run.evaluate_each(&named.collect::<eft_core::Result<Vec<_>>>()?)?;
        for (value, results) in values.iter().zip(results) {
            self = self.run_at(format!("{setting} = {value}"), f64::from(*value), results);
        }
        Ok(self)
    }
}
