//! [`Runner`]: a session of ONNX Runtime that many threads may run, one at a time.
use std::sync::{Mutex, PoisonError};

use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::value::DynValue;

/// Inputs are bound as the values they are, outputs stay where they are asked to be: nothing crosses on its own.
pub(crate) struct Runner {
    session: Mutex<Session>,
}

impl Runner {
    pub(crate) fn new(session: Session) -> Self {
        Self { session: Mutex::new(session) }
    }

    /// The outputs, in the order asked for.
    pub(crate) fn run<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, &'a DynValue)>,
        outputs: &[(&str, &MemoryInfo<'_>)],
    ) -> ort::Result<Vec<DynValue>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // A binding of its own for each run: one that is kept would write over what the last run gave out, and
        // hold on to the inputs.
        let mut binding = session.create_binding()?;
        for (name, value) in inputs {
            binding.bind_input(name, value)?;
        }
        for (name, memory) in outputs {
            binding.bind_output_to_device(*name, memory)?;
        }
        let mut values = session.run_binding(&binding)?;
        let taken = outputs.iter().map(|(name, _)| values.remove(name));
        taken.collect::<Option<_>>().ok_or_else(|| ort::Error::new("an output is missing"))
    }
}
