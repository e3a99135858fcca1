//! [`Options`]: which library, which execution providers, how many threads.
use std::fmt;
use std::path::PathBuf;

use eft_core::backend::DeviceName;
use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;

/// How an [`Ort`](crate::Ort) is created.
///
/// The defaults: the library that `ORT_DYLIB_PATH` names, the CPU provider, as many threads as there are cores, all
/// graph optimisations, and 256 tokens in a forward pass.
///
/// ```
/// use eft_backend_ort::{GraphOptimizationLevel, Options};
///
/// let options = Options::default().threads(2).optimization(GraphOptimizationLevel::Level1);
/// assert!(format!("{options:?}").contains("threads: Some(2)"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    pub(crate) library: Option<PathBuf>,
    pub(crate) environment: Option<Environment>,
    pub(crate) threads: Option<usize>,
    pub(crate) optimization: GraphOptimizationLevel,
    pub(crate) providers: Vec<ExecutionProviderDispatch>,
    pub(crate) device: Device,
    pub(crate) max_pass_tokens: usize,
}

/// The memory in which an execution provider keeps its tensors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Device {
    pub(crate) name: AllocationDevice<'static>,
    pub(crate) index: i32,
}

impl Device {
    pub(crate) const CPU: Self = Self { name: AllocationDevice::CPU, index: 0 };

    pub(crate) fn memory(&self) -> ort::Result<MemoryInfo<'static>> {
        MemoryInfo::new(self.name.clone(), self.index, AllocatorType::Device, MemoryType::Default)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            library: None,
            environment: None,
            threads: None,
            optimization: GraphOptimizationLevel::All,
            providers: Vec::new(),
            device: Device::CPU,
            max_pass_tokens: 256,
        }
    }
}

impl Options {
    /// Sets the path of the library of ONNX Runtime, version 1.23 or newer (feature `load-dynamic`).
    ///
    /// A process loads the library once, so later paths have no effect.
    pub fn library(self, path: impl Into<PathBuf>) -> Self {
        Self { library: Some(path.into()), ..self }
    }

    /// Uses an environment that the program has created itself, with that environment's threads.
    ///
    /// A process can have only one environment, so programs that also use ONNX Runtime for something else need this.
    pub fn environment(self, environment: Environment) -> Self {
        Self { environment: Some(environment), ..self }
    }

    /// Sets the number of threads in the pool that all models of the process share; the default is the number of cores.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Sets how far a model's graph is optimised when it is loaded; the default is `All`.
    pub fn optimization(self, level: GraphOptimizationLevel) -> Self {
        Self { optimization: level, ..self }
    }

    /// Adds an execution provider. Its tensors lie in the memory of `device` number `index`; for providers that work in
    /// main memory that is `AllocationDevice::CPU`, number 0.
    ///
    /// With several providers, earlier ones have priority, and the memory is that of the last. A provider that is not
    /// available is an error; there is no fallback to the processor.
    ///
    /// A provider needs the cargo feature of its name, and a library that was built with it.
    pub fn provider(
        mut self,
        provider: ExecutionProviderDispatch,
        device: AllocationDevice<'static>,
        index: i32,
    ) -> Self {
        self.providers.push(provider.error_on_failure());
        self.device = Device { name: device, index };
        self
    }

    /// Adds the CUDA provider, on the NVIDIA GPU number `index`.
    #[cfg(feature = "cuda")]
    pub fn cuda(self, index: i32) -> Self {
        let provider = ort::ep::CUDA::default().with_device_id(index).build();
        self.provider(provider, AllocationDevice::CUDA, index)
    }

    /// Uses the device with this name: the processor, or with the feature `cuda` an NVIDIA GPU.
    ///
    /// ```
    /// use eft_backend_ort::Options;
    /// use eft_core::backend::DeviceName;
    ///
    /// let options = Options::default().on(DeviceName::Cpu)?;
    /// assert!(Options::default().on(DeviceName::Metal(0)).is_err());
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Unsupported`](eft_core::Error::Unsupported) for other devices, and for an NVIDIA GPU without the feature.
    pub fn on(self, device: DeviceName) -> eft_core::Result<Self> {
        match device {
            DeviceName::Cpu => Ok(self),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda(index) => Ok(self.cuda(index.into())),
            other => {
                let what = format!("the device {other}; the cargo feature `cuda` adds NVIDIA GPUs");
                Err(eft_core::Error::Unsupported { who: "ort".into(), what })
            }
        }
    }

    /// Sets the largest number of tokens in one forward pass, over all rows; the default is 256, the least is 1.
    ///
    /// Longer prompts are fed in several passes, which bounds the memory for activations and logits.
    pub fn max_pass_tokens(self, tokens: usize) -> Self {
        Self { max_pass_tokens: tokens.max(1), ..self }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers: Vec<_> = self.providers.iter().map(ExecutionProviderDispatch::name).collect();
        f.debug_struct("Options")
            .field("library", &self.library)
            .field("threads", &self.threads)
            .field("optimization", &self.optimization)
            .field("providers", &providers)
            .field("device", &self.device)
            .field("max_pass_tokens", &self.max_pass_tokens)
            .finish_non_exhaustive()
    }
}
