//! [`Ort`]: checks the arguments of each operation and calls the function that does it.
use std::fmt;
use std::sync::Arc;

use eft_core::backend::{
    check_bounds, check_choice, check_edits, check_pool, check_rows, check_same_length, check_terms,
    check_tokens, check_uniforms, check_upload, score_rows,
};
use eft_core::{Backend, Edit, Filter, Pick, Pool, Result, ScoreRow, Term, TokenId};
use ort::session::builder::SessionBuilder;

use super::graph::Memory;
use super::graph_builder::{Dtype, Placement};
use super::operation::Operation;
use super::runtime::Runtime;
use super::tensor::{Tensor, empty, numbers, value};
use super::{choose, clamp, edit, filter, linear, pick, pool, residual, softmax, top};
use crate::Options;
use crate::options::Device;

/// The backend of one execution provider of ONNX Runtime. Cheap to clone.
///
/// ```no_run
/// use eft_backend_ort::{Options, Ort};
/// use eft_core::{from_fn, Sampling, Vocab};
///
/// let ort = Ort::new(&Options::default().threads(4))?;
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(ort, vocab, |tokens| Ok(vec![0.0, tokens.len() as f32, 1.0]));
/// assert_eq!(model.generate([0, 1], Sampling::greedy())?.next().unwrap()?.id, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ort(Arc<Runtime>);

impl Ort {
    /// Creates a backend. The first call in a process loads the library of ONNX Runtime.
    ///
    /// # Errors
    /// * [`Error::Library`](crate::Error::Library) if the library cannot be loaded.
    /// * [`Error::Threads`](crate::Error::Threads) if the process's thread pool has another number of threads.
    /// * [`Error::Ort`](crate::Error::Ort) if ONNX Runtime fails.
    pub fn new(options: &Options) -> crate::Result<Self> {
        Ok(Self(Arc::new(Runtime::new(options)?)))
    }

    /// Creates a backend of the processor, with the default options.
    ///
    /// # Errors
    /// * [`Error::Library`](crate::Error::Library) if the library cannot be loaded.
    /// * [`Error::Ort`](crate::Error::Ort) if ONNX Runtime fails.
    pub fn cpu() -> crate::Result<Self> {
        Self::new(&Options::default())
    }

    /// Returns the options that the backend was created with.
    pub fn options(&self) -> &Options {
        self.0.options()
    }

    /// The memory that outputs are written to.
    pub(crate) fn memory(&self) -> &Memory {
        self.0.memory()
    }

    /// A builder of sessions on the execution provider.
    pub(crate) fn builder(&self) -> ort::Result<SessionBuilder> {
        self.0.builder()
    }
}

impl fmt::Debug for Ort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ort").field("options", self.options()).finish_non_exhaustive()
    }
}

impl Backend for Ort {
    type Tensor = Tensor;

    const NAME: &'static str = "ort";

    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        tensor.shape()
    }

    fn shallow_clone(&self, tensor: &Tensor) -> Tensor {
        tensor.clone()
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Tensor> {
        check_upload(scores, width)?;
        let host = Tensor::new(value([scores.len() / width, width], scores.to_vec())?)?;
        if self.options().device == Device::CPU || scores.is_empty() {
            return Ok(host);
        }
        // The output of a graph lies on the device.
        let rows = score_rows::<Self>(&host, scores.len() / width);
        self.0.concat(&[self.0.load(&rows, width)?])
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "download", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.0.load(rows, width)?;
        let values = self.0.run(Operation::Download, &[rows], &[], |graph, rows| {
            graph.output(rows[0], Dtype::F32, 2, Placement::Host);
        })?;
        numbers(&values)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Tensor> {
        check_terms(self, "linear", terms, width)?;
        if terms[0].rows.is_empty() {
            return empty(width);
        }
        linear::linear(&self.0, self.0.load_terms(terms, width)?)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        check_rows(self, "log_softmax", rows, width)?;
        if rows.is_empty() {
            return empty(width);
        }
        softmax::log_softmax(&self.0, self.0.load(rows, width)?)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Tensor> {
        check_terms(self, "pool", terms, width)?;
        check_pool(terms, pool)?;
        if terms[0].rows.is_empty() {
            return empty(width);
        }
        pool::pool(&self.0, self.0.load_terms(terms, width)?, pool)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Tensor> {
        check_rows(self, "clamp", rows, width)?;
        check_bounds(low, high)?;
        if rows.is_empty() {
            return empty(width);
        }
        clamp::clamp(&self.0, self.0.load(rows, width)?, low, high)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Tensor> {
        check_rows(self, "filter", rows, width)?;
        filter.validate()?;
        if rows.is_empty() {
            return empty(width);
        }
        filter::filter(&self.0, self.0.load(rows, width)?, filter)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Tensor> {
        check_choice(self, kept, inside, outside, width)?;
        if kept.is_empty() {
            return empty(width);
        }
        let outside = outside.map(|rows| self.0.load(rows, width)).transpose()?;
        choose::choose(&self.0, self.0.load(kept, width)?, self.0.load(inside, width)?, outside)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Tensor> {
        check_rows(self, "edit", rows, width)?;
        check_same_length("edit", rows.len(), edits.len())?;
        check_edits(edits, width)?;
        if rows.is_empty() {
            return empty(width);
        }
        edit::edit(&self.0, self.0.load(rows, width)?, edits)
    }

    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Tensor> {
        check_rows(self, "residual, target", target, width)?;
        check_rows(self, "residual, draft", draft, width)?;
        check_same_length("residual, draft", target.len(), draft.len())?;
        if target.is_empty() {
            return empty(width);
        }
        residual::residual(&self.0, self.0.load(target, width)?, self.0.load(draft, width)?)
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "argmax", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        pick::argmax(&self.0, self.0.load(rows, width)?)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "draw", rows, width)?;
        check_same_length("draw", rows.len(), uniforms.len())?;
        check_uniforms(uniforms)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        pick::draw(&self.0, self.0.load(rows, width)?, uniforms)
    }

    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        check_rows(self, "log_probs", rows, width)?;
        check_same_length("log_probs", rows.len(), tokens.len())?;
        check_tokens("log_probs", tokens.iter().map(Vec::as_slice), width)?;
        if tokens.iter().all(Vec::is_empty) {
            return Ok(vec![Vec::new(); tokens.len()]);
        }
        pick::log_probs(&self.0, self.0.load(rows, width)?, tokens)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        check_rows(self, "top", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        top::top(&self.0, self.0.load(rows, width)?, k)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "log_normalizers", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        softmax::log_normalizers(&self.0, self.0.load(rows, width)?)
    }
}
