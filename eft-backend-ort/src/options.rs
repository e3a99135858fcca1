//! [`Options`]: which library, which execution providers, how many threads.
//!
//! ```
//! use eft_backend_ort::{GraphOptimizationLevel, Options};
//!
//! let options = Options::default().threads(2).optimization(GraphOptimizationLevel::Level1);
//! assert!(format!("{options:?}").contains("threads: Some(2)"));
//! ```
use std::fmt;
use std::path::PathBuf;

use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;

/// How an [`Ort`](crate::Ort) is made. By default: the library by `ORT_DYLIB_PATH`, the processor, all its cores,
/// every optimisation.
#[derive(Clone)]
pub struct Options {
    pub(crate) library: Option<PathBuf>,
    pub(crate) environment: Option<Environment>,
    pub(crate) threads: Option<usize>,
    pub(crate) optimization: GraphOptimizationLevel,
    pub(crate) providers: Vec<ExecutionProviderDispatch>,
    pub(crate) device: Device,
    pub(crate) pass: usize,
}

/// Where an execution provider keeps its tensors.
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
            pass: 256,
        }
    }
}

impl Options {
    /// The library of ONNX Runtime to load, 1.23 or newer (feature `load-dynamic`). A process loads one, once.
    pub fn library(self, path: impl Into<PathBuf>) -> Self {
        Self { library: Some(path.into()), ..self }
    }

    /// An environment made elsewhere. A process has no more than one, so this is the way for programs that use
    /// ONNX Runtime for something else, too. Threads are then those it was made with.
    pub fn environment(self, environment: Environment) -> Self {
        Self { environment: Some(environment), ..self }
    }

    /// Threads of the pool that all models of the process share; as many as there are cores unless given.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// How far models' graphs are optimised as they are loaded; `All` unless given.
    pub fn optimization(self, level: GraphOptimizationLevel) -> Self {
        Self { optimization: level, ..self }
    }

    /// Runs on an execution provider, whose tensors lie in the memory of `device`: `AllocationDevice::CPU` for
    /// providers that work in main memory. Where several are given, the first comes first, and the last one's
    /// memory counts. A provider that cannot be had is an error, not a reason to use the processor.
    ///
    /// Providers need the cargo feature of their name, and a library that was built with them.
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

    /// Runs on an NVIDIA GPU.
    #[cfg(feature = "cuda")]
    pub fn cuda(self, index: i32) -> Self {
        let provider = ort::ep::CUDA::default().with_device_id(index).build();
        self.provider(provider, AllocationDevice::CUDA, index)
    }

    /// Tokens of one forward pass at most, over all rows; 256 unless given. Longer prompts are read in pieces,
    /// which bounds the memory that activations and logits take.
    pub fn pass(self, tokens: usize) -> Self {
        Self { pass: tokens.max(1), ..self }
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
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}
