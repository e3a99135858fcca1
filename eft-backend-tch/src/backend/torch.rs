//! [`Torch`]: checks the arguments of each operation and calls the function that does it.
use eft_core::backend::{
    DeviceName, check_bounds, check_choice, check_edits, check_pool, check_rows, check_same_length,
    check_terms, check_tokens, check_uniforms, check_upload,
};
use eft_core::{Backend, Edit, Error, Filter, Pick, Pool, Result, ScoreRow, Term, TokenId};
use tch::{Device, TchError, Tensor, no_grad_guard};

use super::error::to_error;
use super::rows::{load, load_terms};
use super::{choose, clamp, edit, filter, linear, pick, pool, residual, softmax, tensor, top};

/// The backend of one device of libtorch. Rows that lie on another device are copied to this one.
///
/// ```
/// use eft_backend_tch::Torch;
/// use eft_core::{from_fn, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Torch::cpu(), vocab, |tokens| Ok(vec![0.0, tokens.len() as f32, 1.0]));
/// assert_eq!(model.generate([0, 1], Sampling::greedy())?.next().unwrap()?.id, 1);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torch {
    device: Device,
}

impl Torch {
    /// Creates a backend of `device`.
    pub fn new(device: Device) -> Self {
        Self { device }
    }

    /// Creates a backend of the processor.
    pub fn cpu() -> Self {
        Self::new(Device::Cpu)
    }

    /// Returns the device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Calls `work` on the rows, without tracking gradients.
    fn on<T>(
        &self,
        rows: &[ScoreRow<'_, Self>],
        width: usize,
        work: impl FnOnce(Tensor) -> Result<T, TchError>,
    ) -> Result<T> {
        let _guard = no_grad_guard();
        load(self.device, rows, width).and_then(work).map_err(to_error)
    }

    /// Calls `work` on two lists of rows, without tracking gradients.
    fn on_both<T>(
        &self,
        [first, second]: [&[ScoreRow<'_, Self>]; 2],
        width: usize,
        work: impl FnOnce(Tensor, Tensor) -> Result<T, TchError>,
    ) -> Result<T> {
        self.on(first, width, |first| work(first, load(self.device, second, width)?))
    }
}

impl From<Device> for Torch {
    fn from(device: Device) -> Self {
        Self::new(device)
    }
}

/// The backend of the device with this name. Whether it exists is found out by the first operation.
///
/// ```
/// use eft_backend_tch::{Device, Torch};
/// use eft_core::backend::DeviceName;
///
/// let torch = Torch::try_from("cuda:1".parse::<DeviceName>()?)?;
/// assert_eq!(torch.device(), Device::Cuda(1));
/// # Ok::<(), eft_core::Error>(())
/// ```
impl TryFrom<DeviceName> for Torch {
    type Error = Error;

    fn try_from(name: DeviceName) -> Result<Self> {
        Ok(Self::new(match name {
            DeviceName::Cpu => Device::Cpu,
            DeviceName::Cuda(index) => Device::Cuda(index.into()),
            DeviceName::Metal(0) => Device::Mps,
            other => {
                return Err(Error::Unsupported {
                    who: Self::NAME.into(),
                    what: format!("the device {other}"),
                });
            }
        }))
    }
}

impl Backend for Torch {
    type Tensor = Tensor;

    const NAME: &'static str = "tch";

    /// Rows and columns; (0, 0) if the tensor is not a matrix.
    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        match tensor.defined().then(|| tensor.size()).as_deref() {
            Some([rows, columns]) => (*rows as usize, *columns as usize),
            _ => (0, 0),
        }
    }

    fn shallow_clone(&self, tensor: &Tensor) -> Tensor {
        tensor.shallow_clone()
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Tensor> {
        check_upload(scores, width)?;
        let tensor = || {
            let rows = (scores.len() / width) as i64;
            tensor::sent(&Tensor::f_from_slice(scores)?.f_view([rows, width as i64])?, self.device)
        };
        tensor().map_err(to_error)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "download", rows, width)?;
        self.on(rows, width, |scores| tensor::numbers(&scores))
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Tensor> {
        check_terms(self, "linear", terms, width)?;
        let _guard = no_grad_guard();
        load_terms(self.device, terms, width).and_then(|terms| linear::linear(&terms)).map_err(to_error)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        check_rows(self, "log_softmax", rows, width)?;
        self.on(rows, width, |scores| softmax::log_softmax(&scores))
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Tensor> {
        check_terms(self, "pool", terms, width)?;
        check_pool(terms, pool)?;
        let _guard = no_grad_guard();
        load_terms(self.device, terms, width).and_then(|terms| pool::pool(&terms, pool)).map_err(to_error)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Tensor> {
        check_rows(self, "clamp", rows, width)?;
        check_bounds(low, high)?;
        self.on(rows, width, |scores| clamp::clamp(&scores, low, high))
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Tensor> {
        check_rows(self, "filter", rows, width)?;
        filter.validate()?;
        self.on(rows, width, |scores| filter::filter(&scores, filter))
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Tensor> {
        check_choice(self, kept, inside, outside, width)?;
        self.on_both([kept, inside], width, |kept, inside| {
            let outside = outside.map(|rows| load(self.device, rows, width)).transpose()?;
            choose::choose(&kept, &inside, outside.as_ref())
        })
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Tensor> {
        check_rows(self, "edit", rows, width)?;
        check_same_length("edit", rows.len(), edits.len())?;
        check_edits(edits, width)?;
        self.on(rows, width, |scores| edit::edit(&scores, edits))
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
        self.on_both([target, draft], width, |target, draft| residual::residual(&target, &draft))
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "argmax", rows, width)?;
        self.on(rows, width, |scores| pick::argmax(&scores))
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "draw", rows, width)?;
        check_same_length("draw", rows.len(), uniforms.len())?;
        check_uniforms(uniforms)?;
        self.on(rows, width, |scores| pick::draw(&scores, uniforms))
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
        self.on(rows, width, |scores| pick::log_probs(&scores, tokens))
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        check_rows(self, "top", rows, width)?;
        self.on(rows, width, |scores| top::top(&scores, k))
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "log_normalizers", rows, width)?;
        self.on(rows, width, |scores| softmax::log_normalizers(&scores))
    }
}
