//! [`Graph`]: a compiled graph.
use ort::memory::MemoryInfo;
use ort::session::builder::SessionBuilder;
use ort::value::DynValue;

use super::graph_builder::{Compiled, GraphBuilder, Placement};
use super::runner::Runner;

/// A graph that was built at run time, ready to run.
pub(crate) struct Graph {
    runner: Runner,
    inputs: Vec<String>,
    outputs: Vec<(String, Placement)>,
}

/// The memory that outputs are written to, by their [`Placement`].
pub(crate) struct Memory {
    pub(crate) device: MemoryInfo<'static>,
    pub(crate) host: MemoryInfo<'static>,
}

impl Graph {
    /// Compiles a graph. It runs on the calling thread.
    ///
    /// Sessions of graphs built at run time do not use the environment's thread pool. A second pool would spin after
    /// each run and take the processor from the model's next pass, which then takes twice as long.
    pub(crate) fn new(graph: GraphBuilder, builder: SessionBuilder) -> ort::Result<Self> {
        let Compiled { session, inputs, outputs } = graph.compile(&builder.with_intra_threads(1)?)?;
        Ok(Self { runner: Runner::new(session), inputs, outputs })
    }

    /// Runs the graph on inputs in the order of their declaration, and returns the outputs in the order of theirs.
    pub(crate) fn run(&self, inputs: &[&DynValue], memory: &Memory) -> ort::Result<Vec<DynValue>> {
        let inputs = self.inputs.iter().map(String::as_str).zip(inputs.iter().copied());
        let memory = |placement: &Placement| match placement {
            Placement::Device => &memory.device,
            Placement::Host => &memory.host,
        };
        let outputs: Vec<_> =
            self.outputs.iter().map(|(name, placement)| (name.as_str(), memory(placement))).collect();
        self.runner.run(inputs, &outputs)
    }
}
