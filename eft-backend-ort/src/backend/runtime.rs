//! [`Runtime`]: the environment, the options and the compiled graphs of one backend.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use eft_core::{Backend, Error, Result, ScoreRow, Term};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::DynValue;

use super::error::to_error;
use super::graph::{Graph, Memory};
use super::graph_builder::{Dtype, GraphBuilder, Placement, Var};
use super::operation::Operation;
use super::rows::{Layout, Rows};
use super::tensor::Tensor;
use crate::options::Device;
use crate::{Options, library};

pub(super) struct Runtime {
    environment: Environment,
    options: Options,
    memory: Memory,
    graphs: Mutex<HashMap<Key, Arc<Graph>>>,
}

/// Two calls with equal keys run the same graph.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    operation: Operation,
    rows: Vec<Layout>,
}

impl Runtime {
    pub(super) fn new(options: &Options) -> crate::Result<Self> {
        let environment = library::environment(options)?;
        Ok(Self {
            environment,
            memory: Memory { device: options.device.memory()?, host: Device::CPU.memory()? },
            options: options.clone(),
            graphs: Mutex::default(),
        })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// A builder of sessions on the execution providers.
    pub(super) fn builder(&self) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&self.environment)?;
        Ok(builder.with_execution_providers(&self.options.providers)?)
    }

    /// Rows as one input; rows of several tensors are concatenated first. There must be at least one row.
    pub(super) fn load<B: Backend<Tensor = Tensor>>(
        &self,
        rows: &[ScoreRow<'_, B>],
        width: usize,
    ) -> Result<Rows> {
        let mut parts = Rows::parts(rows, width)?;
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            Some(last) => {
                parts.push(last);
                self.concat(&parts).map(Rows::whole)
            }
            None => Err(Error::shape("rows of a graph", "at least one", 0)),
        }
    }

    /// The weight and the rows of each term, in the order of the terms.
    pub(super) fn load_terms<B: Backend<Tensor = Tensor>>(
        &self,
        terms: &[Term<'_, B>],
        width: usize,
    ) -> Result<Vec<(f32, Rows)>> {
        terms.iter().map(|term| Ok((term.weight, self.load(&term.rows, width)?))).collect()
    }

    /// The rows, one after another, in a new tensor on the device.
    pub(super) fn concat(&self, rows: &[Rows]) -> Result<Tensor> {
        self.tensor(Operation::Concat, rows, &[], |graph, rows| graph.concat(rows))
    }

    /// Runs the graph of `operation`, whose output `write` returns, on the rows and then the arguments.
    pub(super) fn tensor(
        &self,
        operation: Operation,
        rows: &[Rows],
        arguments: &[DynValue],
        write: impl FnOnce(&mut GraphBuilder, &[Var]) -> Var,
    ) -> Result<Tensor> {
        let mut values = self.run(operation, rows, arguments, |graph, rows| {
            let result = write(graph, rows);
            graph.output(result, Dtype::F32, 2, Placement::Device);
        })?;
        let value = values.pop();
        value.map_or_else(|| Err(Error::shape("outputs of a graph", "at least one", 0)), Tensor::new)
    }

    /// Runs the graph of `operation` on the rows and then the arguments, and returns all outputs.
    ///
    /// `write` builds the graph unless it is there already, so it must depend on nothing but `operation` and the
    /// layout of the rows. It declares the arguments and the outputs.
    pub(super) fn run(
        &self,
        operation: Operation,
        rows: &[Rows],
        arguments: &[DynValue],
        write: impl FnOnce(&mut GraphBuilder, &[Var]),
    ) -> Result<Vec<DynValue>> {
        let graph = self.graph(operation, rows, write).map_err(to_error)?;
        let mut inputs = Vec::new();
        rows.iter().for_each(|rows| rows.bind(&mut inputs));
        inputs.extend(arguments);
        graph.run(&inputs, &self.memory).map_err(to_error)
    }

    fn graph(
        &self,
        operation: Operation,
        rows: &[Rows],
        write: impl FnOnce(&mut GraphBuilder, &[Var]),
    ) -> ort::Result<Arc<Graph>> {
        let key = Key { operation, rows: rows.iter().map(Rows::layout).collect() };
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = graphs.get(&key) {
            return Ok(graph.clone());
        }
        let mut builder = GraphBuilder::default();
        let rows: Vec<_> = rows.iter().map(|rows| rows.declare(&mut builder)).collect();
        write(&mut builder, &rows);
        let graph = Arc::new(Graph::new(builder, self.builder()?)?);
        graphs.insert(key, graph.clone());
        Ok(graph)
    }
}
