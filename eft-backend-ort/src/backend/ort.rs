//! The type, and which graph each operation is.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use eft_core::backend::{
    check_choice, check_edits, check_pool, check_rows, check_same_length, check_terms, check_tokens,
    check_uniforms,
};
use eft_core::{Backend, Edit, Error, Filter, Pick, Pool, Result, ScoreRow, Term, TokenId};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{DynValue, TensorElementType};

use super::graph::{Graph, Places};
use super::linear::Weight;
use super::net::Net;
use super::operation::Operation;
use super::rows::{Layout, Rows};
use super::{Tensor, edit, empty, filter, integers, numbers, to_error, value};
use crate::options::Device;
use crate::{Options, library};

/// ONNX Runtime on one execution provider. Cheap to clone.
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
pub struct Ort(Arc<Inner>);

struct Inner {
    environment: Environment,
    options: Options,
    places: Places,
    graphs: Mutex<HashMap<Key, Arc<Graph>>>,
}

/// What tells graphs apart.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    operation: Operation,
    width: usize,
    rows: Vec<Layout>,
}

impl Ort {
    /// Loads the library unless the process has it already.
    ///
    /// # Errors
    /// [`Error::Library`](crate::Error::Library), and failures of ONNX Runtime.
    pub fn new(options: &Options) -> crate::Result<Self> {
        let environment = library::environment(options)?;
        Ok(Self(Arc::new(Inner {
            environment,
            places: Places { device: options.device.memory()?, host: Device::CPU.memory()? },
            options: options.clone(),
            graphs: Mutex::default(),
        })))
    }

    /// The backend of the processor, by the default options.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn cpu() -> crate::Result<Self> {
        Self::new(&Options::default())
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Where tensors lie.
    pub(crate) fn places(&self) -> &Places {
        &self.0.places
    }

    /// For sessions on the execution provider.
    pub(crate) fn builder(&self) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&self.0.environment)?;
        Ok(builder.with_execution_providers(&self.0.options.providers)?)
    }

    /// Runs a graph: first the rows, then what else it takes.
    pub(super) fn values(
        &self,
        operation: Operation,
        rows: &[Rows],
        width: usize,
        further: &[DynValue],
    ) -> Result<Vec<DynValue>> {
        let layouts = rows.iter().map(|rows| rows.layout(width)).collect();
        let elements: Vec<_> = rows.iter().map(Rows::element).collect();
        let graph = self.graph(Key { operation, width, rows: layouts }, &elements).map_err(to_error)?;
        let mut inputs = Vec::new();
        rows.iter().for_each(|rows| rows.bind(&mut inputs));
        inputs.extend(further);
        graph.run(&inputs, &self.0.places).map_err(to_error)
    }

    /// Runs a graph whose last output is a tensor.
    pub(super) fn tensor(
        &self,
        operation: Operation,
        rows: Vec<Rows>,
        width: usize,
        further: Vec<DynValue>,
    ) -> Result<Tensor> {
        let value = self.values(operation, &rows, width, &further)?.pop();
        value.map_or_else(|| Err(Error::shape("outputs of a graph", "at least one", 0)), Tensor::new)
    }

    fn graph(&self, key: Key, elements: &[TensorElementType]) -> ort::Result<Arc<Graph>> {
        let mut graphs = self.0.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = graphs.get(&key) {
            return Ok(graph.clone());
        }
        let mut net = Net::default();
        let rows: Vec<_> = key
            .rows
            .iter()
            .zip(elements)
            .map(|(layout, e)| layout.declare(&mut net, *e, key.width))
            .collect();
        key.operation.write(&mut net, &rows, key.width);
        let graph = Arc::new(Graph::new(net, self.builder()?)?);
        graphs.insert(key, graph.clone());
        Ok(graph)
    }

    pub(super) fn load(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Rows> {
        Rows::new(self, rows, width)
    }

    fn load_terms(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Vec<Rows>> {
        terms.iter().map(|term| self.load(&term.rows, width)).collect()
    }

    /// The rows, one after another, as a tensor of their own.
    pub(crate) fn collect(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        if rows.is_empty() {
            return empty(width);
        }
        self.tensor(Operation::Collect, vec![self.load(rows, width)?], width, Vec::new())
    }

    /// Tokens and log-probabilities of a graph that picks, `count` for each row.
    fn picks(
        &self,
        operation: Operation,
        rows: &[ScoreRow<'_, Self>],
        count: usize,
        width: usize,
        further: DynValue,
    ) -> Result<Vec<Vec<Pick>>> {
        let values = self.values(operation, &[self.load(rows, width)?], width, &[further])?;
        let [tokens, log_probs] = &values[..] else {
            return Err(Error::shape("outputs of a graph", 2, values.len()));
        };
        let (_, tokens) = tokens.try_extract_tensor::<i64>().map_err(to_error)?;
        let (_, log_probs) = log_probs.try_extract_tensor::<f32>().map_err(to_error)?;
        let pick = |(token, log_prob): (&i64, &f32)| {
            // What is found in an unsound row need not be a token.
            let token = if log_prob.is_nan() { 0 } else { TokenId::try_from(*token).unwrap_or(0) };
            Pick { token, log_prob: *log_prob }
        };
        let rows = tokens.chunks(count).zip(log_probs.chunks(count));
        Ok(rows.map(|(tokens, log_probs)| tokens.iter().zip(log_probs).map(pick).collect()).collect())
    }

    fn first_picks(picks: Vec<Vec<Pick>>) -> Vec<Pick> {
        picks.into_iter().flatten().collect()
    }
}

impl fmt::Debug for Ort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ort").field("options", &self.0.options).finish_non_exhaustive()
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
        if width == 0 || !scores.len().is_multiple_of(width) {
            return Err(Error::shape("upload", format!("whole rows of {width}"), scores.len()));
        }
        let host = Tensor::new(value([scores.len() / width, width], scores.to_vec())?)?;
        if self.0.options.device == Device::CPU || scores.is_empty() {
            return Ok(host);
        }
        // The output of a graph lies on the device.
        let rows: Vec<_> = eft_core::backend::score_rows::<Self>(&host, scores.len() / width);
        self.collect(&rows, width)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "download", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.values(Operation::Download, &[self.load(rows, width)?], width, &[])?;
        numbers(&values)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Tensor> {
        check_terms(self, "linear", terms, width)?;
        if terms[0].rows.is_empty() {
            return empty(width);
        }
        let weights: Vec<_> = terms.iter().map(|term| Weight::of(term.weight)).collect();
        let further = terms.iter().zip(&weights).filter(|(_, weight)| weight.is_input());
        let further = further.map(|(term, _)| value([1, 1], vec![term.weight])).collect::<Result<_>>()?;
        self.tensor(Operation::Linear(weights), self.load_terms(terms, width)?, width, further)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        check_rows(self, "log_softmax", rows, width)?;
        if rows.is_empty() {
            return empty(width);
        }
        self.tensor(Operation::LogSoftmax, vec![self.load(rows, width)?], width, Vec::new())
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Tensor> {
        check_terms(self, "pool", terms, width)?;
        check_pool(terms, pool)?;
        if terms[0].rows.is_empty() {
            return empty(width);
        }
        let rows = self.load_terms(terms, width)?;
        match pool {
            Pool::Max => self.tensor(Operation::Max, rows, width, Vec::new()),
            Pool::Min => self.tensor(Operation::Min, rows, width, Vec::new()),
            Pool::Power(p) => {
                let further = std::iter::once(p).chain(terms.iter().map(|term| term.weight));
                let further = further.map(|number| value([1, 1], vec![number])).collect::<Result<_>>()?;
                self.tensor(Operation::Power, rows, width, further)
            }
        }
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Tensor> {
        check_rows(self, "filter", rows, width)?;
        filter.validate()?;
        if rows.is_empty() {
            return empty(width);
        }
        filter::run(self, rows, filter, width)
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
        let operation = Operation::Choose { outside: outside.is_some() };
        let rows = [Some(kept), Some(inside), outside].into_iter().flatten();
        let rows = rows.map(|rows| self.load(rows, width)).collect::<Result<_>>()?;
        self.tensor(operation, rows, width, Vec::new())
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Tensor> {
        check_rows(self, "edit", rows, width)?;
        check_same_length("edit", rows.len(), edits.len())?;
        check_edits(edits, width)?;
        edit::run(self, rows, edits, width)
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
        let rows = vec![self.load(target, width)?, self.load(draft, width)?];
        self.tensor(Operation::Residual, rows, width, Vec::new())
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "argmax", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.picks(Operation::Top, rows, 1, width, integers([1], vec![1])?).map(Self::first_picks)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "draw", rows, width)?;
        check_same_length("draw", rows.len(), uniforms.len())?;
        check_uniforms(uniforms)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let uniforms = value([rows.len(), 1], uniforms.to_vec())?;
        self.picks(Operation::Draw, rows, 1, width, uniforms).map(Self::first_picks)
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
        let asked =
            || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
        let count = [asked().count()];
        let places = asked().map(|(row, token)| (row * width + token as usize) as i64).collect();
        let owners = asked().map(|(row, _)| row as i64).collect();
        let further = [integers(count, places)?, integers(count, owners)?];
        let values = self.values(Operation::LogProbs, &[self.load(rows, width)?], width, &further)?;
        let mut numbers = numbers(&values)?.into_iter();
        Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        check_rows(self, "top", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // An unsound row tells so even where nothing is asked of it.
        let looked_at = k.clamp(1, width);
        let further = integers([1], vec![looked_at as i64])?;
        let mut picks = self.picks(Operation::Top, rows, looked_at, width, further)?;
        for picks in &mut picks {
            match picks.first() {
                Some(first) if first.log_prob.is_nan() => picks.truncate(1),
                _ => {
                    picks.truncate(k);
                    picks.retain(|pick| pick.log_prob > f32::NEG_INFINITY);
                }
            }
        }
        Ok(picks)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "log_normalizers", rows, width)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.values(Operation::LogNormalizers, &[self.load(rows, width)?], width, &[])?;
        numbers(&values)
    }
}
