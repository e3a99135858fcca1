//! [`Gather`]: copies chosen slots of a cache into a new one.
use std::sync::Arc;

use eft_core::{Error, Result};
use eft_models::graph::SlotSelection;
use ort::value::TensorElementType;

use super::cache::{CacheTensor, CacheValue};
use crate::Ort;
use crate::backend::graph::Graph;
use crate::backend::graph_builder::{Dtype, GraphBuilder, Placement};
use crate::backend::{integers, to_error};

/// One graph for each element type and head size that the cache tensors have.
pub(super) struct Gather(Vec<(TensorElementType, usize, Graph)>);

impl Gather {
    pub(super) fn new(ort: &Ort, caches: &[CacheTensor]) -> ort::Result<Self> {
        let mut graphs: Vec<(TensorElementType, usize, Graph)> = Vec::new();
        for CacheTensor { element, size, .. } in caches {
            if graphs.iter().any(|(e, s, _)| e == element && s == size) {
                continue;
            }
            let mut graph = GraphBuilder::default();
            let cache = graph.input(*element, 4);
            let (starts, slots) = (graph.argument(Dtype::I64, 3), graph.argument(Dtype::I64, 3));
            let entries = graph.reshape(cache, &[-1, *size as i64]);
            let index = graph.add(starts, slots);
            let gathered = graph.gather_rows(entries, index);
            graph.output_as(gathered, *element, 4, Placement::Device);
            graphs.push((*element, *size, Graph::new(graph, ort.builder()?)?));
        }
        Ok(Self(graphs))
    }

    /// Gathers the picked slots from caches of `slots` slots, and returns the new caches.
    pub(super) fn run(
        &self,
        ort: &Ort,
        caches: &[CacheTensor],
        values: &[CacheValue],
        slots: usize,
        picked: &[SlotSelection],
    ) -> Result<Vec<CacheValue>> {
        let count = picked.first().map_or(0, |picked| picked.slots.len());
        let taken = picked.iter().flat_map(|picked| picked.slots.iter().map(|slot| *slot as i64)).collect();
        let taken = integers([picked.len(), 1, count], taken)?;
        let gather = |(cache, value): (&CacheTensor, &CacheValue)| {
            // Where the slots of each head start, in the cache seen as a list of entries of one slot and head.
            let heads =
                |row: usize| (0..cache.heads).map(move |head| ((row * cache.heads + head) * slots) as i64);
            let starts = picked.iter().flat_map(|picked| heads(picked.row)).collect();
            let starts = integers([picked.len(), cache.heads, 1], starts)?;
            let graph = self.0.iter().find(|(e, s, _)| *e == cache.element && *s == cache.size);
            let Some((.., graph)) = graph else {
                return Err(Error::shape("graphs of cache tensors", "one for each kind", self.0.len()));
            };
            let mut gathered = graph.run(&[value, &starts, &taken], ort.memory()).map_err(to_error)?;
            gathered.pop().map(Arc::new).ok_or_else(|| Error::shape("outputs of a graph", 1, 0))
        };
        caches.iter().zip(values).map(gather).collect()
    }
}
