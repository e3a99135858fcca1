/// How much a [`Joint`](super::Joint) generation has saved: the rows that the models have read, beside those that they
/// would have read for each text alone.
///
/// A row that some model reads at a step counts once, whatever the number of models. The passes over the prompts are not
/// counted: every prompt is read once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JointWork {
    /// The steps so far. At each of them all unfinished texts get a token, and every model runs at most once.
    pub steps: usize,
    /// The rows of all steps: one for each distinct text.
    pub row_steps: usize,
    /// The tokens of all steps: one for each unfinished text.
    pub text_steps: usize,
}

impl JointWork {
    /// Adds the work of another generation.
    ///
    /// ```
    /// use eft_core::decode::JointWork;
    ///
    /// let mut total = JointWork::default();
    /// total.add(JointWork::default());
    /// assert_eq!(total.row_steps, 0);
    /// ```
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.row_steps += other.row_steps;
        self.text_steps += other.text_steps;
    }
}
