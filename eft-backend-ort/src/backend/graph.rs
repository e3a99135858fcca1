//! [`Graph`]: a small graph, ready to run.
use ort::memory::MemoryInfo;
use ort::session::builder::SessionBuilder;
use ort::value::DynValue;

use super::net::{Compiled, Net, Place};
use super::runner::Runner;

/// A compiled [`Net`].
pub(crate) struct Graph {
    runner: Runner,
    inputs: Vec<String>,
    outputs: Vec<(String, Place)>,
}

/// The memory that outputs go to.
pub(crate) struct Places {
    pub(crate) device: MemoryInfo<'static>,
    pub(crate) host: MemoryInfo<'static>,
}

impl Graph {
    /// Runs on the thread that calls it. Sessions of graphs that are written down at run time do not share the
    /// environment's threads, and threads of their own would spin after each run, and keep the next pass of a model,
    /// which then takes twice as long, from the processor.
    pub(crate) fn new(net: Net, builder: SessionBuilder) -> ort::Result<Self> {
        let Compiled { session, inputs, outputs } = net.compile(&builder.with_intra_threads(1)?)?;
        Ok(Self { runner: Runner::new(session), inputs, outputs })
    }

    /// The outputs, in order, for inputs in order.
    pub(crate) fn run(&self, inputs: &[&DynValue], places: &Places) -> ort::Result<Vec<DynValue>> {
        let inputs = self.inputs.iter().map(String::as_str).zip(inputs.iter().copied());
        let memory = |place: &Place| match place {
            Place::Device => &places.device,
            Place::Host => &places.host,
        };
        let outputs: Vec<_> =
            self.outputs.iter().map(|(name, place)| (name.as_str(), memory(place))).collect();
        self.runner.run(inputs, &outputs)
    }
}
