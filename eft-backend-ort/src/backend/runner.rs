//! [`Runner`]: a session of ONNX Runtime that several threads share.
use std::sync::{Mutex, PoisonError};

use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::value::DynValue;

/// A session that one thread at a time may run.
pub(crate) struct Runner {
    session: Mutex<Session>,
}

impl Runner {
    pub(crate) fn new(session: Session) -> Self {
        Self { session: Mutex::new(session) }
    }

    /// Runs the session, and returns the requested outputs in the order of the request.
    ///
    /// Inputs are bound where they are, and each output is written to the memory given for it.
    pub(crate) fn run<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, &'a DynValue)>,
        outputs: &[(&str, &MemoryInfo<'_>)],
    ) -> ort::Result<Vec<DynValue>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // Each run has a new binding: one that is reused would overwrite the outputs of the run before, and keep
        // its inputs alive.
        let mut binding = session.create_binding()?;
        for (name, value) in inputs {
            binding.bind_input(name, value)?;
        }
        for (name, memory) in outputs {
            binding.bind_output_to_device(*name, memory)?;
        }
        let mut values = session.run_binding(&binding)?;
        let taken = outputs.iter().map(|(name, _)| values.remove(name));
        taken.collect::<Option<_>>().ok_or_else(|| ort::Error::new("the session did not return an output"))
    }
}
