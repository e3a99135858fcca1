//! [`Candle`]: checks the arguments of each operation and calls the function, or the kernel of the host, that does it.
use std::fmt;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use eft_core::backend::{
    DeviceName, check_bounds, check_choice, check_edits, check_pool, check_rows, check_same_length,
    check_terms, check_tokens, check_uniforms, check_upload,
};
use eft_core::{Backend, Edit, Error, Filter, Host, Pick, Pool, Result, ScoreRow, Term, TokenId};

use super::constants::Constants;
use super::error::to_error;
use super::host::{HostRows, from_host, host_terms};
use super::rows::{empty, load, load_terms};
use super::{choose, clamp, edit, filter, linear, pick, pool, residual, softmax, top};

/// The backend of one candle device. Rows that lie on another device are copied to this one. Cheap to clone.
///
/// ```
/// use eft_backend_candle::Candle;
/// use eft_core::{from_fn, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Candle::cpu(), vocab, |tokens| Ok(vec![0.0, tokens.len() as f32, 1.0]));
/// assert_eq!(model.generate([0, 1], Sampling::greedy())?.next().unwrap()?.id, 1);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Candle {
    device: Device,
    generic: bool,
    constants: Arc<Constants>,
}

impl Candle {
    /// Creates a backend of `device`.
    pub fn new(device: Device) -> Self {
        Self { constants: Arc::new(Constants::new(device.clone())), device, generic: false }
    }

    /// Creates a backend of the processor.
    pub fn cpu() -> Self {
        Self::new(Device::Cpu)
    }

    /// Sets whether operations on the processor use candle's tensor operations, as they do on a GPU. The results are
    /// the same up to rounding, and slower. This is for tests.
    #[must_use]
    pub fn generic(self, generic: bool) -> Self {
        Self { generic, ..self }
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Whether the kernels of the host do the work.
    pub(crate) fn uses_host(&self) -> bool {
        self.device.is_cpu() && !self.generic
    }

    fn load(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        load(&self.device, rows, width).map_err(to_error)
    }
}

impl From<Device> for Candle {
    fn from(device: Device) -> Self {
        Self::new(device)
    }
}

/// The backend of the device with this name. A device that does not exist, or whose feature is off, is an error.
///
/// ```
/// use eft_backend_candle::Candle;
/// use eft_core::backend::DeviceName;
///
/// assert!(Candle::try_from(DeviceName::Cpu)?.device().is_cpu());
/// # Ok::<(), eft_core::Error>(())
/// ```
impl TryFrom<DeviceName> for Candle {
    type Error = Error;

    fn try_from(name: DeviceName) -> Result<Self> {
        let device = match name {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(index) => Device::new_cuda(index.into()),
            DeviceName::Metal(index) => Device::new_metal(index.into()),
            other => {
                return Err(Error::Unsupported {
                    who: Self::NAME.into(),
                    what: format!("the device {other}"),
                });
            }
        };
        Ok(Self::new(device.map_err(to_error)?))
    }
}

impl fmt::Debug for Candle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candle")
            .field("device", &self.device.location())
            .field("generic", &self.generic)
            .finish_non_exhaustive()
    }
}

impl Backend for Candle {
    type Tensor = Tensor;

    const NAME: &'static str = "candle";

    /// Rows and columns; (0, 0) if the tensor is not a matrix.
    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        tensor.dims2().unwrap_or((0, 0))
    }

    fn shallow_clone(&self, tensor: &Tensor) -> Tensor {
        tensor.clone()
    }

    fn upload(&self, scores: &[f32], width: usize) -> Result<Tensor> {
        check_upload(scores, width)?;
        if scores.is_empty() {
            return empty(width).map_err(to_error);
        }
        Tensor::from_slice(scores, (scores.len() / width, width), &self.device).map_err(to_error)
    }

    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "download", rows, width)?;
        self.load(rows, width)?.flatten_all().and_then(|scores| scores.to_vec1()).map_err(to_error)
    }

    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Tensor> {
        check_terms(self, "linear", terms, width)?;
        if self.uses_host() {
            let rows = HostRows::of_terms(terms, width)?;
            return from_host(Host.linear(&host_terms(terms, &rows), width)?);
        }
        if terms[0].rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        load_terms(&self.device, terms, width).and_then(|terms| linear::linear(&terms)).map_err(to_error)
    }

    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Tensor> {
        check_rows(self, "log_softmax", rows, width)?;
        if self.uses_host() {
            return from_host(Host.log_softmax(&HostRows::new(rows, width)?.rows(), width)?);
        }
        if rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        let scores = self.load(rows, width)?;
        softmax::log_softmax(&scores).map_err(to_error)
    }

    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Tensor> {
        check_terms(self, "pool", terms, width)?;
        check_pool(terms, pool)?;
        if self.uses_host() {
            let rows = HostRows::of_terms(terms, width)?;
            return from_host(Host.pool(&host_terms(terms, &rows), pool, width)?);
        }
        if terms[0].rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        load_terms(&self.device, terms, width).and_then(|terms| pool::pool(&terms, pool)).map_err(to_error)
    }

    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Tensor> {
        check_rows(self, "clamp", rows, width)?;
        check_bounds(low, high)?;
        if self.uses_host() {
            return from_host(Host.clamp(&HostRows::new(rows, width)?.rows(), low, high, width)?);
        }
        if rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        clamp::clamp(&self.load(rows, width)?, low, high).map_err(to_error)
    }

    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Tensor> {
        check_rows(self, "filter", rows, width)?;
        filter.validate()?;
        if self.uses_host() {
            return from_host(Host.filter(&HostRows::new(rows, width)?.rows(), filter, width)?);
        }
        if rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        let scores = self.load(rows, width)?;
        filter::filter(self.constants(), &scores, filter).map_err(to_error)
    }

    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Tensor> {
        check_choice(self, kept, inside, outside, width)?;
        if self.uses_host() {
            let (kept, inside) = (HostRows::new(kept, width)?, HostRows::new(inside, width)?);
            let outside = outside.map(|rows| HostRows::new(rows, width)).transpose()?;
            let outside = outside.as_ref().map(HostRows::rows);
            return from_host(Host.choose(&kept.rows(), &inside.rows(), outside.as_deref(), width)?);
        }
        if kept.is_empty() {
            return empty(width).map_err(to_error);
        }
        let (kept, inside) = (self.load(kept, width)?, self.load(inside, width)?);
        let outside = outside.map(|rows| self.load(rows, width)).transpose()?;
        choose::choose(&kept, &inside, outside.as_ref()).map_err(to_error)
    }

    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Tensor> {
        check_rows(self, "edit", rows, width)?;
        check_same_length("edit", rows.len(), edits.len())?;
        check_edits(edits, width)?;
        if self.uses_host() {
            return from_host(Host.edit(&HostRows::new(rows, width)?.rows(), edits, width)?);
        }
        if rows.is_empty() {
            return empty(width).map_err(to_error);
        }
        edit::edit(&self.load(rows, width)?, edits).map_err(to_error)
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
        if self.uses_host() {
            let (target, draft) = (HostRows::new(target, width)?, HostRows::new(draft, width)?);
            return from_host(Host.residual(&target.rows(), &draft.rows(), width)?);
        }
        if target.is_empty() {
            return empty(width).map_err(to_error);
        }
        residual::residual(&self.load(target, width)?, &self.load(draft, width)?).map_err(to_error)
    }

    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "argmax", rows, width)?;
        if self.uses_host() {
            return Host.argmax(&HostRows::new(rows, width)?.rows(), width);
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        pick::argmax(self.constants(), &self.load(rows, width)?).map_err(to_error)
    }

    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
        check_rows(self, "draw", rows, width)?;
        check_same_length("draw", rows.len(), uniforms.len())?;
        check_uniforms(uniforms)?;
        if self.uses_host() {
            return Host.draw(&HostRows::new(rows, width)?.rows(), uniforms, width);
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        pick::draw(self.constants(), &self.load(rows, width)?, uniforms).map_err(to_error)
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
        if self.uses_host() {
            return Host.log_probs(&HostRows::new(rows, width)?.rows(), tokens, width);
        }
        if tokens.iter().all(Vec::is_empty) {
            return Ok(vec![Vec::new(); tokens.len()]);
        }
        pick::log_probs(&self.load(rows, width)?, tokens).map_err(to_error)
    }

    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
        check_rows(self, "top", rows, width)?;
        if self.uses_host() {
            return Host.top(&HostRows::new(rows, width)?.rows(), k, width);
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        top::top(self.constants(), &self.load(rows, width)?, k).map_err(to_error)
    }

    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>> {
        check_rows(self, "log_normalizers", rows, width)?;
        if self.uses_host() {
            return Host.log_normalizers(&HostRows::new(rows, width)?.rows(), width);
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        softmax::log_normalizers(&self.load(rows, width)?).map_err(to_error)
    }
}
